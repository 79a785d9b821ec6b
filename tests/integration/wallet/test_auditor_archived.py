"""What the auditor sees of accounts with archived movements: a gap is not an excuse for another one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from services.wallet import sql
from services.wallet.audit import auditor
from services.wallet.months import archive
from tests.integration.wallet.auditor_mutants import CHAINS, MUTANTS, SUMS, Mutant, bets
from tests.integration.wallet.harness import Wallet
from tests.integration.wallet.months import ids_in, lay_months, month_at
from tests.integration.wallet.test_auditor_mutants import broken

OLD = month_at(-3)
VERSIONS = [case for case in MUTANTS if case.name in ("skip a version", "version +2")]


async def archived(wallet: Wallet, directory: Path) -> tuple[int, int]:
    """Two accounts with 1,000 and two movements, of which one is archived since more than an hour."""
    await lay_months(wallet.engine, first=OLD, last=month_at(1))
    one, other = [await wallet.open(balance=1001) for _ in range(2)]
    mint = ids_in(OLD)
    for account_id in (one, other):
        await wallet.settle(account_id, round_id=mint(), stake=1)
    await archive.archive(wallet.engine, directory=directory, before=month_at(-2), tell=lambda line: None)
    async with wallet.engine.begin() as conn:
        await conn.execute(text("update ledger_month set close_time = close_time - interval '2 hours'"))
        for table in ("transfer", "outbox"):
            await conn.execute(text(f"update {table} set create_time = create_time - interval '3 hours'"))
    return one, other


@pytest.mark.parametrize("played_since", [False, True])
@pytest.mark.parametrize("case", VERSIONS, ids=lambda case: case.name)
async def test_a_version_that_is_left_out_is_named(
    database: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    case: Mutant,
    played_since: bool,
) -> None:
    url = database("wallet")
    async with Wallet(url) as wallet:
        one, other = await archived(wallet, tmp_path)
        if played_since:
            await bets(wallet, sql.SETTLE, one, other)
        since = await wallet.scalar("select cast(clock_timestamp() as text)")
        assert await broken(url, since=auditor.FOREVER) == (set(), set())
        monkeypatch.setattr(sql, case.of, case.statement)
        await bets(wallet, sql.SETTLE, one, other)
        assert await broken(url, since=since) == ({CHAINS, SUMS}, {CHAINS})


@pytest.mark.parametrize("change", ["version = version + 1", "balance_minor = balance_minor + 1"])
async def test_an_account_that_is_not_what_its_last_movement_left_is_named(
    database: Callable[[str], str], tmp_path: Path, change: str
) -> None:
    url = database("wallet")
    async with Wallet(url) as wallet:
        one, other = await archived(wallet, tmp_path)
        since = await wallet.scalar("select cast(clock_timestamp() as text)")
        await bets(wallet, sql.SETTLE, one, other)
        async with wallet.engine.begin() as conn:
            await conn.execute(text(f"update account set {change} where account_id = :id"), {"id": one})
        whole, window = await broken(url, since=since)
        assert CHAINS in whole and CHAINS in window


async def test_archived_movements_between_kept_ones_are_a_gap_and_no_break(
    database: Callable[[str], str], tmp_path: Path
) -> None:
    url = database("wallet")
    async with Wallet(url) as wallet:
        await lay_months(wallet.engine, first=OLD, last=month_at(1))
        account_id, mint = await wallet.open(balance=1000), ids_in(OLD)
        since = await wallet.scalar("select cast(clock_timestamp() as text)")
        for round_id in ("", mint(), mint(), "", mint(), ""):
            await wallet.settle(account_id, round_id=round_id, stake=10)
        assert await broken(url, since=since) == (set(), set())
        before = month_at(-2)
        await archive.archive(wallet.engine, directory=tmp_path, before=before, tell=lambda line: None)
        assert await broken(url, since=since) == (set(), set())
        await wallet.settle(account_id, stake=10)
        assert await broken(url, since=since) == (set(), set())
