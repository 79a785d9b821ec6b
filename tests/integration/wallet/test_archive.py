"""Archiving: what leaves the database is in files, accounted for, and answered as expired."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.archiving import archive_files
from services.archiving.dropping import ArchiveError
from services.common.errors import DomainError
from services.wallet import counters, store
from services.wallet.months import archive
from services.wallet.months import store as months_store
from services.wallet.reads import statements
from services.wallet.records import Item, Step, TransferOrder, TransferType
from tests import invariants
from tests.integration.wallet.harness import CONTEXT, GIVE_BACK, NEEDS_REVIEW, OPERATOR, PAYOUT, STAKE, Wallet
from tests.integration.wallet.months import LATER, NEXT, OLD, find_month, id_at, ids_in, month_at, ms_of, run


async def deposit_in(wallet: Wallet, account_id: int, month: date, *, amount_minor: int) -> str:
    """A deposit as it was made in that month; its request's id."""
    order = TransferOrder(
        operator_id=OPERATOR,
        request_id=uuid.uuid4(),
        account_id=account_id,
        currency_code="EUR",
        type=TransferType.DEPOSIT,
        amount_minor=amount_minor,
        traceparent="",
    )
    async with wallet.engine.begin() as conn:
        await store.lock_account(conn, account_id=account_id)
        await store.insert_transfer(conn, order, transfer_id=uuid.UUID(ids_in(month)()), refusal="")
    return str(order.request_id)


async def play_in(wallet: Wallet, account_id: int, month: date) -> list[str]:
    """Rounds of every sort with ids of that month: fused, refused, a choice, given back, void. Minus 85."""
    mint = ids_in(month)
    ids = [mint() for _ in range(5)]
    fused, refused, choice, given_back, voided = ids
    await wallet.settle(account_id, round_id=fused, stake=100, win=30)
    await wallet.settle(account_id, round_id=refused, stake=1_000_000)
    await wallet.settle(account_id, round_id=choice, step=STAKE, stake=20)
    await wallet.settle(account_id, round_id=choice, step=PAYOUT, win=5)
    await wallet.settle(account_id, round_id=given_back, stake=40, win=1)
    await wallet.roll_back(account_id, given_back)
    await wallet.void(account_id, voided)
    return ids


async def figures(conn: AsyncConnection) -> list[tuple[object, ...]]:
    """Balance and version of every account, derived ones too."""
    ids = (await conn.execute(text("select account_id from account order by 1"))).scalars()
    accounts = [await store.find_account(conn, account_id=account_id) for account_id in ids]
    return [(a.account_id, a.balance_minor, a.version) for a in accounts if a is not None]


async def test_an_archived_month_is_in_files_and_every_figure_stays(
    old_wallet: Wallet, tmp_path: Path
) -> None:
    wallet = old_wallet
    account_id = await wallet.open()
    await deposit_in(wallet, account_id, OLD, amount_minor=1000)
    ids = await play_in(wallet, account_id, OLD)
    await play_in(wallet, account_id, NEXT)
    await wallet.settle(account_id, stake=10)
    await counters.roll_up(wallet.engine, rows_max=3)
    async with wallet.engine.connect() as conn:
        before = await figures(conn)

    assert await run(wallet, tmp_path) == [OLD]
    async with wallet.engine.connect() as conn:
        assert await figures(conn) == before
        await invariants.check_wallet(conn)
    assert await wallet.scalar("select to_regclass(:name)", name=f"settlement_{OLD:%Y_%m}") is None
    assert (
        await wallet.scalar("select count(*) from settlement where round_id = any(cast(:i as uuid[]))", i=ids)
        == 0
    )

    directory = tmp_path / f"{OLD:%Y-%m}"
    manifest = msgspec.json.decode((directory / "manifest.json").read_bytes())
    assert manifest["month"] == f"{OLD:%Y-%m}"
    assert {name: entry["rows"] for name, entry in manifest["files"].items()} == {
        "settlement": 6, "reversal": 1, "transfer": 1, "posting": 9,
    }  # fmt: skip
    for entry in manifest["files"].values():
        assert archive_files.file_sha256(directory / entry["file"]) == entry["sha256"]
    # In: a deposit, wins of 30, 5 and 1, a stake given back. Out: stakes of 100, 20, 40, a win taken back.
    assert manifest["sums"] == [
        {"currency_code": "EUR", "kind": "REAL", "postings": 9, "credit_minor": 1076, "debit_minor": 161}
    ]
    rows = list(archive_files.read_rows(directory / "settlement.csv.gz"))
    assert sorted({row["round_id"] for row in rows}) == sorted(ids)
    assert sum(int(row["stake_minor"]) for row in rows if row["status"] == "1") == 160
    assert manifest == await wallet.scalar("select manifest from ledger_month where month = :m", m=OLD)

    # Again: nothing to do. Later months add to the openings.
    assert await run(wallet, tmp_path) == []
    assert await run(wallet, tmp_path, before=LATER) == [NEXT]
    async with wallet.engine.connect() as conn:
        assert await figures(conn) == before
    # The account goes on.
    await wallet.settle(account_id, stake=10, win=5)
    await wallet.withdraw(account_id, 100)


