// @ts-check
/** Shows a round on the reels, beat by beat; from anywhere in it, for one that a reload interrupted.
 * @typedef {import("./story.js").Beat} Beat
 */
import { standing } from "./story.js";
import { money, number } from "./words.js";

export class Show {
  /**
   * @param {import("./reels.js").Reels} reels @param {import("./pace.js").Pace} pace
   * @param {{banner(text: string): void, told(text: string): void, won(minor: number): void, note(beat: number): void}} screen
   * @param {string} code the currency
   */
  constructor(reels, pace, screen, code) {
    this.reels = reels;
    this.pace = pace;
    this.screen = screen;
    this.code = code;
  }

  /** @param {Beat[]} beats @param {number} from the first beat that is shown; before it all is as it was left */
  async perform(beats, from = 0) {
    if (from > 0) await this.stand(beats.slice(0, from));
    for (const [index, beat] of beats.entries()) {
      if (index < from) continue;
      this.screen.note(index);
      if (beat.do === "wins") this.screen.won(beat.running);
      await this.beat(beat);
      this.screen.won(beat.running);
    }
  }

  /** @param {Beat[]} beats */
  async stand(beats) {
    const { grid, held } = standing(beats);
    if (grid) this.reels.set(grid);
    if (held.length) await this.reels.hold(this.worths(held), []);
    this.screen.won(beats.at(-1)?.running ?? 0);
  }

  /** @param {Beat} beat */
  async beat(beat) {
    switch (beat.do) {
      case "spin":
        if (beat.free) {
          this.screen.banner(`Free spin ${beat.free.number} of ${beat.free.of}`);
          await this.pace.wait(350);
          this.reels.roll();
        }
        return await this.reels.land(beat.grid);
      case "expand":
        this.reels.set(beat.grid);
        return await this.pace.wait(300);
      case "fall":
        await this.reels.fall(beat.gone, beat.grid);
        if (beat.multiplier > 1) this.screen.told(`This fall pays ×${beat.multiplier}`);
        return;
      case "wins":
        return await this.wins(beat.wins);
      case "hold":
        this.screen.banner(`Respins left: ${beat.left}`);
        await this.reels.hold(this.worths(beat.held), beat.fresh);
        return await this.pace.wait(550);
      case "feature":
        this.screen.banner(beat.text);
        this.screen.told(beat.text);
        return await this.pace.wait(1300);
      case "say":
        this.screen.told(beat.text);
        return await this.pace.wait(700);
    }
  }

  /** All wins at once, then one by one. @param {import("./story.js").Win[]} wins */
  async wins(wins) {
    const total = wins.reduce((sum, win) => sum + win.amount, 0);
    if (wins.length > 1) {
      for (const win of wins) this.reels.mark(win);
      this.screen.told(`${wins.length} wins pay ${money(total, this.code)}`);
      await this.pace.wait(650);
    }
    for (const win of wins.slice(0, 12)) {
      this.reels.clear();
      this.reels.mark(win, money(win.amount, this.code));
      this.screen.told(`${win.text}: ${money(win.amount, this.code)}`);
      await this.pace.wait(wins.length > 4 ? 450 : 800);
    }
    this.reels.clear();
    for (const win of wins) this.reels.mark(win);
  }

  /** @param {import("./story.js").Held[]} held */
  worths(held) {
    return held.map(({ cell, amount }) => ({ cell, text: number(amount, this.code) }));
  }
}
