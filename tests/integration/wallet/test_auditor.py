"""The auditor at work: what goes on while the books are broken, who takes turns, and no false alarm."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, cast

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from reelmesh.events.v1 import events_pb2, events_pb2_grpc
from sqlalchemy import text

from services.common.errors import DomainError
from services.common.fields import uuid7
from services.common.outbox import Relay
from services.wallet import counters, sql, transfers
from services.wallet.audit import auditor
from services.wallet.audit.auditor import Auditor
from services.wallet.outbox_events import to_events
from services.wallet.records import TransferOrder, TransferType
from tests.integration.wallet.harness import (
    APPLIED,
    OPERATOR,
    PAYOUT,
    REFUSED,
    REVERSED,
    STAKE,
    VOID,
    Wallet,
    new_id,
    settle_request,
)
from tests.integration.wallet.mutants import mutant

CHAINS = "I4 I7 chains"


async def execute(wallet: Wallet, statement: str, **values: Any) -> None:
    """One committed statement, behind the wallet's back."""
    async with wallet.engine.begin() as conn:
        await conn.execute(text(statement), values)


class Audited(Wallet):
    """A wallet with an auditor that is always due."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.audit_engine = auditor.create_engine(url)
        self.auditor = Auditor(self.audit_engine, interval_ms=0)

    async def __aexit__(self, *error: Any) -> None:
        await self.audit_engine.dispose()
        await super().__aexit__(*error)

    async def breaks(self) -> list[str]:
        """The open ones."""
        async with self.engine.connect() as conn:
            return [one.invariant for one in await auditor.list_open_breaks(conn)]


async def break_books(wallet: Wallet, account_id: int) -> None:
    """Money out of nowhere."""
    await execute(
        wallet, "update account set balance_minor = balance_minor + 1 where account_id = :id", id=account_id
    )


async def refused_with(reason: str, answer: Any) -> None:
    """The call fails with this reason."""
    with pytest.raises(DomainError) as caught:
        await answer
    assert caught.value.reason == reason


async def test_while_the_books_are_broken_only_stakes_and_withdrawals_are_refused(
    database: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    async with Audited(database("wallet")) as wallet:
        account_id, other_id = await wallet.open(balance=1000), await wallet.open(balance=1000)
        known, not_covered = (
            settle_request(account_id, stake=100, win=30),
            settle_request(other_id, stake=9999),
        )
        open_round, given_back, withdrawal_id = new_id(), new_id(), new_id()
        assert (await wallet.send(known)).status == APPLIED
        assert (await wallet.send(not_covered)).status == REFUSED
        await wallet.settle(account_id, round_id=open_round, step=STAKE, stake=50)
        await wallet.settle(account_id, round_id=given_back, stake=50)
        await wallet.withdraw(account_id, 10, request_id=withdrawal_id)
        await wallet.auditor.run_once()
        assert await wallet.breaks() == []

        await wallet.deposit(other_id, 5)
        await break_books(wallet, other_id)
        with caplog.at_level(logging.ERROR, "services.wallet.audit.auditor"):
            await wallet.auditor.run_once()
        assert CHAINS in await wallet.breaks()
        assert any(
            CHAINS in record.getMessage() and str(other_id) in record.getMessage()
            for record in caplog.records
        )

        late = settle_request(account_id, stake=10, win=5)
        await refused_with("LEDGER_HALTED", wallet.send(late))
        await refused_with("LEDGER_HALTED", wallet.settle(account_id, step=STAKE, stake=10))
        await refused_with("LEDGER_HALTED", wallet.withdraw(account_id, 10))
        assert await wallet.known(late.round_id) == [], "nothing was judged, so nothing is stored"
        # What is known keeps its answer, and whoever is owed something gets it.
        assert (await wallet.send(known)).replayed
        assert (await wallet.send(not_covered)).status == REFUSED
        assert (await wallet.withdraw(account_id, 10, request_id=withdrawal_id)).transfer.balance_after
        assert (await wallet.settle(account_id, round_id=open_round, step=PAYOUT, win=70)).status == APPLIED
        assert (await wallet.roll_back(account_id, given_back)).status == REVERSED
        assert (
            await wallet.deposit(account_id, 7)
        ).current_balance.amount_minor == 1000 - 100 + 30 - 50 - 10 + 70 + 7
        tombstone = new_id()
        assert (await wallet.void(account_id, tombstone)).status == VOID

        await execute(
            wallet, "update account set balance_minor = balance_minor - 1 where account_id = :id", id=other_id
        )
        async with wallet.engine.begin() as conn:
            resolved = await auditor.resume(conn, actor="ann", reason="corrected")
        assert CHAINS in [one.invariant for one in resolved]
        assert await wallet.scalar("select distinct actor || reason from ledger_break") == "anncorrected"
        assert (await wallet.send(late)).status == APPLIED, "the same id was free"
        await wallet.auditor.run_once()
        assert await wallet.breaks() == []
        await wallet.check()


async def test_replicas_take_turns_and_store_a_break_once(database: Callable[[str], str]) -> None:
    url = database("wallet")
    async with Audited(url) as one, Audited(url) as other:
        account_id = await one.open(balance=1000)
        await break_books(one, account_id)
        await asyncio.gather(*(replica.auditor.run_once() for replica in (one, other) for _ in range(3)))
        await execute(one, "update auditor set since = '-infinity'")
        await other.auditor.run_once()
        assert len(await one.breaks()) == len(set(await one.breaks())) == 2

        patient = Auditor(one.audit_engine, interval_ms=60_000)
        assert await patient.run_once()
        assert not await patient.run_once()
        assert not await other.auditor.run_once()


async def test_what_commits_late_is_not_passed_over(
    database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transfer without its posting, written before the passes and committed after them."""
    without_posting = mutant(("cross join upd u\n", "cross join upd u where false\n"), of=sql.INSERT_TRANSFER)
    monkeypatch.setattr(sql, "INSERT_TRANSFER", without_posting)
    async with Audited(database("wallet")) as wallet:
        order = TransferOrder(
            operator_id=OPERATOR,
            request_id=uuid7(),
            account_id=await wallet.open(),
            currency_code="EUR",
            type=TransferType.DEPOSIT,
            amount_minor=5,
            traceparent="",
        )
        await wallet.auditor.run_once()
        async with wallet.engine.connect() as slow:
            await transfers.transfer(slow, order)
            for _ in range(3):
                assert await wallet.auditor.run_once()
            assert await wallet.breaks() == []
            await slow.commit()
        await wallet.auditor.run_once()
        assert "I3 postings" in await wallet.breaks()


