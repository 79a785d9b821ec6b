"""The last traces, in memory."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from deploy.local.traces.search import Search
from deploy.local.traces.spans import Link, Span

CALLS_MAX = 2_000
# A lone player's spin goes through eight batches; spins in flight together share them. About 100 MB in all.
SHARED_MAX = 8_000
_EVERYTHING = Search()


class TraceStore:
    """Traces of two sorts: calls, and what calls share (batches, relays: their root is no server's span)."""

    def __init__(self, *, calls_max: int = CALLS_MAX, shared_max: int = SHARED_MAX) -> None:
        """How many traces of each sort are kept."""
        self._calls: OrderedDict[str, list[Span]] = OrderedDict()
        self._shared: OrderedDict[str, list[Span]] = OrderedDict()
        self._calls_max, self._shared_max = calls_max, shared_max
        self._changed = threading.Condition()

    def add(self, spans: Sequence[Span]) -> None:
        """Keeps the spans; the oldest traces of a sort leave when there are too many of it."""
        with self._changed:
            for span in spans:
                # A trace counts as a call until its root says otherwise: the root ends last.
                if not span.parent_span_id and span.kind != "SERVER":
                    self._shared.setdefault(span.trace_id, self._calls.pop(span.trace_id, []))
                kept = self._shared if span.trace_id in self._shared else self._calls
                kept.setdefault(span.trace_id, []).append(span)
            for traces, traces_max in ((self._calls, self._calls_max), (self._shared, self._shared_max)):
                while len(traces) > traces_max:
                    traces.popitem(last=False)
            self._changed.notify_all()

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace received so far, by start; empty when unknown."""
        with self._changed:
            spans = self._calls.get(trace_id) or self._shared.get(trace_id, [])
            return sorted(spans, key=lambda span: span.start_unix_ns)

    def span(self, link: Link) -> Span | None:
        """The one that a link leads to, if it is kept."""
        return next((span for span in self.trace(link.trace_id) if span.span_id == link.span_id), None)

    def spans(self) -> list[Span]:
        """All spans kept."""
        with self._changed:
            return self._all()

    def find(self, search: Search = _EVERYTHING) -> Iterator[list[Span]]:
        """The traces that match, newest first; of both sorts, but of calls where nothing is searched for."""
        with self._changed:
            kept = [(spans[0].start_unix_ns, tuple(spans)) for spans in self._calls.values()]
            if search != _EVERYTHING:
                kept += [(spans[0].start_unix_ns, tuple(spans)) for spans in self._shared.values()]
        for _, received in sorted(kept, key=lambda one: one[0], reverse=True):
            spans = sorted(received, key=lambda span: span.start_unix_ns)
            if search.matches(spans):
                yield spans

    def trace_ids(self, round_id: str = "") -> list[str]:
        """Those of calls, newest first; with a round id those, of either sort, of which a span carries it."""
        return [spans[0].trace_id for spans in self.find(Search(round_id=round_id))]

    def links_to(self, trace_id: str) -> list[tuple[Span, Link]]:
        """The spans of other traces that link to a span of this one, newest last, with that link."""
        return [
            (span, link)
            for span in sorted(self.spans(), key=lambda span: span.start_unix_ns)
            for link in span.links
            if link.trace_id == trace_id != span.trace_id
        ]

    def wait_for(self, condition: Callable[[list[Span]], bool], *, timeout_s: float = 10.0) -> list[Span]:
        """All spans, once the condition holds for them; raises TimeoutError naming what was received."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not condition(spans := self._all()):
                if not self._changed.wait(deadline - time.monotonic()):
                    names = sorted({f"{span.service} {span.name}" for span in spans})
                    raise TimeoutError(f"not seen in {timeout_s} s; {len(spans)} spans: {', '.join(names)}")
        return spans

    def _all(self) -> list[Span]:
        kept = (*self._shared.values(), *self._calls.values())
        return [span for spans in kept for span in spans]
