"""Accounts, deposits and withdrawals."""

import asyncio
from typing import Any

import pytest
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from services.common.fields import AMOUNT_MINOR_MAX
from tests.integration.wallet.harness import CONTEXT, DEMO, REAL, Wallet, money, new_id


async def test_an_account_is_opened_once_per_operator_player_currency_and_kind(wallet: Wallet) -> None:
    first = await wallet.open(player_id="ann")
    assert await wallet.open(player_id="ann") == first
    others = [
        await wallet.open(player_id="ben"),
        await wallet.open(player_id="ann", operator_id="other"),
        await wallet.open(player_id="ann", currency_code="USD"),
        await wallet.open(player_id="ann", kind=DEMO),
    ]
    assert len({first, *others}) == 5


async def test_an_account_opened_many_times_at_once_is_one(wallet: Wallet) -> None:
    opened = await asyncio.gather(*(wallet.open(operator_id="crowded", player_id="ann") for _ in range(20)))
    assert len(set(opened)) == 1
    # The player's, and its two counter-accounts.
    assert await wallet.scalar("select count(*) from account where operator_id = 'crowded'") == 3


async def test_a_new_account_is_empty(wallet: Wallet) -> None:
    account = await wallet.account(await wallet.open(player_id="zoe", currency_code="JPY"))
    assert (account.operator_id, account.player_id, account.kind) == ("acme", "zoe", REAL)
    assert (account.balance, account.account_version) == (money(0, "JPY"), 0)


async def test_an_unregistered_currency_opens_nothing(wallet: Wallet) -> None:
    for code in ("eur", "XXX"):
        with pytest.raises(DomainError, match="CURRENCY_UNKNOWN"):
            await wallet.open(currency_code=code)
    with pytest.raises(DomainError, match="FIELD_MISSING"):
        await wallet.open(currency_code="")


async def test_an_account_of_another_operator_is_not_found(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=100)
    for call in (
        wallet.account(account_id, operator_id="other"),
        wallet.account(account_id + 1000),
        wallet.deposit(account_id, 1, operator_id="other"),
        wallet.withdraw(account_id, 1, operator_id="other"),
    ):
        with pytest.raises(DomainError, match="ACCOUNT_NOT_FOUND"):
            await call
    assert await wallet.balance(account_id) == 100


async def test_money_comes_in_and_goes_out(wallet: Wallet) -> None:
    account_id = await wallet.open()
    deposit = await wallet.deposit(account_id, 500)
    assert (deposit.transfer.amount, deposit.transfer.balance_after) == (money(500), money(500))
    assert (deposit.transfer.account_version, deposit.transfer.replayed) == (1, False)
    withdrawal = await wallet.withdraw(account_id, 200)
    assert (withdrawal.transfer.amount, withdrawal.current_balance) == (money(-200), money(300))
    assert await wallet.balance(account_id) == 300


async def test_a_replayed_transfer_returns_what_was_stored(wallet: Wallet) -> None:
    account_id, request_id = await wallet.open(), new_id()
    first = await wallet.deposit(account_id, 500, request_id=request_id)
    await wallet.withdraw(account_id, 100)
    again = await wallet.deposit(account_id, 500, request_id=request_id)
    assert again.transfer.replayed and again.transfer.transfer_id == first.transfer.transfer_id
    assert (again.transfer.balance_after, again.current_balance) == (money(500), money(400))
    assert again.transfer.create_time == first.transfer.create_time
    assert await wallet.balance(account_id) == 400


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("deposit", {"amount": 501}),
        ("deposit", {"amount": 500, "currency_code": "USD"}),
        ("withdraw", {"amount": 500}),
    ],
)
async def test_another_body_under_a_used_transfer_id_is_refused(
    wallet: Wallet, method: str, fields: dict[str, Any]
) -> None:
    account_id, request_id = await wallet.open(), new_id()
    await wallet.deposit(account_id, 500, request_id=request_id)
    with pytest.raises(DomainError, match="ID_REUSED"):
        await getattr(wallet, method)(account_id, request_id=request_id, **fields)
    assert await wallet.balance(account_id) == 500


async def test_one_id_belongs_to_one_account_even_when_two_race_for_it(wallet: Wallet) -> None:
    accounts, request_id = [await wallet.open() for _ in range(4)], new_id()
    results = await asyncio.gather(
        *(wallet.deposit(account_id, 500, request_id=request_id) for account_id in accounts),
        return_exceptions=True,
    )
    errors = [result for result in results if isinstance(result, DomainError)]
    assert [error.reason for error in errors] == ["ID_REUSED"] * 3
    assert sorted([await wallet.balance(account_id) for account_id in accounts]) == [0, 0, 0, 500]


