"""A round explained: each service answers for its own tables, and here it is put side by side.

Nobody is made to answer: what a service does not say is named, and the rest is told. Nothing is changed.
What a service shows of a round it decides itself (R2), so nothing here can show more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from reelmesh.events.v1 import events_pb2
from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common import fields
from services.common.errors import DomainError, Unavailable
from services.common.times import datetime_of
from services.gateway.errors import RoundNotFound
from services.gateway.explain.checks import judge
from services.gateway.explain.facts import OFF, Facts, state_name, text_of
from services.gateway.store import Operator
from services.gateway.stubs import Stubs

A = TypeVar("A")
M = TypeVar("M")
EVENTS_MAX = 500
# Whose events name rounds. No check looks at the gateway's: what clients report, what operators asked for.
GATEWAY = "gateway"
_SOURCES = ("wallet", "game", GATEWAY)


class Explanations:
    """Explains the rounds of operators."""

    def __init__(self, stubs: Stubs, *, trace_url: str) -> None:
        """`trace_url`: where a trace is shown, with {trace_id} in it; empty: nowhere."""
        self._stubs, self._trace_url = stubs, trace_url

    async def explain(
        self, operator: Operator, request: gateway_pb2.ExplainRoundRequest
    ) -> gateway_pb2.ExplainRoundResponse:
        """All that is known of one of the operator's rounds, and whether it adds up.

        Errors: FIELD_INVALID, ROUND_NOT_FOUND, UNAVAILABLE when those are silent who could know it.
        """
        round_id = str(fields.require_uuid(request.round_id, "round_id"))
        facts = await self._ask(operator.operator_id, round_id, replay=request.replay)
        checks = judge(facts, replay=request.replay)
        response = gateway_pb2.ExplainRoundResponse(
            round_id=round_id,
            adds_up=all(check.result != OFF for check in checks),
            checks=checks,
            missing=[gateway_pb2.ExplainGap(part=part, reason=reason) for part, reason in facts.gaps.items()],
            timeline=_timeline(facts),
            traces=self._traces(facts),
            session=facts.session,
            game=facts.game,
            wallet=facts.wallet,
            events=facts.events or (),
        )
        return response

    async def _ask(self, operator_id: str, round_id: str, *, replay: bool) -> Facts:
        facts, stubs = Facts(), self._stubs
        game, wallet, told = await asyncio.gather(
            _answer(
                facts,
                "game",
                stubs.game.ExplainRound,
                game_pb2.ExplainRoundRequest(operator_id=operator_id, round_id=round_id, replay=replay),
            ),
            _answer(
                facts,
                "wallet",
                stubs.wallet.ExplainBooks,
                wallet_pb2.ExplainBooksRequest(operator_id=operator_id, round_id=round_id),
            ),
            # Each by itself: however much a client says of a round, what the services told is not pushed out.
            asyncio.gather(*(self._events(facts, operator_id, round_id, source) for source in _SOURCES)),
        )
        facts.game = game and game.record
        facts.wallet = wallet and wallet.books
        if all(events is not None for events in told):
            stored = [event for events in told for event in events or ()]
            facts.events = sorted(stored, key=lambda event: event.position)
        _require_somebody(facts)
        if facts.game is None:
            facts.gaps["session"] = "without the round nobody knows the spin's id"
            return facts
        round_ = facts.game.round
        session = await _answer(
            facts,
            "session",
            stubs.session.ExplainSpin,
            session_pb2.ExplainSpinRequest(
                operator_id=operator_id, account_id=round_.account_id, request_id=round_.request_id
            ),
        )
        if session is not None and session.HasField("record"):
            facts.session = session.record
        return facts

    async def _events(
        self, facts: Facts, operator_id: str, round_id: str, source: str
    ) -> Sequence[events_pb2.Event] | None:
        """What events has of this source; None when it does not answer."""
        request = events_pb2.ListEventsRequest(
            operator_id=operator_id, round_id=round_id, source=source, page_size=EVENTS_MAX
        )
        answer = await _answer(facts, "events", self._stubs.events.ListEvents, request)
        if answer is None:
            return None
        if answer.HasField("append_time_oldest"):
            facts.events_oldest = datetime_of(answer.append_time_oldest)
        if answer.next_page_token:
            part = "events" if source != GATEWAY else "events of gateway"
            facts.gaps[part] = f"more than {EVENTS_MAX}"
        return answer.events

    def _traces(self, facts: Facts) -> list[gateway_pb2.ExplainTrace]:
        """Each trace once, with what it did first."""
        traces: dict[str, gateway_pb2.ExplainTrace] = {}
        for text, traceparent in _traceparents(facts):
            trace_id = traceparent[3:35]
            if len(trace_id) == 32 and trace_id not in traces:
                traces[trace_id] = gateway_pb2.ExplainTrace(
                    trace_id=trace_id,
                    text=text,
                    sampled=traceparent.endswith("1"),
                    url=self._trace_url.replace("{trace_id}", trace_id),
                )
        return list(traces.values())


async def _answer(facts: Facts, part: str, call: Callable[[M], Awaitable[A]], request: M) -> A | None:
    """A service's answer; None when there is none, and then it is noted, but for a round it does not know."""
    try:
        return await call(request)
    except DomainError as error:
        if (part, error.reason) != ("game", RoundNotFound.reason):
            facts.gaps[part] = error.reason
        return None


