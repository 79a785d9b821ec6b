"""No room for a spin: refused without a task, a span and JSON, for then there is least time for them."""

import random
import time

from services.common import telemetry
from services.common.server import TRACE_ID_KEY
from services.gateway.edge.exchange import Refusal, Request, Template, problem
from services.gateway.rounds import Rounds, no_room

# Of a flood one a second is answered the long way, so that traces show it; the others are only counted.
LONG_WAY_INTERVAL_S = 1.0
_TARGET = "/v1/spins"


class Refusals:
    """Refuses spins over REST while the gateway has as many as it takes."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self._template, self._status = _template()
        self._long_way_s = 0.0

    def refuse(self, request: Request) -> Refusal | None:
        """The refusal of a spin for which there is no room; None: nothing to refuse, or not in this way."""
        if not self._rounds.full or request.target != _TARGET or request.method != "POST":
            return None
        if request.refusal is not None:
            return None  # it could not be read, and is told so
        now_s = time.monotonic()
        if now_s >= self._long_way_s:
            self._long_way_s = now_s + LONG_WAY_INTERVAL_S
            return None
        self._rounds.refused += 1
        values = ("POST", _TARGET, self._status, None, request.scheme)
        telemetry.http_requests.record(values, time.monotonic() - now_s)
        return Refusal(self._template, _trace_id(request))


def _template() -> tuple[Template, int]:
    """The long way's own answer, once, and its status."""
    trace_id = 32 * "f"
    with telemetry.span("template", parent=f"00-{trace_id}-{16 * 'f'}-00"):
        response = problem(no_room())
    response.headers[TRACE_ID_KEY] = trace_id
    return Template(response, trace_id), response.status


def _trace_id(request: Request) -> bytes:
    """The caller's trace, else a new one."""
    if b"traceparent" in request.headers:
        context = telemetry.context_of(request.header(b"traceparent"))
        if context.is_valid:
            return b"%032x" % context.trace_id
    return b"%032x" % (random.getrandbits(128) or 1)
