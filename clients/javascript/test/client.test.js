// @ts-check
/** The client and the page's story against a running gateway: `GATEWAY=http://... node --test clients/javascript`. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { tell } from "../../../services/gateway/page/story.js";
import { Reelmesh, ReelmeshError, formatAmount, restTransport } from "../reelmesh.js";
import { webSocketTransport } from "../websocket.js";

const url = process.env.GATEWAY ?? "http://127.0.0.1:8080";
const SPINS_OF_A_GAME = Number(process.env.SPINS_OF_A_GAME ?? 20);

/** What a browser keeps. */
class Kept {
  /** @type {Map<string, string>} */ values = new Map();
  /** @param {string} key */ getItem = (key) => this.values.get(key) ?? null;
  /** @param {string} key @param {string} value */ setItem = (key, value) => void this.values.set(key, value);
  /** @param {string} key */ removeItem = (key) => void this.values.delete(key);
}

/** A demo player at a game. @param {string} gameId @param {object} [options] of the client */
async function player(gameId, options = {}) {
  const client = new Reelmesh({ url, store: new Kept(), ...options });
  const { launch_code } = await client.demoSession({ player_id: crypto.randomUUID(), game_id: gameId, currency_code: "EUR" });
  await client.launch(launch_code);
  return client;
}

/** @param {number} minor */
const euro = (minor) => ({ currency_code: "EUR", amount_minor: minor });

test("amounts are exact, in the digits of their currency", () => {
  const locale = "en";
  assert.equal(formatAmount(euro(5), { locale }), "€0.05");
  assert.equal(formatAmount(euro(-123456), { locale }), "-€1,234.56");
  assert.equal(formatAmount(euro(2 ** 53), { locale }), "€90,071,992,547,409.92");
  assert.equal(formatAmount({ currency_code: "JPY", amount_minor: 500 }, { locale }), "¥500");
  assert.equal(formatAmount({ currency_code: "XBTC", amount_minor: 150 }, { locale, scales: { XBTC: 8 } }), "0.00000150 XBTC");
});

test("what is shown of a round adds up to its win, in every game", async () => {
  const games = await new Reelmesh({ url, store: null }).games();
  assert.ok(games.length >= 7);
  for (const game of games) {
    const client = await player(game.game_id);
    for (let spins = 0; spins < SPINS_OF_A_GAME; spins++) {
      const { round } = await client.spin(euro(100));
      client.forget();
      const told = tell(round, game);
      const won = round.state === "OPEN" ? round.at_risk?.amount_minor : round.win?.amount_minor;
      assert.equal(told.at(-1)?.running, won, JSON.stringify(round));
      for (const beat of told) {
        if (beat.do === "wins") assert.ok(beat.wins.every((win) => win.cells.length > 0 && win.amount > 0));
      }
      if (round.state === "OPEN") assert.equal((await client.act(round, "COLLECT")).round.state, "SETTLED");
    }
  }
});

test("an answer that is lost is asked for again, under the same id, by the next page too", async () => {
  const kept = new Kept();
  const send = restTransport(url);
  /** @type {string[]} */
  const sent = [];
  let losing = 2;
  /** @type {import("../reelmesh.js").Transport} */
  const transport = async (call) => {
    const answer = await send(call);
    if (call.operation !== "spin") return answer;
    sent.push(call.fields.request_id);
    if (losing-- > 0) throw new ReelmeshError({ reason: "NETWORK" });
    return answer;
  };
  /** @type {string[]} */
  const waited = [];
  const client = await player("harbour-lights", { store: kept, transport, onWaiting: (/** @type {any} */ { error }) => waited.push(error.reason) });
  const { round } = await client.spin(euro(100));
  assert.deepEqual([sent.length, new Set(sent).size, waited], [3, 1, ["NETWORK", "NETWORK"]]);
  client.note(4);
  const next = new Reelmesh({ url, store: kept });
  assert.deepEqual([next.pending?.request_id, next.pending?.shown], [round.request_id, 4]);
  const again = await next.resume();
  assert.deepEqual(again?.round, round);
  next.forget();
  assert.equal(await next.resume(), null);
  const { rounds } = await next.rounds();
  assert.deepEqual(rounds.map((one) => one.round_id), [round.round_id]);
  assert.deepEqual(await next.roundOfSpin(round.request_id), await next.round(round.round_id));
});

