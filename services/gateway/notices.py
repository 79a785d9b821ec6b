"""What happened meanwhile, for those who are connected: balances that others moved, sessions that ended.

One subscription to the events service per operator that has somebody connected. Notices are a service, not a
promise: while events is away there are none, and a client that reconnects reads what it needs.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.events.v1 import events_pb2
from reelmesh.type.v1 import money_pb2

from services.common.errors import DomainError
from services.gateway.stubs import Stubs

log = logging.getLogger(__name__)

_TYPES = ("wallet.settled", "transfer.applied", "session.closed", "session.replaced")
_RETRY_AFTER_S = 1.0


class BalanceMoved(NamedTuple):
    """The account moved."""

    balance: money_pb2.Money
    account_version: int
    round_id: str
    """Empty where no round moved it."""


class SessionEnded(NamedTuple):
    """The session ended."""

    session_id: str
    state: str
    """CLOSED or REPLACED."""


Notice = BalanceMoved | SessionEnded


class Watcher(NamedTuple):
    """Who wants to know."""

    operator_id: str
    account_id: int
    session_id: str
    tell: Callable[[Notice], None]


@dataclass(slots=True)
class _Watched:
    """One operator's."""

    task: "asyncio.Task[None]"
    by_account: dict[int, set[Watcher]] = field(default_factory=dict)


class Notices:
    """Tells watchers."""

    def __init__(self, stubs: Stubs) -> None:
        self._stubs = stubs
        self._operators: dict[str, _Watched] = {}

    def watch(self, watcher: Watcher) -> None:
        """From now on."""
        watched = self._operators.get(watcher.operator_id)
        if watched is None:
            task = asyncio.create_task(self._follow(watcher.operator_id))
            watched = self._operators[watcher.operator_id] = _Watched(task)
        watched.by_account.setdefault(watcher.account_id, set()).add(watcher)

    def forget(self, watcher: Watcher) -> None:
        """No more; the last one of an operator ends its subscription."""
        watched = self._operators.get(watcher.operator_id)
        if watched is None:
            return
        of_account = watched.by_account.get(watcher.account_id, set())
        of_account.discard(watcher)
        if not of_account:
            watched.by_account.pop(watcher.account_id, None)
        if not watched.by_account:
            del self._operators[watcher.operator_id]
            watched.task.cancel()

    async def close(self) -> None:
        """Ends every subscription."""
        for watched in self._operators.values():
            watched.task.cancel()
        self._operators.clear()

    async def _follow(self, operator_id: str) -> None:
        request = events_pb2.SubscribeRequest(operator_id=operator_id, event_types=_TYPES)
        now = Timestamp()
        now.GetCurrentTime()
        request.append_time_start.CopyFrom(now)
        while True:
            heard = False
            try:
                async for answer in self._stubs.events.Subscribe(request):
                    request.cursor, heard = answer.cursor, True
                    for event in answer.events:
                        self._tell(operator_id, event)
            except DomainError as error:
                # A stream that has spoken ends by its age every other minute, and for a roll.
                level = logging.INFO if heard and error.reason == "UNAVAILABLE" else logging.WARNING
                log.log(level, "no notices for a moment: %s", error.reason)
                if error.reason == "CURSOR_EXPIRED":
                    request.cursor = ""
                    request.append_time_start.GetCurrentTime()
            await asyncio.sleep(_RETRY_AFTER_S)

    def _tell(self, operator_id: str, event: events_pb2.Event) -> None:
        watched = self._operators.get(operator_id)
        # Looked up first: most events are of players who are not connected here.
        of_account = watched.by_account.get(event.account_id) if watched else None
        if not of_account:
            return
        notice = _notice(event)
        if notice is None:
            return
        for watcher in tuple(of_account):
            try:
                watcher.tell(notice)
            except Exception as error:
                # One socket must not lose the others' notices.
                log.error("a notice was not told", exc_info=error)


def _notice(event: events_pb2.Event) -> Notice | None:
    if event.event_type.startswith("session."):
        return SessionEnded(event.session_id, event.event_type.removeprefix("session.").upper())
    if event.account_version == 0:
        return None  # nothing moved
    facts: dict[str, Any] = msgspec.json.decode(event.payload_json)
    balance = money_pb2.Money(currency_code=facts["currency_code"], amount_minor=facts["balance_after_minor"])
    return BalanceMoved(balance, event.account_version, event.round_id)
