"""What our channel prevents: each trap of grpc.aio is sprung first with the guard off."""

import asyncio
import json
import time
from typing import Any

import grpc
import pytest
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc

from services.common import identity
from services.common.client import SERVICE_CONFIG, own_deadline
from services.common.errors import DeadlineExceeded, DomainError, Internal, Overloaded, Unavailable
from tests.integration.common.toy import GET_ACCOUNT, KEY, Mesh, ok

# gRPC counts a deadline by another clock than the event loop: it may seem a little longer.
CLOCKS_S = 0.01
REQUEST = wallet_pb2.GetAccountRequest(operator_id="o", account_id=7)
WRONG: list[Any] = [{"operator_id": "o", "account_id": 7}, None, wallet_pb2.DepositRequest(operator_id="o")]


@pytest.mark.parametrize("wrong", WRONG, ids=["dict", "none", "other message"])
async def test_a_request_that_is_not_the_methods_message_never_leaves(mesh: Mesh, wrong: Any) -> None:
    toy, target = await mesh.serve(ok)
    await mesh.wallet(target, check_types=False).GetAccount(wrong)
    # Trap 1: the call is OK, and what arrived is not what was meant.
    assert len(toy.requests) == 1 and toy.requests[0] != REQUEST
    with pytest.raises(TypeError, match="takes GetAccountRequest, not"):
        await mesh.wallet(target).GetAccount(wrong)
    assert len(toy.requests) == 1


async def test_a_timeout_in_the_service_config_fires_early_and_ours_does_not(mesh: Mesh) -> None:
    async def brief(request: Any, context: Any) -> Any:
        await asyncio.sleep(0.15)
        return await ok(request, context)

    _, target = await mesh.serve(brief)
    config = {"methodConfig": [{"name": [{}], "timeout": "1s"}]}
    channel = mesh.raw_channel(target, ("grpc.service_config", json.dumps(config)))
    raw = wallet_pb2_grpc.WalletServiceStub(channel)
    metadata = ((identity.METADATA_KEY, identity.sign("gateway", KEY, 60)),)
    early = 0
    for _ in range(12):
        started = time.monotonic()
        try:
            await raw.GetAccount(REQUEST, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            early += time.monotonic() - started < 0.9
        if early:
            break
        # How early depends on where in its second the timer was set.
        await asyncio.sleep(0.08)
    assert early, "trap 2 is gone: read grpc#40633 again"

    assert '"timeout"' not in json.dumps(SERVICE_CONFIG)
    ours = mesh.wallet(target)
    await asyncio.gather(*(ours.GetAccount(REQUEST, timeout=1.0) for _ in range(20)))


async def test_the_methods_own_deadline_is_set_on_every_call(mesh: Mesh) -> None:
    left: list[float] = []

    async def note(request: Any, context: Any) -> Any:
        left.append(context.time_remaining())
        return await ok(request, context)

    _, target = await mesh.serve(note)
    await mesh.wallet(target).GetAccount(REQUEST)
    await mesh.wallet(target).GetAccount(REQUEST, timeout=0.3)
    assert 0.8 < left[0] <= 1.0 + CLOCKS_S and 0.1 < left[1] <= 0.3 + CLOCKS_S


@pytest.mark.parametrize("forward", [False, True], ids=["guard off", "guard on"])
async def test_the_next_hop_gets_what_is_left_less_the_reserve(mesh: Mesh, forward: bool) -> None:
    left: list[float] = []

    async def back(request: Any, context: Any) -> Any:
        left.append(context.time_remaining())
        return await ok(request, context)

    _, target = await mesh.serve(back)
    stub = mesh.wallet(target, forward_deadline=forward)

    async def front(request: Any, context: Any) -> Any:
        await stub.GetAccount(request)
        with own_deadline(0.7):
            return await stub.GetAccount(request)

    _, front_target = await mesh.serve(front)
    await mesh.wallet(front_target).GetAccount(REQUEST, timeout=0.4)
    if forward:
        # Own work, as a spin after Play, has its own time whatever its caller's is.
        assert left[0] <= 0.35 + CLOCKS_S and 0.5 < left[1] <= 0.65 + CLOCKS_S
    else:
        assert left[0] > 0.8, "the peer works on after everybody has gone"


async def test_without_time_left_nothing_is_sent(mesh: Mesh) -> None:
    toy, target = await mesh.serve(ok)
    with own_deadline(0.04), pytest.raises(DeadlineExceeded):
        await mesh.wallet(target).GetAccount(REQUEST)
    assert toy.requests == []


async def test_cancelling_the_caller_reaches_the_server(mesh: Mesh) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(request: Any, context: Any) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    _, target = await mesh.serve(hang)
    call = asyncio.ensure_future(mesh.wallet(target).GetAccount(REQUEST))
    await asyncio.wait_for(started.wait(), 2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(cancelled.wait(), 0.5)


class Flaky:
    """Raises `error` the first `times` times."""

    def __init__(self, error: DomainError, times: int) -> None:
        self.error, self.times_left, self.attempts = error, times, 0

    async def __call__(self, request: Any, context: Any) -> Any:
        self.attempts += 1
        self.times_left -= 1
        if self.times_left >= 0:
            raise self.error
        return await ok(request, context)


async def test_unavailable_is_repeated_until_it_succeeds_and_without_retry_it_surfaces(mesh: Mesh) -> None:
    flaky = Flaky(Unavailable(), times=1)
    _, target = await mesh.serve(flaky)
    with pytest.raises(Unavailable):
        await mesh.wallet(target, retry=False).GetAccount(REQUEST)
    flaky.times_left = 2
    await mesh.wallet(target).GetAccount(REQUEST)
    assert flaky.attempts == 1 + 3


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(Unavailable(), 3), (Internal(), 1), (DeadlineExceeded(), 1), (Overloaded(retry_after_ms=1), 1)],
    ids=lambda value: getattr(value, "reason", None),
)
async def test_only_unavailable_is_repeated_and_three_times_at_most(
    mesh: Mesh, error: DomainError, attempts: int
) -> None:
    flaky = Flaky(error, times=100)
    _, target = await mesh.serve(flaky)
    with pytest.raises(DomainError) as caught:
        await mesh.wallet(target).GetAccount(REQUEST)
    assert (caught.value.reason, flaky.attempts) == (error.reason, attempts)