test("a refusal says why and what it means, and leaves nothing pending", async () => {
  const client = await player("harbour-lights");
  const refused = async (/** @type {Promise<any>} */ asked) => /** @type {ReelmeshError} */ (await asked.then(() => assert.fail(), (error) => error));
  for (const [stake, reason] of /** @type {[number, string][]} */ ([[123, "STAKE_NOT_ON_LADDER"], [0, "AMOUNT_NOT_POSITIVE"]])) {
    const error = await refused(client.spin(euro(stake)));
    assert.ok(error instanceof ReelmeshError);
    assert.equal(error.reason, reason);
    assert.match(error.traceId, /^[0-9a-f]{32}$/);
    assert.equal(client.pending, null);
  }
  assert.equal((await client.close()).state, "CLOSED");
  const error = await refused(client.balance());
  assert.deepEqual([error.reason, client.session], ["TOKEN_INVALID", null]);
});

test("every spin is played once although the gateway dies meanwhile", { skip: !process.env.DYING }, async () => {
  const client = new Reelmesh({ url, store: new Kept() });
  await client.launch(process.env.DYING ?? "");
  const ids = [];
  for (let spins = 0; spins < 60; spins++) {
    try {
      ids.push((await client.spin(euro(20))).round.request_id);
    } catch (error) {
      // The gateway died before the stake was taken: the round was ended without it, and that is an answer, too.
      assert.equal(/** @type {any} */ (error).reason, "ROUND_VOID");
    }
    client.forget();
  }
  let { rounds } = await client.rounds({ pageSize: 100 });
  // Of the last ones the history learns a moment after their answer.
  while (rounds.some((round) => round.state === "PENDING")) ({ rounds } = await client.rounds({ pageSize: 100 }));
  const settled = rounds.filter((round) => round.state === "SETTLED");
  assert.deepEqual(settled.map((round) => round.request_id), ids.reverse());
});

test("the same over a WebSocket", async (context) => {
  const answer = await fetch(`${url}/v1/ws`);
  if (answer.status === 404) return context.skip("this gateway has no WebSocket");
  const transport = webSocketTransport(url.replace("http", "ws"));
  const rest = restTransport(url);
  const client = await player("double-dawn", {
    transport: (/** @type {any} */ call) => (call.operation === "demo_session" ? rest(call) : transport(call)),
  });
  try {
    const { round } = await client.spin(euro(100));
    client.forget();
    const over = round.state === "OPEN" ? (await client.act(round, "COLLECT")).round : round;
    assert.equal(over.state, "SETTLED");
    const { receive_time } = await client.report([{ type: "SPIN_SHOWN", round_id: round.round_id, data: { skipped: true } }]);
    assert.ok(receive_time);
    transport.close();
    assert.deepEqual((await client.rounds()).rounds.map((one) => one.round_id), [round.round_id]);
  } finally {
    transport.close();
  }
});

test("on a page of another origin no answer may mean that it is not listed", async () => {
  const unreached = "http://127.0.0.1:1";
  const detail = () => new Reelmesh({ url: unreached, store: null }).launch("code").then(() => assert.fail(), (error) => error.message);
  assert.equal(await detail(), "no answer");
  const page = /** @type {any} */ (globalThis);
  page.location = { origin: "http://localhost:5173" };
  try {
    assert.equal(await detail(), `no answer from ${unreached}; or its operator does not list the origin http://localhost:5173 (docs/operators.md, Origins)`);
    page.location = { origin: unreached };
    assert.equal(await detail(), "no answer");
  } finally {
    delete page.location;
  }
});