async def test_the_metric_shows_the_open_violations(database: Callable[[str], str]) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    async with Audited(database("wallet")) as wallet:
        wallet.auditor.observe_with(provider.get_meter("reelmesh"))
        account_id = await wallet.open(balance=1000)
        await wallet.auditor.run_once()
        assert set(imbalance(reader).values()) == {0}
        await wallet.deposit(account_id, 5)
        await break_books(wallet, account_id)
        await wallet.auditor.run_once()
        assert imbalance(reader)[CHAINS] == 1
    provider.shutdown()


def imbalance(reader: InMemoryMetricReader) -> dict[str, int]:
    """reelmesh.ledger.imbalance by invariant."""
    data: Any = reader.get_metrics_data()
    [metric] = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == "reelmesh.ledger.imbalance"
    return {point.attributes["reelmesh.ledger.invariant"]: point.value for point in metric.data.data_points}


class AnyEvents:
    """An events service that takes everything."""

    async def Append(self, request: events_pb2.AppendRequest) -> events_pb2.AppendResponse:
        return events_pb2.AppendResponse(batch_no_last=request.batches[-1].batch_no)


def relay_of(wallet: Wallet, *, keep_s: int) -> Relay:
    """A relay whose events are all taken."""
    events = cast("events_pb2_grpc.EventServiceAsyncStub", AnyEvents())
    return Relay(source="wallet", engine=wallet.engine, events=events, to_events=to_events, keep_s=keep_s)


async def audit_again(wallet: Audited) -> list[str]:
    """The open breaks after a pass over everything."""
    await execute(wallet, "update auditor set since = '-infinity'")
    assert await wallet.auditor.run_once()
    return await wallet.breaks()


