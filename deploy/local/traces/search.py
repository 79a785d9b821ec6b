"""What can be asked for: the same words in the page's address and in the JSON's."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl

from deploy.local.traces.spans import Span
from services.common.telemetry_names import ROUND_ID

_TRACE_ID = re.compile("[0-9a-fA-F]{32}")
_TEXT_MAX = 200
_ANY = ("", "false")


class SearchError(ValueError):
    """A query that means nothing here. The message is for the one who typed it."""


@dataclass(frozen=True, slots=True)
class Search:
    """What a trace must be like; each part that is given must hold.

    round_id, service and name hold for one and the same span; name is any part of it, upper or lower case.
    duration_min_ms is of the root: what is done after the answer does not count.
    """

    trace_id: str = ""
    round_id: str = ""
    error: bool = False
    duration_min_ms: float = 0.0
    service: str = ""
    name: str = ""

    @classmethod
    def parse(cls, query: str) -> Self:
        """Of a URL's query; what is empty is not asked for. Raises SearchError."""
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=20)
        except ValueError as error:
            raise SearchError(f"not a query: {error}") from None
        given = dict(pairs)
        if len(given) < len(pairs):
            raise SearchError("each parameter may be given once")
        for key, value in given.items():
            if key not in cls.__slots__:
                raise SearchError(
                    f"unknown parameter {key[:_TEXT_MAX]!r}: known are {', '.join(cls.__slots__)}"
                )
            if len(value) > _TEXT_MAX:
                raise SearchError(f"{key}: longer than {_TEXT_MAX} characters")
        return cls(
            trace_id=trace_id(text) if (text := given.get("trace_id")) else "",
            round_id=given.get("round_id", ""),
            error=_error(given.get("error", "")),
            duration_min_ms=_duration_ms(given.get("duration_min_ms", "")),
            service=given.get("service", ""),
            name=given.get("name", "").lower(),
        )

    def matches(self, spans: Sequence[Span]) -> bool:
        """Whether a trace of these spans, one or more, is meant."""
        if self.trace_id and spans[0].trace_id != self.trace_id:
            return False
        if self.error and all(span.status != "ERROR" for span in spans):
            return False
        if self.duration_min_ms and duration_ms(spans) < self.duration_min_ms:
            return False
        return any(self._is_of(span) for span in spans)

    def _is_of(self, span: Span) -> bool:
        return (
            self.round_id in ("", span.attributes.get(ROUND_ID))
            and self.service in ("", span.service)
            and self.name in span.name.lower()
        )


def root(spans: Sequence[Span]) -> Span:
    """The span that nothing here called, else the first; of one span or more, by start."""
    return next((span for span in spans if not span.parent_span_id), spans[0])


def duration_ms(spans: Sequence[Span]) -> float:
    """How long its caller waited: the root's. What is done after the answer does not count."""
    first = root(spans)
    return round((first.end_unix_ns - first.start_unix_ns) / 1e6, 3)


def trace_id(text: str) -> str:
    """A trace's id as it is kept. Raises SearchError."""
    if not _TRACE_ID.fullmatch(text):
        raise SearchError("trace_id: 32 hex digits are expected")
    return text.lower()


def _error(text: str) -> bool:
    if text not in ("true", *_ANY):
        raise SearchError("error: true or false is expected")
    return text not in _ANY


def _duration_ms(text: str) -> float:
    try:
        number = float(text or 0)
    except ValueError:
        number = -1.0
    if not (number >= 0 and math.isfinite(number)):
        raise SearchError("duration_min_ms: a number of milliseconds, 0 or more, is expected")
    return number
