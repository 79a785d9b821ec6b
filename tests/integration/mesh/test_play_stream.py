"""One stream of a player's spins and choices over gRPC; and an operator's events as a stream."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from reelmesh.gateway.v1 import gateway_pb2, gateway_pb2_grpc, operator_pb2

from deploy.local.mesh import Mesh
from services.common.errors import STATUS_DETAILS_KEY, from_proto, from_rpc_error
from services.gateway import play_stream
from tests.databases import Databases
from tests.mesh.stage import STAKE_MINOR, Stage, money, new_id
from tests.meshes import API_KEY, OTHER_API_KEY, running_mesh


@pytest.fixture(scope="module")
def mesh(databases: Databases) -> Iterator[Mesh]:
    """Untraced, like most."""
    with running_mesh(databases) as mesh:
        yield mesh
        assert set(mesh.stop().values()) == {0}


@pytest.fixture
async def stub(stage: Stage) -> AsyncIterator[Any]:
    target = f"127.0.0.1:{stage.mesh.ports('gateway').grpc}"
    async with grpc.aio.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield gateway_pb2_grpc.GatewayServiceStub(channel)


def bearer(credential: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {credential}"),)


def spin(call_id: str, request_id: str, stake_minor: int = STAKE_MINOR) -> gateway_pb2.PlayRequest:
    request = gateway_pb2.SpinRequest(request_id=request_id, stake=money(stake_minor))
    return gateway_pb2.PlayRequest(call_id=call_id, spin=request)


async def answers(call: Any, *requests: gateway_pb2.PlayRequest) -> dict[str, gateway_pb2.PlayResponse]:
    """By call_id, when all are there."""
    for request in requests:
        await call.write(request)
    await call.done_writing()
    return {answer.call_id: answer async for answer in call}


async def test_many_are_under_way_and_a_refusal_ends_nothing(stage: Stage, stub: Any) -> None:
    player = await stage.player()
    request_ids = {f"spin {number}": new_id() for number in range(2 * play_stream.CALLS_MAX)}
    bad = {
        "stake": spin("stake", new_id(), 7),
        "amount": spin("amount", new_id(), -1),
        "id": spin("id", "7"),
        "none": gateway_pb2.PlayRequest(call_id="none"),
        "round": gateway_pb2.PlayRequest(
            call_id="round", act=gateway_pb2.ActRequest(round_id=new_id(), step=1, choice="COLLECT")
        ),
        "c" * 64: spin("c" * 65, new_id()),
    }
    call = stub.Play(metadata=bearer(player.token))
    good = [spin(call_id, request_id) for call_id, request_id in request_ids.items()]
    told = await answers(call, *good[:3], *bad.values(), *good[3:])
    for call_id, request_id in request_ids.items():
        assert told[call_id].spin.round.request_id == request_id
        # A trace each, as of a unary call.
        assert told[call_id].trace_id == told[call_id].spin.round.trace_id
    assert len({answer.trace_id for answer in told.values()}) == len(told)
    reasons = {call_id: from_proto(told[call_id].error).reason for call_id in bad}
    assert reasons == {
        "stake": "STAKE_NOT_ON_LADDER",
        "amount": "AMOUNT_NOT_POSITIVE",
        "id": "FIELD_INVALID",
        "none": "FIELD_MISSING",
        "round": "ROUND_NOT_FOUND",
        "c" * 64: "FIELD_INVALID",
    }
    request = gateway_pb2.SpinRequest(request_id=request_ids["spin 5"], stake=money(STAKE_MINOR))
    unary = await stub.Spin(request, metadata=bearer(player.token))
    assert unary.round == told["spin 5"].spin.round


async def test_what_a_broken_stream_asked_is_answered_on_the_next(stage: Stage, stub: Any) -> None:
    player = await stage.player()
    request_ids = {str(number): new_id() for number in range(10)}
    broken = stub.Play(metadata=bearer(player.token))
    for call_id, request_id in request_ids.items():
        await broken.write(spin(call_id, request_id))
    first = await broken.read()
    broken.cancel()
    again = stub.Play(metadata=bearer(player.token))
    told = await answers(again, *(spin(call_id, request_id) for call_id, request_id in request_ids.items()))
    assert told[first.call_id].spin.round == first.spin.round
    assert {answer.WhichOneof("result") for answer in told.values()} == {"spin"}
    await stage.books.wait_quiet()
    assert len({answer.spin.round.round_id for answer in told.values()}) == len(request_ids)


async def test_a_gateway_that_leaves_ends_the_stream_and_owes_it_nothing(stage: Stage, stub: Any) -> None:
    """Else the stream holds the drain for its whole grace, and is cut with what is under way."""
    player = await stage.player()
    call = stub.Play(metadata=bearer(player.token))
    await call.write(spin("before", new_id()))
    assert (await call.read()).call_id == "before"
    await call.write(spin("meanwhile", new_id()))
    stage.mesh.signal("gateway", signal.SIGTERM)
    assert (await call.read()).spin.round.round_id
    # Nothing is written now: a write that meets the end is an error of grpc.aio's own, INTERNAL.
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    # By its own word: what is cut has no reason with it.
    assert STATUS_DETAILS_KEY in dict(caught.value.trailing_metadata())
    stage.mesh.restart("gateway")


async def test_nobody_and_no_message_are_refused_as_in_any_call(stage: Stage, stub: Any) -> None:
    for token, body, reason in [
        ("rk_operator", b"", "TOKEN_INVALID"),
        ((await stage.player()).token, b"\xff\xff\xff", "BODY_MALFORMED"),
        ((await stage.player()).token, spin("x" * 300_000, new_id()).SerializeToString(), "BODY_TOO_LARGE"),
    ]:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{stage.mesh.ports('gateway').grpc}")
        call: Any = channel.stream_stream("/reelmesh.gateway.v1.GatewayService/Play")(metadata=bearer(token))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            if body:  # who is refused at once may find nobody to write to
                await call.write(body)
            await call.read()
        assert from_rpc_error(caught.value).reason == reason
        await channel.close()


async def test_an_operator_s_events_come_as_a_stream_and_nobody_else_s(stage: Stage, stub: Any) -> None:
    player = await stage.player()
    request = operator_pb2.SubscribeEventsRequest(player_id=player.player_id, event_types=["round.settled"])
    theirs = stub.SubscribeEvents(request, metadata=bearer(OTHER_API_KEY))
    ours = stub.SubscribeEvents(request, metadata=bearer(API_KEY))
    round_id = (await player.spin(STAKE_MINOR)).body["round"]["round_id"]
    async with asyncio.timeout(20):
        async for answer in ours:
            if answer.events:
                break
    assert [event.round_id for event in answer.events] == [round_id]
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(theirs.read(), 0.5)
    ours.cancel()
    theirs.cancel()
    nobody = stub.SubscribeEvents(request, metadata=bearer("st_player"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await nobody.read()
    assert from_rpc_error(caught.value).reason == "API_KEY_INVALID"


async def test_a_stream_is_for_a_session_s_token_only(stage: Stage, stub: Any) -> None:
    """Else whoever has no token keeps streams open, which are counted for everybody."""
    for credential in ("st_nobody", "junk"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async with asyncio.timeout(20):
                await stub.Play(metadata=bearer(credential)).read()
        assert from_rpc_error(refused.value).reason == "TOKEN_INVALID"


@pytest.fixture(scope="module")
def aged(databases: Databases) -> Iterator[Mesh]:
    """Where connections and streams get two seconds old."""
    with running_mesh(databases, environment={"REELMESH_CONNECTION_AGE_MS": "2000"}) as mesh:
        yield mesh


@asynccontextmanager
async def closing(stage: Stage) -> AsyncIterator[Stage]:
    try:
        yield stage
    finally:
        await stage.close()


async def ended(call: Any) -> list[Any]:
    """What a stream tells until it ends by the gateway's own word: what is cut has no reason with it."""
    told = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(90):
            while True:
                told.append(await call.read())
    assert STATUS_DETAILS_KEY in dict(caught.value.trailing_metadata()), caught.value
    assert from_rpc_error(caught.value).reason == "UNAVAILABLE"
    return told


async def test_a_stream_ends_by_word_before_its_connection_is_cut(aged: Mesh) -> None:
    target = f"127.0.0.1:{aged.ports('gateway').grpc}"
    async with closing(Stage(aged)) as stage, grpc.aio.insecure_channel(target) as channel:
        stub: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
        player = await stage.player()
        playing = stub.Play(metadata=bearer(player.token))
        await playing.write(spin("before", new_id()))
        assert [answer.call_id for answer in await ended(playing)] == ["before"]
        # On to the next stream, and to what happened meanwhile: nothing is missing behind the cursor.
        request = operator_pb2.SubscribeEventsRequest(
            player_id=player.player_id, event_types=["round.settled"]
        )
        first = await ended(stub.SubscribeEvents(request, metadata=bearer(API_KEY)))
        round_id = (await player.spin(STAKE_MINOR)).body["round"]["round_id"]
        request.cursor = first[-1].cursor
        found = [answer.events for answer in first]
        while not any(event.round_id == round_id for events in found for event in events):
            again = await ended(stub.SubscribeEvents(request, metadata=bearer(API_KEY)))
            request.cursor = again[-1].cursor
            found += [answer.events for answer in again]
        assert len([event for events in found for event in events]) == 2
