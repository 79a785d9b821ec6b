"""Adjustments: an operator's corrections of a balance, with who and why."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from services.common.errors import DomainError
from services.common.fields import AMOUNT_MINOR_MAX
from tests.integration.wallet.harness import DEMO, Wallet, money, new_id
from tests.integration.wallet.test_events import facts, told


async def counter_minor(wallet: Wallet, account_id: int, counter: str) -> int:
    """The derived balance of the account's house or cashier."""
    counter_id = await wallet.scalar(
        f"select {counter}_account_id from account where account_id = :id", id=account_id
    )
    return await wallet.balance(counter_id)


async def test_an_adjustment_corrects_up_and_down_against_the_cashier_and_keeps_who_and_why(
    wallet: Wallet,
) -> None:
    account_id = await wallet.open(balance=1000)
    house, cashier = [await counter_minor(wallet, account_id, counter) for counter in ("house", "cashier")]
    up = await wallet.adjust(account_id, 300, actor="ann", reason="late bonus")
    down = await wallet.adjust(account_id, -1300, actor="ben", reason="charge-back")
    assert (up.transfer.amount, up.transfer.balance_after, up.current_balance) == (
        money(300),
        money(1300),
        money(1300),
    )
    assert (up.transfer.actor, up.transfer.reason, up.transfer.account_version) == ("ann", "late bonus", 2)
    assert (down.transfer.amount, down.current_balance) == (money(-1300), money(0))
    assert (down.transfer.actor, down.transfer.reason) == ("ben", "charge-back")
    assert await counter_minor(wallet, account_id, "cashier") == cashier + 1000
    assert await counter_minor(wallet, account_id, "house") == house


async def test_an_adjustment_is_told_as_one(database: Callable[[str], str]) -> None:
    async with Wallet(database("wallet")) as wallet:
        account_id = await wallet.open()
        await wallet.adjust(account_id, 300)
        await wallet.adjust(account_id, -100)
        up, down = await told(wallet)
    assert (up.event_type, facts(up)["type"], facts(up)["amount_minor"]) == (
        "transfer.applied",
        "ADJUSTMENT",
        300,
    )
    assert (down.account_version, facts(down)["type"], facts(down)["amount_minor"]) == (
        2,
        "ADJUSTMENT",
        -100,
    )


async def test_a_replayed_adjustment_returns_what_was_stored(wallet: Wallet) -> None:
    account_id, request_id = await wallet.open(balance=100), new_id()
    first = await wallet.adjust(account_id, -60, request_id=request_id)
    again = await wallet.adjust(account_id, -60, request_id=request_id)
    assert again.transfer.replayed and again.transfer.transfer_id == first.transfer.transfer_id
    assert await wallet.balance(account_id) == 40


async def test_an_adjustment_below_zero_is_refused_for_ever(wallet: Wallet) -> None:
    account_id, request_id = await wallet.open(balance=100), new_id()
    for balance in (100, 100):
        with pytest.raises(DomainError) as caught:
            await wallet.adjust(account_id, -101, request_id=request_id)
        assert caught.value.reason == "INSUFFICIENT_FUNDS"
        assert caught.value.metadata == {"balance_minor": str(balance), "currency_code": "EUR"}
        await wallet.deposit(account_id, 1000)
    assert await wallet.balance(account_id) == 2100


async def test_an_adjustment_goes_up_as_far_as_a_deposit_and_down_from_anywhere(wallet: Wallet) -> None:
    account_id, request_id = await wallet.open(balance=AMOUNT_MINOR_MAX), new_id()
    await wallet.settle(account_id, stake=1, win=AMOUNT_MINOR_MAX)
    for _ in range(2):
        with pytest.raises(DomainError, match="BALANCE_TOO_LARGE"):
            await wallet.adjust(account_id, 1, request_id=request_id)
    await wallet.adjust(account_id, -1)
    await wallet.adjust(account_id, -AMOUNT_MINOR_MAX)
    assert await wallet.balance(account_id) == AMOUNT_MINOR_MAX - 2


@pytest.mark.parametrize(
    ("amount", "fields", "reason"),
    [
        (0, {}, "FIELD_INVALID"),
        (AMOUNT_MINOR_MAX + 1, {}, "AMOUNT_TOO_LARGE"),
        (-AMOUNT_MINOR_MAX - 1, {}, "AMOUNT_TOO_LARGE"),
        (-(2**63), {}, "AMOUNT_TOO_LARGE"),
        (1, {"currency_code": ""}, "FIELD_MISSING"),
        (1, {"currency_code": "eur"}, "CURRENCY_UNKNOWN"),
        (1, {"currency_code": "USD"}, "CURRENCY_MISMATCH"),
        (1, {"operator_id": "other"}, "ACCOUNT_NOT_FOUND"),
        (1, {"actor": ""}, "FIELD_MISSING"),
        (1, {"actor": "a" * 129}, "FIELD_INVALID"),
        (1, {"reason": ""}, "FIELD_MISSING"),
        (1, {"reason": "r" * 1001}, "FIELD_INVALID"),
        (1, {"round_id": "round-1"}, "FIELD_INVALID"),
        (1, {"request_id": "adjustment-1"}, "FIELD_INVALID"),
    ],
)
async def test_an_adjustment_that_makes_no_sense_is_refused_and_not_stored(
    wallet: Wallet, amount: int, fields: dict[str, str], reason: str
) -> None:
    account_id, request_id = await wallet.open(balance=100), new_id()
    with pytest.raises(DomainError, match=reason):
        await wallet.adjust(account_id, amount, **{"request_id": request_id} | fields)
    # Not stored: the id is still free.
    await wallet.adjust(account_id, 5, request_id=request_id)
    assert await wallet.balance(account_id) == 105


async def test_an_adjustment_names_a_round_of_its_account_or_none(wallet: Wallet) -> None:
    mine, theirs = await wallet.open(balance=100), await wallet.open(balance=100)
    round_id = (await wallet.settle(mine, stake=10)).round_id
    foreign = (await wallet.settle(theirs, stake=10)).round_id
    for unknown in (foreign, new_id()):
        with pytest.raises(DomainError, match="ROUND_NOT_FOUND"):
            await wallet.adjust(mine, 10, round_id=unknown)
    adjusted = await wallet.adjust(mine, 10, round_id=round_id.upper())
    assert adjusted.transfer.round_id == round_id
    assert await wallet.balance(mine) == 100


async def test_play_money_is_adjusted_within_play_money(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=100, kind=DEMO)
    real = await wallet.open(balance=100)
    before = await counter_minor(wallet, real, "cashier")
    demo_before = await counter_minor(wallet, account_id, "cashier")
    await wallet.adjust(account_id, 50)
    await wallet.adjust(account_id, -150)
    assert await wallet.balance(account_id) == 0
    assert await counter_minor(wallet, real, "cashier") == before
    assert await counter_minor(wallet, account_id, "cashier") == demo_before + 100


async def test_the_tables_themselves_want_an_actor_and_a_reason(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=100)
    await wallet.adjust(account_id, 5)
    for column in ("actor", "reason"):
        with pytest.raises(Exception, match="transfer_check"):
            async with wallet.engine.begin() as conn:
                await conn.execute(
                    text(f"update transfer set {column} = '' where account_id = :id and type = 3"),
                    {"id": account_id},
                )
