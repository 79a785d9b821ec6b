"""Every verdict of a settle, and every way to ask twice."""

from typing import Any

import pytest
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from services.common.fields import AMOUNT_MINOR_MAX
from tests.integration.wallet.harness import (
    APPLIED,
    CONTEXT,
    DEMO,
    FUSED,
    PAYOUT,
    REFUSED,
    REVERSED,
    STAKE,
    VOID,
    Wallet,
    new_id,
    settle_request,
)


async def refused(wallet: Wallet, request: wallet_pb2.SettleRequest) -> DomainError:
    """The error of a settle that is not judged."""
    with pytest.raises(DomainError) as caught:
        await wallet.send(request)
    return caught.value


async def test_a_fused_settle_takes_the_stake_and_pays_the_win(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    settlement = await wallet.settle(account_id, stake=100, win=250)
    assert settlement.status == APPLIED
    assert settlement.balance_after.amount_minor == settlement.current_balance.amount_minor == 1150
    assert (settlement.account_version, settlement.replayed) == (2, False)
    assert await wallet.balance(account_id) == 1150


async def test_the_stake_may_be_the_whole_balance(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=100)
    assert (await wallet.settle(account_id, stake=100)).status == APPLIED
    assert await wallet.balance(account_id) == 0


async def test_a_replay_returns_the_stored_verdict_and_the_current_balance(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    request = settle_request(account_id, stake=100, win=30)
    first = await wallet.send(request)
    await wallet.deposit(account_id, 500)
    again = await wallet.send(request)
    assert again.replayed and again.status == APPLIED
    assert again.balance_after == first.balance_after
    assert again.account_version == first.account_version
    assert again.current_balance.amount_minor == 1430
    assert await wallet.balance(account_id) == 1430


async def test_the_verdict_looks_at_the_stake_alone(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=99)
    settlement = await wallet.settle(account_id, stake=100, win=1_000_000)
    assert settlement.status == REFUSED
    assert settlement.balance_after.amount_minor == 99
    assert settlement.account_version == 0


async def test_a_refusal_is_stored_and_outlives_a_deposit(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=99)
    request = settle_request(account_id, stake=100)
    await wallet.send(request)
    await wallet.deposit(account_id, 1000)
    again = await wallet.send(request)
    assert (again.status, again.replayed) == (REFUSED, True)
    assert again.balance_after.amount_minor == 99
    assert again.current_balance.amount_minor == await wallet.balance(account_id) == 1099


async def test_a_win_is_paid_although_the_balance_passes_the_limit_of_deposits(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=AMOUNT_MINOR_MAX)
    settlement = await wallet.settle(account_id, stake=1, win=AMOUNT_MINOR_MAX)
    assert settlement.status == APPLIED
    assert await wallet.balance(account_id) == 2 * AMOUNT_MINOR_MAX - 1


@pytest.mark.parametrize(
    "other",
    [
        {"stake": 101},
        {"win": 31},
        {"game_id": "other-game"},
        {"currency_code": "USD"},
        {"step": STAKE, "win": 0},
    ],
    ids=lambda other: next(iter(other)),
)
@pytest.mark.parametrize("balance", [1000, 0], ids=["applied", "refused"])
async def test_another_body_under_a_used_round_is_refused_field_by_field(
    wallet: Wallet, other: dict[str, Any], balance: int
) -> None:
    account_id, round_id = await wallet.open(balance=balance), new_id()
    body: dict[str, Any] = {"round_id": round_id, "step": FUSED, "stake": 100, "win": 30}
    await wallet.settle(account_id, **body)
    before = await wallet.account(account_id)
    error = await refused(wallet, settle_request(account_id, **{**body, **other}))
    assert (error.reason, error.metadata) == ("ID_REUSED", {"request_id": round_id})
    assert await wallet.account(account_id) == before


async def test_another_account_under_a_used_round_is_refused(wallet: Wallet) -> None:
    account_id, other_id, round_id = await wallet.open(balance=500), await wallet.open(balance=500), new_id()
    await wallet.settle(account_id, round_id=round_id, stake=100)
    error = await refused(wallet, settle_request(other_id, round_id=round_id, stake=100))
    assert error.reason == "ID_REUSED"
    assert await wallet.balance(other_id) == 500


async def test_the_same_round_id_in_upper_case_is_the_same_round(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=500)
    request = settle_request(account_id, stake=100)
    await wallet.send(request)
    request.round_id = request.round_id.upper()
    assert (await wallet.send(request)).replayed


async def test_a_void_leaves_a_tombstone_that_refuses_the_late_stake(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    tombstone = await wallet.void(account_id, round_id)
    assert (tombstone.status, tombstone.replayed, tombstone.account_version) == (VOID, False, 0)
    late = await wallet.settle(account_id, round_id=round_id, stake=100, win=50)
    assert (late.status, late.replayed, late.step) == (VOID, True, FUSED)
    assert (late.stake.amount_minor, late.win.amount_minor) == (100, 50)
    assert await wallet.balance(account_id) == 500


async def test_a_second_void_finds_the_first(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    await wallet.void(account_id, round_id)
    again = await wallet.void(account_id, round_id)
    assert (again.status, again.replayed) == (VOID, True)


@pytest.mark.parametrize(("balance", "status"), [(500, APPLIED), (50, REFUSED)])
async def test_a_void_of_a_known_round_answers_what_it_is(
    wallet: Wallet, balance: int, status: wallet_pb2.SettlementStatus.ValueType
) -> None:
    account_id, round_id = await wallet.open(balance=balance), new_id()
    first = await wallet.settle(account_id, round_id=round_id, stake=100, win=7)
    found = await wallet.void(account_id, round_id)
    assert found.status == first.status == status
    assert found.replayed and found.win.amount_minor == 7
    assert found.balance_after == first.balance_after


async def test_a_void_for_another_account_is_refused(wallet: Wallet) -> None:
    account_id, other_id, round_id = await wallet.open(balance=500), await wallet.open(), new_id()
    await wallet.settle(account_id, round_id=round_id, stake=100)
    with pytest.raises(DomainError, match="ID_REUSED"):
        await wallet.void(other_id, round_id)
    await wallet.void(other_id, voided := new_id())
    assert (await refused(wallet, settle_request(account_id, round_id=voided, stake=1))).reason == "ID_REUSED"


async def test_a_round_with_a_choice_moves_money_exactly_twice(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    payout = await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=400)
    assert (payout.status, payout.balance_after.amount_minor, payout.account_version) == (APPLIED, 800, 3)
    again = await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=400)
    assert again.replayed
    stake, paid = await wallet.known(round_id)
    assert (stake.step, stake.status, stake.stake.amount_minor) == (STAKE, APPLIED, 100)
    assert (paid.step, paid.status, paid.win.amount_minor) == (PAYOUT, APPLIED, 400)


async def test_a_payout_of_another_amount_is_another_body(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=400)
    error = await refused(wallet, settle_request(account_id, round_id=round_id, step=PAYOUT, win=401))
    assert error.reason == "ID_REUSED"


async def test_a_payout_of_zero_is_recorded_and_moves_nothing(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    payout = await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=0)
    assert (payout.status, payout.account_version, payout.balance_after.amount_minor) == (APPLIED, 0, 400)
    assert (await wallet.account(account_id)).account_version == 2
    assert len(await wallet.known(round_id)) == 2


async def test_a_payout_before_its_stake_is_not_stored_and_may_come_again(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    payout = settle_request(account_id, round_id=round_id, step=PAYOUT, win=400)
    error = await refused(wallet, payout)
    assert (error.reason, error.error_class) == ("STAKE_UNKNOWN", "RETRY_SAME_ID")
    assert await wallet.known(round_id) == []
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    assert (await wallet.send(payout)).status == APPLIED


@pytest.mark.parametrize("stake_was", ["void", "refused", "reversed"])
async def test_a_payout_whose_stake_is_not_applied_answers_reversed_for_ever(
    wallet: Wallet, stake_was: str
) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    if stake_was == "void":
        await wallet.void(account_id, round_id)
    else:
        stake = 501 if stake_was == "refused" else 100
        await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=stake)
    if stake_was == "reversed":
        await wallet.roll_back(account_id, round_id)
    payout = settle_request(account_id, round_id=round_id, step=PAYOUT, win=400)
    first, again = await wallet.send(payout), await wallet.send(payout)
    assert first.status == again.status == REVERSED
    assert again.replayed
    assert await wallet.balance(account_id) == 500


async def test_a_payout_on_a_fused_round_or_for_another_account_is_refused(wallet: Wallet) -> None:
    account_id, other_id = await wallet.open(balance=500), await wallet.open(balance=500)
    fused, choice = new_id(), new_id()
    await wallet.settle(account_id, round_id=fused, stake=100)
    await wallet.settle(account_id, round_id=choice, step=STAKE, stake=100)
    for payout in (
        settle_request(account_id, round_id=fused, step=PAYOUT, win=5),
        settle_request(other_id, round_id=choice, step=PAYOUT, win=5),
    ):
        assert (await refused(wallet, payout)).reason == "ID_REUSED"


async def test_an_unknown_account_and_a_counter_account_are_not_found(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=500)
    house_id = await wallet.scalar(
        "select house_account_id from account where account_id = :id", id=account_id
    )
    for unknown_id in (999_999, house_id):
        assert (await refused(wallet, settle_request(unknown_id, stake=1))).reason == "ACCOUNT_NOT_FOUND"
        with pytest.raises(DomainError, match="ACCOUNT_NOT_FOUND"):
            await wallet.void(unknown_id, new_id())


async def test_another_currency_than_the_accounts_is_refused_and_not_stored(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    error = await refused(wallet, settle_request(account_id, round_id=round_id, stake=1, currency_code="USD"))
    assert error.reason == "CURRENCY_MISMATCH"
    assert error.metadata == {"currency_code": "USD", "currency_code_expected": "EUR"}
    assert await wallet.known(round_id) == []


async def test_a_demo_account_plays_with_the_money_of_its_own_house(wallet: Wallet) -> None:
    real_id, demo_id = await wallet.open(balance=500), await wallet.open(balance=500, kind=DEMO)
    await wallet.settle(demo_id, stake=100)
    assert (await wallet.balance(real_id), await wallet.balance(demo_id)) == (500, 400)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("round_id", "0192f0c0-0000-7000-8000-000000000001"),
        ("step", STAKE),
        ("account_id", 2),
        ("game_id", "other-game"),
        ("seal", b""),
        ("seal", b"x" * 32),
    ],
)
async def test_a_settle_whose_seal_does_not_cover_it_is_refused_before_anything(
    wallet: Wallet, field: str, value: Any
) -> None:
    request = settle_request(await wallet.open(balance=500), stake=100)
    setattr(request, field, value)
    error = await refused(wallet, request)
    assert (error.reason, error.metadata) == ("SEAL_INVALID", {"round_id": request.round_id})
    assert await wallet.known(request.round_id) == []


async def test_amounts_are_under_the_seal_too(wallet: Wallet) -> None:
    request = settle_request(await wallet.open(balance=500), stake=100, win=5)
    for money in (request.win, request.stake):
        money.amount_minor += 1
        assert (await refused(wallet, request)).reason == "SEAL_INVALID"
        money.amount_minor -= 1


async def test_an_unknown_round_has_no_settlement_at_all(wallet: Wallet) -> None:
    assert await wallet.known(new_id()) == []


async def test_an_empty_message_is_refused_by_every_method(wallet: Wallet) -> None:
    for method in wallet_pb2.DESCRIPTOR.services_by_name["WalletService"].methods:
        empty = getattr(wallet_pb2, method.input_type.name)()
        with pytest.raises(DomainError, match="FIELD_MISSING"):
            await getattr(wallet.handlers, method.name)(empty, CONTEXT)
