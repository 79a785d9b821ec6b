// @ts-check
/** One game being played: what the player asks for, the answers, and in between never two rounds at once.
 * @typedef {import("./reelmesh.js").Round} Round
 * @typedef {import("./reelmesh.js").Played} Played
 * @typedef {import("./reelmesh.js").Game} Game
 */
import { element, Reels } from "./reels.js";
import { Show } from "./show.js";
import { hasFeature, tell } from "./story.js";
import { money } from "./words.js";

export class Table {
  /**
   * @param {import("./reelmesh.js").Reelmesh} client
   * @param {Record<string, any>} parts elements by id
   * @param {{bets: import("./bets.js").Bets, facts: import("./facts.js").Facts, history: import("./history.js").History, pace: import("./pace.js").Pace,
   *   complain(error: unknown): void, calm(): void}} others
   */
  constructor(client, parts, others) {
    this.client = client;
    this.parts = parts;
    Object.assign(this, others);
    this.bets = others.bets;
    this.facts = others.facts;
    this.history = others.history;
    this.pace = others.pace;
    this.complain = others.complain;
    this.calm = others.calm;
    this.busy = false;
    /** The open round, which waits for a choice. @type {Round | null} */
    this.open = null;
    /** Spins that autoplay still has. */
    this.auto = 0;
    this.balanceMinor = 0;
    this.wonMinor = 0;
  }

  /** Everything of a session's game. @param {Game} game @param {string} code @param {import("./policy.js").Policy} policy */
  begin(game, code, policy) {
    this.game = game;
    this.code = code;
    this.policy = policy;
    this.open = null;
    this.auto = 0;
    this.parts.gamble.hidden = true;
    this.setReels(game);
    this.won(0);
    this.say("");
    this.idle();
  }

  /** @param {Game} game */
  setReels(game) {
    this.parts.machine.className = `machine t-${game.game_id}`;
    this.reels = new Reels(this.parts.reels, game, this.pace);
    const screen = {
      banner: (/** @type {string} */ text) => this.banner(text),
      told: (/** @type {string} */ text) => this.say(text),
      won: (/** @type {number} */ minor) => this.won(minor),
      note: (/** @type {number} */ beat) => this.recalling || this.client.note(beat),
    };
    this.show = new Show(this.reels, this.pace, screen, this.code ?? "EUR");
  }

  /** The spin button, or Space: spins, stops autoplay, or shows the end at once where that is allowed. */
  async press() {
    if (this.auto) {
      this.auto = 0;
      this.draw();
    } else if (this.busy || this.open) {
      if (this.skips) this.pace.skip();
    } else {
      await this.spin();
    }
  }

  /** @param {{autoplay?: boolean}} [how] @returns {Promise<Round | null>} the round when it is over or open */
  async spin({ autoplay = false } = {}) {
    const stake = { currency_code: this.code ?? "", amount_minor: this.bets.stakeMinor };
    const mode = this.bets.mode;
    const declared = this.policy?.declares ? { autoplay, turbo: this.pace.turbo } : {};
    return await this.play(stake.amount_minor, 0, async () => await this.client.spin(stake, { mode, ...declared }));
  }

  /** A spin that was sent before the page was loaded: the same one is asked for again. */
  async resume() {
    const pending = this.client.pending;
    if (!pending) return;
    const from = pending.shown ?? 0;
    this.say("Your last round goes on");
    await this.play(pending.stake.amount_minor, from, async () => /** @type {Played} */ (await this.client.resume()));
  }

  /** @param {number} stakeMinor @param {number} from @param {() => Promise<Played>} ask @returns {Promise<Round | null>} */
  async play(stakeMinor, from, ask) {
    const before = this.balanceMinor;
    this.begun();
    if (!from) {
      this.setBalance(Math.max(0, before - stakeMinor));
      this.reels?.roll();
    }
    try {
      const played = await ask();
      this.calm();
      await this.told(played, from);
      return played.round;
    } catch (error) {
      if (this.reels) this.reels.set(this.reels.grid);
      this.setBalance(before);
      this.auto = 0;
      this.say("");
      this.complain(error);
      return null;
    } finally {
      this.idle();
    }
  }

  /** Shows an answered spin. @param {Played} played @param {number} from */
  async told({ round, current_balance }, from) {
    const game = /** @type {Game} */ (this.game);
    const beats = tell(round, game);
    const paid = round.win?.amount_minor ?? 0;
    this.setBalance(current_balance.amount_minor - paid);
    this.say("");
    await this.show?.perform(beats, from);
    this.banner("");
    this.stand({ round, current_balance }, hasFeature(beats));
  }

  /**
   * How a round stands once it was shown: over, or with a choice to make.
   * @param {Played} played @param {boolean} [feature]
   */
  stand({ round, current_balance }, feature) {
    this.history.add(round);
    this.setBalance(current_balance.amount_minor);
    if (round.state === "OPEN") {
      this.won(round.at_risk?.amount_minor ?? 0);
      this.offer(round);
    } else {
      this.end(round, feature);
    }
  }

  /** A round is over. @param {Round} round @param {boolean} [featured] */
  end(round, featured = false) {
    this.client.forget();
    this.open = null;
    this.parts.gamble.hidden = true;
    const win = round.win?.amount_minor ?? 0;
    const above = win > round.stake.amount_minor;
    this.won(win, !above);
    this.facts.count(round);
    // No celebration of what is no gain.
    this.parts.machine.classList.toggle("gain", above);
    const text = money(win, this.code ?? "");
    this.say(above ? `You won ${text}` : win ? `${text} came back` : "No win");
    this.featured = featured;
  }

