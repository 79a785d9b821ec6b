"""One trace as indented lines: what called what, when it began and how long it took; who links to it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

_BAR_WIDTH = 30


def waterfall(spans: Sequence[dict[str, Any]]) -> list[str]:
    """Lines for the spans of one trace, as the trace receiver gives them; offsets from the first start."""
    if not spans:
        return ["no spans received (was the trace sampled?)"]
    begin_ns = min(span["start_unix_ns"] for span in spans)
    length_ns = max(max(span["end_unix_ns"] for span in spans) - begin_ns, 1)
    rows = list(_ordered(spans))
    name_width = max(len(f"{'  ' * depth}{span['name']}") for depth, span in rows)
    lines = [f"{'service':<10}{'span':<{name_width}}{'start ms':>10}{'ms':>9}  links"]
    for depth, span in rows:
        offset_ns, taken_ns = span["start_unix_ns"] - begin_ns, span["end_unix_ns"] - span["start_unix_ns"]
        first = min(_BAR_WIDTH * offset_ns // length_ns, _BAR_WIDTH - 1)
        bar = " " * first + "█" * max(1, min(_BAR_WIDTH * taken_ns // length_ns, _BAR_WIDTH - first))
        name = "  " * depth + span["name"]
        times = f"{offset_ns / 1e6:>10.2f}{taken_ns / 1e6:>9.2f}"
        lines.append(
            f"{span['service']:<10}{name:<{name_width}}{times}  {len(span['links']) or '':<5} {bar}".rstrip()
        )
    return lines


def linked(traces: Sequence[dict[str, Any]]) -> list[str]:
    """Lines for the traces that link to one, as the trace receiver gives them; none when there are none."""
    rows = [f"{one['name']:<26}{', '.join(one['services']):<18}{one['trace_id']}" for one in traces]
    return ["", "linked from it: batches that it shared, relays of its events", *rows] if rows else []


def relayed(traces: Sequence[dict[str, Any]]) -> bool:
    """Whether events are among them, told by who stores them."""
    return any("events" in one["services"] for one in traces)


def _ordered(spans: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Depth first by start. A span whose parent was not received counts as a root."""
    known = {span["span_id"] for span in spans}
    children: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span["start_unix_ns"]):
        parent = span["parent_span_id"]
        children[parent if parent in known else ""].append(span)
    pending = [(0, span) for span in reversed(children[""])]
    while pending:
        depth, span = pending.pop()
        yield depth, span
        pending += [(depth + 1, child) for child in reversed(children[span["span_id"]])]