async def test_a_replay_of_an_archived_id_is_expired_and_moves_nothing(
    old_wallet: Wallet, tmp_path: Path
) -> None:
    wallet = old_wallet
    account_id = await wallet.open()
    request_id = await deposit_in(wallet, account_id, OLD, amount_minor=1000)
    fused, _, choice, given_back, voided = await play_in(wallet, account_id, OLD)
    # Before, these are replays.
    assert (await wallet.settle(account_id, round_id=fused, stake=100, win=30)).replayed
    assert (await wallet.deposit(account_id, 1000, request_id=request_id)).transfer.replayed
    await run(wallet, tmp_path)
    before = await wallet.account(account_id)

    asked: list[Callable[[], Awaitable[object]]] = [
        lambda: wallet.settle(account_id, round_id=fused, stake=100, win=30),
        lambda: wallet.settle(account_id, round_id=choice, step=PAYOUT, win=5),
        lambda: wallet.void(account_id, voided),
        lambda: wallet.roll_back(account_id, given_back),
        lambda: wallet.roll_back(account_id, fused),
        lambda: wallet.known(fused),
        lambda: wallet.handlers.GetTransactions(
            wallet_pb2.GetTransactionsRequest(operator_id=OPERATOR, transaction_id=fused), CONTEXT
        ),
        lambda: wallet.resolve(fused, GIVE_BACK),
        lambda: wallet.adjust(account_id, 5, round_id=fused),
        lambda: wallet.deposit(account_id, 1000, request_id=request_id),
    ]
    # First of a wallet that has not heard of it yet.
    for _ in range(2):
        for ask in asked:
            with pytest.raises(DomainError, match="ID_EXPIRED"):
                await ask()
        await wallet.handlers.kept.refresh(wallet.engine)
    assert await wallet.account(account_id) == before
    query = "select count(*) from transfer_request where request_id = cast(:id as uuid)"
    assert await wallet.scalar(query, id=request_id) == 1


async def test_a_month_with_unfinished_rounds_stays_open(old_wallet: Wallet, tmp_path: Path) -> None:
    wallet, mint = old_wallet, ids_in(OLD)
    account_id = await wallet.open(balance=1000)
    waiting, given_back, reviewed = mint(), mint(), mint()
    await wallet.settle(account_id, round_id=waiting, step=STAKE, stake=20)
    await wallet.settle(account_id, round_id=given_back, step=STAKE, stake=20)
    await wallet.roll_back(account_id, given_back)
    await wallet.settle(account_id, round_id=reviewed, stake=20, win=5000)
    await wallet.withdraw(account_id, await wallet.balance(account_id) - 10)
    assert (await wallet.roll_back(account_id, reviewed)).status == NEEDS_REVIEW
    with pytest.raises(ArchiveError) as refused:
        await run(wallet, tmp_path)
    assert f"{waiting}: a stake without payout" in str(refused.value)
    assert f"{reviewed}: in review" in str(refused.value)
    assert given_back not in str(refused.value)
    # The month is as open as before: the round ends, a person decides, and then it can be archived.
    await wallet.settle(account_id, round_id=waiting, step=PAYOUT, win=5)
    with pytest.raises(ArchiveError, match="in review"):
        await run(wallet, tmp_path)
    await wallet.resolve(reviewed, wallet_pb2.REVIEW_VERDICT_SETTLED)
    assert await run(wallet, tmp_path) == [OLD]


async def test_a_month_with_an_old_stake_stays_open_until_game_says_that_it_is_over(
    old_wallet: Wallet, tmp_path: Path
) -> None:
    wallet, mint = old_wallet, ids_in(OLD)
    account_id = await wallet.open(balance=1000)
    lost, waiting = mint(), mint()
    for round_id in (lost, waiting):
        await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=20)
    # However old it is: a payout must not be refused (R8).
    async with wallet.engine.begin() as conn:
        await conn.execute(text("update settlement set create_time = create_time - interval '2 years'"))
    for low, held in ((None, lost), (waiting, waiting)):
        if low is not None:
            assert await report(wallet, low) == low
        with pytest.raises(ArchiveError, match=f"(?s)over:\n  {held}: a stake without payout") as refused:
            await run(wallet, tmp_path)
    assert lost not in str(refused.value)
    # It does not go back, and not beyond now.
    assert await report(wallet, lost) == waiting
    await wallet.settle(account_id, round_id=waiting, step=PAYOUT, win=5)
    assert await run(wallet, tmp_path) == [OLD]
    assert await wallet.balance(account_id) == 965
    now_id = await report(wallet, "ffffffff-ffff-7fff-bfff-ffffffffffff")
    assert id_at(ms_of(month_at(0))) < now_id < id_at(ms_of(month_at(1)))


async def report(wallet: Wallet, round_id_low: str) -> str:
    """Game says so; what is kept."""
    request = wallet_pb2.ReportOpenRoundsRequest(round_id_low=round_id_low)
    return (await wallet.handlers.ReportOpenRounds(request, CONTEXT)).round_id_low