def _require_somebody(facts: Facts) -> None:
    """Errors: ROUND_NOT_FOUND when nobody has it, UNAVAILABLE when it cannot be told whether anybody has."""
    booked = facts.wallet is not None and (facts.wallet.steps or facts.wallet.calls)
    told = any(event.source != GATEWAY for event in facts.events or ())
    if facts.game is not None or booked or told:
        return
    if "game" in facts.gaps or facts.gaps.get("wallet", RoundNotFound.reason) != RoundNotFound.reason:
        raise Unavailable()
    raise RoundNotFound()


def _traceparents(facts: Facts) -> Iterator[tuple[str, str]]:
    if facts.game is not None:
        yield "first execution", facts.game.traceparent
        for change in facts.game.changes:
            if change.step:
                yield f"step {change.step} {change.choice}", change.traceparent
            elif change.traceparent:
                yield f"opened, {state_name(change.state)}", change.traceparent
    for event in facts.events or ():
        yield event.event_type, event.traceparent


def _timeline(facts: Facts) -> list[gateway_pb2.ExplainMoment]:
    moments: list[gateway_pb2.ExplainMoment] = []

    def add(service: str, time: datetime, text: str, traceparent: str = "") -> None:
        moment = gateway_pb2.ExplainMoment(service=service, text=text, trace_id=traceparent[3:35])
        moment.time.FromDatetime(time)
        moments.append(moment)

    if facts.session is not None:
        session = facts.session
        add(
            "session",
            datetime_of(session.authorize_time),
            f"authorised {text_of(session.stake)} in mode {session.mode},"
            f" policy {session.session.jurisdiction}",
        )
    if facts.game is not None:
        game = facts.game
        drawn = "drawn" if game.draw_hash else f"{state_name(game.birth)}, nothing drawn"
        add("game", datetime_of(game.round.create_time), drawn, game.traceparent)
        for change in game.changes:
            add("game", datetime_of(change.create_time), _change(change), change.traceparent)
        if game.HasField("review"):
            add("game", datetime_of(game.review.create_time), f"in review: {game.review.problem}")
    if facts.wallet is not None:
        for call in facts.wallet.calls:
            name = wallet_pb2.ExternalStep.Name(call.step).removeprefix("EXTERNAL_STEP_")
            text = f"operator's wallet asked: {name} {text_of(call.amount)}, {call.attempts} attempts,"
            add("wallet", datetime_of(call.create_time), f"{text} {call.outcome or call.state}")
        for step in facts.wallet.steps:
            add("wallet", datetime_of(step.create_time), _step(step))
        if facts.wallet.HasField("reversal"):
            reversal = facts.wallet.reversal
            text = (
                f"given back by {reversal.actor} ({reversal.reason}), {text_of(reversal.balance_after)} left"
            )
            add("wallet", datetime_of(reversal.create_time), text)
    for event in facts.events or ():
        text = f"stored {event.event_type} of {event.source}"
        if event.event_type.startswith("client."):
            text = f"stored {event.event_type}: the client's word"
        add("events", datetime_of(event.append_time), text, event.traceparent)
    return sorted(moments, key=lambda moment: moment.time.ToNanoseconds())


def _change(change: game_pb2.RoundChange) -> str:
    state, amount = state_name(change.state), text_of(change.amount)
    if change.step:
        who = game_pb2.DecidedBy.Name(change.decided_by).removeprefix("DECIDED_BY_")
        return f"step {change.step}: {change.choice} by {who}, {amount} at risk, {state}"
    if change.state == game_pb2.ROUND_STATE_OPEN:
        return f"OPEN, {amount} at risk"
    return f"{state}, {amount} paid" if change.state == game_pb2.ROUND_STATE_SETTLED else state


def _step(step: wallet_pb2.BookedStep) -> str:
    kind = (
        wallet_pb2.SettleStep.Name(step.step).removeprefix("SETTLE_STEP_").replace("UNSPECIFIED", "tombstone")
    )
    status = wallet_pb2.SettlementStatus.Name(step.status).removeprefix("SETTLEMENT_STATUS_")
    if not step.account_version:
        return f"{kind} {status}, nothing moved"
    text = f"{kind} {status}: {step.stake.amount_minor} staked, {step.win.amount_minor} won,"
    return f"{text} balance {text_of(step.balance_after)}, version {step.account_version}"
