// @ts-check
/** What the player is told of a refusal, and what may be done about it.
 * @typedef {"fresh" | "reopen" | "lobby" | "again" | "lower"} Action
 * fresh: a new demo player; reopen: a new session of this game; lobby: choose a game; again: look once more
 */
import { formatAmount } from "./reelmesh.js";

/** @type {Record<string, [string, ...Action[]]>} */
const TOLD = {
  INSUFFICIENT_FUNDS: ["Your balance is too low for this bet. Nothing was taken.", "lower", "fresh"],
  ACCOUNT_FROZEN: ["This account takes no bets now. Nothing was taken. Ask the casino's support.", "lobby"],
  SESSION_EXPIRED: ["This session is over: its time ran out. Your money is where it was.", "reopen", "lobby"],
  SESSION_CLOSED: ["This session was closed. Your money is where it was.", "reopen", "lobby"],
  SESSION_REPLACED: ["You opened this game in another window, so this one has stopped.", "reopen", "lobby"],
  TOKEN_INVALID: ["This session is not known any more. Your money is where it was.", "reopen", "lobby"],
  LAUNCH_CODE_INVALID: ["This link was used before or is too old. Open the game again.", "lobby"],
  GAME_NOT_FOUND: ["This game is not on offer any more.", "lobby"],
  GAME_WITHDRAWN: ["This game takes no more bets. Nothing was taken.", "lobby"],
  STAKE_ABOVE_LIMIT: ["This bet is above your limit. Nothing was taken.", "lower"],
  STAKE_NOT_ON_LADDER: ["This bet is not on offer any more. Nothing was taken; choose another one.", "lower"],
  CURRENCY_NOT_OFFERED: ["This game is not played in your currency. Nothing was taken.", "lobby"],
  ROUND_OPEN: ["Your last round of this game is not over yet. Nothing was taken.", "again"],
  ROUND_VOID: ["This spin took too long and was not played. Nothing was taken."],
  ROUND_IN_REVIEW: ["Somebody has to look at this round first; it will be in your rounds.", "lobby"],
  ROUND_NOT_OPEN: ["This round is over.", "again"],
  STEP_OUT_OF_ORDER: ["This was decided in another window already.", "again"],
  FEATURE_FORBIDDEN: ["The rules of your country do not allow this. Nothing was taken."],
  MODE_FORBIDDEN: ["The rules of your country do not allow this way to play. Nothing was taken."],
  LOCKED_OUT: ["You are having a break; no bet is taken now.", "lobby"],
  LOSS_LIMIT_REACHED: ["This bet would go beyond your loss limit. Nothing was taken.", "lower"],
  DEMO_NOT_OFFERED: ["There are no demo sessions here. Open a game from your casino.", "lobby"],
  NETWORK: ["There is no connection. Look at your network.", "again"],
  UNAVAILABLE: ["The casino does not answer now; it may be under maintenance.", "again"],
  OVERLOADED: ["Very many people are playing now.", "again"],
  LEDGER_HALTED: ["The casino takes no bets now: maintenance. Your money is where it was.", "again"],
};

/** @type {Record<Action, string>} */
export const LABELS = {
  fresh: "Get fresh play money",
  reopen: "Open the game again",
  lobby: "All games",
  again: "Try again",
  lower: "Lower the bet",
};

/** @param {unknown} error @returns {{text: string, actions: Action[], traceId: string}} */
export function told(error) {
  const problem = /** @type {any} */ (error);
  const [text, ...actions] = TOLD[problem?.reason] ?? [`${problem?.message ?? "Something went wrong."} (${problem?.reason ?? "page"})`, "again"];
  return { text, actions, traceId: problem?.traceId ?? "" };
}

/** While an answer is waited for; empty: nothing that the player has to know. @param {import("./reelmesh.js").ReelmeshError} error @param {number} attempt */
export function waiting(error, attempt) {
  if (error.reason === "NETWORK") return "No connection. Your round is safe: it is asked for again until there is an answer.";
  if (error.reason === "LEDGER_HALTED") return "The casino is under maintenance. Your round is safe: it is asked for again.";
  return error.class === "RETRY_SAME_ID" && attempt > 1 ? "This takes longer than usual. Your round is safe: it is asked for again." : "";
}

/** @param {number} minor @param {string} code */
export const money = (minor, code) => formatAmount({ currency_code: code, amount_minor: minor });

/** Without the currency: where there is no room. @param {number} minor @param {string} code */
export const number = (minor, code) => money(minor, code).replace(/[^\d.,]/g, "");

/** @param {number} ms as hours, minutes and seconds */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}
