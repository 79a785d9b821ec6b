"""How long a spin or a choice waits for the mesh, and how often it asks."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from services.common import telemetry
from services.common.client import own_deadline
from services.common.errors import DeadlineExceeded, DomainError, Overloaded, Unavailable

A = TypeVar("A")
T = TypeVar("T")

# The mesh did not answer: the same ids are sent again while the time lasts (R6).
SILENT = frozenset({Unavailable.reason, DeadlineExceeded.reason})
# Once a round is drawn it is the gateway's to bring home, however full the queues.
SILENT_OR_FULL = SILENT | {Overloaded.reason}
_RETRY_PAUSE_S = 0.05
# Less time than this is not worth another attempt.
_ATTEMPT_S_MIN = 0.1


class Deadlines:
    """Starts the patience of spins and choices, all of one length, and ends it with one timer for all.

    They end in the order in which they start. A timer per call cost 30 us a spin, one per spin still 5.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._started: deque[Patience] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> "Patience":
        """The time of one spin or choice, from now on."""
        patience = Patience(self._loop, self._loop.time() + self._seconds)
        self._started.append(patience)
        if self._timer is None:
            self._timer = self._loop.call_at(patience.deadline_s, self._expire)
        return patience

    def _expire(self) -> None:
        """Those whose time is over. What was answered meanwhile is passed over, so that this runs seldom."""
        started, now_s = self._started, self._loop.time()
        while started and (started[0].ended or started[0].deadline_s <= now_s):
            started.popleft().expire()
        self._timer = self._loop.call_at(started[0].deadline_s, self._expire) if started else None


class Patience:
    """The time of one spin or choice, for all its calls; and the trace that they belong to."""

    __slots__ = ("_loop", "_waiting", "deadline_s", "ended", "over", "traceparent")

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline_s: float) -> None:
        self._loop, self.deadline_s = loop, deadline_s
        self.ended = self.over = False
        self._waiting: asyncio.Future[Any] | None = None
        self.traceparent = telemetry.traceparent()

    async def hop(
        self, ask: Callable[[A], asyncio.Future[T]], request: A, *, repeat: frozenset[str] = SILENT_OR_FULL
    ) -> T:
        """A hop's answer: the same ids are sent again until there is one. `repeat`: reasons that are none.

        A caller stops waiting at its own deadline; the batch that carries its item goes on (R12).
        Errors: UNAVAILABLE when the time is over, and the hop's own
        """
        while True:
            if self.over:
                raise Unavailable()
            try:
                self._waiting = answer = ask(request)
                return await answer
            except (DomainError, TimeoutError) as error:
                await self._pause(error, repeat)

    async def call(self, method: Callable[[A], Awaitable[T]], request: A) -> T:
        """As hop, for a call of its own: its deadline is what is left of the time."""
        while True:
            try:
                with own_deadline(self.deadline_s - self._loop.time()):
                    return await method(request)
            except DomainError as error:
                await self._pause(error, SILENT_OR_FULL)

    def end(self) -> None:
        """Nothing waits any more."""
        self.ended = True

    async def _pause(self, error: DomainError | TimeoutError, repeat: frozenset[str]) -> None:
        """Returns when it may be sent again. Errors: the error when it is an answer, UNAVAILABLE too late."""
        if isinstance(error, DomainError) and error.reason not in repeat:
            raise error
        if self.deadline_s - self._loop.time() < _ATTEMPT_S_MIN + _RETRY_PAUSE_S:
            raise Unavailable() from error
        await asyncio.sleep(_RETRY_PAUSE_S)

    def expire(self) -> None:
        """Ends what waits."""
        self.over = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(TimeoutError())