async def test_the_month_that_runs_cannot_be_archived(old_wallet: Wallet, tmp_path: Path) -> None:
    account_id = await old_wallet.open(balance=100)
    with pytest.raises(ArchiveError, match="is not over"):
        await run(old_wallet, tmp_path, before=month_at(1))
    # Those before it were.
    assert (await find_month(old_wallet.engine, month_at(-1))).archived
    await old_wallet.settle(account_id, stake=10)


async def test_two_commands_do_not_run_at_once(old_wallet: Wallet, tmp_path: Path) -> None:
    async with old_wallet.engine.connect() as conn:
        assert await months_store.lock_archive(conn)
        with pytest.raises(ArchiveError, match="another archive command"):
            await run(old_wallet, tmp_path)
        await conn.invalidate()
    assert await run(old_wallet, tmp_path) == [OLD]


async def test_a_stake_that_is_being_written_keeps_its_month_open(old_wallet: Wallet, tmp_path: Path) -> None:
    wallet, round_id = old_wallet, ids_in(OLD)()
    account_id = await wallet.open(balance=100)
    month = await find_month(wallet.engine, OLD)
    stake = Item(round_id, Step.STAKE, account_id, "EUR", 10, 0, "lucky-lines", "")
    async with wallet.engine.connect() as conn:
        await store.settle(conn, [stake])
        closing = asyncio.create_task(archive.close_month(wallet.engine, month))
        waits = "select count(*) from pg_locks where not granted and relation = cast(:name as regclass)"
        async with asyncio.timeout(5):
            while not await wallet.scalar(waits, name=f"settlement_{OLD:%Y_%m}"):
                assert not closing.done()
        await conn.commit()
    with pytest.raises(ArchiveError, match=round_id):
        await closing
    await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=3)


async def test_rounds_are_played_while_months_are_archived(old_wallet: Wallet, tmp_path: Path) -> None:
    wallet = old_wallet
    accounts, done = await wallet.open_many(5, balance=10_000), asyncio.Event()
    for account_id in accounts:
        await play_in(wallet, account_id, OLD)
        await play_in(wallet, account_id, NEXT)
    stale = ids_in(OLD)
    refused: list[str] = []

    async def play(account_id: int) -> None:
        while not done.is_set():
            await wallet.settle(account_id, stake=7, win=7)
            try:
                await wallet.settle(account_id, round_id=stale(), stake=7, win=7)
            except DomainError as error:
                refused.append(error.reason)

    players = [asyncio.create_task(play(account_id)) for account_id in accounts]
    try:
        assert await run(wallet, tmp_path, before=LATER) == [OLD, NEXT]
    finally:
        done.set()
        await asyncio.gather(*players)
    assert set(refused) <= {"ID_EXPIRED"}
    with pytest.raises(DomainError, match="ID_EXPIRED"):
        await wallet.settle(accounts[0], round_id=stale(), stake=7, win=7)
    assert {await wallet.balance(account_id) for account_id in accounts} == {10_000 - 2 * 85}


async def test_a_drop_steps_back_for_whoever_reads_and_comes_again(
    old_wallet: Wallet, tmp_path: Path
) -> None:
    wallet = old_wallet
    account_id = await wallet.open(balance=1000)
    await play_in(wallet, account_id, OLD)
    async with wallet.engine.connect() as reader:
        await reader.execute(text("select count(*) from settlement"))
        task = asyncio.create_task(run(wallet, tmp_path))
        waits = "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'"
        async with asyncio.timeout(10):
            while not await wallet.scalar(waits):
                assert not task.done()
            # It waits for the reader, and a settle behind it goes on as soon as it steps back.
            await wallet.settle(account_id, stake=1, win=1)
            assert not task.done()
    assert await task == [OLD]


async def test_a_balance_at_a_time_is_right_or_not_known_any_more(old_wallet: Wallet, tmp_path: Path) -> None:
    wallet, account_id, times = old_wallet, await old_wallet.open(), []

    async def balance_at(time: datetime) -> tuple[int, int]:
        async with wallet.engine.connect() as conn:
            found = await statements.get_balance_at(
                conn, operator_id=OPERATOR, account_id=account_id, read_time=time
            )
        return found.version, found.balance_minor

    await deposit_in(wallet, account_id, OLD, amount_minor=1000)
    mint = ids_in(OLD)
    for round_id in ("", "", mint(), "", ""):
        times.append(await wallet.scalar("select clock_timestamp()"))
        await wallet.settle(account_id, round_id=round_id, stake=10)
    times.append(await wallet.scalar("select clock_timestamp()"))
    before = [await balance_at(time) for time in times]
    assert before == [(version, 1010 - 10 * version) for version in range(1, 7)]
    await run(wallet, tmp_path)
    # The deposit, version 1, is archived, and so is version 4.
    for place, time in enumerate(times):
        if place in (0, 2, 3):
            with pytest.raises(DomainError, match="FIELD_INVALID"):
                await balance_at(time)
        else:
            assert await balance_at(time) == before[place]
    with pytest.raises(DomainError, match="FIELD_INVALID"):
        await balance_at(times[0] - timedelta(days=1))
    account_id = await wallet.open()
    assert await balance_at(times[0]) == (0, 0)
