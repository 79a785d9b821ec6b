"""What other instrumentations of grpc.aio get wrong, row by row of the table in docs/telemetry.md."""

import asyncio
import gc
from collections import Counter
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.trace import SpanKind

from services.common.health import Health
from services.tracing import conventions as names
from services.tracing.client import TracingChannel, client_durations
from services.tracing.server import TracingInterceptor, server_durations
from services.tracing.spans import Tracer
from tests.integration.tracing.conftest import Traced, points
from tests.integration.tracing.matrix import NO_PROXY, SERVICE, Stage, play
from tests.spans import Kept, shown

UNARY, STREAM = f"/{SERVICE}/unary_unary", f"/{SERVICE}/unary_stream"


async def test_t3_a_cancel_reaches_the_server_and_ends_both_spans(traced: Traced) -> None:
    call = asyncio.ensure_future(_await(traced.channel.unary_unary(UNARY)(b"hang")))
    await asyncio.wait_for(traced.stage.toy.called.wait(), 5)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    await asyncio.wait_for(traced.stage.toy.cancelled.wait(), 5)
    assert [span.attributes[names.RPC_RESPONSE_STATUS_CODE] for span in await traced.spans()] == [
        "CANCELLED"
    ] * 2


async def test_t3_a_call_cancelled_by_its_own_method_ends_too(traced: Traced) -> None:
    for start in (traced.channel.unary_unary(UNARY), traced.channel.unary_stream(STREAM)):
        call: Any = start(b"hang")
        await asyncio.wait_for(traced.stage.toy.called.wait(), 5)
        traced.stage.toy.called.clear()
        assert call.cancel() and not call.cancel()
    for span in await traced.spans(4):
        assert span.attributes[names.RPC_RESPONSE_STATUS_CODE] == "CANCELLED"


async def test_t4_an_exception_is_an_error_and_leaves_no_text(traced: Traced) -> None:
    assert await play(traced.stage, traced.channel, "raise", "unary_unary") is StatusCode.UNKNOWN
    for span in await traced.spans():
        assert not span.status.is_ok and span.attributes[names.ERROR_TYPE] == "UNKNOWN"
        # Neither once nor twice: a recorded exception would show its text.
        assert b"exception" not in shown(span)


async def test_t4b_a_rich_status_is_read_as_it_was_sent(traced: Traced) -> None:
    assert await play(traced.stage, traced.channel, "abort-with-status", "unary_unary") is StatusCode.INTERNAL
    _, server = await traced.spans()
    assert server.attributes[names.RPC_RESPONSE_STATUS_CODE] == "INTERNAL" and not server.status.is_ok


