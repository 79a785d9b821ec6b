// @ts-check
/** The reels of one game: draws grids, spins, lands, marks what won, lets symbols fall, holds coins.
 * @typedef {import("./story.js").Grid} Grid
 * @typedef {import("./story.js").Cell} Cell
 * @typedef {import("./reelmesh.js").Game} Game
 */
import { glyph, spoken } from "./symbols.js";

const ROLL_CELLS = 12;

export class Reels {
  /** @param {HTMLElement} root @param {Game} game @param {import("./pace.js").Pace} pace */
  constructor(root, game, pace) {
    this.root = root;
    this.pace = pace;
    /** @type {Grid} */
    this.grid = [];
    this.rows = game.rows;
    this.symbols = game.display?.symbols ?? [];
    this.multipliers = new Map(this.symbols.map((one) => [one.symbol, one.kind === "WILD" ? one.multiplier : 1]));
    this.paylines = game.display?.paylines ?? [];
    root.replaceChildren();
    root.hidden = !game.display;
    root.style.setProperty("--reels", String(game.reels));
    root.style.setProperty("--rows", String(game.rows));
    root.classList.toggle("big", game.reels > 5);
    this.strips = Array.from({ length: game.reels }, () => {
      const reel = root.appendChild(element("div", "reel"));
      return reel.appendChild(element("div", "strip"));
    });
    this.overlay = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.overlay.setAttribute("class", "overlay");
    this.overlay.setAttribute("viewBox", `0 0 ${game.reels} ${game.rows}`);
    this.overlay.setAttribute("preserveAspectRatio", "none");
    root.append(this.overlay);
    this.set(Array.from({ length: game.reels }, () => Array.from({ length: game.rows }, () => this.any())));
    root.setAttribute("aria-label", "Reels, not spun yet");
  }

  any() {
    return this.symbols.length ? this.symbols[Math.floor(Math.random() * this.symbols.length)].symbol : "";
  }

  /** Shows a grid at once. @param {Grid} grid */
  set(grid) {
    this.grid = grid;
    this.clear();
    grid.forEach((reel, r) => {
      this.strips[r].className = "strip";
      this.strips[r].replaceChildren(...reel.map((symbol) => this.cell(symbol)));
    });
    this.describe();
  }

  describe() {
    const reels = this.grid.map((reel, r) => `reel ${r + 1}: ${reel.map(spoken).join(", ")}`);
    this.root.setAttribute("aria-label", `Reels. ${reels.join("; ")}`);
  }

  /** @param {string} symbol */
  cell(symbol) {
    const cell = element("div", "cell");
    cell.dataset.symbol = symbol;
    cell.innerHTML = glyph(symbol);
    const multiplier = this.multipliers.get(symbol) ?? 1;
    if (multiplier > 1) cell.append(element("b", "times", `×${multiplier}`));
    return cell;
  }

  /** @param {Cell} at */
  at([reel, row]) {
    return /** @type {HTMLElement} */ (this.strips[reel].children[row]);
  }

  /** Rolls until it lands. */
  roll() {
    this.clear();
    this.root.setAttribute("aria-label", "Reels, spinning");
    if (this.pace.still) return;
    for (const strip of this.strips) {
      const cells = Array.from({ length: this.rows * 2 }, () => this.any());
      strip.replaceChildren(...[...cells, ...cells.slice(0, this.rows)].map((symbol) => this.cell(symbol)));
      strip.classList.add("rolling");
    }
  }

  /** Stops on a grid, reel by reel. @param {Grid} grid */
  async land(grid) {
    if (this.pace.still) {
      this.set(grid);
      return await this.pace.wait(250);
    }
    await this.pace.wait(300);
    await Promise.all(grid.map((reel, r) => this.landReel(reel, r)));
    this.set(grid);
  }

  /** @param {string[]} symbols @param {number} r */
  async landReel(symbols, r) {
    await this.pace.wait(130 * r);
    const strip = this.strips[r];
    const filler = Array.from({ length: ROLL_CELLS }, () => this.any());
    strip.classList.remove("rolling");
    strip.replaceChildren(...[...symbols, ...filler].map((symbol) => this.cell(symbol)));
    const from = (100 * ROLL_CELLS) / (ROLL_CELLS + this.rows);
    const frames = [{ transform: `translateY(-${from}%)` }, { transform: "translateY(1.6%)", offset: 0.8 }, { transform: "translateY(0)" }];
    await this.pace.animate(strip, frames, 480, "cubic-bezier(.2,.7,.3,1)");
    strip.replaceChildren(...symbols.map((symbol) => this.cell(symbol)));
  }

