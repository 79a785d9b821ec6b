"""What a unary call leaves in the trace on both sides: ok, refused, raised, cancelled, late."""

import asyncio
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc

from services.common import identity, telemetry
from services.common import telemetry_names as names
from services.common.errors import DomainError, IdReused
from services.common.server import TRACE_ID_KEY
from services.tracing.spans import Span
from tests.integration.common.toy import KEY, Mesh, ok
from tests.spans import Kept, shown

REQUEST = wallet_pb2.GetAccountRequest(operator_id="o")
METHOD = "reelmesh.wallet.v1.WalletService/GetAccount"


async def both(spans: Kept) -> tuple[Span, Span]:
    """The client's and the server's span of the one call; the server may end after the client."""
    for _ in range(100):
        found = {span.kind: span for span in spans.finished}
        if len(found) == 2:
            return found[SpanKind.CLIENT], found[SpanKind.SERVER]
        await asyncio.sleep(0.02)
    raise AssertionError(f"spans: {[span.name for span in spans.finished]}")


async def refuse(request: Any, context: Any) -> Any:
    raise IdReused(request_id="q")


async def crash(request: Any, context: Any) -> Any:
    raise RuntimeError("hidden outcome: 777")


async def hang(request: Any, context: Any) -> Any:
    await asyncio.Event().wait()


UNSET, ERROR = StatusCode.UNSET, StatusCode.ERROR
CASES = {
    "ok": (ok, "OK", UNSET, "OK", UNSET, None),
    "refused": (refuse, "ALREADY_EXISTS", ERROR, "ALREADY_EXISTS", UNSET, "ID_REUSED"),
    "raised": (crash, "INTERNAL", ERROR, "INTERNAL", ERROR, "INTERNAL"),
    "cancelled": (hang, "CANCELLED", ERROR, "CANCELLED", UNSET, None),
    "late": (hang, "DEADLINE_EXCEEDED", ERROR, "DEADLINE_EXCEEDED", ERROR, None),
}


@pytest.mark.parametrize("case", CASES)
async def test_both_spans_tell_how_the_call_ended(mesh: Mesh, spans: Kept, case: str) -> None:
    handle, client_code, client_status, server_code, server_status, reason = CASES[case]
    _, target = await mesh.serve(handle)
    call = asyncio.ensure_future(mesh.wallet(target).GetAccount(REQUEST, timeout=0.15))
    if case == "cancelled":
        await asyncio.sleep(0.05)
        call.cancel()
    await asyncio.wait([call])
    client, server = await both(spans)
    for span, code, status in ((client, client_code, client_status), (server, server_code, server_status)):
        attributes = span.attributes
        assert span.name == attributes[names.RPC_METHOD] == METHOD
        assert attributes[names.RPC_SYSTEM_NAME] == "grpc"
        assert (attributes[names.RPC_RESPONSE_STATUS_CODE], span.status.status_code) == (code, status)
        # A cancelled caller's span names the exception, every other failed one the code.
        assert (attributes.get(names.ERROR_TYPE) in (code, "CancelledError")) is (status is ERROR)
        # No exception text on a span: it may show what nobody may see yet (R2).
        assert b"hidden" not in shown(span)
    if reason is not None:
        assert server.attributes[names.ERROR_REASON] == reason
    assert server.parent is not None
    assert server.parent.span_id == client.context.span_id
    assert server.context.trace_id == client.context.trace_id


@pytest.mark.parametrize("handle", [ok, refuse], ids=["ok", "refused"])
async def test_every_answer_carries_its_trace_id_and_follows_the_callers_trace(
    mesh: Mesh, handle: Any
) -> None:
    _, target = await mesh.serve(handle)
    stub: Any = wallet_pb2_grpc.WalletServiceStub(mesh.raw_channel(target))
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    metadata = [(identity.METADATA_KEY, identity.sign("gateway", KEY, 60))]
    for parent, expected in ((f"00-{trace_id}-b7ad6b7169203331-01", trace_id), ("garbage", None)):
        call = stub.GetAccount(REQUEST, metadata=[*metadata, ("traceparent", parent)])
        answered = dict(await call.trailing_metadata())[TRACE_ID_KEY]
        assert len(answered) == 32 and (expected is None or answered == expected)


async def test_a_trace_that_is_not_kept_still_has_one_id_across_the_hop(mesh: Mesh, spans: Kept) -> None:
    seen: list[str] = []

    async def note(request: Any, context: Any) -> Any:
        seen.append(telemetry.traceparent())
        return await ok(request, context)

    _, target = await mesh.serve(note)
    with telemetry.span("caller", parent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"):
        await mesh.wallet(target).GetAccount(REQUEST)
    assert seen[0].startswith("00-0af7651916cd43dd8448eb211c80319c-") and seen[0].endswith("-00")
    assert not spans.finished


async def test_a_refusal_for_identity_is_in_the_trace_too(mesh: Mesh, spans: Kept) -> None:
    _, target = await mesh.serve(ok)
    with pytest.raises(DomainError):
        await mesh.wallet(target, key="another-key-entirely").GetAccount(REQUEST)
    _, server = await both(spans)
    assert server.attributes[names.ERROR_REASON] == "CALLER_UNKNOWN"