async def test_t5_a_stream_that_is_left_ends_without_the_garbage_collector(
    traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    gc.disable()
    try:
        async for _ in traced.channel.unary_stream(STREAM)(b"hang", timeout=10):
            break
        client, server = await traced.spans()
    finally:
        gc.enable()
    assert client.kind is SpanKind.CLIENT and server.kind is SpanKind.SERVER
    await asyncio.wait_for(traced.stage.toy.cancelled.wait(), 5)
    assert "detach" not in caplog.text


async def test_t6_both_sides_have_durations_that_lead_to_kept_traces(traced: Traced) -> None:
    for case in ("ok", "ok", "abort"):
        await play(traced.stage, traced.channel, case, "unary_unary")
    spans = {span.context.span_id: span for span in await traced.spans(6)}
    for durations in (traced.served, traced.called):
        by_code = {_code_of(point): point for point in points(durations)}
        assert {code: point.count for code, point in by_code.items()} == {"OK": 2, "NOT_FOUND": 1}
        for code, point in by_code.items():
            for exemplar in point.exemplars:
                assert exemplar.span_id is not None
                span = spans[exemplar.span_id]
                assert span.attributes[names.RPC_RESPONSE_STATUS_CODE] == code
                assert span.context.trace_id == exemplar.trace_id
    assert not any(point.exemplars for point in points(traced.served)), "each is told once"


async def test_t6_a_call_that_is_not_kept_is_counted_and_no_exemplar() -> None:
    traced = Traced(ratio=0)
    await traced.stage.start()
    await play(traced.stage, traced.channel, "ok", "unary_unary")
    for durations in (traced.served, traced.called):
        await traced.until(lambda durations=durations: bool(points(durations)))  # type: ignore[misc]
        [point] = points(durations)
        assert point.count == 1 and not point.exemplars
    assert not traced.kept.finished
    await traced.close()


async def test_t7_the_names_are_todays(traced: Traced) -> None:
    await play(traced.stage, traced.channel, "raise", "unary_unary")
    client, server = await traced.spans()
    call = {"rpc.system.name", "rpc.method", "rpc.response.status_code", "error.type"}
    assert server.attributes.keys() == call
    assert client.attributes.keys() == {*call, "server.address", "server.port"}
    assert (traced.served.name, traced.called.name) == (
        "rpc.server.call.duration",
        "rpc.client.call.duration",
    )


async def test_t8_health_reflection_and_what_is_excluded_leave_nothing() -> None:
    kept, durations = Kept(), server_durations()
    stage = Stage([TracingInterceptor(Tracer(1, kept), durations)])
    health_pb2_grpc.add_HealthServicer_to_server(Health(_ready), stage.server)  # type: ignore[no-untyped-call]
    reflection.enable_server_reflection([SERVICE], stage.server)  # type: ignore[no-untyped-call]
    await stage.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{stage.port}", options=NO_PROXY) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
        await health.Check(health_pb2.HealthCheckRequest(service="liveness"))
        reflected: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[no-untyped-call]
        async for _ in reflected.ServerReflectionInfo(_list_services()):
            pass
        assert not kept.finished and not points(durations)
        await _await(_unary(channel)(b"ok"))
        assert len(kept.finished) == 1
    await stage.server.stop(0)
    # One set decides. With another, the toy is excluded and health is not.
    stage = Stage([TracingInterceptor(Tracer(1, kept), durations, excluded=frozenset({SERVICE}))])
    await stage.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{stage.port}", options=NO_PROXY) as channel:
        await _await(_unary(channel)(b"ok"))
    await stage.server.stop(0)
    assert len(kept.finished) == 1


async def test_t9_a_call_that_never_leaves_ends_with_its_deadline(traced: Traced) -> None:
    raw = grpc.aio.insecure_channel("127.0.0.1:1", options=NO_PROXY)
    nowhere = TracingChannel(raw, traced.tracer, client_durations(), address="127.0.0.1", port=1)
    with pytest.raises(grpc.aio.AioRpcError):
        await nowhere.unary_unary(UNARY)(b"ok", wait_for_ready=True, timeout=0.05)
    # Started and forgotten.
    nowhere.unary_unary(UNARY)(b"ok", wait_for_ready=True, timeout=60)
    await nowhere.close()
    # On a closed channel.
    with pytest.raises(Exception, match=r"[Cc]losed"):
        await nowhere.unary_unary(UNARY)(b"ok")
    codes = [span.attributes[names.RPC_RESPONSE_STATUS_CODE] for span in await traced.spans(3)]
    assert codes == ["DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL"]


async def test_t10_methods_have_their_names_and_unknown_ones_none_of_the_callers(traced: Traced) -> None:
    await play(traced.stage, traced.channel, "ok", "unary_unary")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{traced.stage.port}", options=NO_PROXY) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await _await(_unary(channel, "/whatever.the.Caller/Wrote")(b""))
    served = {dict(point.attributes or {})[names.RPC_METHOD] for point in points(traced.served)}
    assert served == {f"{SERVICE}/unary_unary", "_OTHER"}
    assert [dict(point.attributes or {})[names.RPC_METHOD] for point in points(traced.called)] == [
        f"{SERVICE}/unary_unary"
    ]


async def test_t17_a_stop_ends_calls_that_abort_and_all_spans(traced: Traced) -> None:
    start = traced.channel.unary_unary(UNARY)
    calls = [asyncio.ensure_future(_await(start(b"abort"))) for _ in range(20)]
    await asyncio.wait_for(traced.stage.toy.called.wait(), 5)
    await asyncio.wait_for(traced.stage.server.stop(5), 4)
    await asyncio.wait(calls)
    # Some are cut before they got to their handler; each span tells what its caller was told.
    told = Counter(await asyncio.gather(*(_code(one) for one in calls)))
    ended = [span for span in traced.kept.finished if span.kind is SpanKind.CLIENT]
    assert Counter(span.attributes[names.RPC_RESPONSE_STATUS_CODE] for span in ended) == told
    served = sum(point.count for point in points(traced.served))
    assert told["NOT_FOUND"] <= served == len(traced.kept.finished) - 20


async def test_a_stream_that_its_handler_writes_and_its_caller_reads(traced: Traced) -> None:
    call = traced.channel.unary_stream(f"/{SERVICE}/written")(b"ok", timeout=5)
    assert [await call.read(), await call.read(), await call.read()] == [b"first", b"last", grpc.aio.EOF]
    assert await call.code() is StatusCode.OK
    assert [span.attributes[names.RPC_RESPONSE_STATUS_CODE] for span in await traced.spans()] == ["OK", "OK"]


async def test_a_stream_that_its_caller_writes(traced: Traced) -> None:
    call = traced.channel.stream_stream(f"/{SERVICE}/stream_stream")(timeout=5)
    await call.write(b"ok")
    await call.done_writing()
    assert [message async for message in call] == [b"first", b"last"]
    assert [span.attributes[names.RPC_RESPONSE_STATUS_CODE] for span in await traced.spans()] == ["OK", "OK"]


async def test_the_callers_metadata_goes_along(traced: Traced) -> None:
    start = traced.channel.unary_unary(UNARY)
    for metadata in ([("a", "1")], (("a", "1"),), grpc.aio.Metadata(("a", "1"))):
        await start(b"ok", metadata=metadata)
        assert ("a", "1") in traced.stage.toy.metadata
        assert [key for key, _ in traced.stage.toy.metadata].count("traceparent") == 1


def _code_of(point: HistogramDataPoint) -> object:
    return dict(point.attributes or {})[names.RPC_RESPONSE_STATUS_CODE]


def _unary(channel: grpc.aio.Channel, path: str = UNARY) -> Any:
    return channel.unary_unary(path)


async def _await(call: Any) -> Any:
    return await call


async def _code(call: asyncio.Future[Any]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def _ready() -> bool:
    return True


async def _list_services() -> Any:
    yield reflection_pb2.ServerReflectionRequest(list_services="")
