"""What a verdict leaves behind beside its row: names on a span, and a log line where a person has to look."""

import logging
from typing import Any

from opentelemetry import trace

from services.common import telemetry
from services.common import telemetry_names as names
from services.wallet.records import Settlement, Status

log = logging.getLogger(__name__)

_WHY_KEPT = {Status.VOID: "void", Status.REVERSED: "void", Status.NEEDS_REVIEW: "review"}


def note(settlement: Settlement, span: trace.Span | None = None, traceparent: str = "") -> None:
    """Names the round on the item's span, or the call's; replays, voids and reviews are kept at any ratio."""
    if settlement.status is Status.NEEDS_REVIEW and not settlement.replayed:
        log.error("round %s needs review: a person has to decide about its rollback", settlement.round_id)
    span = span or trace.get_current_span()
    why = _WHY_KEPT.get(settlement.status) or ("replay" if settlement.replayed else None)
    if span.is_recording():
        span.set_attribute(names.ROUND_ID, settlement.round_id)
        span.set_attribute(names.REPLAYED, settlement.replayed)
        # A collector that keeps a part of the traces must not lose this one (docs/traces.md).
        if why is not None:
            span.set_attribute(names.KEEP, why)
    elif why is not None:
        attributes: dict[str, Any] = {names.ROUND_ID: settlement.round_id}
        with telemetry.span("wallet.verdict", parent=traceparent):
            telemetry.keep("wallet.verdict", why=why, **attributes)