@pytest.mark.parametrize(("marked", "attempts"), [(False, 9), (True, 3)], ids=["guard off", "guard on"])
async def test_a_chain_repeats_at_one_layer_only(mesh: Mesh, marked: bool, attempts: int) -> None:
    flaky = Flaky(Unavailable(), times=100)
    _, target = await mesh.serve(flaky)
    stub = mesh.wallet(target)

    async def front(request: Any, context: Any) -> Any:
        try:
            return await stub.GetAccount(request)
        except DomainError as error:
            error.repeated = error.repeated and marked
            raise

    toy, front_target = await mesh.serve(front)
    with pytest.raises(Unavailable):
        await mesh.wallet(front_target).GetAccount(REQUEST)
    assert flaky.attempts == attempts and len(toy.requests) == attempts // 3


async def test_a_peer_that_is_not_there_is_unavailable(mesh: Mesh) -> None:
    with pytest.raises(Unavailable):
        await mesh.wallet("dns:///127.0.0.1:1").GetAccount(REQUEST)


async def test_a_megabyte_is_too_large_for_the_public_and_fine_between_services(mesh: Mesh) -> None:
    public, target = await mesh.serve(ok, service="gateway")
    fund = mesh.channel(target).unary_unary(
        "/reelmesh.gateway.v1.GatewayService/FundPlayer",
        request_serializer=gateway_pb2.FundPlayerRequest.SerializeToString,
    )
    with pytest.raises(DomainError) as caught:
        await fund(gateway_pb2.FundPlayerRequest(player_id="x" * 2**20))
    assert caught.value.reason == "BODY_TOO_LARGE"
    assert caught.value.metadata == {"size_bytes_max": "262144"} and public.requests == []
    inner, target = await mesh.serve(ok)
    await mesh.wallet(target).GetAccount(wallet_pb2.GetAccountRequest(operator_id="x" * 2**20))
    assert len(inner.requests) == 1


async def test_the_service_token_is_renewed_before_it_expires(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = mesh.channel("dns:///127.0.0.1:1")
    first = channel.token()
    assert channel.token() is first
    late = time.monotonic() + 151
    monkeypatch.setattr(time, "monotonic", lambda: late)
    assert channel.token() is not first


def test_the_table_gives_get_account_the_second_that_these_tests_assume() -> None:
    assert identity.methods()[GET_ACCOUNT].deadline_ms == 1000
