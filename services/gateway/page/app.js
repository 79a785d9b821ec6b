// @ts-check
/** The page: the lobby, the table, and the way between them. */
import { Autoplay } from "./autoplay.js";
import { Bets } from "./bets.js";
import { Facts } from "./facts.js";
import { History } from "./history.js";
import { card, drawPays, nameOf, summary } from "./lobby.js";
import { Pace } from "./pace.js";
import { policyOf } from "./policy.js";
import { Reelmesh, ReelmeshError, restTransport } from "./reelmesh.js";
import { Table } from "./table.js";
import { webSocketTransport } from "./websocket.js";
import { LABELS, duration, money, told, waiting } from "./words.js";

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);
const PLAYER_KEY = "reelmesh.player";
const DEMO_KEY = "reelmesh.demo";
const PRESENT_EVERY_MS = 60_000;

class Page {
  /** @param {{demo_offered: boolean, websocket?: boolean, trace_url?: string, proof_url?: string, proof_commands?: string[]}} config */
  constructor(config) {
    const url = /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=reelmesh-gateway]")).content;
    this.config = config;
    this.client = new Reelmesh({ transport: this.transport(url), onWaiting: ({ error, attempt }) => this.wait(error, attempt) });
    this.pace = new Pace();
    this.facts = new Facts($("facts"));
    this.bets = new Bets({ bet: $("bet"), up: $("bet-up"), down: $("bet-down"), modes: $("modes") }, () => this.table?.draw());
    const history = { list: $("history"), none: $("history-none"), more: $("history-more"), proof: $("proof"), proofBody: $("proof-body") };
    this.history = new History(this.client, history, config, (round) => void this.recall(round));
    const parts = Object.fromEntries(
      ["machine", "reels", "banner", "told", "gamble", "cards-drawn", "choices", "balance", "win", "win-label", "spin", "spin-word", "spin-cost"].map((id) => [id, $(id)]),
    );
    const { bets, facts, pace } = this;
    this.table = new Table(this.client, parts, {
      bets, facts, pace, history: this.history, complain: (error) => this.complain(error), calm: () => this.calm(),
    });
    this.autoplay = new Autoplay(this.table, { count: $("auto-count"), feature: $("auto-feature"), loss: $("auto-loss") });
    /** @type {import("./reelmesh.js").Game[]} */
    this.games = [];
    this.presentTime = Date.now();
    this.listen();
  }

  /** Over a WebSocket where the gateway says that it has one; demo sessions are asked for over REST in any case.
   * @param {string} url @returns {import("./reelmesh.js").Transport} */
  transport(url) {
    const rest = restTransport(url);
    if (!this.config.websocket) return rest;
    const socket = webSocketTransport((url || location.origin).replace(/^http/, "ws"), (notice) => this.noticed(notice));
    return (call) => (call.operation === "demo_session" ? rest(call) : socket(call));
  }

  /** What the gateway tells unasked. @param {import("./websocket.js").Notice} notice */
  noticed({ method, params }) {
    const { session } = this.client;
    if (method === "balance" && !this.table.busy) this.table.setBalance(params.balance.amount_minor);
    const ended = method === "session" && params.session_id === session?.session_id && params.state !== "EXPIRING";
    // While a round is shown it is not interrupted: the next spin is told the same.
    if (ended && !this.table.busy) this.complain(new ReelmeshError({ reason: `SESSION_${params.state}`, class: "NOT_YET" }));
  }

  listen() {
    $("spin").addEventListener("click", () => void this.table.press());
    $("leave").addEventListener("click", () => void this.leave());
    $("turbo").addEventListener("change", () => (this.pace.turbo = $("turbo").checked));
    $("autoplay-form").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      $("autoplay").open = false;
      $("spin").focus();
      void this.autoplay.run();
    });
    document.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("pointerdown", () => this.present());
    $("reality-on").addEventListener("click", () => void this.answerCheck("CONTINUE"));
    $("reality-quit").addEventListener("click", () => void this.answerCheck("QUIT"));
    // It is to be answered.
    $("reality").addEventListener("cancel", (/** @type {Event} */ event) => event.preventDefault());
    addEventListener("online", () => this.calm());
    addEventListener("popstate", () => void this.back());
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    this.present();
    if ($("table").hidden || event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const target = /** @type {HTMLElement} */ (event.target);
    // A held key is one press: released and pressed again it is the next.
    if (event.key === " " && !target.closest("button, a, input, select, summary, pre")) {
      event.preventDefault();
      if (!event.repeat) void this.table.press();
    }
    if (target.closest("input, select")) return;
    if (event.key === "+") this.bets.step(1);
    if (event.key === "-") this.bets.step(-1);
  }

  async start() {
    const code = new URLSearchParams(location.search).get("code");
    if (code) window.history.replaceState(null, "", location.pathname);
    try {
      this.games = this.history.games = await this.client.games();
      if (code) {
        sessionStorage.removeItem(DEMO_KEY);
        await this.sit(await this.client.launch(code));
      } else if (this.client.session) {
        await this.sit(await this.refreshed(this.client.session));
      } else {
        this.lobby();
      }
    } catch (error) {
      this.lobby();
      this.complain(error);
    }
  }

  /** A session of before a reload, as it stands now; of a gateway that does not tell, as it was.
   * @param {import("./reelmesh.js").Session} session */
  async refreshed(session) {
    if (!session.play) return session;
    return await this.client.refresh().catch(() => session);
  }

  lobby() {
    this.facts.close();
    $("table").hidden = true;
    $("lobby").hidden = false;
    $("purse").hidden = true;
    // Else the browser's way back would lead from here to here first.
    if (window.history.state?.table) window.history.back();
    document.title = "Reelmesh";
    if (!this.config.demo_offered) {
      $("lobby-text").textContent = "Open a game from your casino: its link brings you here with a session.";
    }
    const play = (/** @type {string} */ gameId) => (this.config.demo_offered ? () => void this.demo(gameId) : null);
    $("cards").replaceChildren(...this.games.map((game) => card(game, nameOf(game, this.games), play(game.game_id))));
  }

  /** A demo session at a click. @param {string} gameId @param {boolean} [fresh] as a new player */
  async demo(gameId, fresh = false) {
    const player = (!fresh && localStorage.getItem(PLAYER_KEY)) || crypto.randomUUID();
    localStorage.setItem(PLAYER_KEY, player);
    this.calm();
    try {
      const opened = await this.client.demoSession({ player_id: player, game_id: gameId, currency_code: "EUR" });
      const session = await this.client.launch(opened.launch_code);
      sessionStorage.setItem(DEMO_KEY, opened.jurisdiction);
      if (!window.history.state?.table) window.history.pushState({ table: true }, "");
      await this.sit(session);
    } catch (error) {
      this.complain(error);
    }
  }

  /** The browser's own way back leads from the table to the lobby; while a round goes on it stays. Its way forward
   * leads to no table: that session was left. */
  async back() {
    const atTable = !$("table").hidden;
    if (atTable === Boolean(window.history.state?.table)) return;
    if (!atTable) window.history.back();
    else if (this.table.busy) window.history.pushState({ table: true }, "");
    else await this.leave();
  }

  /** Plays a session: a new one, or that of before a reload. @param {import("./reelmesh.js").Session} session */
  async sit(session) {
    const game = session.game;
    if (!game) throw new ReelmeshError({ reason: "GAME_NOT_FOUND" });
    const demo = sessionStorage.getItem(DEMO_KEY);
    const policy = policyOf(session.play, demo ?? "");
    const code = session.balance?.currency_code ?? session.round?.stake.currency_code ?? "EUR";
    $("lobby").hidden = true;
    $("table").hidden = false;
    $("purse").hidden = demo === null;
    $("game-name").textContent = game.display_name;
    $("game-facts").textContent = summary(game);
    document.title = `${game.display_name} · Reelmesh`;
    $("turbo-box").hidden = !policy.turbo;
    $("turbo").checked = this.pace.turbo = false;
    $("autoplay").hidden = !policy.autoplay;
    this.pace.turbo = false;
    this.table.begin(game, code, policy);
    this.bets.open(game, code, policy.modes);
    this.limits(code);
    this.facts.open(session, policy.duties, code);
    drawPays($("pays"), game);
    this.table.draw();
    // The lobby may have been scrolled; from the top, no further than to show the button, so that the reels stay in view.
    scrollTo(0, 0);
    $("spin").focus({ preventScroll: true });
    $("spin").scrollIntoView({ block: "nearest" });
    try {
      this.table.setBalance((await this.client.balance()).balance.amount_minor);
    } catch (error) {
      this.complain(error);
    }
    await this.history.open();
    await this.goOn(session);
  }

  /** What was under way: a spin of before a reload, or the round that a new session found open.
   * @param {import("./reelmesh.js").Session} session */
  async goOn(session) {
    if (this.client.pending) return await this.table.resume();
    const last = session.round;
    if (last?.state !== "OPEN" || last.game_id !== session.game?.game_id) return;
    const round = await this.client.round(last.round_id);
    if (round.state === "OPEN") this.table.offer(round);
  }

  /** By how much autoplay may let the balance fall. @param {string} code */
  limits(code) {
    const bets = [20, 50, 100];
    const amounts = bets.map((times) => times * (this.bets.betMinor || 100));
    $("auto-loss").replaceChildren(...amounts.map((minor) => new Option(money(minor, code), String(minor))));
  }

  /** @param {import("./reelmesh.js").Round} round */
  async recall(round) {
    await this.table.recall(round, this.games.find((game) => game.game_id === round.game_id));
  }

  async leave() {
    if (this.table.busy) return;
    this.calm();
    this.table.auto = 0;
    this.client.leave();
    this.lobby();
    $("lobby-title").focus?.();
  }

  /** @param {unknown} error */
  complain(error) {
    const problem = /** @type {any} */ (error);
    if (problem?.reason === "REALITY_CHECK_DUE") return this.check(problem);
    if (!(error instanceof ReelmeshError)) console.error(error);
    const { text, actions, traceId } = told(error);
    const demo = sessionStorage.getItem(DEMO_KEY) !== null;
    const offered = actions.filter((action) => demo || !["fresh", "reopen"].includes(action));
    this.notice(text, offered, traceId);
  }

  /** @param {ReelmeshError} error @param {number} attempt */
  wait(error, attempt) {
    const text = waiting(error, attempt);
    if (text) this.notice(text, []);
  }

  /** @param {string} text @param {import("./words.js").Action[]} actions @param {string} [traceId] */
  notice(text, actions, traceId = "") {
    const notice = $("notice");
    const words = document.createElement("p");
    words.textContent = text;
    const trace = (this.config.trace_url ?? "").replace("{trace_id}", traceId);
    if (trace && traceId) {
      const link = Object.assign(document.createElement("a"), { href: trace, textContent: "Trace", target: "_blank", rel: "noopener" });
      words.append(" ", link);
    }
    const buttons = actions.map((action) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: LABELS[action] });
      button.addEventListener("click", () => void this.act(action));
      return button;
    });
    notice.replaceChildren(words, ...buttons);
    notice.hidden = false;
  }

  /** @param {import("./words.js").Action} action */
  async act(action) {
    this.calm();
    const gameId = this.client.session?.game?.game_id ?? "";
    if (action === "lower") this.bets.lower(this.table.balanceMinor);
    else if (action === "lobby") await this.leave();
    else if (action === "fresh" || action === "reopen") await this.demo(gameId, action === "fresh");
    else location.reload();
    if (action === "lower") $("spin").focus();
  }

  calm() {
    $("notice").hidden = true;
    $("notice").replaceChildren();
  }

  /** The policy's reality check: the next stake waits for the player's answer. @param {ReelmeshError} problem */
  check(problem) {
    const { elapsed_ms, net_position_minor, currency_code } = problem.metadata;
    const net = money(Number(net_position_minor ?? 0), currency_code ?? "EUR");
    $("reality-text").textContent = `You have been playing for ${duration(Number(elapsed_ms))}. Your net position is ${net}.`;
    $("reality").showModal();
  }

  /** @param {"CONTINUE" | "QUIT"} choice */
  async answerCheck(choice) {
    $("reality").close();
    try {
      await this.client.acknowledgeRealityCheck(choice);
      if (choice === "QUIT") this.lobby();
      else $("spin").focus();
    } catch (error) {
      this.complain(error);
    }
  }

  /** The player does something: a session that ends for silence does not end now. */
  present() {
    const now = Date.now();
    if (!this.client.session?.play?.idle_end_time || now - this.presentTime < PRESENT_EVERY_MS) return;
    this.presentTime = now;
    this.client.keepAlive().catch((error) => this.complain(error));
  }
}

const answer = await fetch("page/config.json").catch(() => null);
void new Page(answer?.ok ? await answer.json() : { demo_offered: false }).start();
