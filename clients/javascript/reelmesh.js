/**
 * The typed client of a Reelmesh gateway, for browsers and Node 20 or later. No dependency, no build step.
 *
 * A spin is sent under an id of its own, which is stored before it is sent, and is repeated under that id until the
 * gateway has answered: it is played once, whatever the network does and however often the page is reloaded.
 * Amounts are whole numbers of minor units ({currency_code: "EUR", amount_minor: 100} is 1.00 EUR); all fields have
 * the names of the API (docs of the gateway).
 */

export { formatAmount } from "./money.js";

/** @typedef {{currency_code: string, amount_minor: number}} Amount */
/** @typedef {"FINAL" | "NOT_YET" | "RETRY_SAME_ID" | "ALREADY_DONE" | "NEEDS_REVIEW"} ErrorClass */
/** @typedef {"PENDING"|"OPEN"|"SETTLING"|"SETTLED"|"REFUSED"|"VOID"|"REVERSED"|"NEEDS_REVIEW"} RoundState */
/** @typedef {{step: number, choice: string, decided_by: string, card: string | null, at_risk: Amount}} Step */
/**
 * @typedef {object} Round
 * @property {string} round_id
 * @property {string} request_id the spin's own id
 * @property {string} game_id
 * @property {number} game_version
 * @property {string} mode
 * @property {RoundState} state
 * @property {Amount} stake
 * @property {Amount | null} win what was paid; null until it is settled
 * @property {any} outcome what was drawn; null until the stake is known to be taken
 * @property {Amount | null} at_risk while it is open
 * @property {number | null} step_next while it is open
 * @property {string[]} choices while it is open
 * @property {Step[]} steps
 * @property {Amount | null} balance_after
 * @property {string} create_time
 * @property {string} trace_id
 * @property {string | null} reason
 */
/** @typedef {{round: Round, current_balance: Amount}} Played */
/** @typedef {{count: number, multiple: number}} Pay */
/** @typedef {{symbol: string, kind: string, multiplier: number, expands: boolean, pays: Pay[]}} GameSymbol */
/**
 * @typedef {object} Display
 * @property {"LINES" | "WAYS" | "CLUSTERS" | "ANYWHERE"} evaluation
 * @property {GameSymbol[]} symbols
 * @property {{rows: number[]}[]} paylines
 * @property {number} coins coins per bet
 * @property {number} max_win_multiple
 * @property {number} respins of hold-and-win; 0: the game has none
 * @property {boolean} cascades
 * @property {boolean} awards_free_spins
 */
/**
 * @typedef {object} Game
 * @property {string} game_id
 * @property {number} game_version
 * @property {string} definition_hash
 * @property {string} display_name
 * @property {number} reels
 * @property {number} rows
 * @property {number} lines
 * @property {string} rtp_target
 * @property {boolean} offers_choice
 * @property {{currency_code: string, stakes_minor: number[]}[]} bet_ladders
 * @property {{mode: string, cost: string, rtp_target: string}[]} modes
 * @property {Display | null} [display]
 */
/**
 * @typedef {object} Session
 * @property {string} token
 * @property {string} session_id
 * @property {Game | null} game
 * @property {Amount | null} balance
 * @property {string} expire_time
 * @property {Round | null} round the open round, else the last one
 * @property {any} [play] what the jurisdiction policy asks of a client, where the gateway tells it
 */
/** @typedef {{request_id: string, stake: Amount, mode: string, shown?: number}} Pending */
/** @typedef {{operation: keyof typeof ROUTES, fields: Record<string, any>, token?: string, signal?: AbortSignal}} Call */
/** @typedef {(call: Call) => Promise<any>} Transport sends one call, once; throws ReelmeshError */
/** @typedef {{getItem(key: string): string | null, setItem(key: string, value: string): void, removeItem(key: string): void}} Store */

export const CALL_TIMEOUT_MS = 10_000;
const WAIT_FIRST_MS = 250;
const WAIT_MAX_MS = 8_000;
/** Longer waits are the player's to know of. */
const RETRY_AFTER_MAX_MS = 10_000;
const READ_ATTEMPTS_MAX = 4;
const SESSION_KEY = "reelmesh.session";
const PENDING_KEY = "reelmesh.pending";

