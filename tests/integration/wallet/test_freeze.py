"""Freezes: no stakes and no withdrawals, and everything else as ever; what was decided keeps its answer."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from reelmesh.type.v1 import error_pb2
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.elements import TextClause

from services.common import db
from services.common.errors import DomainError
from services.wallet import freezes, ledger, sql
from services.wallet.records import Account, FreezeOrder, Refusal, Settlement, Status
from tests import invariants
from tests.integration.wallet.barrier import until_waiting
from tests.integration.wallet.harness import (
    APPLIED,
    CONTEXT,
    OPERATOR,
    PAYOUT,
    REFUSED,
    REVERSED,
    STAKE,
    VOID,
    Wallet,
    new_id,
)
from tests.integration.wallet.mutants import WITHOUT_CHANGE_OF_STATE, WITHOUT_FREEZE, WITHOUT_LOCK
from tests.integration.wallet.test_events import facts, told
from tests.integration.wallet.test_races import race, spin

FUNDS = error_pb2.ERROR_REASON_INSUFFICIENT_FUNDS
FROZEN = error_pb2.ERROR_REASON_ACCOUNT_FROZEN


async def test_a_frozen_account_takes_no_stake_and_no_withdrawal(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    await wallet.freeze(account_id)
    assert (await wallet.account(account_id)).frozen
    for step in (None, STAKE):
        answer = await wallet.settle(account_id, stake=100, **({"step": step} if step else {}))
        assert (answer.status, answer.refusal, answer.account_version) == (REFUSED, FROZEN, 0)
    with pytest.raises(DomainError, match="ACCOUNT_FROZEN"):
        await wallet.withdraw(account_id, 100)
    assert await wallet.balance(account_id) == 1000


async def test_a_frozen_account_is_paid_and_given_back_to(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    open_round, settled_round, paid_round = new_id(), new_id(), new_id()
    await wallet.settle(account_id, round_id=open_round, step=STAKE, stake=100)
    await wallet.settle(account_id, round_id=settled_round, stake=100, win=50)
    await wallet.settle(account_id, round_id=paid_round, step=STAKE, stake=100)
    await wallet.freeze(account_id)
    assert (await wallet.settle(account_id, round_id=paid_round, step=PAYOUT, win=70)).status == APPLIED
    assert (await wallet.roll_back(account_id, settled_round)).status == REVERSED
    assert (await wallet.roll_back(account_id, open_round)).status == REVERSED
    assert (await wallet.void(account_id, new_id())).status == VOID
    await wallet.deposit(account_id, 5)
    await wallet.adjust(account_id, -3)
    assert await wallet.balance(account_id) == 1000 - 100 + 70 + 5 - 3


async def test_a_stake_refused_by_a_freeze_is_refused_for_ever(wallet: Wallet) -> None:
    account_id, round_id, request_id = await wallet.open(balance=1000), new_id(), new_id()
    await wallet.freeze(account_id)
    await wallet.settle(account_id, round_id=round_id, stake=100)
    with pytest.raises(DomainError, match="ACCOUNT_FROZEN"):
        await wallet.withdraw(account_id, 100, request_id=request_id)
    await wallet.unfreeze(account_id)
    again = await wallet.settle(account_id, round_id=round_id, stake=100)
    assert (again.status, again.refusal, again.replayed) == (REFUSED, FROZEN, True)
    assert [(known.status, known.refusal) for known in await wallet.known(round_id)] == [(REFUSED, FROZEN)]
    with pytest.raises(DomainError, match="ACCOUNT_FROZEN"):
        await wallet.withdraw(account_id, 100, request_id=request_id)
    # New ids are judged anew.
    assert (await wallet.settle(account_id, stake=100)).status == APPLIED
    await wallet.withdraw(account_id, 100)


async def test_a_stake_refused_for_funds_keeps_its_reason_after_a_freeze(wallet: Wallet) -> None:
    account_id, round_id, request_id = await wallet.open(balance=10), new_id(), new_id()
    assert (await wallet.settle(account_id, round_id=round_id, stake=100)).refusal == FUNDS
    with pytest.raises(DomainError, match="INSUFFICIENT_FUNDS"):
        await wallet.withdraw(account_id, 100, request_id=request_id)
    await wallet.freeze(account_id)
    assert (await wallet.settle(account_id, round_id=round_id, stake=100)).refusal == FUNDS
    with pytest.raises(DomainError, match="INSUFFICIENT_FUNDS"):
        await wallet.withdraw(account_id, 100, request_id=request_id)


async def test_what_was_applied_before_a_freeze_is_answered_as_it_was(wallet: Wallet) -> None:
    account_id, round_id, request_id = await wallet.open(balance=1000), new_id(), new_id()
    await wallet.settle(account_id, round_id=round_id, stake=100)
    await wallet.withdraw(account_id, 100, request_id=request_id)
    await wallet.freeze(account_id)
    assert (await wallet.settle(account_id, round_id=round_id, stake=100)).status == APPLIED
    assert (await wallet.withdraw(account_id, 100, request_id=request_id)).transfer.replayed


async def test_a_freeze_keeps_its_first_actor_and_reason(wallet: Wallet) -> None:
    account_id = await wallet.open()
    await wallet.unfreeze(account_id, actor="nobody", reason="it was not frozen")
    await wallet.freeze(account_id, actor="ann", reason="stolen card")
    await wallet.freeze(account_id, actor="ben", reason="also stolen")
    await wallet.unfreeze(account_id, actor="eve", reason="found")
    await wallet.freeze(account_id, actor="ben", reason="stolen again")
    recorded = await wallet.scalar(
        """select array_agg(actor || ': ' || reason order by freeze_id) from account_freeze
           where account_id = :id""",
        id=account_id,
    )
    assert recorded == ["ann: stolen card", "eve: found", "ben: stolen again"]
    assert (await wallet.account(account_id)).account_version == 0


async def test_a_freeze_and_its_end_are_told_once_with_who_and_why(database: Callable[[str], str]) -> None:
    async with Wallet(database("wallet")) as wallet:
        account_id = await wallet.open()
        for _ in range(2):
            await wallet.freeze(account_id)
        await wallet.unfreeze(account_id)
        events = await told(wallet)
        await wallet.check()
    assert [(event.event_type, event.account_id, event.operator_id) for event in events] == [
        ("account.frozen", account_id, OPERATOR),
        ("account.unfrozen", account_id, OPERATOR),
    ]
    assert facts(events[0]) == {
        "account_kind": "REAL",
        "currency_code": "EUR",
        "actor": "ann",
        "reason": "stolen card",
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"operator_id": "other"}, "ACCOUNT_NOT_FOUND"),
        ({"operator_id": ""}, "FIELD_MISSING"),
        ({"account_id": 0}, "FIELD_MISSING"),
        ({"account_id": -1}, "FIELD_INVALID"),
        ({"account_id": 2**60}, "ACCOUNT_NOT_FOUND"),
        ({"actor": ""}, "FIELD_MISSING"),
        ({"reason": ""}, "FIELD_MISSING"),
        ({"reason": "r" * 1001}, "FIELD_INVALID"),
    ],
)
async def test_a_freeze_that_makes_no_sense_changes_nothing(
    wallet: Wallet, fields: dict[str, int | str], reason: str
) -> None:
    account_id = await wallet.open()
    asked = {"operator_id": OPERATOR, "account_id": account_id, "actor": "ann", "reason": "why"} | fields
    for method, request_type in (
        (wallet.handlers.FreezeAccount, wallet_pb2.FreezeAccountRequest),
        (wallet.handlers.UnfreezeAccount, wallet_pb2.UnfreezeAccountRequest),
    ):
        with pytest.raises(DomainError, match=reason):
            await method(request_type(**asked), CONTEXT)  # type: ignore[arg-type]
    assert not (await wallet.account(account_id)).frozen


async def test_a_house_account_cannot_be_frozen(wallet: Wallet) -> None:
    account_id = await wallet.open()
    house = await wallet.scalar("select house_account_id from account where account_id = :id", id=account_id)
    with pytest.raises(DomainError, match="ACCOUNT_NOT_FOUND"):
        await wallet.freeze(house)


# Races


def order(account_id: int, *, frozen: bool = True) -> FreezeOrder:
    return FreezeOrder(
        operator_id=OPERATOR,
        account_id=account_id,
        frozen=frozen,
        actor="ann",
        reason="stolen card",
        traceparent="",
    )


async def freeze_at_once(
    url: str, account_id: int, *, stakes: int, statement: TextClause = sql.SETTLE
) -> list[Settlement]:
    """The verdicts of stakes that race with a freeze: all wait for the account, the freeze in the middle."""

    async def stake(engine: AsyncEngine) -> Sequence[ledger.Answer]:
        return await ledger.settle_batch(engine, [spin(account_id)], statement=statement)

    async def freeze(engine: AsyncEngine) -> Account:
        async with db.transaction(engine, "freeze") as conn:
            return await freezes.freeze(conn, order(account_id))

    half = stakes // 2
    results = await race(url, account_id, [*[stake] * half, freeze, *[stake] * (stakes - half)])
    answers = [result[0] for result in results if isinstance(result, list)]
    assert len(answers) == stakes, results
    return [answer for answer in answers if isinstance(answer, Settlement)]


async def test_every_stake_comes_before_a_racing_freeze_or_is_refused_by_it(
    wallet: Wallet, wallet_url: str
) -> None:
    account_id = await wallet.open(balance=1000)
    verdicts = await freeze_at_once(wallet_url, account_id, stakes=8)
    before = [verdict for verdict in verdicts if verdict.status is Status.APPLIED]
    after = [verdict for verdict in verdicts if verdict.status is Status.REFUSED]
    assert len(before) + len(after) == 8
    assert {verdict.refusal for verdict in after} <= {Refusal.ACCOUNT_FROZEN}
    # Who came after the freeze saw the balance that those before had left.
    balance = 1000 - 100 * len(before)
    assert {verdict.balance_after_minor for verdict in after} <= {balance}
    assert await wallet.balance(account_id) == balance
    # Whatever comes now is after.
    assert (await wallet.settle(account_id, stake=100)).refusal == FROZEN


async def test_without_asking_for_the_freeze_stakes_go_on_after_it(wallet: Wallet, wallet_url: str) -> None:
    account_id = await wallet.open(balance=1000)
    await wallet.freeze(account_id)
    [answer] = await ledger.settle_batch(wallet.engine, [spin(account_id)], statement=WITHOUT_FREEZE)
    assert isinstance(answer, Settlement) and answer.status is Status.APPLIED


@pytest.mark.parametrize("statement", [sql.SETTLE, WITHOUT_LOCK], ids=["locked", "without the lock"])
async def test_a_stake_that_waited_for_a_freeze_is_judged_after_it(
    database: Callable[[str], str], statement: TextClause
) -> None:
    """The stake's statement began before the freeze committed: only its locking read sees the freeze."""
    async with Wallet(url := database("wallet")) as wallet:
        account_id = await wallet.open(balance=1000)
        async with wallet.engine.connect() as conn, wallet.engine.connect() as watcher:
            await freezes.freeze(conn, order(account_id))
            stake = asyncio.create_task(
                ledger.settle_batch(wallet.engine, [spin(account_id)], statement=statement)
            )
            await until_waiting(watcher, 1)
            await conn.commit()
        [answer] = await stake
        assert isinstance(answer, Settlement)
        judged_after = answer.status is Status.REFUSED and answer.refusal is Refusal.ACCOUNT_FROZEN
        assert judged_after == (statement is sql.SETTLE), url


@pytest.mark.parametrize("statement", [sql.UPDATE_FROZEN, WITHOUT_CHANGE_OF_STATE], ids=["shipped", "mutant"])
async def test_many_freezes_at_once_are_one_change(
    database: Callable[[str], str], statement: TextClause
) -> None:
    async with Wallet(url := database("wallet")) as wallet:
        account_id = await wallet.open()

        async def freeze(engine: AsyncEngine) -> Account:
            async with db.transaction(engine, "freeze") as conn:
                return await freezes.freeze(conn, order(account_id), statement=statement)

        results = await race(url, account_id, [freeze] * 4)
        assert all(isinstance(result, Account) and result.frozen for result in results)
        recorded = await wallet.scalar("select count(*) from account_freeze")
        assert recorded == (1 if statement is sql.UPDATE_FROZEN else 4)
        if statement is sql.UPDATE_FROZEN:
            await wallet.check()
        else:
            async with wallet.engine.connect() as conn:
                with pytest.raises(AssertionError, match="violated"):
                    await invariants.freezes_are_recorded(conn)
