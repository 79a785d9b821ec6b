// @ts-check
/** What a round's outcome tells, as beats that are shown one after the other. Pure: no page, no clock, no chance.
 *
 * @typedef {import("./reelmesh.js").Game} Game
 * @typedef {import("./reelmesh.js").Round} Round
 * @typedef {[number, number]} Cell reel and row
 * @typedef {string[][]} Grid by reel, top first
 * @typedef {{cells: Cell[], amount: number, text: string, line?: number, symbol: string}} Win
 * @typedef {{cell: Cell, amount: number}} Held
 * @typedef {{number: number, of: number}} FreeSpin
 * @typedef {{do: "spin", grid: Grid, free?: FreeSpin, running: number}
 *   | {do: "expand", grid: Grid, running: number}
 *   | {do: "wins", wins: Win[], multiplier: number, running: number}
 *   | {do: "fall", gone: Cell[], grid: Grid, multiplier: number, running: number}
 *   | {do: "feature", text: string, running: number}
 *   | {do: "hold", held: Held[], fresh: Cell[], left: number, running: number}
 *   | {do: "say", text: string, running: number}} Beat
 */
import { spoken } from "./symbols.js";

/** @param {Round} round @param {Game} game @returns {Beat[]} */
export function tell(round, game) {
  const outcome = round.outcome;
  if (!outcome || !game.display || outcome.free_spins === undefined) return [];
  const story = new Story(game);
  if (outcome.base) story.screen(outcome.base);
  if (outcome.hold_and_win) story.hold(outcome.hold_and_win);
  if (outcome.pick) story.add({ do: "say", text: "The pick pays" }, outcome.pick.win_minor);
  story.free(outcome);
  if (outcome.capped) {
    story.running = outcome.win_minor;
    story.add({ do: "say", text: "The highest win of this game is reached" });
  }
  return story.beats;
}

/** The grid and the held coins after some beats: where a story goes on that was interrupted.
 * @param {Beat[]} beats @returns {{grid: Grid | null, held: Held[]}} */
export function standing(beats) {
  /** @type {{grid: Grid | null, held: Held[]}} */
  const stands = { grid: null, held: [] };
  for (const beat of beats) {
    if ("grid" in beat) [stands.grid, stands.held] = [beat.grid, []];
    if (beat.do === "hold") stands.held = beat.held;
  }
  return stands;
}

/** Whether a round holds more than one stop of the reels. @param {Beat[]} beats */
export const hasFeature = (beats) => beats.some((beat) => beat.do === "feature");

class Story {
  /** @param {Game} game */
  constructor(game) {
    this.game = game;
    this.display = /** @type {import("./reelmesh.js").Display} */ (game.display);
    /** @type {Beat[]} */
    this.beats = [];
    this.running = 0;
    /** @type {Grid} */
    this.grid = [];
  }

  /** @param {any} beat @param {number} [won] */
  add(beat, won = 0) {
    this.running += won;
    this.beats.push({ ...beat, running: this.running });
  }

  /** One stop of the reels. @param {any} screen @param {FreeSpin} [free] */
  screen(screen, free) {
    this.grid = screen.grid;
    this.add({ do: "spin", grid: this.grid, ...(free && { free }) });
    this.expand();
    let wins = this.wins(screen);
    this.show(wins);
    for (const fall of screen.falls ?? []) {
      const gone = unique(wins.flatMap((win) => win.cells));
      this.grid = fall.grid;
      this.add({ do: "fall", gone, grid: fall.grid, multiplier: fall.multiplier });
      wins = this.wins(fall);
      this.show(wins, fall.multiplier);
    }
    if (screen.scatter_win) {
      const { symbol, count, win_minor } = screen.scatter_win;
      this.show([{ cells: this.places(symbol), amount: win_minor, text: `${count} ${spoken(symbol)}`, symbol }]);
    }
  }

  /** Wilds that fill their reel once it has stopped. */
  expand() {
    const wilds = new Set(this.display.symbols.filter((one) => one.expands).map((one) => one.symbol));
    if (!this.grid.some((reel) => reel.some((symbol) => wilds.has(symbol)))) return;
    this.grid = this.grid.map((reel) => {
      const wild = reel.find((symbol) => wilds.has(symbol));
      return wild ? reel.map(() => wild) : reel;
    });
    this.add({ do: "expand", grid: this.grid });
  }

