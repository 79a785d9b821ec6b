"""One spin is one trace, linked to the batches and events it went through; every answer names its trace."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import pytest
from reelmesh.gateway.v1 import gateway_pb2
from websockets.asyncio.client import connect

from deploy.local.mesh import Mesh
from deploy.local.ports import free_ports
from deploy.local.traces import ROUND_ID, Span, TraceReceiver
from services.common import identity, telemetry_names
from services.common.server import TRACE_ID_KEY
from services.gateway.operations import ROUTES
from tests.mesh.asking import Grpc, Rest
from tests.mesh.players import Client, Player, amount
from tests.mesh.stage import STAKE_MINOR, Stage, money, new_id, rest_act, rest_spin
from tests.meshes import API_KEY

# Every service's part of a spin, in the spin's own trace, and the batch that it shares with others.
ITEMS = {
    ("session", "session.authorize_item"): "batch session.authorize",
    ("game", "game.play"): "batch game.play",
    ("wallet", "wallet.settle_item"): "batch wallet.settle",
    ("game", "game.finish"): "batch game.finish",
}
PLAYER_ID = re.compile("p-[0-9a-f]{32}|someone")
KNOWN_ATTRIBUTES = {value for value in vars(telemetry_names).values() if isinstance(value, str)}


async def seen(receiver: TraceReceiver, condition: Callable[[list[Span]], bool]) -> list[Span]:
    """All spans, once the condition holds for them."""
    return await asyncio.to_thread(receiver.wait_for, condition)


async def spun_trace(stage: Stage, receiver: TraceReceiver) -> tuple[dict[str, Any], list[Span]]:
    """A simple round, and its whole trace."""
    round_ = (await (await stage.player()).spin(STAKE_MINOR)).body["round"]

    def whole(spans: list[Span]) -> bool:
        mine = [span for span in spans if span.trace_id == round_["trace_id"]]
        names = {(span.service, span.name) for span in mine}
        return names >= ITEMS.keys() and any(not span.parent_span_id for span in mine)

    await seen(receiver, whole)
    return round_, receiver.trace(round_["trace_id"])


async def test_a_spin_is_one_trace_across_four_services(stage: Stage, trace_receiver: TraceReceiver) -> None:
    round_, spans = await spun_trace(stage, trace_receiver)
    [root] = [span for span in spans if not span.parent_span_id]
    assert (root.service, root.name, root.kind) == ("gateway", "POST /v1/spins", "SERVER")
    assert root.attributes["http.response.status_code"] == 200 and root.status == "UNSET"
    assert {span.service for span in spans} == {"gateway", "session", "game", "wallet"}
    ids = {span.span_id for span in spans}
    assert all(span.parent_span_id in ids for span in spans if span is not root)
    # In the order of the protocol: authorised, drawn, settled; finished when the reply may be gone.
    starts = [next(s.start_unix_ns for s in spans if (s.service, s.name) == item) for item in ITEMS]
    assert starts == sorted(starts)
    named = {span.name for span in spans if span.attributes.get(ROUND_ID) == round_["round_id"]}
    assert named >= {"game.play", "wallet.settle_item"}
    assert trace_receiver.trace_ids(round_["round_id"])


async def test_each_item_and_its_sql_batch_are_linked_both_ways(
    stage: Stage, trace_receiver: TraceReceiver
) -> None:
    _, spans = await spun_trace(stage, trace_receiver)
    for (service, name), batch_name in ITEMS.items():
        # More than one when a call had to be repeated.
        item = next(span for span in spans if (span.service, span.name) == (service, name))
        [link] = item.links
        everything = await seen(trace_receiver, has_span(link.span_id))
        [batch] = [span for span in everything if span.span_id == link.span_id]
        assert (batch.service, batch.name) == (service, batch_name)
        assert batch.trace_id == link.trace_id != item.trace_id, "a batch belongs to nobody's trace"
        assert (item.trace_id, item.span_id) in {(one.trace_id, one.span_id) for one in batch.links}
        statements = [span for span in everything if span.parent_span_id == batch.span_id]
        assert statements
        assert {span.attributes["db.system.name"] for span in statements} == {"postgresql"}
    door = next(span for span in spans if span.service == "gateway")
    assert len(door.links) >= 3, "authorize, play and settle go in batches of the gateway's own"


async def test_the_events_hop_is_linked_to_the_spin(stage: Stage, trace_receiver: TraceReceiver) -> None:
    round_, _ = await spun_trace(stage, trace_receiver)

    def linked(spans: list[Span], name: str, source: str) -> list[Span]:
        return [
            span
            for span in spans
            if span.name == name
            and span.attributes["messaging.destination.name"] == source
            and any(link.trace_id == round_["trace_id"] for link in span.links)
        ]

    def arrived(spans: list[Span]) -> bool:
        return all(linked(spans, name, source) for name in ("relay", "process") for source in sources)

    sources = ("game", "wallet")
    spans = await seen(trace_receiver, arrived)
    for source in sources:
        sent, processed = linked(spans, "relay", source), linked(spans, "process", source)
        assert {(span.service, span.kind) for span in sent} == {(source, "PRODUCER")}
        assert {(span.service, span.kind) for span in processed} == {("events", "CONSUMER")}
        # One trace from the relay to the stored event.
        assert {span.trace_id for span in sent} == {span.trace_id for span in processed}


async def test_a_choice_is_traced_to_its_payout(stage: Stage, trace_receiver: TraceReceiver) -> None:
    player, round_ = await stage.open_round()
    async with httpx.AsyncClient(base_url=stage.mesh.rest_url(), verify=False) as http:
        response = await send(http, rest_act(player, round_, "COLLECT"))
    trace_id = response.headers[TRACE_ID_KEY]
    expected = {("game", "reelmesh.game.v1.GameService/Act"), ("wallet", "wallet.settle_item")}
    await seen(
        trace_receiver,
        lambda spans: {(s.service, s.name) for s in spans if s.trace_id == trace_id} >= expected,
    )
    # The round stays with the trace of its draw.
    assert response.json()["round"]["trace_id"] == round_["trace_id"] != trace_id


async def test_a_replay_has_a_trace_of_its_own_and_names_the_first(
    stage: Stage, trace_receiver: TraceReceiver
) -> None:
    player = await stage.player()
    spin = rest_spin(player, new_id())
    async with httpx.AsyncClient(base_url=stage.mesh.rest_url(), verify=False) as http:
        first, replay = await send(http, spin), await send(http, spin)
    ids = [response.headers[TRACE_ID_KEY] for response in (first, replay)]
    assert len(set(ids)) == 2
    assert [response.json()["round"]["trace_id"] for response in (first, replay)] == [ids[0]] * 2
    # The word by which a collector that drops most traces knows those that it must not lose.
    await seen(trace_receiver, lambda spans: bool(kept(spans, ids[1])))
    assert kept(trace_receiver.spans(), ids[0]) == set() and kept(trace_receiver.spans(), ids[1]) == {
        "replay"
    }


async def test_a_caller_s_trace_is_continued(stage: Stage, trace_receiver: TraceReceiver) -> None:
    trace_id, span_id = "c0ffee" + 26 * "1", 16 * "2"
    headers = {"traceparent": f"00-{trace_id}-{span_id}-01"}
    async with httpx.AsyncClient(base_url=stage.mesh.rest_url(), verify=False) as http:
        response = await http.get("/v1/games", headers=headers)
    assert response.headers[TRACE_ID_KEY] == trace_id
    await seen(trace_receiver, lambda spans: any(span.trace_id == trace_id for span in spans))
    assert span_id in {span.parent_span_id for span in trace_receiver.trace(trace_id)}


async def test_every_rest_reply_names_its_trace(stage: Stage, trace_receiver: TraceReceiver) -> None:
    player = await stage.player()
    asks = [Rest(route.http_method, route.path.format(**PATH), body={}) for route in ROUTES]
    asks += [
        rest_spin(player, new_id()),
        Rest("GET", "/v1/balance", player.token),
        Rest("GET", "/v1/rounds", player.token),
        Rest("POST", "/v1/sessions", API_KEY, content=b"{"),
        Rest("GET", "/v1/nothing"),
        Rest("DELETE", "/v1/spins"),
    ]
    trace_ids = []
    async with httpx.AsyncClient(base_url=stage.mesh.rest_url(), verify=False) as http:
        for ask in asks:
            response = await send(http, ask)
            trace_ids.append(response.headers[TRACE_ID_KEY])
            if not response.is_success:
                assert response.json()["trace_id"] == trace_ids[-1]
    await exported(trace_receiver, trace_ids)


async def test_every_grpc_reply_names_its_trace(stage: Stage, trace_receiver: TraceReceiver) -> None:
    player = await stage.player()
    listed = identity.call_graph()["gateway"]
    streams = {"Play", "SubscribeEvents"}
    methods = [(method, b"", "") for method in listed.methods if method not in streams]
    spin = gateway_pb2.SpinRequest(request_id=new_id(), stake=money(STAKE_MINOR)).SerializeToString()
    methods += [("Spin", spin, player.token), ("GetBalance", b"", player.token)]
    trace_ids = []
    target = f"127.0.0.1:{stage.mesh.ports('gateway').grpc}"
    async with grpc.aio.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        for method, body, token in methods:
            stub: Any = channel.unary_unary(f"/{listed.grpc_service}/{method}")
            call = stub(body, metadata=[("authorization", f"Bearer {token}")], timeout=10)
            await call.code()
            trace_ids.append(dict(await call.trailing_metadata())[TRACE_ID_KEY])
    await exported(trace_receiver, trace_ids)


async def test_a_refusal_is_an_answer_and_a_fault_is_an_error(
    stage: Stage, trace_receiver: TraceReceiver
) -> None:
    poor = await stage.player(funds_minor=0)
    refused = await stage.refusal(rest_spin(poor, new_id()))
    player = await stage.player()
    await stage.lose_table("session", "session")
    failed = await stage.refusal(Rest("GET", "/v1/balance", player.token))
    failed_inside = await stage.refusal(
        Grpc("gateway", "GetBalance", gateway_pb2.GetBalanceRequest(), player.token)
    )
    await stage.restore()
    await exported(trace_receiver, [refused.trace_id])
    faulty = {("gateway", "SERVER"), ("gateway", "CLIENT"), ("session", "SERVER"), ("session", "CLIENT")}
    for told in (failed, failed_inside):
        await seen(trace_receiver, has_parts(told.trace_id, faulty))
    [root] = [span for span in trace_receiver.trace(refused.trace_id) if not span.parent_span_id]
    assert root.status == "UNSET" and root.attributes["http.response.status_code"] == 422
    assert root.attributes["reelmesh.error.reason"] == "INSUFFICIENT_FUNDS"
    assert "ERROR" not in {span.status for span in trace_receiver.trace(refused.trace_id)}
    for told, status in ((failed, "http.response.status_code"), (failed_inside, "rpc.response.status_code")):
        spans = {(span.service, span.kind): span for span in trace_receiver.trace(told.trace_id)}
        assert {key for key, span in spans.items() if span.status == "ERROR"} == faulty
        door = spans["gateway", "SERVER"]
        assert door.attributes["reelmesh.error.reason"] == "INTERNAL"
        assert door.attributes[status] in (500, "INTERNAL")
        assert spans["session", "CLIENT"].attributes["db.response.status_code"] == "42P01"


@pytest.mark.parametrize("collector", ["none", "dead"])
async def test_without_a_collector_nothing_fails_or_nags(mesh: Mesh, stage: Stage, collector: str) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}" if collector == "dead" else ""
    log_before = len(mesh.log("gateway-2"))
    await asyncio.to_thread(mesh.restart, "gateway-2", environment={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    client = Client([mesh.rest_url("gateway-2")])
    try:
        player = await stage.player()
        mine = Player(client, API_KEY, player.player_id, player.game_id, token=player.token)
        for _ in range(5):
            answer = await mine.spin(STAKE_MINOR)
            assert answer.status == 200 and re.fullmatch("[0-9a-f]{32}", answer.body["round"]["trace_id"])
    finally:
        await client.close()
    # Its end sends what is left, or tries to.
    codes = await asyncio.to_thread(mesh.stop, "gateway-2")
    await asyncio.to_thread(mesh.start, "gateway-2")
    assert codes == {"gateway-2": 0}
    lines = [json.loads(line) for line in mesh.log("gateway-2")[log_before:].splitlines()]
    complaints = [line["message"] for line in lines if line["level"] != "INFO"]
    assert len(complaints) <= (1 if collector == "dead" else 0), complaints
    assert all(complaint.startswith("telemetry is not delivered") for complaint in complaints)


async def test_no_span_carries_a_player_a_balance_or_an_amount(
    stage: Stage, trace_receiver: TraceReceiver
) -> None:
    funds_minor = 7_654_321
    player = await stage.player(funds_minor=funds_minor)
    played = await player.spin(STAKE_MINOR)
    await stage.send(
        Rest("POST", f"/v1/players/{player.player_id}/withdrawals", API_KEY, body=withdrawal(10**9))
    )
    await stage.books.wait_quiet()
    await exported(trace_receiver, [played.body["round"]["trace_id"]])
    numbers = {funds_minor, 10**9, played.body["round"]["balance_after"]["amount_minor"]}
    for span in trace_receiver.spans():
        assert span.attributes.keys() <= KNOWN_ATTRIBUTES, span
        shown = f"{span.name} {span.attributes}"
        assert not PLAYER_ID.search(shown), span
        assert not any(str(number) in shown for number in numbers), span


# What the tests are told with

# A value for every parameter of a path.
PATH = {"player_id": "someone", "day": "2026-11-30"} | {
    name: new_id() for name in ("session_id", "round_id", "request_id", "transaction_id", "webhook_id")
}


def withdrawal(amount_minor: int) -> dict[str, Any]:
    """Its body."""
    return {"request_id": new_id(), "amount": amount(amount_minor)}


async def send(http: httpx.AsyncClient, ask: Rest) -> httpx.Response:
    """The whole response, headers too."""
    headers = {"authorization": f"Bearer {ask.credential}"} if ask.credential else {}
    return await http.request(ask.method, ask.path, headers=headers, json=ask.body, content=ask.content)


def has_parts(trace_id: str, parts: set[tuple[str, str]]) -> Callable[[list[Span]], bool]:
    """Whether these (service, kind) of a trace were received."""
    return lambda spans: {(span.service, span.kind) for span in spans if span.trace_id == trace_id} >= parts


def has_span(span_id: str) -> Callable[[list[Span]], bool]:
    """Whether it was received."""
    return lambda spans: any(span.span_id == span_id for span in spans)


def kept(spans: list[Span], trace_id: str) -> set[str]:
    """Why a trace must stay."""
    mine = (span.attributes for span in spans if span.trace_id == trace_id)
    return {attributes[telemetry_names.KEEP] for attributes in mine if telemetry_names.KEEP in attributes}


async def exported(receiver: TraceReceiver, trace_ids: list[str]) -> None:
    """Each of them is a trace of its own, and arrives with its root."""
    assert len(set(trace_ids)) == len(trace_ids)
    await seen(
        receiver,
        lambda spans: {span.trace_id for span in spans if not span.parent_span_id} >= set(trace_ids),
    )


async def test_a_call_over_a_websocket_is_a_trace(stage: Stage, trace_receiver: TraceReceiver) -> None:
    player = await stage.player()
    url = stage.mesh.rest_url().replace("http://", "ws://") + "/v1/ws"
    trace_id, spin = "beefed" + 26 * "2", {"request_id": new_id(), "stake": amount(STAKE_MINOR)}
    calls: list[dict[str, Any]] = [
        {"method": "authenticate", "params": {"credential": player.token}},
        {"method": "spin", "params": spin, "traceparent": f"00-{trace_id}-{16 * '3'}-01"},
        {"method": "spin", "params": {**spin, "request_id": "7"}},
    ]
    async with connect(url, proxy=None) as socket:
        answers = []
        for call in calls:
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, **call}))
            answers.append(json.loads(await socket.recv()))
    assert answers[1]["result"]["round"]["trace_id"] == trace_id
    refused = answers[2]["error"]["data"]["trace_id"]
    await seen(
        trace_receiver,
        lambda spans: {trace_id, refused} <= {s.trace_id for s in spans if s.service == "gateway"},
    )
    for traced, code in ((trace_id, "OK"), (refused, "INVALID_ARGUMENT")):
        door = next(
            span
            for span in trace_receiver.trace(traced)
            if (span.service, span.kind) == ("gateway", "SERVER")
        )
        assert door.name == "reelmesh.gateway.v1.GatewayService/Spin"
        assert door.attributes["rpc.system.name"] == "jsonrpc"
        assert door.attributes["rpc.response.status_code"] == code
