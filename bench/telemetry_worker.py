"""One subject of `make bench-telemetry`: client and server of an empty call in this process, traced or not.

python -m bench.telemetry_worker none|ours|contrib RATIO. Each line of standard input is a number of calls;
each line of standard output the CPU of the process per call, in us, the export of all spans included.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import grpc
import uvloop

PATH = "/bench.v1.Bench/Call"
REQUEST, REPLY = b"q" * 155, b"r" * 132
CONCURRENCY, TIMEOUT_S = 16, 2.0
WARM_UP_CALLS = 500
# As services/common/service.py has it.
_GC_ALLOCATIONS = 50_000
_OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]


class Subject:
    """Interceptors of the server, what becomes of the channel, and how to send what waits."""

    def __init__(self, name: str, ratio: float) -> None:
        self.interceptors: list[Any] = []
        self.client_interceptors: list[Any] = []
        self.wrap: Callable[[Any, int], Any] = lambda channel, port: channel
        self.flush: Callable[[], object] = lambda: None
        self.floors: Callable[[], dict[str, float]] = dict
        if name == "ours":
            _ours(self, ratio)
        elif name == "contrib":
            _contrib(self, ratio)


def _ours(subject: Subject, ratio: float) -> None:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from bench.telemetry_floors import floors
    from services.tracing.client import TracingChannel, client_durations
    from services.tracing.metrics import start_metrics
    from services.tracing.otlp import Exporter
    from services.tracing.server import TracingInterceptor, server_durations
    from services.tracing.spans import Tracer

    resource = Resource({})
    processor = BatchSpanProcessor(Exporter(resource))
    tracer, served, called = Tracer(ratio, processor), server_durations(), client_durations()
    start_metrics(resource, [served, called])
    subject.interceptors = [TracingInterceptor(tracer, served)]
    subject.wrap = lambda channel, port: TracingChannel(
        channel, tracer, called, address="127.0.0.1", port=port
    )
    subject.flush = processor.force_flush
    subject.floors = floors


def _contrib(subject: Subject, ratio: float) -> None:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    # It is in the environment of the bench only.
    from opentelemetry.instrumentation import grpc as contrib
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(ratio))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    subject.interceptors = [contrib.aio_server_interceptor()]
    subject.client_interceptors = contrib.aio_client_interceptors()
    subject.flush = provider.force_flush


async def _answer(request: bytes, context: Any) -> bytes:
    return REPLY


class _Service(grpc.GenericRpcHandler):
    _handler = grpc.unary_unary_rpc_method_handler(_answer)

    def service(self, handler_call_details: Any) -> Any:
        return self._handler


async def _calls(start: Any, count: int) -> None:
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            assert await start(REQUEST, timeout=TIMEOUT_S) == REPLY

    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))


async def _main(name: str, ratio: float) -> None:
    subject = Subject(name, ratio)
    server = grpc.aio.server(interceptors=subject.interceptors)
    server.add_generic_rpc_handlers((_Service(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    raw = grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=_OPTIONS, interceptors=subject.client_interceptors
    )
    start = subject.wrap(raw, port).unary_unary(PATH)
    await _calls(start, WARM_UP_CALLS)
    subject.flush()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_ALLOCATIONS)
    print(json.dumps(subject.floors()), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        started_s = time.process_time()
        await _calls(start, int(line))
        await loop.run_in_executor(None, subject.flush)
        print((time.process_time() - started_s) * 1e6 / int(line), flush=True)
    await raw.close()
    await server.stop(0)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], float(sys.argv[2])))
