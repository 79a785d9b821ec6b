"""What must hold in every state. An invariant knows nothing of the rules that keep it."""

from itertools import chain

from tests.model.protocol import send
from tests.model.state import ENDED, GATEWAYS, Call, Entry, Round, State
from tests.model.world import World


def rows(s: State) -> list[tuple[Round, Entry]]:
    return list(zip(s.rounds, s.entries, strict=True))


def key(w: World, r: Round) -> tuple[int, str]:
    return r.account, w.asked(r).id


def told(s: State, answer: str) -> set[tuple[int, str]]:
    return {(t.account, t.id) for t in s.told if t.answer == answer}


def one_draw(w: World, s: State) -> bool:
    """One outcome per (account, request id)."""
    keys = [key(w, r) for r in s.rounds if r.drawn]
    return len(keys) == len(set(keys))


def no_shopping(w: World, s: State) -> bool:
    """Nobody has learnt the outcome of a round whose stake was then not taken."""
    return not any(r.learnt and e.stake in ("REFUSED", "VOID") for r, e in rows(s))


def own_account(w: World, s: State) -> bool:
    """A round plays on the account of its session."""
    return all(r.account == w.account(w.asked(r)) for r in s.rounds)


def one_open(w: World, s: State) -> bool:
    """At most one round of a choice game per account waits for its end."""
    return not w.scenario.stages or sum(r.state not in ENDED for r in s.rounds) <= 1


def money(w: World, s: State) -> bool:
    """Balances are what the wallet's rows say, never below zero."""
    began, left = w.scenario.budget, s.left
    due = [w.scenario.opening] * len(s.balances)
    due[0] += began.deposits - left.deposits - (began.withdrawals - left.withdrawals)
    for r, e in rows(s):
        due[r.account] += e.paid - e.taken * w.asked(r).stake
    return tuple(due) == s.balances and min(due) >= 0


def paid_once(w: World, s: State) -> bool:
    """A round takes its stake once or not at all, and pays what game drew, once or not at all."""
    return all(e.taken <= 1 and e.paid in (0, r.win) for r, e in rows(s))


def reversed_is_zero(w: World, s: State) -> bool:
    """A round that was given back keeps no stake and pays no win."""
    return not any(e.stake == "REVERSED" and (e.taken or e.paid) for e in s.entries)


def final_stays(w: World, s: State) -> bool:
    """FINAL means that no stake was or will be taken under that id."""
    return not any(e.taken and key(w, r) in told(s, "FINAL") for r, e in rows(s))


def not_taken(w: World, s: State) -> bool:
    """VOID and REFUSED, in game's row or in the wallet's, mean that the stake was never taken."""
    return not any(e.taken and {r.state, e.stake} & {"VOID", "REFUSED"} for r, e in rows(s))


def won_is_true(w: World, s: State) -> bool:
    """Who was told a win has a round of that account, id and stake which the wallet applied and paid."""
    paid = {(*key(w, r), w.asked(r).stake, r.win) for r, e in rows(s) if e.taken and e.paid == r.win}
    back = {key(w, r) for r, e in rows(s) if e.stake == "REVERSED"}
    won = [t for t in s.told if t.answer == "WON"]
    return all((t.account, t.id, t.stake, t.win) in paid or (t.account, t.id) in back for t in won)


def offer_is_true(w: World, s: State) -> bool:
    """Who was offered a choice may make it: the round is no longer PENDING."""
    return not any(r.state == "PENDING" and key(w, r) in told(s, "OFFER") for r in s.rounds)


def step_once(w: World, s: State) -> bool:
    """All who ask for a step of a round are told the same result."""
    steps = [(t.account, t.id, t.stage) for t in s.told if t.answer == "STEP"]
    return len(steps) == len(set(steps))


def ended_is_unused(w: World, s: State) -> bool:
    """An authorisation that session has ended, and whose stake it gave back, is never drawn on."""
    ended = {w.asked(row).id for row in s.authorisations if row.ended}
    return not any(r.drawn and w.asked(r).id in ended for r in s.rounds)


def game_agrees(w: World, s: State) -> bool:
    """SETTLED means applied and paid as drawn, REVERSED means taken and given back."""
    settled = [e.stake == "APPLIED" and e.paid == r.win for r, e in rows(s) if r.state == "SETTLED"]
    return all(settled) and all(e.stake == "REVERSED" for r, e in rows(s) if r.state == "REVERSED")


def all_ends(w: World, s: State) -> bool:
    """Recovery ends every round, and whoever resends a known id gets an answer."""
    rest = run_down(w, s)
    answers = [
        run_down(w, send(rest._replace(told=frozenset()), Call("authorise", GATEWAYS[0], row.request))).told
        for row in s.authorisations
        if row.allowed
    ]
    return all(r.state in ENDED for r in rest.rounds) and all(answers)


def run_down(w: World, s: State) -> State:
    """Let everything in flight arrive and recovery work; 30 steps are more than any scenario needs."""
    for _ in range(30):
        _, s = next(chain(w.arrivals(s), w.reconciler(s), w.review(s)), ("", s))
    return s


ALWAYS = (
    one_draw, no_shopping, own_account, one_open, paid_once, money, reversed_is_zero, final_stays, not_taken,
    won_is_true, offer_is_true, step_once, ended_is_unused,
)  # fmt: skip
AT_REST = (game_agrees, all_ends)  # when nothing is in flight


def broken(w: World, s: State) -> str:
    """The invariant that the step into `s` broke (`wrong`), or that `s` breaks, by name; else nothing."""
    facts = (s.authorisations, s.rounds, s.entries, s.balances, s.told, s.left.deposits, s.left.withdrawals)
    checks = (() if facts in w.sound else ALWAYS) + (() if s.calls else AT_REST)
    failed = s.wrong or next((check.__name__.upper() for check in checks if not check(w, s)), "")
    if not failed:
        w.sound.add(facts)  # most states differ in their calls alone
    return failed
