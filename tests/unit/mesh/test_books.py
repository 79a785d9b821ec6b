"""The check of game against the wallet: what it takes, and that it takes nothing else."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from tests.invariants import Verdict
from tests.mesh.books import check_game_against_wallet

STEPS = [[1, "COLLECT", "PLAYER", "", 700]]
LOST_STEPS = [[1, "RED", "PLAYER", "2C", 0]]
VOIDED, FUSED, STAKE, PAYOUT = 0, 1, 2, 3
APPLIED, REFUSED, VOID, REVERSED = 1, 2, 3, 4


class Case(NamedTuple):
    """A round as game has it, and as the wallet has it: (step, status) of its rows, and what it paid."""

    state: str
    paid_minor: int | None
    rows: list[tuple[int, int]]
    win_minor: int = 0
    steps: list[Any] | None = None
    reversed: bool = False

    def check(self) -> None:
        round_ = SimpleNamespace(
            round_id="r", birth="PENDING", state=self.state, paid_minor=self.paid_minor, steps=self.steps
        )
        verdicts = [Verdict("r", step, status, 1, 1, 0) for step, status in self.rows]
        payment = SimpleNamespace(round_id="r", win_minor=self.win_minor, reversed=self.reversed)
        check_game_against_wallet([round_], verdicts, [payment])


RIGHT = {
    "won": Case("SETTLED", 700, [(FUSED, APPLIED)], 700),
    "lost": Case("SETTLED", 0, [(FUSED, APPLIED)]),
    "refused": Case("REFUSED", 0, [(FUSED, REFUSED)]),
    "void": Case("VOID", 0, [(VOIDED, VOID)]),
    "lost, nothing to choose": Case("SETTLED", 0, [(STAKE, APPLIED)]),
    "open": Case("OPEN", None, [(STAKE, APPLIED)]),
    "collected": Case("SETTLED", 700, [(STAKE, APPLIED), (PAYOUT, APPLIED)], 700, STEPS),
    "gambled away": Case("SETTLED", 0, [(STAKE, APPLIED), (PAYOUT, APPLIED)], 0, LOST_STEPS),
    "given back after its end": Case("REVERSED", 700, [(FUSED, APPLIED)], 700, reversed=True),
    "given back before it was recorded": Case("REVERSED", 0, [(FUSED, APPLIED)], 700, reversed=True),
    "given back before its payout": Case(
        "REVERSED", 0, [(STAKE, APPLIED), (VOIDED, REVERSED)], 0, STEPS, reversed=True
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_the_wallet_did_is_taken(name: str) -> None:
    RIGHT[name].check()


@pytest.mark.parametrize("name", RIGHT)
def test_another_amount_is_seen(name: str) -> None:
    case = RIGHT[name]
    with pytest.raises(AssertionError, match=r"the wallet paid|its payout was not made"):
        case._replace(paid_minor=(case.paid_minor or 0) + 1).check()
    if case.state != "REVERSED":
        with pytest.raises(AssertionError, match="the wallet paid"):
            case._replace(win_minor=case.win_minor + 1).check()


@pytest.mark.parametrize("name", RIGHT)
def test_a_round_that_only_one_of_them_gave_back_is_seen(name: str) -> None:
    case = RIGHT[name]
    with pytest.raises(AssertionError):
        case._replace(reversed=not case.reversed).check()


@pytest.mark.parametrize("name", ["collected", "gambled away"])
def test_a_payout_that_was_not_made_is_seen(name: str) -> None:
    case = RIGHT[name]
    with pytest.raises(AssertionError, match="its payout was not made"):
        case._replace(rows=case.rows[:1], win_minor=case.paid_minor or 0).check()