  /** A round that waits for a choice. @param {Round} round */
  offer(round) {
    this.open = round;
    const { gamble, choices } = this.parts;
    const risk = money(round.at_risk?.amount_minor ?? 0, this.code ?? "");
    choices.replaceChildren(
      ...round.choices.map((choice) => {
        const made = element("button", `choice ${choice.toLowerCase()}`, choice === "COLLECT" ? `Collect ${risk}` : choice === "RED" ? "Red" : choice === "BLACK" ? "Black" : choice);
        made.addEventListener("click", () => void this.choose(choice));
        return made;
      }),
    );
    this.drawCards(round);
    const appearing = gamble.hidden;
    gamble.hidden = false;
    this.say(`${risk} won. Collect it, or double it with the colour of a card?`);
    if (appearing || !gamble.contains(document.activeElement)) choices.firstElementChild?.focus();
  }

  /** @param {string} choice */
  async choose(choice) {
    const open = this.open;
    if (!open || this.busy) return;
    this.begun();
    try {
      const { round, current_balance } = await this.client.act(open, choice);
      this.calm();
      this.drawCards(round);
      const step = round.steps.at(-1);
      if (step?.card) {
        this.say(`The card is ${step.card.toLowerCase()}`);
        await this.pace.wait(900);
      }
      this.stand({ round, current_balance });
      if (round.state !== "OPEN") this.parts.spin.focus();
    } catch (error) {
      this.complain(error);
    } finally {
      this.idle();
    }
  }

  /** @param {Round} round */
  drawCards(round) {
    const cards = round.steps.filter((step) => step.card).map((step) => element("span", `card ${String(step.card).toLowerCase()}`, step.card === "RED" ? "♥" : "♠"));
    const next = round.state === "OPEN" ? [element("span", "card back", "?")] : [];
    this.parts["cards-drawn"].replaceChildren(...cards, ...next);
  }

  /** A round once more, with its stored outcome: nothing is played. @param {Round} round @param {Game | undefined} game */
  async recall(round, game) {
    if (this.busy || this.auto || !this.game) return;
    const own = this.game;
    this.recalling = true;
    this.begun();
    this.parts.machine.scrollIntoView({ block: "nearest" });
    try {
      if (game && game !== own) this.setReels(game);
      this.parts.machine.classList.add("recall");
      this.banner("Recall: nothing is played");
      this.reels?.roll();
      await this.show?.perform(tell(round, game ?? own));
      this.won(round.win?.amount_minor ?? 0, true);
      const steps = round.steps.map((step) => step.choice.toLowerCase() + (step.card ? ` (${step.card.toLowerCase()})` : ""));
      const choices = steps.length ? ` after ${steps.join(", ")}` : "";
      this.say(`Recall of ${new Date(round.create_time).toLocaleString()}: ${money(round.stake.amount_minor, round.stake.currency_code)} staked, ${money(round.win?.amount_minor ?? 0, round.stake.currency_code)} paid${choices}`);
      await this.pace.wait(2500);
    } finally {
      this.recalling = false;
      if (game && game !== own) this.setReels(own);
      this.parts.machine.classList.remove("recall");
      this.banner("");
      this.idle();
    }
  }

  begun() {
    this.busy = true;
    this.pace.begin();
    this.parts.machine.classList.remove("gain");
    this.bets.lock(true);
    this.won(0);
    this.draw();
  }

  idle() {
    this.busy = false;
    this.bets.lock(Boolean(this.open));
    if (this.bets.mode !== "base" && Number(this.bets.stakeMinor) > 2 * this.bets.betMinor) this.bets.setMode("base");
    this.draw();
  }

  /** Whether the rest may be left out: always of a recall, which is no play. */
  get skips() {
    return this.busy && Boolean(this.recalling || this.policy?.turbo);
  }

  /** The spin button as things stand. */
  draw() {
    const { spin } = this.parts;
    const skips = this.skips;
    const blocked = !this.auto && (this.open || this.busy) && !skips;
    spin.setAttribute("aria-disabled", String(Boolean(blocked)));
    spin.classList.toggle("stops", this.auto > 0);
    this.parts["spin-word"].textContent = this.auto ? "Stop" : skips ? "Skip" : this.busy ? "…" : "Spin";
    this.parts["spin-cost"].textContent = this.auto ? `${this.auto} left` : this.busy ? "" : money(this.bets.stakeMinor, this.code ?? "EUR");
  }

  /** @param {number} minor */
  setBalance(minor) {
    this.balanceMinor = minor;
    this.parts.balance.textContent = money(minor, this.code ?? "EUR");
  }

  /** @param {number} minor @param {boolean} [plain] that it is no gain */
  won(minor, plain = false) {
    this.wonMinor = minor;
    this.parts.win.textContent = minor ? money(minor, this.code ?? "EUR") : "–";
    this.parts["win-label"].textContent = plain && minor ? "Paid" : "Win";
  }

  /** @param {string} text */
  banner(text) {
    this.parts.banner.textContent = text;
  }

  /** @param {string | null} text */
  say(text) {
    this.parts.told.textContent = text;
  }
}
