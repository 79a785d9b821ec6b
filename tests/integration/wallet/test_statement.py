"""A statement read page by page: whole, filtered, and while the account is played on."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause

from services.common.errors import DomainError
from services.wallet import sql
from services.wallet.reads import sql as reads_sql
from services.wallet.reads import statements
from services.wallet.records import MovementType, StatementQuery
from tests.integration.wallet.barrier import until_waiting
from tests.integration.wallet.harness import CONTEXT, OPERATOR, PAYOUT, STAKE, Wallet, new_id
from tests.integration.wallet.mutants import mutant
from tests.integration.wallet.reading import (
    adjust,
    at,
    balance,
    move_times,
    pages,
    stamp,
    statement,
    versions,
)
from tests.integration.wallet.test_model import REPEATABLE, SEQUENCES, Call, Played

# What a page begins with is what the one before ended with.
WITH_LAST_ROW_AGAIN = mutant(
    ("account_version < cast(:version_before", "account_version <= cast(:version_before"),
    of=reads_sql.LIST_MOVEMENTS,
)
# Pages counted from the top, which moves, as an offset does; right as long as nothing moves.
FROM_THE_TOP = mutant(
    (
        "account_version < cast(:version_before as bigint)",
        "account_version < cast(:version_before as bigint) - 9"
        " + (select version from account where account_id = cast(:account_id as bigint))",
    ),
    of=reads_sql.LIST_MOVEMENTS,
)


async def played(wallet: Wallet) -> int:
    """An account with nine movements: one of each type, and two more bets."""
    account_id, bet_id, choice_id = await wallet.open(balance=1000), new_id(), new_id()
    await wallet.settle(account_id, round_id=bet_id, stake=100, win=30)
    await wallet.settle(account_id, stake=1)
    await wallet.settle(account_id, round_id=choice_id, step=STAKE, stake=50)
    await wallet.settle(account_id, round_id=choice_id, step=PAYOUT, win=80)
    await wallet.settle(account_id, stake=2)
    await wallet.roll_back(account_id, bet_id)
    await wallet.withdraw(account_id, 200)
    await adjust(wallet, account_id, 7)
    return account_id


@pytest.mark.parametrize("page_size", [1, 2, 3, 4, 8, 9, 10, 0])
async def test_pages_of_any_size_are_the_whole_statement(wallet: Wallet, page_size: int) -> None:
    account_id = await played(wallet)
    found = [page async for page in pages(wallet, account_id, page_size=page_size)]
    assert [row.account_version for page in found for row in page] == list(range(9, 0, -1))
    assert all(len(page) == page_size for page in found[:-1]) and found[-1]


async def test_a_page_has_at_most_five_hundred_rows(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    await asyncio.gather(*(wallet.settle(account_id, stake=1) for _ in range(505)))
    assert [len(page) async for page in pages(wallet, account_id, page_size=10_000)] == [500, 6]
    assert [len(page) async for page in pages(wallet, account_id)] == [100] * 5 + [6]


async def test_an_account_without_movements_has_an_empty_statement(wallet: Wallet) -> None:
    assert await statement(wallet, await wallet.open()) == []


TYPES = {"BET": [2, 3, 6], "STAKE": [4], "PAYOUT": [5], "ROLLBACK": [7], "DEPOSIT": [1]}
TYPES |= {"WITHDRAWAL": [8], "ADJUSTMENT": [9], "UNSPECIFIED": list(range(1, 10))}


@pytest.mark.parametrize(
    "names", [[name] for name in TYPES] + [["DEPOSIT", "BET", "BET"], ["PAYOUT", "ROLLBACK"]]
)
async def test_a_statement_of_some_types_is_the_statement_without_the_others(
    wallet: Wallet, names: list[str]
) -> None:
    account_id = await played(wallet)
    expected = sorted({version for name in names for version in TYPES[name]}, reverse=True)
    types = [wallet_pb2.TransactionType.Value(f"TRANSACTION_TYPE_{name}") for name in names]
    for page_size in (1, 100):
        assert await versions(wallet, account_id, types=types, page_size=page_size) == expected


async def test_a_statement_of_some_time_begins_with_its_start_and_ends_before_its_end(wallet: Wallet) -> None:
    account_id, noon, microsecond = await played(wallet), at("2026-03-01 12:00"), timedelta(microseconds=1)
    await move_times(wallet, account_id, {v: noon + v * timedelta(hours=7) for v in range(1, 10)})
    for first in range(1, 10):
        for end in range(first, 11):
            start_time, end_time = noon + first * timedelta(hours=7), noon + end * timedelta(hours=7)
            expected = list(range(end - 1, first - 1, -1))
            between = {"start_time": start_time, "end_time": end_time}
            assert await versions(wallet, account_id, page_size=4, **between) == expected
            between = {"start_time": start_time - microsecond, "end_time": end_time + microsecond}
            assert await versions(wallet, account_id, **between) == list(range(min(end, 9), first - 1, -1))


GONE = [range(1, 6), [9], range(15, 21), [*range(1, 9), 11, 12, 20], range(1, 21)]


@pytest.mark.parametrize("gone", GONE, ids=["oldest", "one", "newest", "some", "all"])
async def test_movements_that_are_no_longer_kept_hide_no_others(wallet: Wallet, gone: Iterable[int]) -> None:
    account_id, hour = await wallet.open(balance=1000), timedelta(hours=1)
    for _ in range(19):
        await wallet.settle(account_id, stake=1)
    noon = at("2026-03-01 12:00")
    await move_times(wallet, account_id, {version: noon + version * hour for version in range(1, 21)})
    kept = set(range(1, 21)) - set(gone)
    async with wallet.engine.connect() as conn:
        for table in ("settlement", "transfer"):
            await conn.execute(
                text(f"delete from {table} where account_id = :id and account_version = any(:gone)"),
                {"id": account_id, "gone": list(gone)},
            )
        for first in range(1, 21):
            query = StatementQuery(
                operator_id=OPERATOR,
                account_id=account_id,
                start_time=noon + first * hour,
                end_time=noon + (first + 5) * hour,
                types=tuple(MovementType),
            )
            _, found = await statements.list_movements(conn, query, version_before=None, rows_max=100)
            expected = sorted(kept & set(range(first, first + 5)), reverse=True)
            assert [movement.account_version for movement in found] == expected
        # The wallet keeps them after all.
        await conn.rollback()


async def test_times_and_types_filter_together(wallet: Wallet) -> None:
    account_id, noon = await played(wallet), at("2026-03-01 12:00")
    await move_times(wallet, account_id, {v: noon + v * timedelta(days=1) for v in range(1, 10)})
    bets: dict[str, Any] = {"types": [wallet_pb2.TRANSACTION_TYPE_BET], "page_size": 1}
    assert await versions(wallet, account_id, start_time=stamp("2026-03-04 00:00"), **bets) == [6, 3]
    assert await versions(wallet, account_id, end_time=stamp("2026-03-05 00:00"), **bets) == [3, 2]
    assert await versions(wallet, account_id, start_time=stamp("2027-01-01 00:00")) == []
    assert await versions(wallet, account_id, end_time=stamp("0001-01-01 00:00")) == []
    assert len(await versions(wallet, account_id, end_time=stamp("9999-12-31 23:59"))) == 9


async def read_while_played(wallet: Wallet, account_id: int) -> list[int]:
    """The versions of a statement, whose every page is read while one spin is under way and after others."""
    found: list[int] = []
    async with wallet.engine.connect() as holder, wallet.engine.connect() as watcher:
        async for page in pages(wallet, account_id, page_size=2):
            found += [row.account_version for row in page]
            await holder.rollback()
            await wallet.settle(account_id, stake=1)
            await wallet.settle(account_id, stake=1)
            await holder.execute(sql.LOCK_ACCOUNT, {"account_id": account_id})
            spin = asyncio.create_task(wallet.settle(account_id, stake=1))
            await until_waiting(watcher)
        await holder.rollback()
        await spin
    return found


async def test_while_spins_go_on_no_row_comes_twice_and_none_is_lost(wallet: Wallet) -> None:
    account_id = await played(wallet)
    assert await read_while_played(wallet, account_id) == list(range(9, 0, -1))
    now = await versions(wallet, account_id)
    assert now == list(range(len(now), 0, -1)) and len(now) == 9 + 3 * 5


@pytest.mark.parametrize(
    "statement_", [WITH_LAST_ROW_AGAIN, FROM_THE_TOP], ids=["last row again", "from the top"]
)
async def test_with_another_cursor_rows_come_twice(
    wallet: Wallet, monkeypatch: pytest.MonkeyPatch, statement_: TextClause
) -> None:
    account_id = await played(wallet)
    monkeypatch.setattr(reads_sql, "LIST_MOVEMENTS", statement_)
    found: list[int] = []
    with pytest.raises(AssertionError, match="twice"):
        async for page in pages(wallet, account_id, page_size=2):
            found += [row.account_version for row in page]
            assert len(set(found)) == len(found), "twice"
            await wallet.settle(account_id, stake=1)


REFUSED_FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"operator_id": ""}, "FIELD_MISSING", "operator_id"),
    ({"account_id": 0}, "FIELD_MISSING", "account_id"),
    ({"account_id": -2}, "FIELD_INVALID", "account_id"),
    ({"page_size": -1}, "FIELD_INVALID", "page_size"),
    ({"types": [8]}, "FIELD_INVALID", "types"),
    ({"types": [1, -1]}, "FIELD_INVALID", "types"),
    ({"start_time": Timestamp(nanos=-1)}, "FIELD_INVALID", "start_time"),
    ({"start_time": Timestamp(nanos=10**9)}, "FIELD_INVALID", "start_time"),
    ({"end_time": Timestamp(seconds=253402300800)}, "FIELD_INVALID", "end_time"),
    ({"end_time": Timestamp(seconds=-(2**62))}, "FIELD_INVALID", "end_time"),
    (
        {"start_time": stamp("2026-03-02 00:00"), "end_time": stamp("2026-03-01 00:00")},
        "FIELD_INVALID",
        "end_time",
    ),
    ({"page_token": "nonsense"}, "PAGE_TOKEN_INVALID", ""),
]


@pytest.mark.parametrize(("fields", "reason", "field"), REFUSED_FIELDS)
async def test_a_request_that_makes_no_sense_is_refused(
    wallet: Wallet, fields: dict[str, Any], reason: str, field: str
) -> None:
    request = wallet_pb2.ListTransactionsRequest(**{"operator_id": OPERATOR, "account_id": 2, **fields})
    with pytest.raises(DomainError) as caught:
        await wallet.handlers.ListTransactions(request, CONTEXT)
    assert (caught.value.reason, caught.value.metadata.get("field", "")) == (reason, field)


async def test_a_page_token_is_good_for_its_statement_only(wallet: Wallet) -> None:
    account_id = await played(wallet)
    request = wallet_pb2.ListTransactionsRequest(operator_id=OPERATOR, account_id=account_id, page_size=2)
    token = (await wallet.handlers.ListTransactions(request, CONTEXT)).next_page_token
    others: list[dict[str, Any]] = [
        {"account_id": await wallet.open()},
        {"operator_id": "rival"},
        {"types": [wallet_pb2.TRANSACTION_TYPE_BET]},
        {"start_time": stamp("2026-03-01 00:00")},
        {"end_time": stamp("2026-03-01 00:00")},
        {"page_token": token[:-2]},
    ]
    for changes in others:
        fields: dict[str, Any] = {"operator_id": OPERATOR, "account_id": account_id, "page_token": token}
        fields |= changes
        with pytest.raises(DomainError, match="PAGE_TOKEN_INVALID"):
            await wallet.handlers.ListTransactions(wallet_pb2.ListTransactionsRequest(**fields), CONTEXT)
    # The size of the next page may be another one.
    request = wallet_pb2.ListTransactionsRequest(
        operator_id=OPERATOR, account_id=account_id, page_size=500, page_token=token
    )
    assert len((await wallet.handlers.ListTransactions(request, CONTEXT)).transactions) == 7


async def replay(wallet: Wallet, calls: list[Call]) -> None:
    """Whatever was done: an account's statement, added up from nothing, is every balance that it says."""
    accounts = [await wallet.open() for _ in range(2)]
    done = Played(wallet, accounts)
    for call in calls:
        await done.answer(call)
    for account_id in accounts:
        account = await wallet.account(account_id)
        rows = (await statement(wallet, account_id, page_size=3))[::-1]
        assert [row.account_version for row in rows] == list(range(1, account.account_version + 1))
        sum_minor = 0
        for row in rows:
            sum_minor += row.amount.amount_minor
            assert sum_minor == row.balance_after.amount_minor
            expected = (sum_minor, row.account_version)
            assert (
                await balance(wallet, account_id, row.create_time.ToDatetime(tzinfo=at("2026-01-01").tzinfo))
                == expected
            )
        assert sum_minor == account.balance.amount_minor


@settings(REPEATABLE, max_examples=15)
@given(calls=SEQUENCES)
async def test_a_statement_replays_to_the_balance(wallet: Wallet, calls: list[Call]) -> None:
    await replay(wallet, calls)


@pytest.mark.long
@settings(REPEATABLE, max_examples=150)
@given(calls=SEQUENCES)
async def test_many_more_statements_replay_to_the_balance(wallet: Wallet, calls: list[Call]) -> None:
    await replay(wallet, calls)