async def test_events_are_compared_only_while_it_is_known_that_all_are_kept(
    database: Callable[[str], str],
) -> None:
    """A rolling upgrade is no break: a relay from before deletes what it has sent, and says nothing."""
    async with Audited(database("wallet")) as wallet:
        account_id = await wallet.open(balance=1000)
        await wallet.settle(account_id, stake=10)
        await relay_of(wallet, keep_s=60).forward()
        assert await audit_again(wallet) == []
        await wallet.settle(account_id, stake=10)
        await execute(wallet, "update relay set holder = 'old', lease_until = '-infinity'")
        await execute(wallet, "delete from outbox")
        assert await audit_again(wallet) == []

        await wallet.settle(account_id, stake=10)
        await relay_of(wallet, keep_s=60).forward()
        await wallet.settle(account_id, stake=10)
        assert await audit_again(wallet) == []
        await execute(wallet, "delete from outbox where batch_no is null")
        assert await audit_again(wallet) == ["I6 events"]


async def test_a_window_that_begins_in_the_middle_of_a_statement_is_no_break(
    database: Callable[[str], str],
) -> None:
    """Its settlement is older than the window, and its outbox row is not."""
    async with Audited(database("wallet")) as wallet:
        await wallet.settle(await wallet.open(balance=1000), stake=10)
        since = await wallet.scalar(
            """select cast(max(s.create_time) + (max(o.create_time) - max(s.create_time)) / 2 as text)
               from settlement s cross join outbox o where o.kind = 'settle'"""
        )
        assert await auditor.audit_window(wallet.audit_engine, since=since) == []


PASSES = 50


async def test_no_false_alarm_while_writers_race(database: Callable[[str], str]) -> None:
    """Two replicas, a relay that deletes what it keeps, and roll-ups, under the auditor's eyes."""
    url = database("wallet")
    async with Audited(url) as one, Wallet(url) as other:
        accounts = [await one.open(balance=500) for _ in range(6)]
        relay = relay_of(other, keep_s=1)
        done = asyncio.Event()

        async def play(wallet: Wallet, seed: int) -> None:
            choice = random.Random(seed)
            rounds = [(new_id(), choice.choice(accounts)) for _ in range(3)]
            while not done.is_set():
                if choice.random() < 0.5:
                    rounds.append((new_id(), choice.choice(accounts)))
                round_id, account_id = choice.choice(rounds[-8:])
                try:
                    await move(wallet, choice, account_id, round_id)
                except DomainError as error:
                    assert error.reason in ("ID_REUSED", "STAKE_UNKNOWN", "INSUFFICIENT_FUNDS")

        async def repeat(work: Callable[[], Any]) -> None:
            while not done.is_set():
                await work()
                await asyncio.sleep(0.005)

        players = [play(wallet, seed) for seed, wallet in enumerate([one, one, other, other])]
        jobs = [repeat(relay.forward), repeat(lambda: counters.roll_up(other.engine, rows_max=5))]
        running = [asyncio.ensure_future(job) for job in (*players, *jobs)]
        try:
            for _ in range(PASSES):
                await execute(one, "update auditor set counters_time = '-infinity'")
                assert await one.auditor.run_once()
                assert await one.breaks() == []
        finally:
            done.set()
            await asyncio.gather(*running)
        findings, rows = await auditor.audit_everything(one.audit_engine)
        assert [finding for finding in findings if finding.violations] == []
        assert rows["settlement"] and rows["reversal"] and rows["transfer"]


async def move(wallet: Wallet, choice: random.Random, account_id: int, round_id: str) -> None:
    """Something that may have been done before, or by somebody else at the same time."""
    match choice.randrange(7):
        case 0 | 1:
            await wallet.settle(account_id, round_id=round_id, stake=choice.choice((10, 10, 5_000)), win=5)
        case 2:
            await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=10)
        case 3:
            await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=5)
        case 4:
            await wallet.void(account_id, round_id)
        case 5:
            await wallet.roll_back(account_id, round_id)
        case _:
            amount = choice.choice((1, 2, 5_000))
            await (wallet.deposit if amount < 3 else wallet.withdraw)(account_id, amount)
