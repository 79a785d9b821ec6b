"""The rules of one spin: with all of them nothing breaks; without any clause of them, its invariant does."""

import pytest

from tests.model import invariants
from tests.model.__main__ import print_rule
from tests.model.explore import explore
from tests.model.rules import CLAUSES, RULES, SCENARIOS, Clause, Rules
from tests.model.state import Move, State
from tests.model.world import World

by_name = pytest.mark.parametrize("clause", CLAUSES, ids=[clause.name for clause in CLAUSES])


@pytest.mark.parametrize("name", SCENARIOS)
def test_with_all_rules_no_interleaving_breaks_an_invariant(name: str) -> None:
    report = explore(SCENARIOS[name], Rules())
    print(report)
    assert (report.broken, report.trace) == ("", ())
    assert report.complete
    assert report.states > 1_000, "the scenario has become too small to show anything"


@by_name
def test_without_a_clause_its_own_invariant_breaks(clause: Clause) -> None:
    report = explore(SCENARIOS[clause.scenario], Rules(without=clause.name))
    print(*report.trace, sep="\n")
    assert report.broken == clause.breaks
    assert len(report.trace) == report.depth


@pytest.mark.parametrize("rule", RULES)
def test_without_a_whole_rule_an_invariant_of_its_clauses_breaks(rule: str) -> None:
    clauses = [clause for clause in CLAUSES if clause.rule == rule]
    report = explore(SCENARIOS[clauses[0].scenario], Rules(without=rule))
    assert report.broken in {clause.breaks for clause in clauses}


def test_every_clause_belongs_to_a_stated_rule_and_every_rule_has_one() -> None:
    assert {clause.rule for clause in CLAUSES} == set(RULES)


def test_an_unknown_rule_cannot_be_switched_off() -> None:
    with pytest.raises(AssertionError, match=r"R4\.nothing"):
        Rules(without="R4.nothing")


def test_a_counter_example_is_the_shortest_one_and_reads_as_a_story() -> None:
    report = explore(SCENARIOS["poor player"], Rules(without="R7.tombstone"))
    assert report.trace == (
        "the client sends A, stake 1, session 1, to gateway 1",
        "gateway 1's authorise(A, session 1) arrives: session allows it",
        "gateway 1's play(A, session 1) arrives: game draws win 0, round 1 is PENDING",
        "the reconciler takes round 1, PENDING",
        "the reconciler's void(round 1) arrives: the wallet answers VOID",
        "the reconciler's finish(round 1) arrives: game hears VOID, the round is VOID",
        "gateway 1's settle(round 1) arrives: the wallet answers APPLIED",
    )
    shorter = explore(SCENARIOS["poor player"], Rules(without="R7.tombstone"), depth=len(report.trace) - 1)
    assert (shorter.broken, shorter.complete) == ("", False)


def test_every_kind_of_answer_and_of_end_is_reached() -> None:
    answers: set[str] = set()
    ends: set[str] = set()
    for name in ("close race", "choices", "rollback", "review", "two rounds"):
        for s in reached(name, depth=11, limit=3_000):
            answers |= {told.answer for told in s.told}
            ends |= {r.state for r in s.rounds}
    assert answers >= {"WON", "FINAL", "NOT_YET", "OFFER", "STEP"}
    assert ends >= {"PENDING", "OPEN", "SETTLING", "SETTLED", "REFUSED", "VOID", "REVERSED", "NEEDS_REVIEW"}


def test_money_that_appears_from_nowhere_is_noticed() -> None:
    world = World(SCENARIOS["poor player"], frozenset())
    s = world.start()
    assert invariants.broken(world, s) == ""
    assert invariants.broken(world, s._replace(balances=(2, 1))) == "MONEY"


def test_a_round_that_game_calls_settled_without_the_wallet_is_noticed() -> None:
    world = World(SCENARIOS["poor player"], frozenset())
    states = [s for s in reached("poor player", depth=8, limit=5_000) if s.rounds and not s.calls]
    rows = (("PENDING", "UNKNOWN"), 1)  # game drew, the wallet has heard nothing
    pending = next(s for s in states if ((s.rounds[0].state, s.entries[0].stake), len(s.rounds)) == rows)
    settled = pending._replace(rounds=(pending.rounds[0]._replace(state="SETTLED"),))
    assert invariants.broken(world, settled) == "GAME_AGREES"


def test_the_printed_report_gives_the_rule_the_missing_clause_and_the_story(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_rule("R9")
    printed = capsys.readouterr().out
    assert f"R9  {RULES['R9']}" in printed
    assert "Without R9.row" in printed
    assert "1. the client sends A" in printed


def reached(name: str, *, depth: int, limit: int) -> set[State]:
    """Some states of a scenario, breadth first."""
    world = World(SCENARIOS[name], frozenset())
    seen = frontier = {world.start()}
    for _ in range(depth):
        moves: list[Move] = [move for s in frontier for move in world.moves(s)]
        frontier = {after for _, after in moves} - seen
        seen = seen | frontier
        if len(seen) > limit:
            break
    return seen
