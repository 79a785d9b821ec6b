"""The events hop in the trace: relay and process spans, each linked to the call that made the event."""

from pathlib import Path

import pytest
from opentelemetry.trace import SpanKind
from reelmesh.events.v1 import events_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.mesh import Mesh
from deploy.local.traces import Span, TraceReceiver
from services.common.client import GuardedChannel
from services.common.outbox import Relay
from tests.integration.common.outboxes import SOURCE, stored, to_events, write
from tests.spans import Kept

IDENTITY_KEY = "a key of the tests, 32 characters"
KEPT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DROPPED = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00"


@pytest.mark.parametrize("kept", [True, False])
async def test_both_sides_of_the_relay_link_to_the_call_that_made_the_event(
    kept: bool,
    engine: AsyncEngine,
    events_engine: AsyncEngine,
    events_url: str,
    spans: Kept,
    tmp_path: Path,
) -> None:
    receiver = TraceReceiver()
    receiver.start()
    environment = {
        "REELMESH_EVENTS_IDENTITY_KEY": IDENTITY_KEY,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    mesh = Mesh(tmp_path, {"events": events_url}, environment=environment)
    mesh.start("events")
    channel = GuardedChannel(mesh.target("events"), caller=SOURCE, identity_key=IDENTITY_KEY)
    stub = channel.stub(events_pb2_grpc.EventServiceStub)
    try:
        async with engine.begin() as conn:
            await write(conn, 1, traceparent=KEPT if kept else DROPPED)
            await write(conn, 2, traceparent="")
        assert await Relay(source=SOURCE, engine=engine, events=stub, to_events=to_events).forward()
        assert len(await stored(events_engine)) == 2
    finally:
        await channel.close()
        mesh.stop("events")  # sends what it still has
        receiver.stop()
    relays = [span for span in spans.finished if span.name == "relay"]
    processed = [span for span in receiver.spans() if span.name == "process"]
    if not kept:
        assert not relays and not processed
        return
    (relay,), (process,) = relays, processed
    assert relay.kind is SpanKind.PRODUCER and relay.parent is None
    assert [f"{link.context.span_id:016x}" for link in relay.links] == ["b7ad6b7169203331"]
    assert process.kind == "CONSUMER"
    assert [link.span_id for link in process.links] == ["b7ad6b7169203331"]
    context = relay.get_span_context()
    assert context is not None and process.trace_id == f"{context.trace_id:032x}"
    assert _parents(process, receiver.spans()) == ["reelmesh.events.v1.EventService/Append"]
    assert {span.name for span in receiver.spans() if span.parent_span_id == process.span_id} == {"append"}


def _parents(span: Span, spans: list[Span]) -> list[str]:
    return [other.name for other in spans if other.span_id == span.parent_span_id]