async def test_two_operators_may_use_the_same_id(wallet: Wallet) -> None:
    request_id = new_id()
    mine, theirs = await wallet.open(), await wallet.open(operator_id="other")
    await wallet.deposit(mine, 500, request_id=request_id)
    deposit = await wallet.deposit(theirs, 700, request_id=request_id, operator_id="other")
    assert not deposit.transfer.replayed


async def test_a_refused_withdrawal_is_stored_and_outlives_a_deposit(wallet: Wallet) -> None:
    account_id, request_id = await wallet.open(balance=100), new_id()
    for _ in range(2):
        with pytest.raises(DomainError) as caught:
            await wallet.withdraw(account_id, 101, request_id=request_id)
        assert caught.value.reason == "INSUFFICIENT_FUNDS"
        assert caught.value.metadata == {"balance_minor": "100", "currency_code": "EUR"}
        await wallet.deposit(account_id, 1000)
    assert await wallet.balance(account_id) == 2100


async def test_a_deposit_above_the_largest_balance_is_refused_for_ever(wallet: Wallet) -> None:
    account_id, request_id = await wallet.open(balance=AMOUNT_MINOR_MAX), new_id()
    for _ in range(2):
        with pytest.raises(DomainError) as caught:
            await wallet.deposit(account_id, 1, request_id=request_id)
        assert caught.value.reason == "BALANCE_TOO_LARGE"
        assert caught.value.metadata["balance_minor"] == str(AMOUNT_MINOR_MAX)
        await wallet.withdraw(account_id, 10)
    assert await wallet.balance(account_id) == AMOUNT_MINOR_MAX - 20


async def test_a_large_balance_can_still_be_withdrawn(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=AMOUNT_MINOR_MAX)
    await wallet.settle(account_id, stake=1, win=AMOUNT_MINOR_MAX)
    await wallet.withdraw(account_id, 1)
    assert await wallet.balance(account_id) == 2 * AMOUNT_MINOR_MAX - 2


async def test_play_money_comes_in_but_never_goes_out(wallet: Wallet) -> None:
    account_id, request_id = await wallet.open(balance=100, kind=DEMO), new_id()
    with pytest.raises(DomainError, match="DEMO_WITHDRAWAL"):
        await wallet.withdraw(account_id, 1, request_id=request_id)
    # Not stored: the same id may still bring money in.
    await wallet.deposit(account_id, 1, request_id=request_id)
    assert await wallet.balance(account_id) == 101


async def test_a_transfer_in_another_currency_is_refused(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=100)
    with pytest.raises(DomainError, match="CURRENCY_MISMATCH"):
        await wallet.deposit(account_id, 1, currency_code="USD")
    with pytest.raises(DomainError, match="CURRENCY_MISMATCH"):
        await wallet.withdraw(account_id, 1, currency_code="USD")


@pytest.mark.parametrize(
    ("amount", "reason"),
    [(0, "AMOUNT_NOT_POSITIVE"), (-1, "AMOUNT_NOT_POSITIVE"), (AMOUNT_MINOR_MAX + 1, "AMOUNT_TOO_LARGE")],
)
async def test_an_amount_out_of_range_is_refused(wallet: Wallet, amount: int, reason: str) -> None:
    account_id = await wallet.open(balance=100)
    with pytest.raises(DomainError, match=reason):
        await wallet.deposit(account_id, amount)
    with pytest.raises(DomainError, match=reason):
        await wallet.withdraw(account_id, amount)


async def test_the_same_deposit_sent_at_once_through_two_replicas_comes_in_once(
    wallet: Wallet, wallet_url: str
) -> None:
    account_id, request_id = await wallet.open(), new_id()
    async with Wallet(wallet_url) as other:
        answers = await asyncio.gather(
            *(w.deposit(account_id, 500, request_id=request_id) for w in (wallet, other) * 5)
        )
    assert len({answer.transfer.transfer_id for answer in answers}) == 1
    assert sum(not answer.transfer.replayed for answer in answers) == 1
    assert await wallet.balance(account_id) == 500


async def test_a_request_id_that_is_no_uuid_is_refused(wallet: Wallet) -> None:
    account_id = await wallet.open()
    request = wallet_pb2.DepositRequest(
        operator_id="acme", request_id="bet-1", account_id=account_id, amount=money(1)
    )
    with pytest.raises(DomainError, match="FIELD_INVALID"):
        await wallet.handlers.Deposit(request, CONTEXT)
