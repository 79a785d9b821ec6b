// @ts-check
/** What the policy has the page show all the time: the clock, how long, how much. */
import { duration, money } from "./words.js";
import { element } from "./reels.js";

const KEY = "reelmesh.tally";

export class Facts {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.duties = new Set();
    setInterval(() => this.draw(), 1000);
  }

  /** @param {import("./reelmesh.js").Session} session @param {Set<string>} duties @param {string} code */
  open(session, duties, code) {
    this.duties = duties;
    this.code = code;
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    const play = session.play;
    const elapsedMs = Number.parseFloat(play?.elapsed_duration ?? "0") * 1000;
    const fresh = {
      session_id: session.session_id,
      begun: Date.now() - elapsedMs,
      staked: play?.staked?.amount_minor ?? 0,
      returned: play?.returned?.amount_minor ?? 0,
    };
    this.tally = kept?.session_id === session.session_id ? kept : fresh;
    this.draw();
  }

  /** A round is over. @param {import("./reelmesh.js").Round} round */
  count(round) {
    if (!this.tally) return;
    this.tally.staked += round.stake.amount_minor;
    this.tally.returned += round.win?.amount_minor ?? 0;
    sessionStorage.setItem(KEY, JSON.stringify(this.tally));
    this.draw();
  }

  close() {
    this.tally = undefined;
    sessionStorage.removeItem(KEY);
    this.root.replaceChildren();
  }

  draw() {
    if (!this.tally || !this.code) return;
    const { begun, staked, returned } = this.tally;
    const net = returned - staked;
    const shown = [
      ["CLOCK", "Time", new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })],
      ["ELAPSED_TIME", "Playing for", duration(Date.now() - begun)],
      ["STAKES_AND_WINS", "Staked", money(staked, this.code)],
      ["STAKES_AND_WINS", "Won", money(returned, this.code)],
      ["NET_POSITION", "Net", (net > 0 ? "+" : "") + money(net, this.code)],
    ].filter(([duty]) => this.duties.has(duty));
    this.root.replaceChildren(
      ...shown.map(([, name, value]) => {
        const fact = element("div");
        fact.append(element("dt", "", name), element("dd", "", value));
        return fact;
      }),
    );
  }
}