/** The player's operations: their names are those of JSON-RPC. A field in braces is a part of the path. */
const ROUTES = /** @type {const} */ ({
  list_games: "GET /v1/games",
  exchange_code: "POST /v1/sessions/exchange",
  close_session: "POST /v1/sessions/close",
  get_session: "GET /v1/session",
  keep_alive: "POST /v1/session/keep_alive",
  acknowledge_reality_check: "POST /v1/session/reality_check",
  client_events: "POST /v1/client_events",
  balance: "GET /v1/balance",
  spin: "POST /v1/spins",
  act: "POST /v1/rounds/{round_id}/steps",
  get_round: "GET /v1/rounds/{round_id}",
  list_rounds: "GET /v1/rounds",
  // Of the page, in development: over REST only.
  demo_session: "POST /v1/demo/sessions",
});

/** Why a call was refused, in the gateway's words (docs/errors.md). */
export class ReelmeshError extends Error {
  /** @param {{reason: string, class?: ErrorClass, detail?: string, status?: number, metadata?: Record<string, string>, trace_id?: string}} problem */
  constructor(problem) {
    super(problem.detail || problem.reason);
    this.name = "ReelmeshError";
    /** Stable, upper case: INSUFFICIENT_FUNDS. NETWORK when there was no answer at all. */
    this.reason = problem.reason;
    /** What may be concluded. @type {ErrorClass} */
    this.class = problem.class ?? "RETRY_SAME_ID";
    this.status = problem.status ?? 0;
    this.metadata = problem.metadata ?? {};
    this.traceId = problem.trace_id ?? "";
    const after = Number(this.metadata.retry_after_ms);
    /** When to ask again, if the gateway says so. @type {number | null} */
    this.retryAfterMs = Number.isFinite(after) && after >= 0 && "retry_after_ms" in this.metadata ? after : null;
  }
}

/**
 * Sends calls over REST.
 * @param {string} url of the gateway, without a slash at its end; "" is where the page comes from
 * @returns {Transport}
 */
export function restTransport(url = "") {
  return async ({ operation, fields, token, signal }) => {
    const { method, path, left } = routed(operation, fields);
    const body = method === "POST" ? JSON.stringify(left) : undefined;
    /** @type {Record<string, string>} */
    const headers = { accept: "application/json" };
    if (token) headers.authorization = `Bearer ${token}`;
    if (body) headers["content-type"] = "application/json";
    const timeout = AbortSignal.timeout(CALL_TIMEOUT_MS);
    let response, answer;
    try {
      response = await fetch(url + path, {
        method,
        headers,
        body,
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
        cache: "no-store",
        credentials: "omit",
      });
      answer = await response.json();
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ReelmeshError({ reason: "NETWORK", detail: unanswered(url), status: response?.status });
    }
    if (response.ok) return answer;
    throw new ReelmeshError({ reason: "NETWORK", status: response.status, ...answer });
  };
}

/** A browser does not tell a script which of the two it was. @param {string} url of the gateway */
function unanswered(url) {
  const page = globalThis.location?.origin;
  const foreign = page && url && new URL(url, page).origin !== page;
  return foreign ? `no answer from ${url}; or its operator does not list the origin ${page} (docs/operators.md, Origins)` : "no answer";
}

/** @param {keyof typeof ROUTES} operation @param {Record<string, any>} fields */
function routed(operation, fields) {
  // A round is read by the spin's own id, too.
  const route = operation === "get_round" && fields.request_id ? "GET /v1/spins/{request_id}" : ROUTES[operation];
  const [method, template] = route.split(" ");
  const left = { ...fields };
  const path = template.replace(/\{(\w+)\}/g, (_, name) => {
    delete left[name];
    return encodeURIComponent(fields[name]);
  });
  const query = method === "GET" ? String(new URLSearchParams(left)) : "";
  return { method, path: query ? `${path}?${query}` : path, left };
}

/** A player's client. It keeps its session and the spin under way in `store`, so that a reload goes on with both. */
export class Reelmesh {
  /** @type {Transport} */ #send;
  /** @type {Store | null} */ #store;
  /** @type {Session | null} */ #session = null;
  /** @type {Pending | null} */ #pending = null;

