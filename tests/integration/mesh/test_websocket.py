"""What a WebSocket has of its own: JSON-RPC's rules, notices, subscriptions, resumption, limits."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from deploy.local.mesh import Mesh
from services.gateway.edge import jsonrpc, websocket
from tests.databases import Databases
from tests.mesh.asking import Rest
from tests.mesh.players import Player
from tests.mesh.protocols import Json, OverWebSocket, Refused, Socket
from tests.mesh.stage import STAKE_MINOR, Stage, new_id
from tests.meshes import API_KEY, running_mesh

AMOUNT = {"currency_code": "USD", "amount_minor": STAKE_MINOR}


@pytest.fixture(scope="module")
def mesh(databases: Databases) -> Iterator[Mesh]:
    """Untraced, like most."""
    with running_mesh(databases) as mesh:
        yield mesh
        assert set(mesh.stop().values()) == {0}


@pytest.fixture
async def sockets(stage: Stage) -> AsyncIterator[OverWebSocket]:
    sockets = OverWebSocket(stage.mesh.rest_url())
    yield sockets
    await sockets.close()


async def raw(sockets: OverWebSocket, *texts: str | bytes) -> list[Any]:
    """What the texts are answered, one answer each."""
    async with connect(sockets.url, proxy=None) as connection:
        answers = []
        for text in texts:
            await connection.send(text, text=True)
            answers.append(json.loads(await connection.recv()))
        return answers


def call(method: str, call_id: Any = 1, **params: Any) -> Json:
    return {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}


@pytest.mark.parametrize(
    "text, code, call_id",
    [
        ("{", -32700, None),
        (b"\xff\xfe", -32700, None),
        ("[1", -32700, None),
        ("7", -32600, None),
        ("{}", -32600, None),
        ("[]", -32600, None),
        (json.dumps([call("ping")] * 33), -32600, None),
        ('{"jsonrpc": "1.0", "id": 4, "method": "ping"}', -32600, 4),
        ('{"jsonrpc": "2.0", "id": "a", "method": 3}', -32600, "a"),
        ('{"jsonrpc": "2.0", "id": [], "method": "ping"}', -32600, None),
        (json.dumps(call("jackpot", 9)), -32601, 9),
        (json.dumps(call("ping", None, x=1)), -32602, None),
        (json.dumps(call("spin")), -32016, 1),
        (json.dumps(call("exchange_code", launch_code="spent")), -32016, 1),
        (json.dumps(call("events", "e")), -32016, "e"),
    ],
)
async def test_what_is_no_call_is_told_so(
    sockets: OverWebSocket, text: str | bytes, code: int, call_id: Any
) -> None:
    [answer] = await raw(sockets, text)
    assert (answer["jsonrpc"], answer["id"], answer["error"]["code"]) == ("2.0", call_id, code)
    data = answer["error"]["data"]
    assert data["reason"] and data["class"] and "trace_id" in data and answer["error"]["message"]


async def test_a_batch_is_answered_as_one_and_notifications_not_at_all(sockets: OverWebSocket) -> None:
    silent = {"jsonrpc": "2.0", "method": "ping"}
    batch = json.dumps([call("ping", 1), silent, call("nothing", "b"), 7])
    [answers, after] = await raw(sockets, batch, json.dumps(call("ping", 2)))
    assert [answer["id"] for answer in answers] == [1, "b", None]
    assert after["id"] == 2


def test_a_plain_get_is_told_what_is_missing(mesh: Mesh) -> None:
    answer = httpx.get(f"{mesh.rest_url()}/v1/ws")
    assert (answer.status_code, answer.json()["reason"]) == (426, "UPGRADE_REQUIRED")
    assert answer.headers["upgrade"] == "websocket"


async def test_what_is_asked_behind_a_handshake_is_asked_by_its_credential(
    stage: Stage, sockets: OverWebSocket
) -> None:
    player = await stage.player()
    headers = {"Authorization": f"Bearer {player.token}"}
    # So that nobody knows yet whose it is when the call comes.
    await stage.freeze("session")
    async with connect(sockets.url, additional_headers=headers, proxy=None) as connection:
        await connection.send(json.dumps(call("balance", 1)))
        pong = await connection.ping()
        await pong
        await stage.restore()
        while "id" not in (answer := json.loads(await connection.recv())):
            pass
    assert answer["result"]["balance"]["currency_code"] == "USD"


async def test_the_credential_of_a_handshake_is_checked(sockets: OverWebSocket) -> None:
    wrong = {"Authorization": "Bearer st_nobody"}
    async with connect(sockets.url, additional_headers=wrong, proxy=None) as connection:
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "TOKEN_INVALID")


async def test_a_dropped_socket_resumes_with_the_same_ids(stage: Stage, sockets: OverWebSocket) -> None:
    player = await stage.player()
    spins = [{"request_id": new_id(), "stake": AMOUNT} for _ in range(8)]
    first = await connect(sockets.url, proxy=None)
    await first.send(json.dumps(call("authenticate", credential=player.token)))
    await first.recv()
    for spin in spins:
        await first.send(json.dumps(call("spin", spin["request_id"], **spin)))
    # Perhaps the deposit is told between: a notice has no id.
    while "id" not in (heard := json.loads(await first.recv())):
        pass
    first.transport.abort()
    again = await sockets.socket(player.token)
    answers = [await again.ask("spin", spin) for spin in spins]
    assert {answer["round"]["state"] for answer in answers} == {"SETTLED"}
    known = {answer["round"]["request_id"]: answer["round"] for answer in answers}
    assert known[heard["id"]] == heard["result"]["round"]
    assert len(known) == len(spins)


async def test_a_player_is_told_what_others_do_to_the_account(stage: Stage, sockets: OverWebSocket) -> None:
    player = await stage.player()
    socket = await sockets.socket(player.token)
    other_tab = Socket(await connect(sockets.url, proxy=None))
    await other_tab.ask("authenticate", {"credential": player.token})
    await followed(stage, player, socket)
    played = await other_tab.ask("spin", {"request_id": new_id(), "stake": AMOUNT})
    round_id = played["round"]["round_id"]
    notice = await socket.notice(lambda notice: notice["params"].get("round_id") == round_id)
    assert notice["method"] == "balance" and notice["params"]["balance"] == played["current_balance"]
    # Who spun has the balance in the answer.
    await stage.answer(player_deposit(player))
    told = await other_tab.notice(lambda notice: notice["params"].get("account_version", 0) > 0)
    while told["params"]["account_version"] <= notice["params"]["account_version"]:
        assert told["params"]["round_id"] != round_id
        told = await other_tab.notice(lambda _: True)
    assert told["params"]["round_id"] is None
    await other_tab.close()


async def test_a_session_that_ends_is_told(stage: Stage, sockets: OverWebSocket) -> None:
    player = await stage.player()
    socket = await sockets.socket(player.token)
    await followed(stage, player, socket)
    await player.client.call("POST", "/v1/sessions/close", credential=player.token)
    notice = await socket.notice(lambda notice: notice["method"] == "session")
    assert notice["params"]["state"] == "CLOSED"
    replaced = await stage.player()
    older = await sockets.socket(replaced.token)
    assert (await replaced.launch()).status == 200
    notice = await older.notice(lambda notice: notice["method"] == "session")
    assert notice["params"]["state"] == "REPLACED"
    with pytest.raises(Refused) as refused:
        await older.ask("spin", {"request_id": new_id(), "stake": AMOUNT})
    assert refused.value.told["reason"] == "SESSION_REPLACED"
    short = await stage.player(session_duration="2s")
    brief = await sockets.socket(short.token)
    states = [
        (await brief.notice(lambda notice: notice["method"] == "session"))["params"]["state"]
        for _ in range(2)
    ]
    assert states == ["EXPIRING", "EXPIRED"]


async def test_who_holds_a_token_that_has_ended_is_told_of_no_balance(
    stage: Stage, sockets: OverWebSocket
) -> None:
    player = await stage.player()
    token = player.token
    older = await sockets.socket(token)
    await followed(stage, player, older)
    assert (await player.launch()).status == 200
    await older.notice(lambda notice: notice["method"] == "session")
    late = Socket(await connect(sockets.url, proxy=None))
    told = await late.ask("authenticate", {"credential": token})
    assert told["state"] == "REPLACED"
    newer = await sockets.socket(player.token)
    assert player.token != token
    while not older.notices.empty():
        older.notices.get_nowait()
    # When the second is told, all sockets were told the first.
    for _ in range(2):
        await followed(stage, player, newer)
        newer.notices.get_nowait()
    for socket in (older, late):
        await socket.ask("ping")
        assert socket.notices.empty(), socket.notices.get_nowait()
    await late.close()


async def test_an_operator_follows_events_and_goes_on_from_a_cursor(
    stage: Stage, sockets: OverWebSocket
) -> None:
    player = await stage.player()
    socket = await sockets.socket(API_KEY)
    which = {"player_id": player.player_id, "event_types": ["round.settled"]}
    await socket.ask("events", which)
    round_ids = [(await player.spin(STAKE_MINOR)).body["round"]["round_id"] for _ in range(2)]
    first = await socket.notice(lambda notice: bool(notice["params"].get("events")))
    assert first["method"] == "events" and first["params"]["events"][0]["round_id"] == round_ids[0]
    seen = [event["round_id"] for event in first["params"]["events"]]
    await socket.ask("events", {**which, "cursor": first["params"]["cursor"]})
    while len(seen) < 2:
        more = await socket.notice(lambda notice: bool(notice["params"].get("events")))
        seen += [event["round_id"] for event in more["params"]["events"]]
    assert seen == round_ids
    await socket.ask("events", {**which, "cursor": "nonsense"})
    ended = await socket.notice(lambda notice: notice["method"] == "events_ended")
    assert ended["params"]["reason"] == "FIELD_INVALID"


async def test_messages_are_bounded_and_text(sockets: OverWebSocket) -> None:
    messages: list[tuple[str | bytes, int]] = [
        ("x" * (websocket.MESSAGE_SIZE_BYTES_MAX + 1), 1009),
        (b"{}", 1003),
    ]
    for message, code in messages:
        async with connect(sockets.url, proxy=None) as connection:
            with pytest.raises(ConnectionClosedError) as closed:
                await connection.send(message)
                await connection.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == code


async def test_a_message_may_come_in_pieces(sockets: OverWebSocket) -> None:
    async with connect(sockets.url, proxy=None) as connection:
        text = json.dumps(call("ping"))
        await connection.send([text[:5], text[5:9], text[9:]])
        assert "time" in json.loads(await connection.recv())["result"]


async def test_who_asks_for_more_than_there_is_room_for_is_answered_all_the_same(
    stage: Stage, sockets: OverWebSocket
) -> None:
    player = await stage.player()
    socket = await sockets.socket(player.token)
    asks = [socket.ask("list_games") for _ in range(4 * jsonrpc.CALLS_MAX)]
    assert len(await asyncio.gather(*asks)) == len(asks)


async def test_a_client_that_takes_no_answers_is_not_read(stage: Stage, sockets: OverWebSocket) -> None:
    """It sends megabytes of calls and reads nothing: the gateway stops reading, and serves others."""
    async with connect(sockets.url, proxy=None, max_queue=1, ping_interval=None) as connection:
        text = json.dumps([call("list_games")] * jsonrpc.BATCH_SIZE_MAX)

        async def flood() -> None:
            while True:
                await connection.send(text)

        flooding = asyncio.create_task(flood())
        player = await stage.player()
        for _ in range(5):
            assert (await player.spin(STAKE_MINOR)).status == 200
        flooding.cancel()
        connection.transport.abort()
        await asyncio.gather(flooding, return_exceptions=True)


def player_deposit(player: Player) -> Rest:
    body = {"request_id": new_id(), "amount": {"currency_code": "USD", "amount_minor": 500}}
    return Rest("POST", f"/v1/players/{player.player_id}/deposits", API_KEY, body)


async def followed(stage: Stage, player: Player, socket: Socket) -> None:
    """Returns when the gateway follows the operator's events: something that happens is told."""
    async with asyncio.timeout(20):
        while socket.notices.empty():
            await stage.answer(player_deposit(player))
            await asyncio.sleep(0.2)