  /** @param {Win[]} wins @param {number} [multiplier] */
  show(wins, multiplier = 1) {
    if (!wins.length) return;
    this.add({ do: "wins", wins, multiplier }, wins.reduce((sum, win) => sum + win.amount, 0));
  }

  /** @param {any} part a screen or a fall @returns {Win[]} */
  wins(part) {
    const lines = (part.line_wins ?? []).map((/** @type {any} */ win) => ({
      cells: this.onLine(win),
      amount: win.win_minor,
      text: `${win.count} ${spoken(win.symbol)} on line ${win.line + 1}${times(win.multiplier)}`,
      line: win.line,
      symbol: win.symbol,
    }));
    const symbols = (part.symbol_wins ?? []).map((/** @type {any} */ win) => ({
      cells: win.cells,
      amount: win.win_minor,
      text: `${win.count} ${spoken(win.symbol)}${this.how(win)}${times(win.multiplier)}`,
      symbol: win.symbol,
    }));
    return [...lines, ...symbols];
  }

  /** @param {any} win */
  how(win) {
    if (this.display.evaluation === "WAYS") return `, ${win.ways ?? 1} ${win.ways > 1 ? "ways" : "way"}`;
    return this.display.evaluation === "CLUSTERS" ? " side by side" : "";
  }

  /** @param {any} win @returns {Cell[]} */
  onLine({ line, count, from_right }) {
    const { rows } = this.display.paylines[line];
    const reels = rows.map((_, reel) => reel);
    const run = from_right ? reels.slice(-count) : reels.slice(0, count);
    return run.map((reel) => [reel, rows[reel]]);
  }

  /** @param {string} symbol @returns {Cell[]} */
  places(symbol) {
    return this.grid.flatMap((reel, r) => reel.flatMap((found, row) => (found === symbol ? [/** @type {Cell} */ ([r, row])] : [])));
  }

  /** @param {any} feature */
  hold(feature) {
    const { respins } = this.display;
    const at = (/** @type {number} */ last) => feature.coins.filter((/** @type {any} */ coin) => coin.respin <= last);
    const held = (/** @type {any[]} */ coins) => coins.map((coin) => ({ cell: coin.cell, amount: coin.win_minor }));
    let left = respins;
    this.add({ do: "feature", text: `Hold and win: ${respins} respins` });
    for (let respin = 0; respin <= feature.respins; respin++) {
      const coins = at(respin);
      const fresh = coins.filter((/** @type {any} */ coin) => coin.respin === respin).map((/** @type {any} */ coin) => coin.cell);
      left = respin === 0 || fresh.length ? respins : left - 1;
      this.add({ do: "hold", held: held(coins), fresh, left });
    }
    if (feature.full_win_minor) this.add({ do: "say", text: "Every cell holds a coin" });
    this.add({ do: "say", text: `${feature.coins.length} coins pay` }, feature.win_minor);
  }

  /** @param {any} outcome */
  free(outcome) {
    const screens = outcome.free_spins;
    if (!screens.length) return;
    const again = screens.reduce((/** @type {number} */ sum, /** @type {any} */ screen) => sum + screen.free_spins_awarded, 0);
    let of = outcome.base ? outcome.base.free_spins_awarded : screens.length - again;
    this.add({ do: "feature", text: `${of} free spins` });
    screens.forEach((/** @type {any} */ screen, /** @type {number} */ index) => {
      this.screen(screen, { number: index + 1, of });
      if (!screen.free_spins_awarded) return;
      of = Math.min(screens.length, of + screen.free_spins_awarded);
      this.add({ do: "feature", text: `${screen.free_spins_awarded} more free spins` });
    });
  }
}

/** @param {number} multiplier */
const times = (multiplier) => (multiplier > 1 ? `, ×${multiplier}` : "");

/** @param {Cell[]} cells @returns {Cell[]} */
function unique(cells) {
  return [...new Map(cells.map((cell) => [cell.join(), cell])).values()];
}
