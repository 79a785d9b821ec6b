"""What the interceptor does for a handler: errors, identity, deadline. Each guard is first seen missing."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from reelmesh.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from sqlalchemy import text

from services.common import db, identity
from services.common.errors import CallerForbidden, CallerUnknown, IdReused, Internal, Unavailable
from services.common.health import Health
from services.common.server import CallInterceptor, Server, current_caller
from tests.integration.common.toy import CONNECTION_AGE_MS, GET_ACCOUNT, KEY, Mesh, ok

REQUEST = wallet_pb2.GetAccountRequest(operator_id="o")
DSN = "postgresql://wallet:hunter2@db/wallet"


def raw_stub(mesh: Mesh, target: str) -> Any:
    return wallet_pb2_grpc.WalletServiceStub(mesh.raw_channel(target))


def signed(caller: str = "gateway", key: str = KEY, ttl_s: float = 60) -> list[tuple[str, str]]:
    return [(identity.METADATA_KEY, identity.sign(caller, key, ttl_s))]


async def failure_of(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_an_unexpected_exception_tells_the_caller_nothing_and_the_log_everything(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    async def leak(request: Any, context: Any) -> Any:
        raise RuntimeError(f"cannot connect to {DSN}")

    _, target = await mesh.serve(leak, translate_errors=False)
    error = await failure_of(raw_stub(mesh, target).GetAccount(REQUEST, metadata=signed()))
    assert DSN in str(error.details()), "trap 6 is gone"
    caplog.clear()

    _, target = await mesh.serve(leak)
    error = await failure_of(raw_stub(mesh, target).GetAccount(REQUEST, metadata=signed()))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, Internal().message)
    assert "hunter2" not in repr(list(error.trailing_metadata())) + repr(list(error.initial_metadata()))
    assert "hunter2" in caplog.text and "GetAccount failed" in caplog.text


@pytest.mark.parametrize("pass_aborts", [False, True], ids=["guard off", "guard on"])
async def test_an_abort_is_not_taken_for_a_crash(
    mesh: Mesh, caplog: pytest.LogCaptureFixture, pass_aborts: bool
) -> None:
    async def abort(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    _, target = await mesh.serve(abort, pass_aborts=pass_aborts)
    error = await failure_of(raw_stub(mesh, target).GetAccount(REQUEST, metadata=signed()))
    # The caller sees no difference: only the log shows what an AbortError, an Exception, does.
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert ("GetAccount failed" in caplog.text) is not pass_aborts
    assert ("Abort already called" in caplog.text) is not pass_aborts


async def test_a_domain_error_arrives_with_reason_message_and_metadata(mesh: Mesh) -> None:
    async def refuse(request: Any, context: Any) -> Any:
        raise IdReused(request_id="q")

    _, target = await mesh.serve(refuse)
    with pytest.raises(Exception, match="belongs to another request") as caught:
        await mesh.wallet(target).GetAccount(REQUEST)
    assert (getattr(caught.value, "reason", ""), getattr(caught.value, "metadata", {})) == (
        "ID_REUSED",
        {"request_id": "q"},
    )


async def test_a_database_that_is_away_is_unavailable_and_its_address_stays_inside(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    url = "postgresql+psycopg://wallet:hunter2@127.0.0.1:1/wallet"
    engine = db.create_engine(url, pool_size=1, application_name="test")

    async def query(request: Any, context: Any) -> Any:
        async with engine.connect() as connection:
            await connection.execute(text("select 1"))

    _, target = await mesh.serve(query)
    with pytest.raises(Unavailable):
        await mesh.wallet(target, retry=False).GetAccount(REQUEST)
    assert "OperationalError" in caplog.text and "hunter2" not in caplog.text
    await engine.dispose()


@pytest.mark.parametrize(
    "metadata",
    [[], [(identity.METADATA_KEY, "x")], signed(key="another-key-entirely"), signed(ttl_s=-1)],
    ids=["absent", "malformed", "other key", "expired"],
)
async def test_a_call_without_a_valid_identity_is_refused(mesh: Mesh, metadata: Any) -> None:
    toy, target = await mesh.serve(ok, check_identity=False)
    await raw_stub(mesh, target).GetAccount(REQUEST, metadata=metadata)
    assert len(toy.requests) == 1, "without the guard anybody moves money"
    toy, target = await mesh.serve(ok)
    error = await failure_of(raw_stub(mesh, target).GetAccount(REQUEST, metadata=metadata))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED and toy.requests == []


async def test_the_callers_table_decides_per_method(mesh: Mesh) -> None:
    callers: list[identity.Caller] = []

    async def note(request: Any, context: Any) -> Any:
        callers.append(current_caller())
        return wallet_pb2.SettleResponse()

    toy, target = await mesh.serve(note)
    for caller in ("gateway", "game"):
        await mesh.wallet(target, caller=caller, instance=f"{caller}-2").Settle(wallet_pb2.SettleRequest())
    assert callers == [("gateway", "gateway-2"), ("game", "game-2")]
    with pytest.raises(Exception, match=CallerForbidden.__doc__) as caught:
        await mesh.wallet(target, caller="session").Settle(wallet_pb2.SettleRequest())
    assert getattr(caught.value, "reason", "") == "CALLER_FORBIDDEN" and len(toy.requests) == 2
    with pytest.raises(Exception, match=CallerUnknown.__doc__):
        await mesh.wallet(target, key="another-key-entirely").Settle(wallet_pb2.SettleRequest())


async def test_a_public_method_takes_callers_without_identity(mesh: Mesh) -> None:
    async def answer(request: Any, context: Any) -> Any:
        return gateway_pb2.FundPlayerResponse() if current_caller().service == identity.PUBLIC else None

    _, target = await mesh.serve(answer, service="gateway")
    stub: Any = gateway_pb2_grpc.GatewayServiceStub(mesh.raw_channel(target))
    await stub.FundPlayer(gateway_pb2.FundPlayerRequest())


async def test_a_caller_without_a_deadline_gets_the_methods_own(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = identity.Method(callers=frozenset({"gateway"}), deadline_ms=100)
    monkeypatch.setitem(identity.methods(), GET_ACCOUNT, short)
    ended = asyncio.Event()

    async def hang(request: Any, context: Any) -> Any:
        assert context.time_remaining() is None
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    _, target = await mesh.serve(hang)
    error = await failure_of(raw_stub(mesh, target).GetAccount(REQUEST, metadata=signed()))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and ended.is_set()


async def test_a_handlers_own_timeout_is_not_the_calls_deadline(mesh: Mesh) -> None:
    async def impatient(request: Any, context: Any) -> Any:
        raise TimeoutError

    _, target = await mesh.serve(impatient)
    with pytest.raises(Unavailable):
        await mesh.wallet(target, retry=False).GetAccount(REQUEST)


async def test_reflection_lists_the_service_and_needs_no_identity(mesh: Mesh) -> None:
    _, target = await mesh.serve(ok)
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(mesh.raw_channel(target))  # type: ignore[no-untyped-call]

    async def ask() -> Any:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async for answer in stub.ServerReflectionInfo(ask()):
        listed = [service.name for service in answer.list_services_response.service]
        assert "reelmesh.wallet.v1.WalletService" in listed


async def test_health_has_three_names_and_readiness_follows_the_database(mesh: Mesh) -> None:
    answers: list[Any] = [True, RuntimeError("away"), False]

    async def ready() -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    server = Server("wallet", CallInterceptor(KEY), Health(ready), connection_age_ms=CONNECTION_AGE_MS)
    _, port = await server.start(host="127.0.0.1", grpc_port=0, admin_port=0)
    stub: Any = health_pb2_grpc.HealthStub(mesh.raw_channel(f"127.0.0.1:{port}"))  # type: ignore[no-untyped-call]

    async def status(name: str) -> str:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    up, down = "SERVING", "NOT_SERVING"
    assert [await status(name) for name in ("startup", "readiness", "liveness")] == [down, down, up]
    server.health.started = True
    assert [await status(name) for name in ("startup", "", "readiness", "readiness")] == [up, up, down, down]
    assert (await failure_of(status("other"))).code() is grpc.StatusCode.NOT_FOUND
    await server.drain(wait_s=0, grace_s=0.1)
    assert [await status(name) for name in ("startup", "readiness", "liveness")] == [up, down, up]
    await server.close(grace_s=0.1)


async def test_a_stream_may_get_as_old_on_an_old_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may begin when the connection is about to end; and what is cut ends without a reason."""
    told: dict[str, Any] = {}
    make = grpc.aio.server

    def server(**options: Any) -> grpc.aio.Server:
        told.update(options["options"])
        return make(**options)

    async def ready() -> bool:
        return True

    monkeypatch.setattr(grpc.aio, "server", server)
    Server("wallet", CallInterceptor(KEY), Health(ready), connection_age_ms=CONNECTION_AGE_MS)
    assert told["grpc.max_connection_age_ms"] == CONNECTION_AGE_MS
    assert told["grpc.max_connection_age_grace_ms"] > CONNECTION_AGE_MS
