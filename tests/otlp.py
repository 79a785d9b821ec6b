"""An OTLP receiver that keeps everything as it came: spans, metrics, and nothing is forgotten."""

import gzip
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric

from deploy.local.traces import Span, parse

Attributes = dict[str, object]


class Point(NamedTuple):
    """One data point of a metric."""

    service: str
    metric: Metric
    attributes: Attributes
    exemplars: list[Exemplar]


class Received:
    """What processes sent to `endpoint`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metrics: list[tuple[str, Metric]] = []
        self.resources: list[Attributes] = []
        self._http = _Server(self)
        serve = self._http.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.05,), name="otlp", daemon=True)

    @property
    def endpoint(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "Received":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def points(self) -> list[Point]:
        """Every data point of every export."""
        return [
            Point(service, metric, attributes_of(point.attributes), list(getattr(point, "exemplars", ())))
            for service, metric in self.metrics
            for point in getattr(metric, metric.WhichOneof("data") or "gauge").data_points
        ]

    def take(self, path: str, body: bytes) -> None:
        """One export."""
        if path == "/v1/traces":
            self.resources += [
                attributes_of(one.resource.attributes)
                for one in ExportTraceServiceRequest.FromString(body).resource_spans
            ]
            self.spans += parse(body)
        elif path == "/v1/metrics":
            for one in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.resources.append(attributes_of(one.resource.attributes))
                service = str(self.resources[-1]["service.name"])
                self.metrics += [(service, metric) for scope in one.scope_metrics for metric in scope.metrics]


def attributes_of(pairs: Iterable[KeyValue]) -> Attributes:
    """Attributes as Python's own values."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "") for pair in pairs}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, received: Received) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received, self.lock = received, threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        with self.server.lock:
            self.server.received.take(self.path, body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """The tests' output is theirs."""
