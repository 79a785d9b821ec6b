"""Every way a call ends, in every shape: both spans end once, tell the final code, count as one duration."""

import asyncio

import pytest
from grpc import StatusCode
from opentelemetry.trace import SpanKind
from opentelemetry.trace import StatusCode as SpanStatus

from services.tracing import conventions as names
from services.tracing.calls import SERVER_FAULTS
from services.tracing.spans import Span
from tests.integration.tracing.conftest import Traced, points
from tests.integration.tracing.matrix import CASES, HIDDEN, SERVICE, cells, play
from tests.spans import shown


@pytest.mark.parametrize(("case", "shape"), cells(), ids=map("-".join, cells()))
async def test_both_sides_tell_how_the_call_ended(traced: Traced, case: str, shape: str) -> None:
    expected = CASES[case]
    assert await play(traced.stage, traced.channel, case, shape) is expected.client
    client, server = await traced.spans()
    assert (client.kind, server.kind) == (SpanKind.CLIENT, SpanKind.SERVER)
    check(client, shape, expected.client, fault=expected.client is not StatusCode.OK)
    check(server, shape, expected.server, fault=expected.server in SERVER_FAULTS)
    assert client.attributes[names.SERVER_PORT] == traced.stage.port
    assert server.parent is not None and server.parent.is_remote and client.parent is None
    assert (server.parent.trace_id, server.parent.span_id) == (
        client.context.trace_id,
        client.context.span_id,
    )
    if CASES[case].ask == "hang":
        await asyncio.wait_for(traced.stage.toy.cancelled.wait(), 5)
    for durations, span in ((traced.served, server), (traced.called, client)):
        [point] = points(durations)
        assert point.count == 1 and dict(point.attributes or {}) == dict(span.attributes)
        assert [exemplar.span_id for exemplar in point.exemplars] == [span.context.span_id]


def check(span: Span, shape: str, code: StatusCode, *, fault: bool) -> None:
    """What every span of a call must show."""
    assert span.name == span.attributes[names.RPC_METHOD] == f"{SERVICE}/{shape}"
    assert span.attributes[names.RPC_SYSTEM_NAME] == "grpc"
    assert span.attributes[names.RPC_RESPONSE_STATUS_CODE] == code.name
    assert span.attributes.get(names.ERROR_TYPE) == (code.name if fault else None)
    assert span.status.status_code is (SpanStatus.ERROR if fault else SpanStatus.UNSET)
    assert span.end_time is not None and span.end_time >= span.start_time
    assert HIDDEN.encode() not in shown(span)
