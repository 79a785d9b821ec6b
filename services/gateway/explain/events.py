"""Whether each fact of a round was told once: what wallet and game recorded against the events of both."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from reelmesh.events.v1 import events_pb2
from reelmesh.game.v1 import game_pb2
from reelmesh.type.v1 import account_kind_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common.times import datetime_of
from services.gateway.explain.facts import NOT_YET, OFF, OK, REVIEW, UNKNOWN, Facts, Verdict, state_name

# What a relay and an append take, when nothing is wrong.
EVENT_LAG = timedelta(seconds=10)
# One statement writes a row and the outbox beside it, each with a time of its own, the outbox a little later.
WRITE_MAX = timedelta(seconds=5)


def wallet_events(facts: Facts) -> Verdict:
    """One event per verdict."""
    if missing := facts.unknown("wallet", "events"):
        return missing
    assert facts.wallet is not None and facts.events is not None
    books, wanted = facts.wallet, Counter[tuple[Any, ...]]()
    times = [datetime_of(step.create_time) for step in books.steps]
    for step in books.steps:
        tombstone_of_reversal = not step.step and step.status == wallet_pb2.SETTLEMENT_STATUS_REVERSED
        if not tombstone_of_reversal:
            wanted[_booked(step, step.step)] += 1
    if books.HasField("reversal"):
        wanted[_booked(books.reversal, books.steps[0].step)] += 1
        times.append(datetime_of(books.reversal.create_time))
    told = Counter(_told(event) for event in facts.events if event.event_type == "wallet.settled")
    return _counted(facts, wanted, told, times, _time(books), datetime_of(books.read_time))


def game_events(facts: Facts) -> Verdict:
    """One event per change of the round; a choice is told by its end."""
    if missing := facts.unknown("game", "events"):
        return missing
    assert facts.game is not None and facts.events is not None
    game, wanted = facts.game, Counter[tuple[Any, ...]]()
    times, stake_minor = [datetime_of(game.round.create_time)], game.round.stake.amount_minor
    if not game.draw_hash:
        wanted[f"round.{state_name(game.birth).lower()}", 0, stake_minor, None, None] += 1
    for change in game.changes:
        times.append(datetime_of(change.create_time))
        if not change.step:
            paid = change.amount.amount_minor if change.state == game_pb2.ROUND_STATE_SETTLED else None
            name = f"round.{state_name(change.state).lower()}"
            balance = change.balance_after.amount_minor if change.HasField("balance_after") else None
            wanted[name, change.account_version, stake_minor, paid, balance] += 1
    if game.HasField("review"):
        times.append(datetime_of(game.review.create_time))
        wanted["round.needs_review", 0, stake_minor, None, None] += 1
    told = Counter[tuple[Any, ...]]()
    for event in facts.events:
        if event.event_type.startswith("round."):
            payload = msgspec.json.decode(event.payload_json)
            paid = payload.get("win_minor") if event.event_type == "round.settled" else None
            amounts = payload.get("stake_minor"), paid, payload.get("balance_after_minor")
            told[event.event_type, event.account_version, *amounts] += 1
    return _counted(facts, wanted, told, times, _time(game), datetime_of(game.read_time))


def is_told_of_another(facts: Facts) -> bool:
    """Whether an event of wallet or game names another account, kind or currency than the round."""
    assert facts.game is not None
    round_ = facts.game.round
    kind = account_kind_pb2.AccountKind.Name(round_.kind).removeprefix("ACCOUNT_KIND_")
    owner = round_.account_id, kind, round_.stake.currency_code
    for event in facts.events or ():
        if event.event_type == "wallet.settled" or event.event_type.startswith("round."):
            payload = msgspec.json.decode(event.payload_json)
            if owner != (event.account_id, payload.get("account_kind"), payload.get("currency_code")):
                return True
    return False


def _counted(
    facts: Facts,
    wanted: Counter[tuple[Any, ...]],
    told: Counter[tuple[Any, ...]],
    times: Iterable[datetime],
    unsent_time: datetime | None,
    now: datetime,
) -> Verdict:
    """One event per fact. `times`: of the facts; `unsent_time`: of the oldest that events does not have."""
    if told - wanted:
        return Verdict(OFF, f"events tell {_names(told - wanted)}, which nobody recorded so", REVIEW)
    if not wanted - told:
        return Verdict(OK, f"{sum(told.values())} of them")
    newest = max(times, default=now)
    lacking = f"no event of {_names(wanted - told)}"
    if unsent_time is not None and newest >= unsent_time - WRITE_MAX:
        return Verdict(NOT_YET, f"{lacking}: the relay has events since {unsent_time:%H:%M:%S} to send")
    if now - newest < EVENT_LAG:
        return Verdict(NOT_YET, f"{lacking}: on their way")
    if facts.events_oldest is not None and min(times, default=now) < facts.events_oldest:
        return Verdict(UNKNOWN, f"{lacking}: events of that day are archived")
    return Verdict(OFF, lacking, REVIEW)


def _booked(step: wallet_pb2.BookedStep, kind: int) -> tuple[Any, ...]:
    names = ("VOID", "FUSED", "STAKE", "PAYOUT")
    status = wallet_pb2.SettlementStatus.Name(step.status).removeprefix("SETTLEMENT_STATUS_")
    amounts = step.stake.amount_minor, step.win.amount_minor, step.balance_after.amount_minor
    return names[kind], status, *amounts, step.account_version


def _told(event: events_pb2.Event) -> tuple[Any, ...]:
    facts = msgspec.json.decode(event.payload_json)
    keys = ("step", "status", "stake_minor", "win_minor", "balance_after_minor")
    return *(facts.get(key) for key in keys), event.account_version


def _names(facts: Counter[tuple[Any, ...]]) -> str:
    return ", ".join(" ".join(str(part) for part in fact if part is not None) for fact in facts)


def _time(message: game_pb2.RoundRecord | wallet_pb2.RoundBooks) -> datetime | None:
    """Since when an event of this service waits."""
    return datetime_of(message.unsent_time) if message.HasField("unsent_time") else None
