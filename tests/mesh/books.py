"""Holds the five databases against each other and against every answer that players were given."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from services.events.verify import verifier
from tests.invariants import Verdict, check_wallet, list_verdicts
from tests.mesh.players import Answer, Heard, Player
from tests.waiting import SECONDS_MAX, until

PENDING_SECONDS_MAX = 15.0

# What the wallet's stake verdict (1 applied, 2 refused, 3 void, 4 reversed) means for the round.
_STATES_OF_VERDICT = {
    1: {"SETTLED", "OPEN", "SETTLING", "REVERSED"},
    2: {"REFUSED"},
    3: {"VOID"},
    4: {"REVERSED"},
}

# What the wallet paid for each round, over both its rows, and whether it took that back.
PAYMENTS = """
select cast(s.round_id as text) as round_id, r.round_id is not null as reversed,
  cast(coalesce(sum(s.win_minor) filter (where s.status = 1), 0) as bigint) as win_minor
from settlement s left join reversal r on r.round_id = s.round_id group by s.round_id, r.round_id
"""


class Books:
    """Read access to all databases of a mesh."""

    def __init__(self, database_urls: Mapping[str, str]) -> None:
        # Connections do not outlive a statement: the databases are killed and restarted between reads.
        self._engines: dict[str, AsyncEngine] = {
            service: create_async_engine(url, poolclass=NullPool) for service, url in database_urls.items()
        }

    async def rows(self, service: str, query: str, **values: Any) -> list[Any]:
        """The rows of a query."""
        async with self._engines[service].connect() as conn:
            return list((await conn.execute(text(query), values)).all())

    def connect(self, service: str) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection to a service's database."""
        return self._engines[service].connect()

    async def wait_quiet(self, *, seconds_max: float = PENDING_SECONDS_MAX) -> None:
        """Until no round is PENDING or SETTLING and every outbox is acknowledged; fails beyond the bound."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds_max
        while left := await self._unquiet():
            assert loop.time() < end, f"after {seconds_max} s still {left}"
            await asyncio.sleep(0.1)

    async def wait_counted(self, *, seconds_max: float = SECONDS_MAX) -> None:
        """Until the limits know what every spin returned."""

        async def counted() -> bool:
            return not await self.rows("session", "select 1 from spin_count where returned_minor is null")

        await until(counted, seconds_max=seconds_max)

    async def _unquiet(self) -> dict[str, int]:
        left = {}
        [rounds] = await self.rows(
            "game", "select count(*) as n from round_view where state in ('PENDING', 'SETTLING')"
        )
        left["rounds"] = rounds.n
        for service in ("session", "wallet", "game", "gateway"):
            left[f"{service} outbox"] = await self.unsent(service)
        return {name: count for name, count in left.items() if count}

    async def unsent(self, service: str) -> int:
        """Outbox rows that events has not acknowledged; the wallet keeps others for its auditor."""
        query = """select count(*) as n from outbox
            where batch_no is null or batch_no > (select coalesce(max(batch_no_acked), 0) from relay)"""
        return int((await self.rows(service, query))[0].n)

    async def check(self, players: Iterable[Player]) -> None:
        """Everything: the ledger, game against wallet, answers against both, events against all."""
        async with self._engines["wallet"].connect() as conn:
            await check_wallet(conn)
            verdicts = await list_verdicts(conn)
        rounds = await self.rows(
            "game",
            """select cast(round_id as text) as round_id, cast(request_id as text) as request_id, account_id,
               birth, state, paid_minor, balance_after_minor, stake_applied, steps from round_view""",
        )
        check_game_against_wallet(rounds, verdicts, await self.rows("wallet", PAYMENTS))
        for player in players:
            await self._check_answers(player, rounds)
        await self._check_events(verdicts)

    async def _check_answers(self, player: Player, rounds: list[Any]) -> None:
        """Every acknowledged answer is true."""
        found = {round_.request_id: round_ for round_ in rounds}
        for heard in player.spins:
            check_spin(heard, found.get(heard.request_id))
        by_id = {round_.round_id: round_ for round_ in rounds}
        for act in player.acts:
            if act.status == 200:
                check_act(act, by_id[act.body["round"]["round_id"]])
        transfers = await self.rows(
            "wallet",
            """select cast(request_id as text) as request_id, amount_minor, balance_after_minor from transfer
               join account using (account_id) where player_id = :player_id and account_version > 0""",
            player_id=player.player_id,
        )
        stored = {transfer.request_id: transfer for transfer in transfers}
        for heard in player.funds:
            for answer in heard.answers:
                if answer.status == 200:
                    balance_minor = answer.body["balance_after"]["amount_minor"]
                    assert stored[heard.request_id].balance_after_minor == balance_minor
        assert sum(transfer.amount_minor for transfer in transfers) == player.funded_minor

    async def _check_events(self, verdicts: list[Verdict]) -> None:
        """Events are 1:1 with what the sources hold, gapless per source."""
        events = await self.rows(
            "events",
            """select source, event_type, cast(round_id as text) as round_id,
                 cast(payload as text) as payload, account_id, account_version
               from event order by position""",
        )
        versions: dict[int, int] = {}
        for event in events:
            if event.source == "wallet" and event.account_version:
                assert event.account_version > versions.get(event.account_id, 0), "out of the account's order"
                versions[event.account_id] = event.account_version
        assert [one.fault for one in await verifier.verify(self._engines["events"]) if one.fault] == []
        told = Counter(
            (event.event_type, event.round_id, facts["step"], facts["status"])
            for event in events
            if event.event_type == "wallet.settled"
            for facts in [json.loads(event.payload)]
        )
        assert not [key for key, count in told.items() if count > 1], "a settlement was told twice"
        assert {key[1] for key in told} == {verdict.round_id for verdict in verdicts}
        assert sum(told.values()) == len(verdicts), "each verdict has one event"
        await self._same(
            events,
            "transfer.applied",
            "wallet",
            "select count(*) as n from transfer where account_version > 0",
        )
        for event_type, ended in (("review.opened", ""), ("review.resolved", " where verdict is not null")):
            await self._same(events, event_type, "wallet", f"select count(*) as n from review{ended}")
        await self._same(events, "session.created", "session", "select count(*) as n from session")
        await self._same(events, "operator.requested", "gateway", "select count(*) as n from operator_action")
        ends = Counter(event.round_id for event in events if event.event_type in _ENDS)
        rounds = await self.rows(
            "game",
            """select cast(round_id as text) as round_id from round_view
               where state in ('SETTLED', 'REFUSED', 'VOID') """,
        )
        assert ends == Counter(round_.round_id for round_ in rounds), "each ended round has one event"
        for source in await self.rows(
            "events",
            "select source, max(batch_no) as last, count(distinct batch_no) as n from event group by source",
        ):
            assert source.last == source.n, f"{source.source} has a gap"

    async def _same(self, events: list[Any], event_type: str, service: str, query: str) -> None:
        [stored] = await self.rows(service, query)
        told = sum(event.event_type == event_type for event in events)
        assert told == stored.n, f"{told} {event_type} events for {stored.n} rows"


_ENDS = {"round.settled", "round.refused", "round.void"}


def check_game_against_wallet(rounds: list[Any], verdicts: list[Verdict], payments: list[Any]) -> None:
    """Each round is what the wallet answered, to the amount; the wallet knows no round that game does not."""
    paid = {payment.round_id: payment for payment in payments}
    stakes = {verdict.round_id: verdict for verdict in verdicts if verdict.step != 3}
    payouts = {verdict.round_id for verdict in verdicts if verdict.step == 3}
    known = {round_.round_id for round_ in rounds}
    assert stakes.keys() <= known
    for round_ in rounds:
        stake = stakes.get(round_.round_id)
        if round_.birth != "PENDING":
            assert stake is None, f"nothing was drawn for {round_.round_id}, yet the wallet knows it"
            continue
        assert stake is not None, f"{round_.round_id} is {round_.state}, unknown to the wallet"
        assert round_.state in _STATES_OF_VERDICT[stake.status], (round_, stake)
        if round_.state == "OPEN":
            assert round_.round_id not in payouts
        # A payout is sent also when it is 0 after choices.
        if round_.state == "SETTLED" and stake.step == 2 and (round_.paid_minor or round_.steps):
            assert round_.round_id in payouts, f"{round_.round_id} is over, and its payout was not made"
        check_paid(round_, paid[round_.round_id])


def check_paid(round_: Any, payment: Any) -> None:
    """Game says paid what the wallet paid; a round that was given back may say what it had paid before."""
    assert (round_.state == "REVERSED") == payment.reversed, (round_, payment)
    paid_minor = round_.paid_minor or 0
    if round_.state == "REVERSED" and paid_minor == 0:
        return
    # PENDING and SETTLING never get here when it is quiet; OPEN has paid nothing, as have REFUSED and VOID.
    assert paid_minor == payment.win_minor, (
        f"{round_.round_id}: {paid_minor}, the wallet paid {payment.win_minor}"
    )


def check_act(act: Answer, round_: Any) -> None:
    """A choice's answer: its steps are the round's first, and what ended stays as it was told."""
    told = act.body["round"]
    steps = [[step["step"], step["choice"], step["at_risk"]["amount_minor"]] for step in told["steps"]]
    stored = [[step, choice, at_risk] for step, choice, _, _, at_risk in round_.steps or []]
    assert stored[: len(steps)] == steps
    assert round_.stake_applied
    if told["state"] == "SETTLED":
        assert (round_.state, round_.paid_minor) == ("SETTLED", told["win"]["amount_minor"])
        assert round_.balance_after_minor == told["balance_after"]["amount_minor"]


def check_spin(heard: Heard, round_: Any | None) -> None:
    """One id's answers, against the round that game holds and against each other."""
    definite = [answer for answer in heard.answers if not answer.unknown]
    for answer in definite:
        if answer.status == 200:
            told = answer.body["round"]
            assert round_ is not None and round_.round_id == told["round_id"]
            assert round_.stake_applied, f"{told['round_id']} was shown, its stake is not taken"
            if told["state"] == "SETTLED":
                assert round_.state == "SETTLED"
                assert round_.paid_minor == told["win"]["amount_minor"]
                assert round_.balance_after_minor == told["balance_after"]["amount_minor"]
        elif answer.body["class"] == "FINAL":
            assert round_ is None or round_.state in ("REFUSED", "VOID")
        elif answer.body["class"] == "NOT_YET" and len(definite) == len(heard.answers):
            assert round_ is None, "a refusal that stored nothing left a round"
    drawn = {answer.body["round"]["round_id"] for answer in definite if answer.status == 200}
    assert len(drawn) <= 1, "one id, two rounds"
