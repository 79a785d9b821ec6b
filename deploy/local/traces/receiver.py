"""The OTLP receiver on this machine's own address, which also serves what it keeps."""

import json
import threading
import zlib
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from deploy.local.traces.answers import answer
from deploy.local.traces.search import Search, SearchError
from deploy.local.traces.spans import parse
from deploy.local.traces.store import CALLS_MAX, SHARED_MAX, TraceStore

_HOST = "127.0.0.1"
_BODY_BYTES_MAX = 64 * 2**20
_OTLP = "application/x-protobuf"
_OTLP_PATHS = ("/v1/traces", "/v1/metrics", "/v1/logs")
_PAGE = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES = {path.name: path.read_bytes() for path in _PAGE.iterdir() if path.suffix in _TYPES}
# Span names and attributes are others' text: nothing in them may run, load or send anything.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class TraceReceiver(TraceStore):
    """POST /v1/traces (OTLP protobuf, gzip allowed) in; the page at /, its JSON at /traces, out."""

    def __init__(self, port: int = 0, *, calls_max: int = CALLS_MAX, shared_max: int = SHARED_MAX) -> None:
        """How many traces of each sort are kept."""
        super().__init__(calls_max=calls_max, shared_max=shared_max)
        self._http = _Server(self, port)
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.05,), name="traces", daemon=True
        )

    @property
    def endpoint(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT, and for a browser."""
        return f"http://{_HOST}:{self._http.server_port}"

    def start(self) -> None:
        """Serves in a thread of its own until stop."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the server; the traces stay readable."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    # Five exporters connect again and again; their threads must not hold up the end of the process.
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, store: TraceStore, port: int) -> None:
        super().__init__((_HOST, port), _Handler)
        self.store = store


def _page_status(query: str) -> int:
    """The page comes with a wrong query, too: it asks for the JSON with it and shows what is wrong."""
    try:
        Search.parse(query)
    except SearchError:
        return 400
    return 200


class _Refused(Exception):
    """Status and text of an answer other than the asked one."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status, self.headers = status, headers


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """OTLP in. Metrics and logs are taken and dropped, so that exporters of them do not complain."""
        try:
            body = self._body()
            if self.path == "/v1/traces":
                self.server.store.add(parse(body))
        except (DecodeError, zlib.error):
            self._reply(400, b"not an OTLP export request\n", "text/plain")
        except _Refused as refused:
            self.close_connection = True
            self._reply(refused.status, f"{refused}\n".encode(), "text/plain", refused.headers)
        else:
            self._reply(200, ExportTraceServiceResponse().SerializeToString(), _OTLP)

    def do_GET(self) -> None:
        """The page, its files, and the traces as JSON."""
        if not self._is_local():
            self._reply(421, b"ask for 127.0.0.1 or localhost\n", "text/plain")
            return
        path, _, query = self.path.partition("?")
        name = path[1:] or "index.html"
        if name in _FILES:
            status = _page_status(query) if name == "index.html" else 200
            self._reply(status, _FILES[name], _TYPES[Path(name).suffix])
            return
        status, told = answer(self.server.store, path, query)
        self._reply(status, json.dumps(told, indent=1).encode() + b"\n", "application/json")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself: an unreadable request, or another method."""
        self.close_connection = True
        status, headers = (405, {"Allow": "GET, POST"}) if code == 501 else (code, {})
        self._reply(status, f"{message or code}\n".encode(), "text/plain", headers)

    def _is_local(self) -> bool:
        """A name that leads here must not let another site's page read the answers."""
        host, _, _ = self.headers.get("Host", "").partition(":")
        return host in (_HOST, "localhost")

    def _body(self) -> bytes:
        """The request's, uncompressed; raises _Refused."""
        if self.path not in _OTLP_PATHS:
            raise _Refused(404, f"OTLP is taken at {', '.join(_OTLP_PATHS)}")
        # Another site's page cannot send this type without being asked first, and is not answered then.
        if self.headers.get_content_type() != _OTLP:
            raise _Refused(415, f"only {_OTLP} is taken", Accept=_OTLP)
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            raise _Refused(411, "a Content-Length is needed")
        if int(length) > _BODY_BYTES_MAX:
            raise _Refused(413, f"more than {_BODY_BYTES_MAX} bytes")
        body = self.rfile.read(int(length))
        if self.headers.get("Content-Encoding") != "gzip":
            return body
        gzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        body = gzip.decompress(body, _BODY_BYTES_MAX)
        if gzip.unconsumed_tail:
            raise _Refused(413, f"more than {_BODY_BYTES_MAX} bytes")
        if not gzip.eof:
            raise zlib.error("cut short")
        return body

    def _reply(
        self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        text = content_type.startswith("text/")
        self.send_header("Content-Type", f"{content_type}; charset=utf-8" if text else content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in {**_HEADERS, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """The terminal belongs to the runner."""