  /** Takes all marks away. */
  clear() {
    this.overlay.replaceChildren();
    this.root.classList.remove("marking");
    for (const cell of this.root.querySelectorAll(".won")) cell.classList.remove("won");
    for (const label of this.root.querySelectorAll(".amount")) label.remove();
  }

  /** Marks one win. @param {import("./story.js").Win} win @param {string} [amount] written into its middle */
  mark(win, amount) {
    this.root.classList.add("marking");
    for (const cell of win.cells) this.at(cell).classList.add("won");
    if (win.line !== undefined) this.overlay.append(this.line(win.line));
    const middle = win.cells[Math.floor((win.cells.length - 1) / 2)];
    if (!amount || !middle) return;
    const label = this.root.appendChild(element("span", "amount", amount));
    label.style.setProperty("--reel", String(middle[0]));
    label.style.setProperty("--row", String(middle[1]));
  }

  /** @param {number} line */
  line(line) {
    const points = this.paylines[line].rows.map((row, reel) => `${reel + 0.5},${row + 0.5}`).join(" ");
    const polyline = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    polyline.setAttribute("points", points);
    polyline.setAttribute("class", `line l-${line % 8}`);
    return polyline;
  }

  /** What won vanishes, what is above falls, and more comes in from above. @param {Cell[]} gone @param {Grid} grid */
  async fall(gone, grid) {
    const left = this.grid;
    this.clear();
    if (!this.pace.still) {
      const out = [{ transform: "scale(1)", opacity: 1 }, { transform: "scale(1.15)", opacity: 1, offset: 0.3 }, { transform: "scale(.2)", opacity: 0 }];
      await Promise.all(gone.map((cell) => this.pace.animate(this.at(cell), out, 300, "ease-in")));
    }
    this.set(grid);
    if (this.pace.still) return await this.pace.wait(200);
    const falls = grid.flatMap((reel, r) => {
      const rows = new Set(gone.filter(([at]) => at === r).map(([, row]) => row));
      const stayed = left[r].map((_, row) => row).filter((row) => !rows.has(row));
      return reel.map((_, row) => {
        const from = row < rows.size ? row - rows.size : stayed[row - rows.size];
        return { cell: this.at([r, row]), rows: row - from };
      });
    });
    await Promise.all(
      falls.filter((one) => one.rows).map(({ cell, rows }) => {
        const frames = [{ transform: `translateY(-${rows * 100}%)` }, { transform: "translateY(0)" }];
        return this.pace.animate(cell, frames, 260 + 40 * rows, "cubic-bezier(.45,0,.7,1)");
      }),
    );
  }

  /** Holds coins with what they are worth; the cells between spin on.
   * @param {{cell: Cell, text: string}[]} held @param {Cell[]} fresh those that came just now */
  async hold(held, fresh) {
    const kept = new Set(held.map(({ cell }) => cell.join()));
    const came = new Set(fresh.map((cell) => cell.join()));
    this.clear();
    const coin = this.symbols.find((one) => one.kind === "COIN")?.symbol ?? "COIN";
    for (const [r, strip] of this.strips.entries()) {
      for (const row of strip.children.length ? [...strip.children].keys() : []) {
        const cell = this.at([r, row]);
        const stays = kept.has(`${r},${row}`);
        cell.classList.toggle("away", !stays);
        cell.classList.toggle("respin", !stays || came.has(`${r},${row}`));
      }
    }
    await this.pace.wait(came.size === held.length ? 200 : 420);
    for (const cell of this.root.querySelectorAll(".respin")) cell.classList.remove("respin");
    for (const { cell, text } of held) {
      const shown = this.cell(coin);
      shown.classList.add("held");
      shown.append(element("span", "worth", text));
      this.at(cell).replaceWith(shown);
      if (came.has(cell.join())) {
        void this.pace.animate(shown, [{ transform: "scale(1.3)" }, { transform: "scale(1)" }], 220, "ease-out");
      }
    }
    const told = held.map(({ cell, text }) => `reel ${cell[0] + 1} row ${cell[1] + 1}: ${text}`).join("; ");
    this.root.setAttribute("aria-label", `Reels. Coins held: ${told}`);
  }
}

/** @param {string} tag @param {string} [name] its class @param {string} [text] */
export function element(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}
