"""The JSON that is answered: a list of traces, or one with its links in both directions."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from deploy.local.traces.search import Search, SearchError, duration_ms, root, trace_id
from deploy.local.traces.spans import Link, Span
from deploy.local.traces.store import TraceStore
from services.common.telemetry_names import ROUND_ID

LISTED_MAX = 50
_PATHS = ["/", "/traces/<trace_id>", f"/traces?{'&'.join(f'{name}=' for name in Search.__slots__)}"]

Answer = tuple[int, dict[str, Any]]


def answer(store: TraceStore, path: str, query: str = "") -> Answer:
    """Status and JSON body of a GET."""
    parts = path.strip("/").split("/")
    try:
        if parts == ["traces"]:
            found = list(islice(store.find(Search.parse(query)), LISTED_MAX + 1))
            more = len(found) > LISTED_MAX
            return 200, {"traces": [_summary(spans) for spans in found[:LISTED_MAX]], "more": more}
        if len(parts) == 2 and parts[0] == "traces":
            return _trace(store, trace_id(parts[1]))
    except SearchError as error:
        return 400, {"error": str(error)}
    return 404, {"error": "not found", "paths": _PATHS}


def _trace(store: TraceStore, wanted: str) -> Answer:
    spans = store.trace(wanted)
    if not spans:
        return 404, {"error": f"no span of trace {wanted} is kept here", "paths": _PATHS}
    inward = store.links_to(wanted)
    linked_from = [_summary(store.trace(one)) for one in _once(span.trace_id for span, _ in inward)]
    links = _once(link.trace_id for span in spans for link in span.links if link.trace_id != wanted)
    rounds = _once(span.attributes[ROUND_ID] for span in spans if ROUND_ID in span.attributes)
    return 200, {
        **_summary(spans),
        "round_ids": rounds,
        "spans": [_span(store, span, inward) for span in spans],
        "links_to": [_summary(kept) for kept in map(store.trace, links) if kept],
        "linked_from": linked_from,
    }


def _span(store: TraceStore, span: Span, inward: Sequence[tuple[Span, Link]]) -> dict[str, Any]:
    """The span, what its links lead to, and which spans link to it."""
    to_it = (other for other, link in inward if link.span_id == span.span_id)
    return {
        **asdict(span),
        "links": [_end(link, store.span(link)) for link in span.links],
        "linked_from": [_end(Link(other.trace_id, other.span_id), other) for other in to_it],
    }


def _end(link: Link, span: Span | None) -> dict[str, str | None]:
    """One end of a link; without a name when its span is not kept."""
    return {**asdict(link), "service": span and span.service, "name": span and span.name}


def _summary(spans: Sequence[Span]) -> dict[str, Any]:
    return {
        "trace_id": spans[0].trace_id,
        "name": root(spans).name,
        "services": sorted({span.service for span in spans}),
        "span_count": len(spans),
        "error_count": sum(span.status == "ERROR" for span in spans),
        "start_unix_ns": spans[0].start_unix_ns,
        "duration_ms": duration_ms(spans),
    }


def _once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
