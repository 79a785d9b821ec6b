"""The other side of every posting: house and cashier, derived, and kept apart by kind."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.common import telemetry
from services.tracing.spans import Tracer
from services.wallet import counters
from tests.integration.wallet.harness import DEMO, PAYOUT, STAKE, Wallet, new_id
from tests.spans import Kept


async def counter_ids(wallet: Wallet, account_id: int) -> tuple[int, int]:
    """House and cashier of an account."""
    query = "select {} from account where account_id = :id"
    house = await wallet.scalar(query.format("house_account_id"), id=account_id)
    return house, await wallet.scalar(query.format("cashier_account_id"), id=account_id)


async def play(wallet: Wallet, account_id: int) -> None:
    """Rounds of every sort: the house has won 115 after it, and the cashier given 900."""
    await wallet.withdraw(account_id, 100)
    await wallet.settle(account_id, stake=100, win=30)
    await wallet.settle(account_id, stake=100, win=100)
    choice, given_back = new_id(), new_id()
    await wallet.settle(account_id, round_id=choice, step=STAKE, stake=50)
    await wallet.settle(account_id, round_id=choice, step=PAYOUT, win=5)
    await wallet.settle(account_id, round_id=given_back, stake=70)
    await wallet.roll_back(account_id, given_back)
    await wallet.settle(account_id, stake=10_000)


async def test_the_house_has_what_players_lost_and_the_cashier_what_they_brought(
    database: Callable[[str], str],
) -> None:
    async with Wallet(database("wallet")) as wallet:
        account_id = await wallet.open(balance=1000)
        house_id, cashier_id = await counter_ids(wallet, account_id)
        await play(wallet, account_id)
        balances = [await wallet.balance(i) for i in (account_id, house_id, cashier_id)]
        assert balances == [785, 115, -900]
        # The job changes where the figures come from, not the figures.
        assert await counters.roll_up(wallet.engine) > 0
        assert [await wallet.balance(i) for i in (account_id, house_id, cashier_id)] == balances
        assert await wallet.scalar("select count(*) from counter_tail") == 0
        await play(wallet, account_id)
        assert await wallet.balance(house_id) == 230
        house = await wallet.account(house_id)
        assert (house.player_id, house.account_version) == ("", 0)
        await wallet.check()


async def test_a_house_account_of_another_operator_is_not_found(wallet: Wallet) -> None:
    house_id, _ = await counter_ids(wallet, await wallet.open(operator_id="other"))
    with pytest.raises(Exception, match="ACCOUNT_NOT_FOUND"):
        await wallet.account(house_id)


async def test_rolling_up_while_rounds_are_played_loses_nothing(database: Callable[[str], str]) -> None:
    async with Wallet(database("wallet")) as wallet:
        accounts = [await wallet.open(balance=1000) for _ in range(5)]
        done = asyncio.Event()

        async def roll_up() -> None:
            while not done.is_set():
                await counters.roll_up(wallet.engine, rows_max=3)
                await asyncio.sleep(0)

        jobs = [asyncio.ensure_future(roll_up()) for _ in range(2)]
        for _ in range(10):
            await asyncio.gather(*(wallet.settle(i, stake=7, win=3) for i in accounts))
            await wallet.check()
        done.set()
        await asyncio.gather(*jobs)
        house_id, _ = await counter_ids(wallet, accounts[0])
        assert await wallet.balance(house_id) == 5 * 10 * 4


async def test_the_job_ends_when_it_is_told_to(wallet: Wallet) -> None:
    stop = asyncio.Event()
    await wallet.settle(await wallet.open(balance=100), stake=10)
    job = asyncio.ensure_future(counters.keep_rolling_up(wallet.engine, interval_ms=10, stop=stop))
    async with asyncio.timeout(5):
        while await wallet.scalar("select count(*) from counter_tail"):
            pass
        stop.set()
        await job


async def test_the_database_refuses_a_posting_between_real_and_demo(wallet: Wallet) -> None:
    real_id, demo_id = await wallet.open(), await wallet.open(kind=DEMO)
    assert (real_id % 2, demo_id % 2) == (0, 1)
    posting = text("insert into posting values (cast(:id as uuid), 1, :real_id, :demo_id, 5)")
    with pytest.raises(IntegrityError, match="posting_check"):
        async with wallet.engine.begin() as conn:
            await conn.execute(posting, {"id": new_id(), "real_id": real_id, "demo_id": demo_id})


@pytest.mark.parametrize("column", ["operator_id", "currency_code", "kind"])
async def test_the_database_refuses_a_house_of_another_operator_currency_or_kind(
    wallet: Wallet, column: str
) -> None:
    house_id, cashier_id = await counter_ids(wallet, await wallet.open())
    values = {"operator_id": "'acme'", "currency_code": "'EUR'", "kind": "1"}
    values[column] = {"operator_id": "'other'", "currency_code": "'USD'", "kind": "2"}[column]
    account_id = f"2 * nextval('account_number') + {values['kind']} - 1"
    with pytest.raises(IntegrityError):
        async with wallet.engine.begin() as conn:
            await conn.execute(
                text(f"""
                insert into account (account_id, player_id, type, house_account_id, cashier_account_id,
                  operator_id, currency_code, kind)
                values ({account_id}, 'x', 1, {house_id}, {cashier_id},
                  {values["operator_id"]}, {values["currency_code"]}, {values["kind"]})""")
            )


async def test_the_database_refuses_a_negative_balance(wallet: Wallet) -> None:
    account_id = await wallet.open()
    with pytest.raises(IntegrityError):
        async with wallet.engine.begin() as conn:
            await conn.execute(
                text("update account set balance_minor = -1 where account_id = :id"), {"id": account_id}
            )


async def test_rolling_up_is_no_trace(wallet: Wallet, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    monkeypatch.setattr(telemetry, "tracer", Tracer(1, kept))
    await counters.roll_up(wallet.engine)
    assert kept.finished == []
