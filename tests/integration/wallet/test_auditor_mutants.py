"""Each of twenty defects of the ledger is named by the auditor, which reads tables only."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text

from services.wallet import sql
from services.wallet.audit import auditor
from tests.databases import Databases
from tests.integration.wallet.auditor_mutants import (
    MUTANTS,
    Mutant,
    bets,
    late_bet,
    one_id,
    refusal,
    replay,
    roll_ups,
)
from tests.integration.wallet.harness import DEMO, Wallet


async def broken(url: str, *, since: str) -> tuple[set[str], set[str]]:
    """The checks that find something in all there is, and in what was written since."""
    engine = auditor.create_engine(url)
    try:
        findings, _ = await auditor.audit_everything(engine)
        window = await auditor.audit_window(engine, since=since)
        return {f.check.name for f in findings if f.violations}, {f.check.name for f in window}
    finally:
        await engine.dispose()


async def drop_constraint(wallet: Wallet, table: str, words: str) -> None:
    """Takes away what the database itself would refuse by."""
    found = await wallet.scalar(
        """select conname from pg_constraint where conrelid = cast(:table as regclass)
           and pg_get_constraintdef(oid) like '%' || :words || '%'""",
        table=table,
        words=words,
    )
    async with wallet.engine.begin() as conn:
        await conn.execute(text(f"alter table {table} drop constraint {found}"))


@pytest.fixture(scope="module")
def played(databases: Databases) -> Iterator[tuple[str, int, int]]:
    """A ledger where all is right, for every case to copy; and its two accounts."""
    url = databases.create("wallet")

    async def play_all() -> tuple[int, int]:
        async with Wallet(url) as wallet:
            one, other = await wallet.open(balance=1000), await wallet.open(balance=1000)
            await wallet.open(balance=1000, kind=DEMO)
            await wallet.open(balance=1000, currency_code="USD")
            for play in (bets, refusal, replay, late_bet, one_id, roll_ups):
                await play(wallet, sql.SETTLE, one, other)
        assert await broken(url, since=auditor.FOREVER) == (set(), set())
        return one, other

    yield url, *asyncio.run(play_all())
    databases.drop(url)


@pytest.mark.parametrize("case", MUTANTS, ids=lambda case: case.name)
async def test_a_defect_of_the_ledger_is_named(
    databases: Databases, played: tuple[str, int, int], monkeypatch: pytest.MonkeyPatch, case: Mutant
) -> None:
    right, one, other = played
    url = databases.copy("wallet", right)
    async with Wallet(url) as wallet:
        # What was right before stays so.
        since = await wallet.scalar("select cast(clock_timestamp() as text)")
        monkeypatch.setattr(sql, case.of, case.statement)
        if case.constraints:
            with pytest.raises(psycopg.IntegrityError):
                await case.play(wallet, sql.SETTLE, one, other)
        for table, words in case.constraints:
            await drop_constraint(wallet, table, words)
        await case.play(wallet, sql.SETTLE, one, other)
        assert await broken(url, since=since) == (case.whole, case.window)
    databases.drop(url)


def test_there_are_twenty() -> None:
    assert len({case.name for case in MUTANTS}) == 20
