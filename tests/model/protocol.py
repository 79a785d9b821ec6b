"""What session, game and wallet do with a call that arrives: one method per step, one line per answer.

A caller's own work between two hops reads nothing shared, so the return of an answer and the next call are
one step here. A client is told at once, which only makes an answer harder to keep. A crash or time-out in
between is the loss of that next call. `keeps("R4.find")` reads: this clause of the rule is in force.
"""

from collections.abc import Iterator
from typing import Any

from tests.model.state import (
    DRAWS,
    ENDED,
    GATEWAYS,
    NOBODY,
    Authorisation,
    Call,
    Entry,
    Move,
    Request,
    Round,
    RoundState,
    Scenario,
    StakeRow,
    State,
    Told,
)


class Services:
    """Session, game and wallet under one set of rules: `off` names the clauses that are not in force."""

    def __init__(self, scenario: Scenario, off: frozenset[str]) -> None:
        self.scenario, self.off = scenario, off
        self.sound: set[tuple[object, ...]] = set()  # facts that the invariants have accepted

    def keeps(self, clause: str) -> bool:
        return clause not in self.off

    def asked(self, row: Call | Round | Authorisation) -> Request:
        return self.scenario.requests[row.request]

    def account(self, request: Request) -> int:
        """Resolved when the session was created; the client's field counts for nothing (R10)."""
        return self.scenario.accounts[request.session]

    def arrivals(self, s: State) -> Iterator[Move]:
        """Any call in flight arrives, whatever was sent before it."""
        for i, call in enumerate(s.calls):
            if i == 0 or call != s.calls[i - 1]:
                who = "a late copy of" if call.by == NOBODY else f"{call.by}'s"
                asked = self.asked(call)
                what = (
                    f"round {call.round + 1}"
                    if call.round >= 0
                    else f"{asked.id}, session {asked.session + 1}"
                )
                rest = State(s.calls[:i] + s.calls[i + 1 :], *s[1:])  # quicker than _replace
                for line, after in getattr(self, call.step)(rest, call):
                    yield f"{who} {call.step}({what}) arrives: {line}", after

    # Session

    def authorise(self, s: State, call: Call) -> Iterator[Move]:
        """One conditional write on the session row: Close and Authorise cannot pass each other (R9)."""
        state = s.sessions[self.asked(call).session]
        if not (self.keeps("R9.row") or call.note):
            yield f"session reads {state} and will write later", then(s, call, "authorise", note=state)
            return
        seen, known = call.note or state, self.known(s, self.asked(call))
        if known >= 0 and (seen == "OPEN" or self.keeps("R4.find")):
            yield from self.recall(s, call, s.authorisations[known])
        elif seen != "OPEN":
            yield from self.not_yet(s, call, "session is " + seen)
        else:
            allowed = s._replace(authorisations=(*s.authorisations, Authorisation(call.request)))
            yield "session allows it", then(allowed, call, "play", note="" if state == "OPEN" else "LATE")
            if s.left.paces:
                yield from self.not_yet(spend(s, "paces"), call, "too early for the pace")

    def known(self, s: State, request: Request) -> int:
        """The authorisation is keyed by (account, request id), whatever session asks (R4)."""
        for i, row in enumerate(s.authorisations):
            first = self.asked(row)
            if first.id == request.id and self.account(first) == self.account(request):
                return i
        return -1

    def recall(self, s: State, call: Call, row: Authorisation) -> Iterator[Move]:
        """A known id always finds its round; it mints one only while young and its session open (R4)."""
        alive = row.young and s.sessions[self.asked(row).session] == "OPEN"
        if not row.allowed:
            yield "session repeats its stored NOT_YET", wrong(s, "NOT_YET_IS_TRUE")
        elif self.asked(row).stake != self.asked(call).stake and self.keeps("R4.body"):
            yield "session answers ID_REUSED, the body differs", s
        elif alive or self.keeps("R4.mint"):
            yield f"session knows it, mint={alive}", then(s, call, "play", mint=alive)
        else:
            yield "session knows it, mint=True", then(s, call, "play", note="LATE")

    def not_yet(self, s: State, call: Call, why: str) -> Iterator[Move]:
        """Refused before Play: nothing drawn, nothing stored, hence never FINAL (R5)."""
        if any(r.drawn and self.asked(r).id == self.asked(call).id for r in s.rounds):
            s = wrong(s, "NOT_YET_IS_TRUE")
        if not self.keeps("R5.unstored"):
            s = s._replace(authorisations=(*s.authorisations, Authorisation(call.request, allowed=False)))
        answer = "NOT_YET" if self.keeps("R5.class") else "FINAL"
        yield f"{why}; the client is told {answer}", self.tell(s, call, answer)

    def end(self, s: State, request: int) -> State:
        """Session ends an authorisation that minted nothing; its counted stake may go back (R4, R13)."""
        rows = tuple(row._replace(ended=row.ended or row.request == request) for row in s.authorisations)
        return s._replace(authorisations=rows)

    # Game

    def play(self, s: State, call: Call) -> Iterator[Move]:
        """The insert on (account, request id) mints the round, or finds the row (R1)."""
        request = self.asked(call)
        account = self.account(request) if self.keeps("R10.field") else request.names
        found = self.find(s, request, account)
        if found >= 0:
            yield from self.answer(s, call, found)
        elif call.mint:
            yield from self.mint(s, call, account)
        else:
            void = self.insert(s, call, account, "VOID") if self.keeps("R4.void") else s
            void = self.end(void, call.request) if call.by == "session" else void
            yield "game draws nothing, VOID; FINAL", self.tell(void, call, "FINAL")

    def find(self, s: State, request: Request, account: int) -> int:
        for i, r in enumerate(s.rounds if self.keeps("R1.key") else ()):
            same_account = r.account == account or not self.keeps("R10.key")
            same_session = self.keeps("R1.session") or self.asked(r).session == request.session
            if self.asked(r).id == request.id and same_account and same_session:
                return i
        return -1

    def mint(self, s: State, call: Call, account: int) -> Iterator[Move]:
        """Refuse because another round is open, or draw and persist the round PENDING (R1, R5, R8)."""
        blocked = self.blocked(s, account)
        if any(self.blocked(twin, account) != blocked for twin in twins(s)):
            s = wrong(s, "VERDICT_IS_BLIND")
        if blocked:
            refused = self.insert(s, call, account, "REFUSED") if self.keeps("R5.game") else s
            yield "game refuses, another round is open; FINAL", self.tell(refused, call, "FINAL")
            return
        if call.note == "LATE":
            s = wrong(s, "NO_DRAW_AFTER_THE_END")
        if any((t.account, t.id, t.answer) == (account, self.asked(call).id, "FINAL") for t in s.told):
            s = wrong(s, "FINAL_STAYS")
        for win in DRAWS:
            drawn = self.insert(s, call, account, "PENDING", win)
            drawn = drawn if self.keeps("R2.reply") else self.tell(drawn, call, "WON", win)
            sent = then(drawn, call, "settle", round=len(s.rounds), win=win)
            yield f"game draws win {win}, round {len(s.rounds) + 1} is PENDING", sent

    def insert(self, s: State, call: Call, account: int, state: RoundState, win: int = 0) -> State:
        """Session and stake are those that Authorise stored, whichever retry mints (R4)."""
        terms = s.authorisations[self.known(s, self.asked(call))].request
        row = Round(terms, account, state, win, drawn=state == "PENDING")
        return s._replace(rounds=(*s.rounds, row), entries=(*s.entries, Entry()))

    def blocked(self, s: State, account: int) -> bool:
        """One round of a choice game per account at a time; a PENDING one blocks whatever it drew (R8)."""
        one = self.scenario.stages and self.keeps("R8.one")
        waiting = [r for r in s.rounds if r.account == account and r.state not in ENDED] if one else []
        return any(self.keeps("R8.blind") or r.state != "PENDING" or r.win for r in waiting)

    def answer(self, s: State, call: Call, i: int) -> Iterator[Move]:
        """A round that exists: its stored answer, or the rest of the spin while its stake is unknown."""
        r = s.rounds[i]
        if r.state == "PENDING":
            yield f"game finds round {i + 1} PENDING", then(s, call, "settle", round=i, win=r.win)
            return
        answers = {
            "OPEN": "OFFER",
            "SETTLING": "OFFER",
            "VOID": "FINAL",
            "REFUSED": "FINAL",
            "SETTLED": "WON",
        }
        answer, win = answers.get(r.state, r.state), r.win if r.state == "SETTLED" else 0
        told, amount = self.tell(s, call, answer, win), f" {win}" if answer == "WON" else ""
        yield f"round {i + 1} is {r.state}; the client is told {answer}{amount}", told

    def finish(self, s: State, call: Call) -> Iterator[Move]:
        """Record what the wallet answered, if the round still waits for that answer (R7)."""
        r, by_operator = s.rounds[call.round], call.by == "an operator"
        to = "SETTLED" if call.note in ("APPLIED", "PAID") else call.note
        if call.note == "APPLIED" and self.scenario.stages and r.win:
            to = "OPEN"
        waits = r.state == (
            "NEEDS_REVIEW" if by_operator else "SETTLING" if call.note == "PAID" else "PENDING"
        )
        if waits or (to == "REVERSED" and r.state in ("PENDING", "SETTLING", "SETTLED")):
            s = change(s, call.round, state=to)
        elif not self.keeps("R7.condition") and call.note != "PAID" and to != r.state:
            s = wrong(change(s, call.round, state=to), "ENDED_STAYS_ENDED" if r.state in ENDED else s.wrong)
        if self.scenario.stages and call.by in GATEWAYS and call.note != "PAID":
            yield from self.answer(
                s, call, call.round
            )  # on the hot path: the reply leaves after this write (R8)
        else:
            yield f"game hears {call.note}, the round is {s.rounds[call.round].state}", s

    def choose(self, s: State, call: Call) -> Iterator[Move]:
        """One row per (round, step), written with the round's state: whoever inserts first decides (R8)."""
        i, r = call.round, s.rounds[call.round]
        stage = call.stage if self.keeps("R8.step") else len(r.steps)
        decided = stage < len(r.steps)
        if decided and self.keeps("R8.once"):
            told = self.tell(s, call, "STEP", r.steps[stage], stage + 1)
            yield f"step {stage + 1} is decided and gave {r.steps[stage]}", told
        elif r.state != "OPEN" and not decided:
            yield f"the round is {r.state}, no choice is open", s
        else:
            at_risk = (DRAWS[1], *r.steps)[stage]
            for win in (at_risk,) if call.note == "collect" else (0, 2 * at_risk):
                stays = call.note == "gamble" and win and stage + 1 < self.scenario.stages
                state = "OPEN" if stays else "SETTLING"
                after = change(s, i, steps=(*r.steps[:stage], win), win=win, state=state)
                after = self.tell(after, call, "STEP", win, stage + 1)
                after = after if call.stage == stage else wrong(after, "A_CHOICE_NAMES_ITS_STEP")
                after = after if stays else then(after, call, "pay", win=win)
                yield f"step {stage + 1} gives {win}, the round is {state}", after

    # Wallet

    def settle(self, s: State, call: Call) -> Iterator[Move]:
        """Stake and win in one atomic step keyed by round; with a choice only the stake (R8)."""
        if not call.sealed and self.keeps("R11.seal"):  # a stored refusal would be the forger's to use
            yield "the wallet finds the seal broken and stores nothing", s
            return
        r, row, choice = s.rounds[call.round], s.entries[call.round], self.scenario.stages > 0
        stake, balance, verdict = self.asked(r).stake, s.balances[r.account], row.stake
        if row.stake == "UNKNOWN":
            verdict = self.verdict(balance, stake, call.win)
            if any(self.verdict(balance, stake, win) != verdict for win in DRAWS):
                s = wrong(s, "VERDICT_IS_BLIND")
            paid = 0 if choice else call.win
            if verdict == "APPLIED":
                s = move(s, call.round, row._replace(stake="APPLIED", taken=1, paid=paid), paid - stake)
            elif self.keeps("R5.stored"):
                s = move(s, call.round, row._replace(stake="REFUSED"), 0)
        if not choice or not self.keeps("R8.hot"):
            applied = ("OFFER", 0) if choice else ("WON", r.win)
            answer, win = {"APPLIED": applied, "REVERSED": ("REVERSED", 0)}.get(verdict, ("FINAL", 0))
            s = self.tell(s, call, answer, win)
        line = f"the wallet answers {verdict}" + (", but not so for every draw" if s.wrong else "")
        yield line, then(s, call, "finish", note=verdict)

    def verdict(self, balance: int, stake: int, win: int) -> StakeRow:
        """On the stake alone: a maximum balance limits deposits, never a win (R3)."""
        too_rich = not self.keeps("R3.blind") and balance - stake + win > 1
        return "APPLIED" if balance >= stake and not too_rich else "REFUSED"

    def void(self, s: State, call: Call) -> Iterator[Move]:
        """Void unless known: the row is a tombstone that refuses the settle still in flight (R7)."""
        row = s.entries[call.round]
        answer = "VOID" if row.stake == "UNKNOWN" else row.stake
        if row.stake == "UNKNOWN" and self.keeps("R7.tombstone"):
            s = move(s, call.round, row._replace(stake="VOID"), 0)
        note = answer if self.keeps("R7.arbiter") else "VOID"
        yield f"the wallet answers {answer}", then(s, call, "finish", note=note)

    def pay(self, s: State, call: Call) -> Iterator[Move]:
        """The payout, keyed (round, payout); it cannot be refused, closed session or not (R8)."""
        r, row = s.rounds[call.round], s.entries[call.round]
        if not self.keeps("R8.payout") and s.sessions[self.asked(r).session] != "OPEN":
            yield "the wallet refuses, the session is over", s
        elif row.stake == "REVERSED" and self.keeps("R8.tombstone"):
            yield "the wallet answers REVERSED", then(s, call, "finish", note="REVERSED")
        elif row.payout == "PAID" and self.keeps("R8.keys"):
            yield "the wallet has paid before", then(s, call, "finish", note="PAID")
        else:
            s = move(s, call.round, row._replace(payout="PAID", paid=row.paid + call.win), call.win)
            yield f"the wallet pays {call.win}", then(s, call, "finish", note="PAID")

    def tell(self, s: State, call: Call, answer: str, win: int = 0, stage: int = 0) -> State:
        """A client whose gateway still waits gets the answer, and will rely on it."""
        if call.by not in GATEWAYS:
            return s
        request = self.asked(call)
        told = Told(self.account(request), request.id, request.stake, answer, win, stage)
        return s._replace(told=s.told | {told})


