"""What may happen around the services: clients, crashes, recovery, operators. `Budget` bounds it."""

from collections.abc import Iterator
from itertools import chain, product

from tests.model.protocol import Services, change, move, send, spend
from tests.model.state import GATEWAYS, NOBODY, REAL, Call, Entry, Move, State


class World(Services):
    """One scenario under one set of rules: where it starts, and every move that is possible in a state."""

    def start(self) -> State:
        opening = (self.scenario.opening, self.scenario.opening)
        return State((), self.scenario.budget, self.scenario.sessions, (), (), (), opening, frozenset())

    def moves(self, s: State) -> Iterator[Move]:
        return chain(
            self.operators(s), self.clients(s), self.player(s), self.arrivals(s),
            self.reconciler(s), self.endings(s), self.failures(s),
        )  # fmt: skip

    def clients(self, s: State) -> Iterator[Move]:
        """Send or resend through either gateway; they are alike, so the first one used is gateway 1."""
        doors = GATEWAYS if s.left.sends < self.scenario.budget.sends else GATEWAYS[:1]
        for (i, request), door in product(enumerate(self.scenario.requests), doors if s.left.sends else ()):
            if s.sessions[request.session] != "ABSENT":
                what = f"{request.id}, stake {request.stake}, session {request.session + 1}"
                yield (
                    f"the client sends {what}, to {door}",
                    send(spend(s, "sends"), Call("authorise", door, i)),
                )
        for i, r in enumerate(s.rounds if s.left.choices else ()):
            for choice in ("gamble", "collect") if r.state == "OPEN" else ():
                call = Call("choose", GATEWAYS[1], r.request, i, stage=len(r.steps), note=choice)
                yield f"a tab asks to {choice} at step {call.stage + 1}", send(spend(s, "choices"), call)

    def player(self, s: State) -> Iterator[Move]:
        """Cash in and out, and the end of session 1."""
        if s.left.deposits:
            yield "the player deposits 1", cash(spend(s, "deposits"), 1)
        if s.left.withdrawals and s.balances[REAL]:
            yield "the player withdraws 1", cash(spend(s, "withdrawals"), -1)
        if s.left.closes and s.sessions[0] == "OPEN":
            yield "session 1 is closed", close(spend(s, "closes"))
        if s.left.replacements and s.sessions[0] == "OPEN":
            replaced = spend(s, "replacements")._replace(sessions=("REPLACED", "OPEN"))
            yield "session 2 replaces session 1", replaced

    def reconciler(self, s: State) -> Iterator[Move]:
        """It may take a round at any time: the rules must hold however wrong the clocks are (R7)."""
        busy = {call.round for call in s.calls if call.by == "the reconciler"}
        steps = {"PENDING": "void", "OPEN": "choose", "SETTLING": "pay"} if self.keeps("R7.run") else {}
        for i, r in enumerate(s.rounds):
            if r.state in steps and i not in busy:
                call = Call(
                    steps[r.state], "the reconciler", r.request, i, r.win, len(r.steps), note="collect"
                )
                yield f"the reconciler takes round {i + 1}, {r.state}", send(s, call)

    def endings(self, s: State) -> Iterator[Move]:
        """Session ends an authorisation that is over, through Play with mint=false, which arbitrates (R4)."""
        for row in s.authorisations if s.left.endings else ():
            if not (row.young and s.sessions[self.asked(row).session] == "OPEN"):
                spent, call = spend(s, "endings"), Call("play", "session", row.request, mint=False)
                after = send(spent, call) if self.keeps("R4.end") else self.end(spent, row.request)
                yield f"session ends the unused authorisation of {self.asked(row).id}", after

    def failures(self, s: State) -> Iterator[Move]:
        """A caller crashes, a call is sent twice, a wallet is silent, a deadline passes."""
        for who in (*GATEWAYS, "the reconciler") if s.left.crashes else ():
            mine = [call for call in s.calls if call.by == who]
            rest = spend(State(tuple(call for call in s.calls if call.by != who), *s[1:]), "crashes")
            for fates in product(("in flight", "lost"), repeat=len(mine)) if mine else ():
                pairs = list(zip(mine, fates, strict=True))
                line = ", ".join(f"{call.step} {fate}" for call, fate in pairs)
                kept = [call._replace(by=NOBODY) for call, fate in pairs if fate == "in flight"]
                yield f"{who} crashes ({line})", send(rest, *kept)
        for call in (call for call in s.calls if call.by in GATEWAYS):
            if s.left.copies:
                yield f"{call.by} repeats its {call.step}", send(spend(s, "copies"), call._replace(by=NOBODY))
            if call.step == "settle" and not self.keeps("R6.unknown"):
                told = self.tell(s._replace(calls=tuple(c for c in s.calls if c is not call)), call, "FINAL")
                yield "the wallet is silent; the client is told FINAL", send(told, call._replace(by=NOBODY))
        if s.left.deadlines and s.authorisations:
            rows = tuple(row._replace(young=False) for row in s.authorisations)
            yield "the gateway deadline passes", spend(s, "deadlines")._replace(authorisations=rows)

    def operators(self, s: State) -> Iterator[Move]:
        """Reads by anyone, reviews and rollbacks by an operator, a taken-over gateway."""
        shown = ("OPEN", "SETTLING", "SETTLED", "REVERSED", *(() if self.keeps("R2.read") else ("PENDING",)))
        for i, r in enumerate(s.rounds):
            if s.left.peeks and r.drawn and not r.learnt and r.state in shown:
                yield f"somebody reads round {i + 1}: win {r.win}", change(spend(s, "peeks"), i, learnt=True)
            if s.left.forgeries and r.state == "PENDING":
                forged = Call("settle", GATEWAYS[0], r.request, i, 9, sealed=False)
                yield "gateway 1, taken over, claims win 9", send(spend(s, "forgeries"), forged)
            if s.left.reviews and r.state == "PENDING":
                yield (
                    f"round {i + 1} is put under review",
                    change(spend(s, "reviews"), i, state="NEEDS_REVIEW"),
                )
            if s.left.rollbacks and s.entries[i].stake == "APPLIED":
                yield from self.roll_back(spend(s, "rollbacks"), i)
        yield from self.review(s)

    def review(self, s: State) -> Iterator[Move]:
        """An operator's verdict is executed at the wallet, and the wallet's answer is recorded (R14)."""
        for i, r in enumerate(s.rounds):
            if r.state == "NEEDS_REVIEW" and not any(call.by == "an operator" for call in s.calls):
                asked = send(s, Call("void", "an operator", r.request, i))
                after = asked if self.keeps("R14.wallet") else change(s, i, state="VOID")
                yield "an operator asks for VOID", after

    def roll_back(self, s: State, i: int) -> Iterator[Move]:
        """Stake and payout go back in one statement, which also stops a payout still to come (R8)."""
        r, row = s.rounds[i], s.entries[i]
        amount = self.asked(r).stake - row.paid
        if s.balances[r.account] + amount >= 0:
            call = Call("finish", "an operator", r.request, i, note="REVERSED")
            yield f"an operator rolls round {i + 1} back", send(move(s, i, Entry("REVERSED"), amount), call)


def close(s: State) -> State:
    """Close collects the open rounds that its own answer lists, by id (R9)."""
    calls = [
        Call("choose", GATEWAYS[0], r.request, i, stage=len(r.steps), note="collect")
        for i, r in enumerate(s.rounds)
        if r.state == "OPEN"
    ]
    return send(s._replace(sessions=("CLOSED", *s.sessions[1:])), *calls)


def cash(s: State, amount: int) -> State:
    return s._replace(balances=(s.balances[REAL] + amount, *s.balances[1:]))