  /**
   * @param {object} [options]
   * @param {string} [options.url] of the gateway; default: where the page comes from
   * @param {Transport} [options.transport] default: REST
   * @param {Store | null} [options.store] sessionStorage, or null: nothing survives a reload
   * @param {(waiting: {error: ReelmeshError, attempt: number, waitMs: number}) => void} [options.onWaiting] called
   *   before each wait for another attempt
   */
  constructor({ url = "", transport, store = globalThis.sessionStorage ?? null, onWaiting = () => {} } = {}) {
    this.#send = transport ?? restTransport(url);
    this.#store = store;
    this.onWaiting = onWaiting;
    this.#session = this.#read(SESSION_KEY);
    this.#pending = this.#read(PENDING_KEY);
  }

  /** The session, of before a reload too; null without one. */
  get session() {
    return this.#session;
  }

  /** The spin that was sent and is not known to be over: `resume` it, and `forget` it once it was shown. */
  get pending() {
    return this.#pending;
  }

  /** The games that are served. @returns {Promise<Game[]>} */
  async games() {
    return (await this.#ask("list_games", {}, { open: true })).games;
  }

  /**
   * Asks for a demo session, where the gateway offers them to everybody (in development).
   * @param {{player_id: string, game_id: string, currency_code: string}} visitor player_id: a UUID that you keep
   * @returns {Promise<{session_id: string, launch_code: string, jurisdiction: string}>}
   */
  async demoSession(visitor) {
    return await this.#ask("demo_session", { request_id: crypto.randomUUID(), ...visitor }, { open: true });
  }

  /**
   * Exchanges a launch code, once, for the session. Never repeated: where the answer is lost, ask for a new code.
   * @param {string} launchCode @returns {Promise<Session>}
   */
  async launch(launchCode) {
    const session = await this.#send({ operation: "exchange_code", fields: { launch_code: launchCode } });
    // Of another session; its account, and so the round behind an id, may be another one.
    this.#write(PENDING_KEY, (this.#pending = null));
    this.#write(SESSION_KEY, (this.#session = session));
    return session;
  }

  /** Forgets the session on this side. */
  leave() {
    this.#write(PENDING_KEY, (this.#pending = null));
    this.#write(SESSION_KEY, (this.#session = null));
  }

  /** Closes the session; what is at risk in open rounds is collected. */
  async close() {
    const closed = await this.#ask("close_session");
    this.leave();
    return closed;
  }

  /** What the policy asks for now, and the round to go on with; kept in `session`. @returns {Promise<Session>} */
  async refresh() {
    const { play, round } = await this.#ask("get_session");
    this.#session = { .../** @type {Session} */ (this.#session), play, round };
    this.#write(SESSION_KEY, this.#session);
    return this.#session;
  }

  /** The player is there: puts off the end for silence. */
  async keepAlive() {
    return await this.#ask("keep_alive");
  }

  /**
   * Reports what happened on the screen, stored once (docs/api.md); a bonus, so no game should wait for it.
   * @param {{type: string, round_id?: string, data?: Record<string, string | number | boolean | null>}[]} events
   */
  async report(events) {
    const now = { client_time: new Date().toISOString() };
    const told = events.map((event) => ({ ...now, ...event }));
    return await this.#ask("client_events", { request_id: crypto.randomUUID(), events: told });
  }

  /** The reality check was shown and answered. @param {"CONTINUE" | "QUIT"} choice QUIT closes the session */
  async acknowledgeRealityCheck(choice) {
    const answer = await this.#ask("acknowledge_reality_check", { choice });
    if (choice === "QUIT") this.leave();
    return answer;
  }

  /** @returns {Promise<{balance: Amount, open_rounds_at_risk: Amount}>} */
  async balance() {
    return await this.#ask("balance");
  }

  /**
   * Plays a spin, and comes back only with its answer: what is unknown is asked again under the same id.
   * @param {Amount} stake in all: the bet times the mode's cost
   * @param {{mode?: string, autoplay?: boolean, turbo?: boolean, signal?: AbortSignal}} [options]
   * @returns {Promise<Played>}
   */
  async spin(stake, { mode = "base", signal, ...declared } = {}) {
    if (this.#pending) throw new Error("resume the pending spin first, and forget it when it was shown");
    this.#pending = { request_id: crypto.randomUUID(), stake, mode, ...declared };
    this.#write(PENDING_KEY, this.#pending);
    return /** @type {Played} */ (await this.resume({ signal }));
  }

  /**
   * Sends the pending spin again, as it was: its answer is the first one's. Null when there is none.
   * @param {{signal?: AbortSignal}} [options] @returns {Promise<Played | null>}
   */
  async resume({ signal } = {}) {
    if (!this.#pending) return null;
    const { shown: _, ...fields } = this.#pending;
    try {
      return await this.#ask("spin", fields, { signal, untilAnswered: true });
    } catch (error) {
      // It was answered: nothing was taken, or somebody else decides.
      if (error instanceof ReelmeshError) this.forget();
      throw error;
    }
  }

  /** Notes how much of the pending round was shown, for after a reload. @param {number} shown */
  note(shown) {
    if (this.#pending) this.#write(PENDING_KEY, (this.#pending = { ...this.#pending, shown }));
  }

  /** The pending round was shown and is over: nothing is left to resume. */
  forget() {
    this.#write(PENDING_KEY, (this.#pending = null));
  }

  /**
   * Decides a step of an open round; repeated until it is answered, for the step is its own id.
   * @param {Round} round @param {string} choice one of round.choices @returns {Promise<Played>}
   */
  async act(round, choice) {
    const fields = { round_id: round.round_id, step: round.step_next, choice };
    return await this.#ask("act", fields, { untilAnswered: true });
  }

  /** @param {string} roundId @returns {Promise<Round>} */
  async round(roundId) {
    return await this.#ask("get_round", { round_id: roundId });
  }

  /** The round of a spin, by the spin's own id. @param {string} requestId @returns {Promise<Round>} */
  async roundOfSpin(requestId) {
    return await this.#ask("get_round", { request_id: requestId });
  }

  /**
   * The player's rounds, newest first.
   * @param {{pageSize?: number, pageToken?: string}} [page]
   * @returns {Promise<{rounds: Round[], next_page_token: string | null}>}
   */
  async rounds({ pageSize = 20, pageToken = "" } = {}) {
    return await this.#ask("list_rounds", { page_size: pageSize, page_token: pageToken });
  }

  /**
   * @param {keyof typeof ROUTES} operation @param {Record<string, any>} [fields]
   * @param {{signal?: AbortSignal, open?: boolean, untilAnswered?: boolean}} [options] open: without the session
   */
  async #ask(operation, fields = {}, { signal, open = false, untilAnswered = false } = {}) {
    const token = open ? undefined : this.#session?.token;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#send({ operation, fields, token, signal });
      } catch (error) {
        if (!(error instanceof ReelmeshError)) throw error;
        const waitMs = waitOf(error, attempt);
        if (waitMs === null || (!untilAnswered && attempt >= READ_ATTEMPTS_MAX)) throw error;
        this.onWaiting({ error, attempt, waitMs });
        await sleep(waitMs, signal);
      }
    }
  }

  /** @param {string} key */
  #read(key) {
    try {
      return JSON.parse(this.#store?.getItem(key) ?? "null");
    } catch {
      return null;
    }
  }

  /** @param {string} key @param {unknown} value */
  #write(key, value) {
    if (value === null) this.#store?.removeItem(key);
    else this.#store?.setItem(key, JSON.stringify(value));
  }
}

/** How long to wait before the same is asked again; null: it was answered. @param {ReelmeshError} error @param {number} attempt */
function waitOf(error, attempt) {
  const backOff = Math.min(WAIT_MAX_MS, WAIT_FIRST_MS * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
  if (error.class === "RETRY_SAME_ID") return Math.max(backOff, error.retryAfterMs ?? 0);
  const asked = error.class === "NOT_YET" ? error.retryAfterMs : null;
  return asked !== null && asked <= RETRY_AFTER_MAX_MS ? asked + 20 : null;
}

/** @param {number} ms @param {AbortSignal} [signal] @returns {Promise<void>} */
function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
