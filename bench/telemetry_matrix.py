"""What contrib's interceptors leave of every way a call ends: the tests' matrix, as Markdown.

PYTHONPATH=.venv/bench:.:gen .venv/bin/python -m bench.telemetry_matrix
"""

import asyncio
import gc
from typing import Any

import grpc
from opentelemetry import trace

# It is in the environment of the bench only.
from opentelemetry.instrumentation import grpc as contrib
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.integration.tracing.matrix import CASES, NO_PROXY, Stage, cells, play

# A caller gets this long, and so do spans that may come late.
_CELL_S, _LATE_S = 5.0, 0.6


async def cell(exporter: InMemorySpanExporter, case: str, shape: str) -> str:
    """A row of the table."""
    # What the cell before left open ends now, and is not this one's.
    gc.collect()
    await asyncio.sleep(0.1)
    exporter.clear()
    stage = Stage([contrib.aio_server_interceptor()])
    await stage.start()
    channel = grpc.aio.insecure_channel(
        f"127.0.0.1:{stage.port}", options=NO_PROXY, interceptors=contrib.aio_client_interceptors()
    )
    try:
        told = (await asyncio.wait_for(play(stage, channel, case, shape), _CELL_S)).name
    except TimeoutError:
        told = "never answered"
    except Exception as error:
        told = type(error).__name__
    await asyncio.sleep(_LATE_S)
    reached = "yes" if stage.toy.cancelled.is_set() else "no"
    spans: dict[str, list[Any]] = {"CLIENT": [], "SERVER": []}
    for span in exporter.get_finished_spans():
        spans[span.kind.name].append(span)
    await channel.close()
    await stage.server.stop(0)
    columns = [case, shape, told, *(_shown(spans[kind]) for kind in ("CLIENT", "SERVER"))]
    return " | ".join([*columns, reached if CASES[case].ask == "hang" else ""])


def _shown(spans: list[Any]) -> str:
    if not spans:
        return "none"
    [span] = spans
    code = span.attributes.get("rpc.grpc.status_code")
    return f"{span.status.status_code.name}, code {code}, {len(span.events)} events"


async def main() -> None:
    """The whole table."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    print("| case | shape | caller is told | client span | server span | cancel reached the server |")
    print("|---|---|---|---|---|---|")
    for case, shape in cells():
        print(f"| {await cell(exporter, case, shape)} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
