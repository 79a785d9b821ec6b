"""Log lines with the ids of the trace: JSON for programs, text for people."""

import logging
import re
import sys
import time
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import msgspec

from services.tracing.spans import traceparent

Format = Literal["auto", "json", "text"]

EXPORTER_LOG_INTERVAL_S = 3600.0


class LogFormatter(logging.Formatter):
    """One JSON object, or one line of text, per record, with the ids of the current span.

    The rows that PostgreSQL shows in DETAIL and CONTEXT are cut off: they may hold an outcome that nobody may
    read yet (R2).
    """

    def __init__(self, service: str, log_format: Literal["json", "text"]) -> None:
        super().__init__()
        self._service = service
        self._json = log_format == "json"
        self._encode = msgspec.json.Encoder().encode

    def format(self, record: logging.LogRecord) -> str:
        created = datetime.fromtimestamp(record.created, UTC)
        span, exception = traceparent(), ""
        if record.exc_info:
            exception = re.sub(r"\n(DETAIL|CONTEXT): .*", "", self.formatException(record.exc_info))
        if not self._json:
            ids = f" trace={span[3:35]}" if span else ""
            head = f"{created.astimezone():%H:%M:%S}.{created.microsecond // 1000:03} {record.levelname:<7}"
            line = f"{head} {self._service} {record.getMessage()} ({record.name}{ids})"
            return f"{line}\n{exception}" if exception else line
        fields: dict[str, Any] = {
            "time": created.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if span:
            fields |= {"trace_id": span[3:35], "span_id": span[36:52]}
        if exception:
            fields["exception"] = exception
        return self._encode(fields).decode()


class _OncePerHour(logging.Filter):
    """Lets the exporters say once that the collector is away, not for every batch they lose."""

    _next_time_s = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("opentelemetry"):
            return True
        if record.levelno < logging.WARNING or time.monotonic() < self._next_time_s:
            return False
        self._next_time_s = time.monotonic() + EXPORTER_LOG_INTERVAL_S
        # One line, whatever the transport's exception looks like.
        record.msg, record.args, record.exc_info = (
            "telemetry is not delivered: %s",
            (record.getMessage(),),
            None,
        )
        return True


def log_to(stream: TextIO, service: str, log_format: Format) -> None:
    """Every record of this process to `stream`; "auto" is text on a terminal and JSON elsewhere."""
    if log_format == "auto":
        log_format = "text" if stream.isatty() else "json"
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogFormatter(service, log_format))
    handler.addFilter(_OncePerHour())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # Python's own last words, which a program that reads these lines could not parse.
    sys.excepthook = lambda kind, error, traceback: root.critical(
        "the process ends", exc_info=(kind, error, traceback)
    )
