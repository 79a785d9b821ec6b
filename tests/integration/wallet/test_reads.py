"""Statements, transactions and balances say what was done, to the operator whose account it is."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import TextClause

from services.common import db
from services.common.errors import DomainError
from services.wallet import sql
from services.wallet.reads import statements
from services.wallet.reads import store as reads_store
from services.wallet.records import Movement
from tests.integration.wallet.barrier import until_waiting
from tests.integration.wallet.harness import (
    CONTEXT,
    DEMO,
    OPERATOR,
    PAYOUT,
    REFUSED,
    STAKE,
    VOID,
    Wallet,
    money,
    new_id,
)
from tests.integration.wallet.mutants import WITHOUT_ACCOUNT_LOCK
from tests.integration.wallet.reading import (
    adjust,
    at,
    balance,
    move_times,
    statement,
    transactions,
    versions,
)

BET, STAKED = wallet_pb2.TRANSACTION_TYPE_BET, wallet_pb2.TRANSACTION_TYPE_STAKE
PAID, ROLLED_BACK = wallet_pb2.TRANSACTION_TYPE_PAYOUT, wallet_pb2.TRANSACTION_TYPE_ROLLBACK
DEPOSIT, WITHDRAWAL = wallet_pb2.TRANSACTION_TYPE_DEPOSIT, wallet_pb2.TRANSACTION_TYPE_WITHDRAWAL
ADJUSTMENT = wallet_pb2.TRANSACTION_TYPE_ADJUSTMENT


class History:
    """An account to which everything was done that moves money, and what moves none."""

    def __init__(self, wallet: Wallet) -> None:
        self.wallet = wallet
        self.bet_id, self.choice_id, self.lost_id = new_id(), new_id(), new_id()
        self.refused_id, self.void_id = new_id(), new_id()
        self.deposit_id, self.withdrawal_id, self.refused_request_id = new_id(), new_id(), new_id()

    async def make(self) -> "History":
        wallet = self.wallet
        self.account_id = account_id = await wallet.open()
        self.deposited = (await wallet.deposit(account_id, 1000, request_id=self.deposit_id)).transfer
        await wallet.settle(account_id, round_id=self.bet_id, stake=100, win=30)
        await wallet.settle(account_id, round_id=self.choice_id, step=STAKE, stake=50)
        refused = await wallet.settle(account_id, round_id=self.refused_id, stake=5000, win=9)
        assert refused.status == REFUSED
        assert (await wallet.void(account_id, self.void_id)).status == VOID
        with pytest.raises(DomainError, match="INSUFFICIENT_FUNDS"):
            await wallet.withdraw(account_id, 5000, request_id=self.refused_request_id)
        await wallet.settle(account_id, round_id=self.choice_id, step=PAYOUT, win=80)
        await wallet.settle(account_id, round_id=self.lost_id, step=STAKE, stake=10, game_id="other-game")
        await wallet.settle(account_id, round_id=self.lost_id, step=PAYOUT, win=0, game_id="other-game")
        await wallet.roll_back(account_id, self.bet_id)
        self.withdrawn = (await wallet.withdraw(account_id, 200, request_id=self.withdrawal_id)).transfer
        self.adjusted = await adjust(wallet, account_id, -7, reason="paid twice", round_id=self.choice_id)
        return self

    def movements(self) -> list[wallet_pb2.Transaction]:
        """What a statement has to say, oldest first, but for the times."""
        bet = {"round_id": self.bet_id, "transaction_id": self.bet_id}
        choice = {"round_id": self.choice_id, "transaction_id": self.choice_id, "game_id": "lucky-lines"}
        lost = {"round_id": self.lost_id, "transaction_id": self.lost_id, "game_id": "other-game"}
        deposit = {"transaction_id": self.deposited.transfer_id, "request_id": self.deposit_id}
        withdrawal = {"transaction_id": self.withdrawn.transfer_id, "request_id": self.withdrawal_id}
        adjustment = {
            "transaction_id": str(self.adjusted.transfer_id),
            "request_id": str(self.adjusted.request_id),
            "round_id": self.choice_id,
            "actor": "ann",
            "reason": "paid twice",
        }
        rows: list[tuple[Any, int, tuple[int, int] | None, int, dict[str, Any]]] = [
            (DEPOSIT, 1000, None, 1000, deposit),
            (BET, -70, (100, 30), 930, {**bet, "game_id": "lucky-lines"}),
            (STAKED, -50, (50, 0), 880, choice),
            (PAID, 80, (0, 80), 960, choice),
            (STAKED, -10, (10, 0), 950, lost),
            (ROLLED_BACK, 70, (100, 30), 1020, {**bet, "actor": "tester", "reason": "test"}),
            (WITHDRAWAL, -200, None, 820, withdrawal),
            (ADJUSTMENT, -7, None, 813, adjustment),
        ]
        return [
            wallet_pb2.Transaction(
                type=kind,
                account_id=self.account_id,
                account_version=version,
                amount=money(amount),
                stake=money(amounts[0]) if amounts else None,
                win=money(amounts[1]) if amounts else None,
                balance_after=money(balance_after),
                **names,
            )
            for version, (kind, amount, amounts, balance_after, names) in enumerate(rows, start=1)
        ]


@pytest.fixture
async def history(wallet: Wallet) -> History:
    return await History(wallet).make()


def timeless(found: list[wallet_pb2.Transaction]) -> list[wallet_pb2.Transaction]:
    """Without their times."""
    copies = [wallet_pb2.Transaction.FromString(transaction.SerializeToString()) for transaction in found]
    for copy in copies:
        copy.ClearField("create_time")
    return copies


async def test_a_statement_says_field_by_field_what_was_done_newest_first(history: History) -> None:
    before = await history.wallet.scalar(
        "select create_time from account where account_id = :id", id=history.account_id
    )
    found = (await statement(history.wallet, history.account_id))[::-1]
    assert timeless(found) == history.movements()
    times = [transaction.create_time.ToDatetime(UTC) for transaction in found]
    assert times == sorted(times) and before <= times[0]
    assert found[0].create_time == history.deposited.create_time
    assert found[6].create_time == history.withdrawn.create_time
    assert times[7] == history.adjusted.create_time


async def test_a_transaction_is_found_by_its_id_with_what_was_done_to_it(history: History) -> None:
    movements = history.movements()
    expected = {
        history.bet_id: [movements[1], movements[5]],
        history.choice_id: [movements[2], movements[3]],
        history.lost_id: [movements[4]],
        history.deposited.transfer_id: [movements[0]],
        history.withdrawn.transfer_id: [movements[6]],
        str(history.adjusted.transfer_id): [movements[7]],
    }
    for transaction_id, steps in expected.items():
        found = await transactions(history.wallet, transaction_id=transaction_id)
        assert timeless(list(found.transactions)) == steps
        by_account = sum(p.amount.amount_minor for p in found.postings if p.account_id == history.account_id)
        assert by_account == sum(step.amount.amount_minor for step in steps)
        assert sum(posting.amount.amount_minor for posting in found.postings) == 0


async def test_postings_are_both_sides_of_every_leg(history: History) -> None:
    found = await transactions(history.wallet, transaction_id=history.bet_id)
    house_id = await history.wallet.scalar(
        "select house_account_id from account where account_id = :id", id=history.account_id
    )
    player_id = history.account_id
    legs = [(1, -100), (2, 30), (3, -30), (4, 100)]
    assert list(found.postings) == [
        wallet_pb2.Posting(transaction_id=history.bet_id, leg=leg, account_id=side_id, amount=money(amount))
        for leg, player_amount in legs
        for side_id, amount in ((player_id, player_amount), (house_id, -player_amount))
    ]


async def test_a_transfer_is_found_by_the_operator_s_id(history: History) -> None:
    for request_id, transfer_id in (
        (history.deposit_id, history.deposited.transfer_id),
        (history.withdrawal_id, history.withdrawn.transfer_id),
        (str(history.adjusted.request_id), str(history.adjusted.transfer_id)),
    ):
        found = await transactions(history.wallet, request_id=request_id.upper())
        assert found == await transactions(history.wallet, transaction_id=transfer_id)
        cashier = [p.account_id for p in found.postings if p.account_id != history.account_id]
        assert len(found.postings) == 2 and len(cashier) == 1


async def test_where_nothing_moved_no_transaction_is_found(history: History) -> None:
    wallet = history.wallet
    refused_id = await wallet.scalar(
        "select cast(transfer_id as text) from transfer where request_id = cast(:id as uuid)",
        id=history.refused_request_id,
    )
    for key in (
        {"transaction_id": new_id()},
        {"request_id": new_id()},
        {"transaction_id": history.refused_id},
        {"transaction_id": history.void_id},
        {"transaction_id": refused_id},
        {"request_id": history.refused_request_id},
        # An operator's id is not a transfer's.
        {"transaction_id": history.deposit_id},
        {"request_id": history.deposited.transfer_id},
    ):
        with pytest.raises(DomainError, match="TRANSACTION_NOT_FOUND"):
            await transactions(wallet, **key)


async def test_what_is_another_operator_s_is_not_found(history: History) -> None:
    wallet, account_id = history.wallet, history.account_id
    # The other operator exists, and has a player of its own.
    await wallet.open(operator_id="rival", balance=1)
    for key in (
        {"transaction_id": history.bet_id},
        {"transaction_id": history.choice_id},
        {"transaction_id": history.deposited.transfer_id},
        {"request_id": history.deposit_id},
    ):
        with pytest.raises(DomainError, match="TRANSACTION_NOT_FOUND"):
            await transactions(wallet, operator_id="rival", **key)
    for read in (
        lambda: statement(wallet, account_id, operator_id="rival"),
        lambda: balance(wallet, account_id, operator_id="rival"),
        lambda: balance(wallet, account_id, at("2026-01-01"), operator_id="rival"),
    ):
        with pytest.raises(DomainError, match="ACCOUNT_NOT_FOUND"):
            await read()


async def test_only_players_accounts_have_statements_and_balances_at_a_time(history: History) -> None:
    wallet = history.wallet
    for column in ("house_account_id", "cashier_account_id"):
        counter_id = await wallet.scalar(
            f"select {column} from account where account_id = :id", id=history.account_id
        )
        assert (await wallet.account(counter_id)).account_id == counter_id
        for read in (statement, balance):
            with pytest.raises(DomainError, match="ACCOUNT_NOT_FOUND"):
                await read(wallet, counter_id)


async def test_play_money_has_its_statement(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=500, kind=DEMO)
    played = await wallet.settle(account_id, stake=20)
    assert [row.amount.amount_minor for row in await statement(wallet, account_id)] == [-20, 500]
    assert len((await transactions(wallet, transaction_id=played.round_id)).postings) == 2


async def test_a_balance_now_is_the_account_s(history: History) -> None:
    assert await balance(history.wallet, history.account_id) == (813, 8)
    assert await balance(history.wallet, await history.wallet.open()) == (0, 0)


async def test_a_balance_at_a_time_is_that_after_the_last_movement_until_then(history: History) -> None:
    wallet, account_id = history.wallet, history.account_id
    noon, minute, microsecond = at("2026-03-01 12:00"), timedelta(minutes=1), timedelta(microseconds=1)
    await move_times(wallet, account_id, {version: noon + version * minute for version in range(1, 9)})
    assert await balance(wallet, account_id, at("0001-01-01 00:00")) == (0, 0)
    balances = [0, *(movement.balance_after.amount_minor for movement in history.movements())]
    for version in range(1, 9):
        time = noon + version * minute
        assert await balance(wallet, account_id, time - microsecond) == (balances[version - 1], version - 1)
        assert await balance(wallet, account_id, time) == (balances[version], version)
    assert await balance(wallet, account_id, datetime.now(UTC) - minute) == (813, 8)


async def confused(history: History) -> list[int]:
    """The minutes at which a clock that was put back makes a balance or a statement wrong."""
    wallet, account_id, noon = history.wallet, history.account_id, at("2026-03-01 12:00")
    minutes = {1: 0, 2: 10, 3: 40, 4: 5, 5: 12, 6: 41, 7: 50, 8: 100}
    await move_times(wallet, account_id, {v: noon + timedelta(minutes=m) for v, m in minutes.items()})
    balances = [0, *(movement.balance_after.amount_minor for movement in history.movements())]
    wrong = []
    for now in range(-1, 102):
        time = noon + timedelta(minutes=now)
        version = max((v for v, minute in minutes.items() if minute <= now), default=0)
        if (
            await balance(wallet, account_id, time) != (balances[version], version)
            or await versions(wallet, account_id, start_time=time)
            != [v for v in range(8, 0, -1) if minutes[v] >= now]
            or await versions(wallet, account_id, end_time=time)
            != [v for v in range(8, 0, -1) if minutes[v] < now]
        ):
            wrong.append(now)
    return wrong


async def test_a_clock_that_was_put_back_confuses_neither_balances_nor_statements(history: History) -> None:
    assert await confused(history) == []


async def test_without_looking_around_the_time_it_does(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "CLOCK_STEP_MAX", timedelta())
    assert await confused(history)


async def test_a_balance_in_the_future_is_refused(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=5)
    with pytest.raises(DomainError) as caught:
        await balance(wallet, account_id, datetime.now(UTC) + timedelta(hours=1))
    assert caught.value.metadata == {"field": "read_time", "problem": "in the future"}


async def read_beside_a_movement(wallet: Wallet, lock: TextClause) -> tuple[int, int]:
    """The balance at a time, read twice: while a movement of before is not committed yet, and later."""
    account_id = await wallet.open(balance=100)

    async def read(time: datetime) -> int:
        async with db.transaction(wallet.engine, "read") as conn:
            found = await statements.get_balance_at(
                conn, operator_id=OPERATOR, account_id=account_id, read_time=time, lock=lock
            )
            return found.balance_minor

    async with wallet.engine.connect() as mover, wallet.engine.connect() as watcher:
        await mover.execute(sql.LOCK_ACCOUNT, {"account_id": account_id})
        await mover.execute(
            sql.INSERT_TRANSFER,
            {
                "transfer_id": new_id(),
                "operator_id": OPERATOR,
                "request_id": new_id(),
                "account_id": account_id,
                "type": 1,
                "amount_minor": 11,
                "actor": "",
                "reason": "",
                "round_id": "",
                "refusal": "",
                "traceparent": "",
            },
        )
        time = (await mover.execute(text("select clock_timestamp()"))).scalar_one()
        task = asyncio.ensure_future(read(time))
        if lock is sql.LOCK_ACCOUNT:
            await until_waiting(watcher)
        else:
            await asyncio.wait([task])
        await mover.commit()
        return await task, await read(time)


async def test_a_balance_at_a_time_stays_what_it_was_told(wallet: Wallet) -> None:
    assert await read_beside_a_movement(wallet, sql.LOCK_ACCOUNT) == (111, 111)


async def test_without_the_lock_it_changes_afterwards(wallet: Wallet) -> None:
    assert await read_beside_a_movement(wallet, WITHOUT_ACCOUNT_LOCK) == (100, 111)


async def torn(history: History, patch: pytest.MonkeyPatch) -> int:
    """What a round's movements and postings differ by, when it is given back while they are read."""
    wallet, list_steps = history.wallet, reads_store.list_steps

    async def list_steps_then_roll_back(conn: AsyncConnection, **key: Any) -> list[Movement]:
        steps = await list_steps(conn, **key)
        await wallet.roll_back(history.account_id, history.choice_id)
        return steps

    patch.setattr(reads_store, "list_steps", list_steps_then_roll_back)
    found = await transactions(wallet, transaction_id=history.choice_id)
    moved = sum(step.amount.amount_minor for step in found.transactions)
    posted = sum(p.amount.amount_minor for p in found.postings if p.account_id == history.account_id)
    return moved - posted


async def test_movements_and_postings_of_a_transaction_are_of_one_moment(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await torn(history, monkeypatch) == 0


async def test_without_a_snapshot_they_are_not(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    async def begin_nothing(conn: AsyncConnection) -> None:
        pass

    monkeypatch.setattr(reads_store, "begin_snapshot", begin_nothing)
    assert await torn(history, monkeypatch) == 30


async def test_an_id_that_is_none_is_refused(wallet: Wallet) -> None:
    for key, problem in (
        ({}, "FIELD_MISSING"),
        ({"transaction_id": ""}, "FIELD_MISSING"),
        ({"transaction_id": "round-1"}, "FIELD_INVALID"),
        ({"request_id": "00000000-0000-0000-0000-000000000000"}, "FIELD_INVALID"),
    ):
        request = wallet_pb2.GetTransactionsRequest(operator_id=OPERATOR, **key)
        with pytest.raises(DomainError, match=problem):
            await wallet.handlers.GetTransactions(request, CONTEXT)
