"""An explanation as JSON, and as one plain page: no script, nothing loaded, everything escaped."""

import datetime
import html
from collections.abc import Sequence
from typing import Any

import msgspec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.type.v1.money_pb2 import Money

from services.gateway.edge import messages
from services.gateway.edge.exchange import Response, security_lines

# Of these the value is JSON already.
_RAW = frozenset({"outcome_json", "payload_json"})
_SECURITY = security_lines("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100%; margin-bottom: 2em }
th, td { text-align: left; vertical-align: top; padding: .3em .8em .3em 0; border-bottom: 1px solid #ddd }
td { overflow-wrap: anywhere } .OK { color: #060 } .OFF { color: #b00; font-weight: bold }
.NOT_YET, .UNKNOWN { color: #850 } pre { white-space: pre-wrap; background: #f6f6f6; padding: 1em }
"""


def wants_page(accept: str) -> bool:
    """Whether an Accept header asks for HTML before JSON, as browsers do."""
    kinds = [kind.split(";")[0].strip() for kind in accept.split(",")]
    wanted = [kind for kind in kinds if kind in ("text/html", "application/json")]
    return wanted[:1] == ["text/html"]


def explanation_json(explained: gateway_pb2.ExplainRoundResponse) -> dict[str, Any]:
    """Field by field as in gateway.proto; what is absent is null."""
    return {field.name: _field(explained, field) for field in explained.DESCRIPTOR.fields}


def _message(message: Message) -> Any:
    if isinstance(message, Timestamp):
        return messages.time_json(message)
    if isinstance(message, Money):
        return messages.amount_json(message)
    if isinstance(message, Duration):
        return f"{message.ToTimedelta() / datetime.timedelta(seconds=1):g}s"
    return {field.name: _field(message, field) for field in message.DESCRIPTOR.fields}


def _field(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_value(field, one) for one in value]
    if field.message_type is not None and not message.HasField(field.name):
        return None
    return _value(field, value)


def _value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return _message(value)
    if field.enum_type is not None:
        # The zero value's name is the prefix of all, and UNSPECIFIED.
        prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
        return field.enum_type.values_by_number[value].name.removeprefix(prefix) if value else None
    if field.name in _RAW:
        return msgspec.Raw(value) if value else None
    return value


def page(explained: gateway_pb2.ExplainRoundResponse) -> Response:
    """For people: what adds up, what happened, what is missing, and all of it as JSON."""
    verdict = "adds up" if explained.adds_up else "does not add up"
    result_of = gateway_pb2.CheckResult.Name
    checks = [
        (result_of(check.result).removeprefix("CHECK_RESULT_"), check.promise, check.detail, check.todo)
        for check in explained.checks
    ]
    timeline = [
        (messages.time_json(moment.time).isoformat(), moment.service, moment.text, moment.trace_id)
        for moment in explained.timeline
    ]
    traces = [
        (trace.trace_id, trace.text, "sampled" if trace.sampled else "not sampled, so not kept", trace.url)
        for trace in explained.traces
    ]
    text = msgspec.json.format(msgspec.json.encode(explanation_json(explained)), indent=2).decode()
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Round</title>",
        f"<style>{_STYLE}</style><h1>Round {html.escape(explained.round_id)} {verdict}</h1>",
        _table(("", "promise", "found", "to do"), checks, marked=True),
        "<h2>Missing</h2>" if explained.missing else "",
        _table(("part", "why"), [(gap.part, gap.reason) for gap in explained.missing]),
        "<h2>What happened</h2>",
        _table(("time (UTC)", "service", "what", "trace"), timeline),
        "<h2>Traces</h2>",
        _table(("trace", "what", "kept", "shown at"), traces),
        f"<h2>Everything</h2><pre>{html.escape(text)}</pre></html>\n",
    ]
    return Response(200, "".join(parts).encode(), "text/html; charset=utf-8", security=_SECURITY)


def _table(head: Sequence[str], rows: Sequence[tuple[str, ...]], *, marked: bool = False) -> str:
    """`marked`: the first cell is a check's result, and coloured so."""
    if not rows:
        return ""
    lines = ["<table><tr>", *(f"<th>{cell}</th>" for cell in head), "</tr>"]
    for row in rows:
        mark = f" class={row[0]}" if marked else ""
        cells = [f"<td>{html.escape(cell)}</td>" for cell in row[1:]]
        lines += [f"<tr><td{mark}>{html.escape(row[0])}</td>", *cells, "</tr>"]
    return "".join([*lines, "</table>"])
