"""What an answer of the wallet makes of a round, in every state."""

import datetime as dt

import pytest
from msgspec.structs import replace

from services.game.records import Kind, Round, Settlement, SettleStep, State, Status, Step
from services.game.settlements import judge

ROUND = Round(
    round_id="019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6071",
    account_id=7,
    request_id="019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6072",
    operator_id="acme",
    player_id="p",
    session_id="019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6073",
    kind=Kind.REAL,
    game_id="g",
    game_version=1,
    definition_hash="",
    currency_code="EUR",
    stake_minor=100,
    win_minor=700,
    outcome=b"{}",
    offers_choice=False,
    birth=State.PENDING,
    birth_reason="",
    birth_metadata=None,
    authorize_time=dt.datetime.now(dt.UTC),
    gateway="",
    mode="base",
    traceparent="",
    state=State.PENDING,
    steps=(),
)
CHOICE = replace(ROUND, offers_choice=True)
DECIDED = (Step(1, "COLLECT", "PLAYER", "", 700),)


def settlement(step: SettleStep, status: Status, **changes: object) -> Settlement:
    """What the wallet answers about the round above."""
    amounts = {SettleStep.FUSED: (100, 700), SettleStep.STAKE: (100, 0), SettleStep.PAYOUT: (0, 700)}
    stake_minor, win_minor = amounts.get(step, (0, 0))
    answer = Settlement(
        round_id=ROUND.round_id,
        step=step,
        status=status,
        account_id=7,
        currency_code="EUR",
        stake_minor=stake_minor,
        win_minor=win_minor,
        balance_after_minor=1,
        account_version=1,
    )
    return replace(answer, **changes)


FUSED, STAKE, PAYOUT = SettleStep.FUSED, SettleStep.STAKE, SettleStep.PAYOUT
TABLE = {
    (FUSED, Status.APPLIED): {State.PENDING: State.SETTLED},
    (FUSED, Status.REFUSED): {State.PENDING: State.REFUSED},
    (FUSED, Status.VOID): {State.PENDING: State.VOID},
    (SettleStep.NONE, Status.VOID): {State.PENDING: State.VOID},
    (FUSED, Status.REVERSED): {State.PENDING: State.REVERSED, State.SETTLED: State.REVERSED},
}
CHOICE_TABLE = {
    (STAKE, Status.APPLIED): {State.PENDING: State.OPEN},
    (STAKE, Status.REFUSED): {State.PENDING: State.REFUSED},
    (STAKE, Status.VOID): {State.PENDING: State.VOID},
    (STAKE, Status.REVERSED): {
        State.PENDING: State.REVERSED,
        State.SETTLING: State.REVERSED,
        State.SETTLED: State.REVERSED,
    },
    (PAYOUT, Status.APPLIED): {State.SETTLING: State.SETTLED},
    (PAYOUT, Status.REVERSED): {
        State.PENDING: State.REVERSED,
        State.SETTLING: State.REVERSED,
        State.SETTLED: State.REVERSED,
    },
}


@pytest.mark.parametrize("round_", [ROUND, CHOICE], ids=["simple", "choice"])
def test_finish_is_conditional_on_the_state(round_: Round) -> None:
    for (step, status), becomes in (CHOICE_TABLE if round_ is CHOICE else TABLE).items():
        for state in State:
            if round_ is ROUND and state in (State.OPEN, State.SETTLING):
                continue
            steps = DECIDED if round_ is CHOICE and state in (State.SETTLING, State.SETTLED) else ()
            ruling = judge(replace(round_, state=state, steps=steps), settlement(step, status))
            if ruling is not None and ruling.state is State.NEEDS_REVIEW:
                # Only a payout that nobody can have asked for is a contradiction.
                assert step is PAYOUT and not steps, (step, status, state)
                continue
            assert (ruling and ruling.state) == becomes.get(state), (step, status, state)


def test_a_lost_spin_with_a_choice_is_settled_without_a_payout() -> None:
    ruling = judge(replace(CHOICE, win_minor=0), settlement(STAKE, Status.APPLIED))
    assert ruling is not None and (ruling.place, ruling.state, ruling.amount_minor) == (
        "END",
        State.SETTLED,
        0,
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"account_id": 8}, "account"),
        ({"currency_code": "USD"}, "currency"),
        ({"stake_minor": 101}, "stake"),
        ({"win_minor": 701}, "win"),
    ],
)
def test_an_answer_that_contradicts_the_round_needs_a_review(
    changes: dict[str, object], problem: str
) -> None:
    for state in (State.PENDING, State.SETTLED):
        ruling = judge(replace(ROUND, state=state), settlement(FUSED, Status.APPLIED, **changes))
        assert ruling is not None
        assert (ruling.place, ruling.state) == ("REVIEW", State.NEEDS_REVIEW)
        assert problem in ruling.problem
        # The reason is shown while the outcome is hidden: no amount in it (R2).
        assert not any(character.isdigit() for character in ruling.problem)


def test_a_stake_alone_for_a_round_without_a_choice_needs_a_review() -> None:
    ruling = judge(ROUND, settlement(STAKE, Status.APPLIED))
    assert ruling is not None and ruling.state is State.NEEDS_REVIEW


def test_another_payout_than_what_was_at_risk_needs_a_review() -> None:
    settling = replace(CHOICE, state=State.SETTLING, steps=DECIDED)
    ruling = judge(settling, settlement(PAYOUT, Status.APPLIED, win_minor=1400))
    assert ruling is not None and ruling.state is State.NEEDS_REVIEW


def test_a_resolved_review_is_not_opened_again() -> None:
    resolved = replace(ROUND, state=State.VOID, review_problem="x", review_verdict="VOID")
    assert judge(resolved, settlement(FUSED, Status.APPLIED, win_minor=1)) is None


def test_a_round_that_game_refused_takes_no_answer() -> None:
    born_refused = replace(ROUND, birth=State.REFUSED, state=State.REFUSED, outcome=None)
    assert judge(born_refused, settlement(FUSED, Status.APPLIED)) is None
