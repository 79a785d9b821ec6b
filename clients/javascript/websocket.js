/**
 * The same calls over one WebSocket that speaks JSON-RPC 2.0, and what the gateway tells without being asked.
 *
 * The socket is opened when it is first needed and again after it was dropped. What was under way then is NETWORK:
 * unknown, so the client asks again under the same id, over the next socket.
 */
import { CALL_TIMEOUT_MS, ReelmeshError } from "./reelmesh.js";

/** @typedef {import("./reelmesh.js").Transport} Transport */
/** @typedef {{method: string, params: any}} Notice balance: {balance}; session: {session_id, state} */
/** @typedef {{resolve(result: any): void, reject(error: Error): void}} Owed */

/**
 * @param {string} url of the gateway: ws://localhost:8080
 * @param {(notice: Notice) => void} [onNotice]
 * @returns {Transport & {close(): void}}
 */
export function webSocketTransport(url, onNotice = () => {}) {
  /** @type {WebSocket | null} */
  let socket = null;
  /** @type {Promise<void> | null} */
  let ready = null;
  let shown = "";
  let lastId = 0;
  /** @type {Map<number, Owed>} */
  const owed = new Map();

  const lost = () => new ReelmeshError({ reason: "NETWORK", detail: "the connection was lost" });

  function open() {
    const opened = new WebSocket(`${url}/v1/ws`);
    socket = opened;
    shown = "";
    opened.addEventListener("message", ({ data }) => told(JSON.parse(data)));
    return new Promise((/** @type {(value: void) => void} */ resolve, reject) => {
      opened.addEventListener("open", () => resolve());
      opened.addEventListener("close", () => {
        if (socket === opened) [socket, ready] = [null, null];
        for (const call of owed.values()) call.reject(lost());
        owed.clear();
        reject(lost());
      });
    });
  }

  /** @param {any} message */
  function told(message) {
    const call = owed.get(message.id);
    if (!call) {
      if (message.method) onNotice(message);
      return;
    }
    owed.delete(message.id);
    if (message.error) call.reject(new ReelmeshError({ reason: "INTERNAL", ...message.error.data }));
    else call.resolve(message.result);
  }

  /** @param {string} method @param {object} params @param {AbortSignal} [signal] */
  async function ask(method, params, signal) {
    const id = ++lastId;
    const timer = setTimeout(() => owed.get(id)?.reject(lost()), CALL_TIMEOUT_MS);
    const abort = () => owed.get(id)?.reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await new Promise((resolve, reject) => {
        owed.set(id, { resolve, reject });
        if (socket?.readyState !== WebSocket.OPEN) reject(lost());
        else socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
      });
    } finally {
      clearTimeout(timer);
      owed.delete(id);
      signal?.removeEventListener("abort", abort);
    }
  }

  /** @type {Transport} */
  const transport = async ({ operation, fields, token, signal }) => {
    await (ready ??= open());
    if (token && token !== shown) {
      await ask("authenticate", { credential: token }, signal);
      shown = token;
    }
    return await ask(operation, fields, signal);
  };
  return Object.assign(transport, { close: () => socket?.close() });
}
