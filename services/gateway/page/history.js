// @ts-check
/** The player's rounds: each can be seen again, and leads to its trace and its proof.
 * @typedef {import("./reelmesh.js").Round} Round
 */
import { element } from "./reels.js";
import { money } from "./words.js";

const PAGE_SIZE = 8;

export class History {
  /**
   * @param {import("./reelmesh.js").Reelmesh} client
   * @param {{list: HTMLElement, none: HTMLElement, more: HTMLButtonElement, proof: HTMLDialogElement, proofBody: HTMLElement}} parts
   * @param {{trace_url?: string, proof_url?: string, proof_commands?: string[]}} config
   * @param {(round: Round) => void} recall
   */
  constructor(client, parts, config, recall) {
    this.client = client;
    this.parts = parts;
    this.config = config;
    this.recall = recall;
    /** @type {import("./reelmesh.js").Game[]} */
    this.games = [];
    /** @type {string | null} */
    this.next = null;
    parts.more.addEventListener("click", () => void this.older());
  }

  async open() {
    this.parts.list.replaceChildren();
    this.next = "";
    await this.older();
  }

  async older() {
    try {
      const page = await this.client.rounds({ pageSize: PAGE_SIZE, pageToken: this.next ?? "" });
      for (const round of page.rounds) this.put(round, false);
      this.next = page.next_page_token;
    } catch {
      // The list is not what a player came for; the next round asks again.
    }
    this.refresh();
  }

  /** A round that was just played, or has changed. @param {Round} round */
  add(round) {
    this.put(round, true);
    this.refresh();
  }

  refresh() {
    this.parts.none.hidden = this.parts.list.children.length > 0;
    this.parts.more.hidden = !this.next;
  }

  /** @param {Round} round @param {boolean} first */
  put(round, first) {
    const row = this.row(round);
    const old = this.parts.list.querySelector(`[data-round="${round.round_id}"]`);
    if (old) old.replaceWith(row);
    else if (first) this.parts.list.prepend(row);
    else this.parts.list.append(row);
  }

  /** @param {Round} round */
  row(round) {
    const row = element("li");
    row.dataset.round = round.round_id;
    const game = this.games.find((one) => one.game_id === round.game_id)?.display_name ?? round.game_id;
    const time = new Date(round.create_time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    const code = round.stake.currency_code;
    const result = round.state === "SETTLED" ? money(round.win?.amount_minor ?? 0, code) : round.state.toLowerCase().replace("_", " ");
    const what = element("p", "what", `${time} · ${game}`);
    const sums = element("p", "sums");
    sums.append(`${money(round.stake.amount_minor, code)} → `, element("b", "", result));
    const links = element("p", "links");
    if (round.outcome) links.append(button("Recall", `Recall the round of ${time}`, () => this.recall(round)));
    const trace = fill(this.config.trace_url, round);
    if (trace && round.trace_id) links.append(link("Trace", `Trace of the round of ${time}`, trace));
    links.append(button("Proof", `Proof of the round of ${time}`, () => this.prove(round)));
    row.append(what, sums, links);
    return row;
  }

  /** What anybody can check the round by. @param {Round} round */
  prove(round) {
    const game = this.games.find((one) => one.game_id === round.game_id && one.game_version === round.game_version);
    const facts = element("dl", "proof");
    /** @type {[string, string][]} */
    const rows = [
      ["Round", round.round_id],
      ["Spin", round.request_id],
      ["Game", `${round.game_id}, version ${round.game_version}, mode ${round.mode}`],
      ["Definition (SHA-256)", game?.definition_hash ?? "of a version that is served no more"],
      ["State", round.state],
      ["Trace", round.trace_id],
    ];
    for (const [name, value] of rows) facts.append(element("dt", "", name), element("dd", "", value));
    const body = this.parts.proofBody;
    body.replaceChildren(facts);
    const page = fill(this.config.proof_url, round);
    if (page) body.append(link("Everything that is known of this round", "", page));
    const commands = this.config.proof_commands ?? [];
    if (commands.length) body.append(element("p", "", "Derive it again from its draws, offline, in the repository:"));
    for (const command of commands) body.append(copyable(fill(command, round)));
    const raw = /** @type {HTMLDetailsElement} */ (element("details"));
    const json = element("pre", "", JSON.stringify(round, null, 1));
    json.tabIndex = 0;
    raw.append(element("summary", "", "The round as it is stored"), json);
    body.append(raw);
    this.parts.proof.showModal();
  }
}

/** @param {string | undefined} template @param {Round} round */
const fill = (template, round) => (template ?? "").replace("{trace_id}", round.trace_id).replace("{round_id}", round.round_id);

/** @param {string} text @param {string} label @param {() => void} act */
function button(text, label, act) {
  const made = /** @type {HTMLButtonElement} */ (element("button", "link", text));
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

/** @param {string} text @param {string} label @param {string} url */
function link(text, label, url) {
  const made = /** @type {HTMLAnchorElement} */ (element("a", "link", text));
  made.href = url;
  made.target = "_blank";
  made.rel = "noopener";
  if (label) made.setAttribute("aria-label", label);
  return made;
}

/** @param {string} command */
function copyable(command) {
  const line = element("p", "command");
  const copy = button("Copy", `Copy ${command}`, () => {
    void navigator.clipboard?.writeText(command).then(() => (copy.textContent = "Copied"));
  });
  line.append(element("code", "", command), copy);
  return line;
}
