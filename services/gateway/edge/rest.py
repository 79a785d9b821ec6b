"""REST: the routes of the table of operations, errors as RFC 9457 problem+json."""

import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote

import httptools
import msgspec
from opentelemetry import trace

from services.common import failpoints, telemetry
from services.common import telemetry_names as names
from services.common.server import TRACE_ID_KEY
from services.gateway import errors
from services.gateway.door import Door, bearer
from services.gateway.edge import explanation, websocket
from services.gateway.edge.calls import Calls, answer_json
from services.gateway.edge.document import FILES
from services.gateway.edge.exchange import Request, Response, problem
from services.gateway.operations import OPERATIONS, Operation, Route
from services.gateway.tracing import told

Ask: TypeAlias = Callable[[Request], Awaitable[Response]]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
# What a browser is shown instead of JSON.
_FOR_BROWSERS: dict[str, Callable[[Any], Response]] = {"ExplainRound": explanation.page}
_encode = msgspec.json.Encoder().encode
# Of RFC 9110, and PATCH.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})


class Rest:
    """The operations over the same rules as gRPC."""

    def __init__(self, door: Door) -> None:
        self._calls = Calls(door)
        # A target without parameters and query is looked up; for others the patterns are searched.
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Endpoint]] = []
        self._add("GET", websocket.PATH, websocket.PATH, _no_handshake)
        for path, file in FILES.items():
            self._add("GET", path, path, file.answer)
        for operation in OPERATIONS:
            for route in operation.routes:
                self._add(route.http_method, route.path, route.name, self._ask(operation, route))

    def _add(self, method: str, path: str, name: str, ask: Ask) -> None:
        endpoint = self._endpoint(method, path, name, ask)
        self._endpoints[method, path] = endpoint
        self._patterns.append((method, _pattern(path), endpoint))

    def answer(self, request: Request) -> Awaitable[Response]:
        """What the request is answered with: never an exception."""
        endpoint = self._endpoints.get((request.method, request.target)) or self._find(request)
        return endpoint(request)

    def _find(self, request: Request) -> Endpoint:
        """The endpoint of the request's path, whose parameters it sets. There are no redirects."""
        request.path, request.query = _split(request.target)
        # Answered like GET; the server leaves the body out.
        wanted = "GET" if request.method == "HEAD" else request.method
        allowed: list[str] = []
        for method, pattern, endpoint in self._patterns:
            found = pattern.fullmatch(request.path)
            if found is not None:
                if method == wanted:
                    request.parameters = found.groupdict()
                    return endpoint
                allowed += ["GET", "HEAD"] if method == "GET" else [method]
        return partial(_unrouted, allowed)

    def _ask(self, operation: Operation, route: Route) -> Ask:
        """How a request of this route is put to its operation."""
        if route.http_method == "GET":

            async def ask(request: Request) -> Response:
                shown = bearer(request.header(b"authorization"))
                query = parse_qs(request.query, keep_blank_values=True) if request.query else {}
                found = await self._calls.query_call(operation, route, shown, request.parameters, query)
                if operation.name in _FOR_BROWSERS and explanation.wants_page(request.header(b"accept")):
                    return _FOR_BROWSERS[operation.name](found)
                return Response(200, _encode(answer_json(operation, found)))

            return ask
        call = self._calls.body_call(operation, route)

        async def act(request: Request) -> Response:
            shown = bearer(request.header(b"authorization"))
            return Response(200, _encode(await call(shown, request.body, request.parameters)))

        return act

    def _endpoint(self, method: str, path: str, name: str, ask: Ask) -> Endpoint:
        span_name = f"{method} {path}"
        attributes = {names.HTTP_REQUEST_METHOD: method, names.HTTP_ROUTE: path}

        async def endpoint(request: Request) -> Response:
            started_s = time.perf_counter()
            with telemetry.span(
                span_name,
                kind=trace.SpanKind.SERVER,
                parent=request.header(b"traceparent"),
                attributes=attributes,
            ) as span:
                try:
                    if request.refusal is not None:
                        raise request.refusal
                    response = await ask(request)
                except Exception as error:
                    response = problem(told(error))
                _trace(response, span)
            _record(request, method, path, response.status, started_s, span)
            if failpoints.armed():
                response.after_reply = partial(failpoints.reach, "after_reply", name)
            return response

        return endpoint


async def _no_handshake(request: Request) -> Response:
    """A handshake that is one never gets here, but for a page that was listed just now."""
    if b"origin" in request.headers and b"sec-websocket-key" in request.headers:
        raise errors.OriginForbidden()
    response = problem(errors.UpgradeRequired())
    # What to upgrade to (RFC 9110, 15.5.22).
    response.headers["upgrade"] = "websocket"
    return response


def _pattern(path: str) -> re.Pattern[str]:
    """A route's path as an expression: a parameter is one segment, not empty."""
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))


def _split(target: str) -> tuple[str, str]:
    """Path, decoded, and query of a target; one that is no URL is all path."""
    try:
        url = httptools.parse_url(target.encode("latin-1"))
    except httptools.HttpParserInvalidURLError:
        return target, ""
    return unquote((url.path or b"/").decode("latin-1")), (url.query or b"").decode("latin-1")


def _trace(response: Response, span: trace.Span) -> None:
    """Gives the response its trace id, and the span its status."""
    span.set_attribute(names.HTTP_RESPONSE_STATUS_CODE, response.status)
    if response.status >= 500:
        span.set_attribute(names.ERROR_TYPE, str(response.status))
        span.set_status(trace.StatusCode.ERROR)
    response.headers[TRACE_ID_KEY] = telemetry.trace_id()


def _record(
    request: Request, method: str, route: str | None, status: int, started_s: float, span: trace.Span
) -> None:
    """Counts the request. `method`: as it is named; `started_s`: by time.perf_counter()."""
    error = str(status) if status >= 500 else None
    values = (method, route, status, error, request.scheme)
    telemetry.http_requests.record(values, time.perf_counter() - started_s, span.get_span_context())


async def _unrouted(allowed: list[str], request: Request) -> Response:
    """What no route takes; it has a trace like every other answer."""
    started_s = time.perf_counter()
    # What a caller wrote for a method must not become a name.
    method = request.method if request.method in _METHODS else "_OTHER"
    with telemetry.span(
        "HTTP" if method == "_OTHER" else method,
        kind=trace.SpanKind.SERVER,
        parent=request.header(b"traceparent"),
        attributes={names.HTTP_REQUEST_METHOD: method},
    ) as span:
        if request.refusal is not None:
            response = problem(told(request.refusal))
        elif allowed:
            response = problem(errors.MethodNotAllowed(method=request.method))
            # Which methods there are (RFC 9110, 15.5.6).
            response.headers["allow"] = ", ".join(allowed)
        else:
            response = problem(errors.RouteNotFound(path=request.path))
        _trace(response, span)
    _record(request, method, None, response.status, started_s, span)
    return response