def send(s: State, *calls: Call) -> State:
    return State(tuple(sorted(s.calls + calls)), *s[1:])


def then(s: State, call: Call, step: str, **changes: Any) -> State:
    """The caller goes on to its next call, if it is still there."""
    return s if call.by == NOBODY else send(s, call._replace(step=step, **{"note": "", **changes}))


def spend(s: State, what: str) -> State:
    return State(s.calls, s.left._replace(**{what: getattr(s.left, what) - 1}), *s[2:])


def wrong(s: State, invariant: str) -> State:
    return s._replace(wrong=invariant)


def change(s: State, i: int, **changes: Any) -> State:
    return s._replace(rounds=(*s.rounds[:i], s.rounds[i]._replace(**changes), *s.rounds[i + 1 :]))


def twins(s: State) -> Iterator[State]:
    """The states that differ in a hidden outcome alone: no verdict may tell them apart (R3)."""
    hidden = (i for i, r in enumerate(s.rounds) if r.state == "PENDING")
    return (change(s, i, win=win) for i in hidden for win in DRAWS)


def move(s: State, i: int, row: Entry, amount: int) -> State:
    """One statement of the wallet: its row and the balance, or neither."""
    account = s.rounds[i].account
    balances = tuple(held + amount if a == account else held for a, held in enumerate(s.balances))
    return s._replace(entries=(*s.entries[:i], row, *s.entries[i + 1 :]), balances=balances)
