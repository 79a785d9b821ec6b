// @ts-check
/** Bet ladder and modes: what a spin costs.
 * @typedef {import("./reelmesh.js").Game} Game
 */
import { element } from "./reels.js";
import { money } from "./words.js";

const NAMES = /** @type {Record<string, string>} */ ({ base: "Normal", ante: "Ante", buy: "Buy the feature" });
const PREFERRED_MINOR = 100;

export class Bets {
  /** @param {{bet: HTMLSelectElement, up: HTMLButtonElement, down: HTMLButtonElement, modes: HTMLFieldSetElement}} parts @param {() => void} changed */
  constructor(parts, changed) {
    this.parts = parts;
    this.changed = changed;
    this.mode = "base";
    /** @type {Game["modes"]} */
    this.modes = [];
    this.code = "EUR";
    this.locked = false;
    parts.bet.addEventListener("change", () => this.refresh());
    parts.up.addEventListener("click", () => this.step(1));
    parts.down.addEventListener("click", () => this.step(-1));
  }

  /** @param {Game} game @param {string} code @param {string[] | null} allowed modes; null: all */
  open(game, code, allowed) {
    this.code = code;
    this.modes = game.modes.filter((mode) => !allowed || allowed.includes(mode.mode));
    const ladder = game.bet_ladders.find((one) => one.currency_code === code)?.stakes_minor ?? [];
    const preferred = ladder.find((bet) => bet >= PREFERRED_MINOR) ?? ladder.at(-1);
    this.parts.bet.replaceChildren(
      ...ladder.map((bet) => new Option(money(bet, code), String(bet), false, bet === preferred)),
    );
    this.setMode("base");
    this.drawModes();
  }

  drawModes() {
    const { modes } = this.parts;
    modes.hidden = this.modes.length < 2;
    for (const label of [...modes.querySelectorAll("label")]) label.remove();
    for (const mode of this.modes) {
      const label = element("label");
      const input = /** @type {HTMLInputElement} */ (element("input"));
      Object.assign(input, { type: "radio", name: "mode", value: mode.mode, checked: mode.mode === this.mode });
      input.addEventListener("change", () => this.setMode(mode.mode));
      const name = NAMES[mode.mode] ?? mode.mode.replaceAll("_", " ");
      label.append(input, element("span", "", mode.mode === "base" ? name : `${name} ×${Number(mode.cost)}`));
      modes.append(label);
    }
  }

  /** @param {string} mode */
  setMode(mode) {
    this.mode = mode;
    for (const input of this.parts.modes.querySelectorAll("input")) input.checked = input.value === mode;
    this.refresh();
  }

  get betMinor() {
    return Number(this.parts.bet.value);
  }

  /** The whole stake of a spin: the bet times the mode's cost, exactly. */
  get stakeMinor() {
    const [whole, part = ""] = (this.modes.find((one) => one.mode === this.mode)?.cost ?? "1").split(".");
    return Math.round((this.betMinor * Number(whole + part)) / 10 ** part.length);
  }

  /** @param {number} by steps of the ladder @returns {boolean} whether there was one */
  step(by) {
    const { bet } = this.parts;
    const index = bet.selectedIndex + by;
    if (bet.disabled || index < 0 || index >= bet.options.length) return false;
    bet.selectedIndex = index;
    this.refresh();
    return true;
  }

  /** To the highest bet that a balance covers; the lowest one where none is. @param {number} balanceMinor */
  lower(balanceMinor) {
    this.setMode("base");
    const { bet } = this.parts;
    bet.selectedIndex = Math.max(0, [...bet.options].findLastIndex((option) => Number(option.value) <= balanceMinor));
    this.refresh();
  }

  /** A bet cannot change while its round goes on. @param {boolean} locked */
  lock(locked) {
    this.locked = locked;
    this.parts.bet.disabled = this.parts.modes.disabled = locked;
    this.refresh();
  }

  refresh() {
    const { bet, up, down } = this.parts;
    down.disabled = this.locked || bet.selectedIndex <= 0;
    up.disabled = this.locked || bet.selectedIndex >= bet.options.length - 1;
    this.changed();
  }
}
