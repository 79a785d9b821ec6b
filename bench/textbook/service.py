"""How a textbook service starts: contrib tracing, a pooled engine, a gRPC server, a channel per peer."""

import os
from collections.abc import Callable
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation import grpc as grpc_tracing
from opentelemetry.instrumentation import sqlalchemy as sqlalchemy_tracing
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def start_tracing() -> None:
    """Traces over OTLP; name, sampler and endpoint come from the OTEL_ variables."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def create_engine() -> AsyncEngine:
    engine = create_async_engine(os.environ["TEXTBOOK_DATABASE_URL"], pool_size=30, max_overflow=20)
    # The instrumentation does not name SQLAlchemy 2.1 among its versions and would do nothing; it works.
    instrumentor = sqlalchemy_tracing.SQLAlchemyInstrumentor()
    instrumentor.instrument(engine=engine.sync_engine, skip_dep_check=True)
    return engine


def channel(service: str) -> grpc.aio.Channel:
    target = os.environ[f"TEXTBOOK_{service.upper()}_TARGET"]
    return grpc.aio.insecure_channel(target, interceptors=grpc_tracing.aio_client_interceptors())


async def serve(register: Callable[[Any, Any], None], make: Callable[[AsyncEngine], Any]) -> None:
    start_tracing()
    server = grpc.aio.server(interceptors=[grpc_tracing.aio_server_interceptor()])
    register(make(create_engine()), server)
    server.add_insecure_port(f"127.0.0.1:{os.environ['TEXTBOOK_PORT']}")
    await server.start()
    await server.wait_for_termination()
