"""Days around archived months: their totals and their CSV are whole, or refused."""

import asyncio
import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from services.wallet.reads import export, statements
from services.wallet.reads import store as reads_store
from tests.integration.wallet.harness import CONTEXT, OPERATOR, Wallet
from tests.integration.wallet.months import NEXT, OLD, ids_in, run
from tests.integration.wallet.reading import move_times


async def test_the_totals_of_a_day_that_is_archived_are_refused(old_wallet: Wallet, tmp_path: Path) -> None:
    wallet = old_wallet
    await run(wallet, tmp_path)

    async def totals(day: date) -> object:
        request = wallet_pb2.GetDailyTotalsRequest(operator_id=OPERATOR, day=day.isoformat())
        return await wallet.handlers.GetDailyTotals(request, CONTEXT)

    for day in (OLD, NEXT - timedelta(days=1)):
        with pytest.raises(DomainError, match="FIELD_INVALID"):
            await totals(day)
    assert await totals(NEXT)


async def test_a_day_that_lacks_a_movement_of_an_archived_month_is_refused_and_never_wrong(
    old_wallet: Wallet, tmp_path: Path
) -> None:
    wallet = old_wallet
    account_id = await wallet.open(balance=1000)
    # Minted on the last night, moved the next day; and two bets of that day and the one after.
    await wallet.settle(account_id, round_id=ids_in(OLD)(), stake=100, win=30)
    await wallet.settle(account_id, round_id=ids_in(NEXT)(), stake=10)
    await wallet.settle(account_id, round_id=ids_in(NEXT)(), stake=20)
    night = datetime(NEXT.year, NEXT.month, NEXT.day, 0, 0, 5, tzinfo=UTC)
    days = {1: night, 2: night, 3: night, 4: night + timedelta(days=1)}
    await move_times(wallet, account_id, days)

    async def of(day: date) -> wallet_pb2.DailyTotals:
        request = wallet_pb2.GetDailyTotalsRequest(operator_id=OPERATOR, day=day.isoformat())
        [totals] = (await wallet.handlers.GetDailyTotals(request, CONTEXT)).totals
        return totals

    assert (await of(NEXT)).stake.amount_minor == 110
    assert await run(wallet, tmp_path) == [OLD]
    with pytest.raises(DomainError, match="FIELD_INVALID") as refused:
        await of(NEXT)
    assert refused.value.metadata["field"] == "day"
    # The CSV of that day asks the same.
    async with wallet.engine.connect() as conn:
        with pytest.raises(DomainError, match="FIELD_INVALID"):
            await export.write_day(conn, io.StringIO(), operator_id=OPERATOR, day=NEXT, currency_code="")
    assert (await of(NEXT + timedelta(days=1))).stake.amount_minor == 20


async def test_a_month_in_which_nothing_moved_takes_no_other_day_with_it(
    old_wallet: Wallet, tmp_path: Path
) -> None:
    account_id = await old_wallet.open()
    # Neither a refusal nor a tombstone is in any total.
    await old_wallet.settle(account_id, round_id=ids_in(OLD)(), stake=100)
    await old_wallet.void(account_id, ids_in(OLD)())
    await run(old_wallet, tmp_path)
    async with old_wallet.engine.connect() as conn:
        assert await reads_store.get_archived_end(conn) == NEXT


async def test_a_day_that_is_being_summed_keeps_its_month(old_wallet: Wallet, tmp_path: Path) -> None:
    wallet = old_wallet
    account_id = await wallet.open(balance=1000)
    await wallet.settle(account_id, round_id=ids_in(OLD)(), stake=100)
    today = (await wallet.scalar("select clock_timestamp()")).date()
    async with wallet.engine.begin() as conn:
        start_time, end_time = await statements.get_times_of(conn, day=today)
        archiving = asyncio.create_task(run(wallet, tmp_path))
        waits = "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'"
        async with asyncio.timeout(10):
            while not archiving.done() and not await wallet.scalar(waits):
                pass
        [totals] = await reads_store.list_daily_totals(
            conn, operator_id=OPERATOR, start_time=start_time, end_time=end_time, currency_code=""
        )
        assert totals.stake_minor == 100
    assert await archiving == [OLD]
    with pytest.raises(DomainError, match="FIELD_INVALID"):
        async with wallet.engine.begin() as conn:
            await statements.get_times_of(conn, day=today)
