"""What each promise about a round comes to, where no mesh brings it about by itself in a moment."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.events.v1 import events_pb2
from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.type.v1 import account_kind_pb2
from reelmesh.type.v1.money_pb2 import Money
from reelmesh.wallet.v1 import wallet_pb2

from services.gateway.explain.checks import judge
from services.gateway.explain.facts import Facts

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OLD = NOW - timedelta(hours=1)
ACCOUNT_ID = 2
APPLIED, REVERSED = wallet_pb2.SETTLEMENT_STATUS_APPLIED, wallet_pb2.SETTLEMENT_STATUS_REVERSED


def at(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def eur(amount_minor: int) -> Money:
    return Money(currency_code="EUR", amount_minor=amount_minor)


def event(event_type: str, version: int, **facts: Any) -> events_pb2.Event:
    facts = {"account_kind": "REAL", "currency_code": "EUR", "stake_minor": 100, **facts}
    return events_pb2.Event(
        event_type=event_type,
        account_id=ACCOUNT_ID,
        account_version=version,
        payload_json=json.dumps(facts).encode(),
    )


def gambled() -> Facts:
    """A round that drew 200, was gambled to 400, and paid; all of it an hour ago."""
    game = game_pb2.RoundRecord(
        birth=game_pb2.ROUND_STATE_PENDING,
        offers_choice=True,
        stake_applied=True,
        draw_hash="ab",
        drawn_win=eur(200),
        read_time=at(NOW),
    )
    game.round.account_id, game.round.kind = ACCOUNT_ID, account_kind_pb2.ACCOUNT_KIND_REAL
    game.round.player_id, game.round.state = "player", game_pb2.ROUND_STATE_SETTLED
    game.round.stake.CopyFrom(eur(100))
    game.round.create_time.CopyFrom(at(OLD))
    opened, settled = game_pb2.ROUND_STATE_OPEN, game_pb2.ROUND_STATE_SETTLED
    moved: dict[str, Any] = {"create_time": at(OLD)}
    game.changes.add(
        state=opened, amount=eur(200), balance_after=eur(900), account_version=1, traceparent="t", **moved
    )
    game.changes.add(
        state=game_pb2.ROUND_STATE_SETTLING, step=1, choice="RED", amount=eur(400), traceparent="t", **moved
    )
    game.changes.add(state=settled, amount=eur(400), balance_after=eur(1300), account_version=2, **moved)
    wallet = wallet_pb2.RoundBooks(read_time=at(NOW))
    wallet.account.account_id, wallet.account.player_id = ACCOUNT_ID, "player"
    wallet.account.kind = account_kind_pb2.ACCOUNT_KIND_REAL
    moved |= {"account_id": ACCOUNT_ID, "status": APPLIED}
    stake, payout = wallet_pb2.SETTLE_STEP_STAKE, wallet_pb2.SETTLE_STEP_PAYOUT
    wallet.steps.add(
        step=stake, stake=eur(100), win=eur(0), balance_after=eur(900), account_version=1, **moved
    )
    wallet.steps.add(
        step=payout, stake=eur(0), win=eur(400), balance_after=eur(1300), account_version=2, **moved
    )
    events = [
        event("wallet.settled", 1, step="STAKE", status="APPLIED", win_minor=0, balance_after_minor=900),
        event(
            "wallet.settled",
            2,
            step="PAYOUT",
            status="APPLIED",
            stake_minor=0,
            win_minor=400,
            balance_after_minor=1300,
        ),
        event("round.open", 1, win_minor=200, balance_after_minor=900),
        event("round.settled", 2, win_minor=400, balance_after_minor=1300),
    ]
    return Facts(game=game, wallet=wallet, events=events, gaps={"session": "not asked"})


def results(facts: Facts) -> dict[str, str]:
    """Every promise that is not kept, and what became of it."""
    name_of = gateway_pb2.CheckResult.Name
    return {
        check.name: name_of(check.result).removeprefix("CHECK_RESULT_")
        for check in judge(facts, replay=False)
        if check.name not in ("authorised", "definition_known", "postings_balance", "balances_follow")
        and check.result != gateway_pb2.CHECK_RESULT_OK
    }


def test_a_gambled_round_adds_up() -> None:
    assert results(gambled()) == {}


def test_a_round_in_review_waits_for_a_person_and_is_not_off() -> None:
    facts = gambled()
    assert facts.game is not None and facts.events is not None
    facts.game.round.state = game_pb2.ROUND_STATE_NEEDS_REVIEW
    facts.game.review.problem = "reconcile: something"
    facts.game.review.create_time.CopyFrom(at(OLD))
    facts.events = [*facts.events, event("round.needs_review", 0)]
    assert results(facts) == {"state_agrees": "NOT_YET", "no_review": "NOT_YET"}


@pytest.mark.parametrize("step", [0, 1])
def test_what_was_left_after_the_choice_is_what_was_paid(step: int) -> None:
    facts = gambled()
    assert facts.game is not None
    facts.game.changes[step].amount.amount_minor += 1
    assert results(facts) == {"win_agrees": "OFF"}


@pytest.mark.parametrize(
    ("changed", "broken"),
    [
        ({"stake_minor": 7}, "game_told"),
        ({"balance_after_minor": 7}, "game_told"),
        ({"win_minor": 7}, "game_told"),
        ({"currency_code": "USD"}, "account_agrees"),
        ({"account_kind": "DEMO"}, "account_agrees"),
    ],
)
def test_an_event_tells_all_as_it_is_recorded(changed: dict[str, Any], broken: str) -> None:
    facts = gambled()
    assert facts.events is not None
    last = facts.events[-1]
    last.payload_json = json.dumps({**json.loads(last.payload_json), **changed}).encode()
    assert results(facts) == {broken: "OFF"}


def test_an_event_of_another_account_is_off() -> None:
    facts = gambled()
    assert facts.events is not None
    facts.events[0].account_id += 2
    assert results(facts) == {"account_agrees": "OFF"}


def test_a_reversal_on_another_account_is_off() -> None:
    facts = gambled()
    assert facts.wallet is not None
    facts.wallet.reversal.CopyFrom(
        wallet_pb2.BookedStep(account_id=ACCOUNT_ID + 2, status=REVERSED, create_time=at(OLD))
    )
    assert results(facts)["account_agrees"] == "OFF"


@pytest.mark.parametrize(
    ("step", "amount_minor", "broken"),
    [
        (wallet_pb2.EXTERNAL_STEP_STAKE, 100, {}),
        (wallet_pb2.EXTERNAL_STEP_STAKE, 101, {"stake_agrees": "OFF"}),
        (wallet_pb2.EXTERNAL_STEP_PAYOUT, 400, {}),
        (wallet_pb2.EXTERNAL_STEP_PAYOUT, 401, {"win_agrees": "OFF"}),
    ],
)
def test_an_operator_s_own_wallet_was_asked_for_what_is_booked(
    step: wallet_pb2.ExternalStep.ValueType, amount_minor: int, broken: dict[str, str]
) -> None:
    facts = gambled()
    assert facts.wallet is not None
    facts.wallet.calls.add(step=step, amount=eur(amount_minor), state="DONE", outcome="APPLIED")
    assert results(facts) == broken


@pytest.mark.parametrize(
    ("age", "unsent_after", "result"),
    [
        (timedelta(hours=1), None, "OFF"),
        (timedelta(seconds=5), None, "NOT_YET"),
        # The row of the outbox is written with the fact, a little later by its own clock.
        (timedelta(hours=1), timedelta(seconds=3), "NOT_YET"),
        (timedelta(hours=1), -timedelta(minutes=1), "NOT_YET"),
        (timedelta(hours=1), timedelta(seconds=10), "OFF"),
    ],
)
def test_what_waits_at_the_relay_is_on_its_way(
    age: timedelta, unsent_after: timedelta | None, result: str
) -> None:
    """`unsent_after`: how much later than the fact the oldest row that is still to be sent was written."""
    facts = gambled()
    assert facts.wallet is not None and facts.events is not None
    for step in facts.wallet.steps:
        step.create_time.FromDatetime(NOW - age)
    if unsent_after is not None:
        facts.wallet.unsent_time.FromDatetime(NOW - age + unsent_after)
    facts.events = facts.events[1:]
    assert results(facts) == {"wallet_told": result}


def test_what_is_archived_cannot_be_told() -> None:
    facts = gambled()
    assert facts.events is not None
    facts.events, facts.events_oldest = facts.events[1:], NOW
    assert results(facts) == {"wallet_told": "UNKNOWN"}
    # What is there and nobody recorded is off whatever is archived.
    facts.events = [*facts.events, event("round.settled", 9, win_minor=400, balance_after_minor=1300)]
    assert results(facts)["game_told"] == "OFF"
