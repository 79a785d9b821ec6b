"""The rules of one spin (R1-R14), clause by clause, and the scenarios that need them.

A clause names what happens without it, the scenario where that shows and the invariant that then breaks.
"""

from typing import NamedTuple

from tests.model.state import DEMO, REAL, Budget, Request, Scenario

RULES = {
    "R1": "An outcome is drawn once per (account, request id); a retry finds it, from any session.",
    "R2": "An outcome is readable by no one until its stake is known to be applied.",
    "R3": "No verdict, reply, block or delay depends on a hidden outcome.",
    "R4": "A known id always finds its round; it mints only while authorisation and session live.",
    "R5": "Refusals by wallet and game are stored, FINAL; those before Play are not, NOT_YET.",
    "R6": "When the wallet is silent the caller hears RETRY_SAME_ID, never a verdict.",
    "R7": "The reconciler ends every round by recording what the wallet answers: its row is the arbiter.",
    "R8": "A round with choices moves money twice; whoever inserts a step first decides it.",
    "R9": "Close and Authorise write the same session row: a spin authorised before completes, none after.",
    "R10": "The account comes from the session alone; the same id under another account is another round.",
    "R11": "Game seals what it drew and the wallet verifies it: a taken-over gateway cannot invent a win.",
    "R14": "An operator's verdict is executed at the wallet first, and the wallet's answer is recorded.",
}


class Clause(NamedTuple):
    name: str  # rule, then the part of it
    without: str  # what is done instead when it is switched off
    scenario: str
    breaks: str  # the invariant of the counter-example

    @property
    def rule(self) -> str:
        return self.name.split(".")[0]


CLAUSES = (
    Clause("R1.key", "Play always mints", "poor player", "ONE_DRAW"),
    Clause("R1.session", "a round is found only by its session", "session replaced", "ONE_DRAW"),
    Clause("R2.read", "a PENDING round shows its outcome", "reader", "NO_SHOPPING"),
    Clause("R2.reply", "the reply leaves before the wallet answers", "poor player", "WON_IS_TRUE"),
    Clause("R3.blind", "the wallet refuses a win above a maximum balance", "poor player", "VERDICT_IS_BLIND"),
    Clause("R4.find", "a closed session refuses ids it knows", "close race", "NOT_YET_IS_TRUE"),
    Clause("R4.mint", "a known id may always mint", "unused authorisation", "NO_DRAW_AFTER_THE_END"),
    Clause("R4.void", "mint=false is answered, not inserted", "session replaced", "FINAL_STAYS"),
    Clause(
        "R4.end", "session ends unused authorisations by itself", "unused authorisation", "ENDED_IS_UNUSED"
    ),
    Clause("R4.body", "a known id may come with another stake", "other body", "WON_IS_TRUE"),
    Clause("R5.stored", "the wallet forgets its refusals", "poor player", "FINAL_STAYS"),
    Clause("R5.game", "game forgets its refusals", "two rounds", "FINAL_STAYS"),
    Clause("R5.class", "a refusal before Play is called FINAL", "close race", "FINAL_STAYS"),
    Clause("R5.unstored", "a refusal before Play is stored", "close race", "NOT_YET_IS_TRUE"),
    Clause("R6.unknown", "a silent wallet is answered FINAL", "poor player", "FINAL_STAYS"),
    Clause("R7.run", "there is no reconciler", "poor player", "ALL_ENDS"),
    Clause("R7.arbiter", "the reconciler records its intention", "poor player", "NOT_TAKEN"),
    Clause("R7.tombstone", "a void of an unknown round leaves no row", "poor player", "NOT_TAKEN"),
    Clause("R7.condition", "Finish writes whatever the state", "choices", "ENDED_STAYS_ENDED"),
    Clause("R8.once", "a step may be decided again", "choices", "STEP_ONCE"),
    Clause("R8.step", "a choice names only its round", "choices", "A_CHOICE_NAMES_ITS_STEP"),
    Clause("R8.one", "several rounds of a choice game", "two rounds", "ONE_OPEN"),
    Clause("R8.blind", "a PENDING round blocks only if it won", "two rounds", "VERDICT_IS_BLIND"),
    Clause("R8.hot", "the offer leaves before OPEN is recorded", "choices", "OFFER_IS_TRUE"),
    Clause("R8.payout", "a closed session is paid nothing", "choice and close", "ALL_ENDS"),
    Clause("R8.keys", "the wallet pays every payout it is sent", "choices", "PAID_ONCE"),
    Clause("R8.tombstone", "a rollback does not stop the payout", "rollback", "REVERSED_IS_ZERO"),
    Clause("R9.row", "Authorise reads the session, then writes", "close race", "NO_DRAW_AFTER_THE_END"),
    Clause("R10.field", "the account is the one the client names", "real and demo", "OWN_ACCOUNT"),
    Clause("R10.key", "a round is found by its id alone", "real and demo", "WON_IS_TRUE"),
    Clause("R11.seal", "the wallet believes the gateway", "taken-over gateway", "PAID_ONCE"),
    Clause("R14.wallet", "the verdict is written without asking", "review", "NOT_TAKEN"),
)

BOTH = (Request(), Request(session=1))
SCENARIOS = {
    s.name: s
    for s in (
        Scenario("poor player", Budget(2, crashes=1, copies=1, deposits=1, withdrawals=1)),
        Scenario("reader", Budget(2, crashes=1, withdrawals=1, peeks=1)),
        Scenario("close race", Budget(2, crashes=1, copies=1, paces=1, closes=1)),
        Scenario("unused authorisation", Budget(2, crashes=1, endings=1, deadlines=1)),
        Scenario(
            "session replaced", Budget(2, copies=1, replacements=1), BOTH, (REAL, REAL), ("OPEN", "ABSENT")
        ),
        Scenario("other body", Budget(2, crashes=1), (Request(), Request(stake=2)), opening=2),
        Scenario("real and demo", Budget(2), BOTH, (REAL, DEMO), ("OPEN", "OPEN")),
        Scenario("two rounds", Budget(2, copies=1), (Request(), Request("B")), stages=1),
        Scenario("choices", Budget(1, copies=1, choices=2), stages=2),
        Scenario("choice and close", Budget(1, crashes=1, choices=1, closes=1), stages=1),
        Scenario("rollback", Budget(1, crashes=1, copies=1, rollbacks=1), stages=1),
        Scenario("taken-over gateway", Budget(2, crashes=1, forgeries=1)),
        Scenario("review", Budget(1, crashes=1, copies=1, withdrawals=1, peeks=1, reviews=1)),
    )
}


class Rules:
    """All rules in force but one: `Rules(without="R4")` drops a rule, `"R4.void"` one clause of it."""

    def __init__(self, *, without: str = "") -> None:
        self.off = frozenset(clause.name for clause in CLAUSES if without in (clause.name, clause.rule))
        assert bool(self.off) == bool(without), f"no rule or clause is called {without}"
