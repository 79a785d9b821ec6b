"""The rules of what is read: balances, statements, what moved under an id, the totals of a day.

Only an operator's own accounts can be read: those of others are not found.
"""

import hashlib
import uuid
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import TextClause

from services.common.errors import FieldInvalid
from services.wallet import sql, store, transfers
from services.wallet.errors import AccountNotFound, TransactionNotFound
from services.wallet.months import keeping
from services.wallet.reads import store as reads_store
from services.wallet.records import (
    Account,
    Balance,
    DailyTotals,
    Movement,
    Posting,
    StatementQuery,
    Type,
)

BEGINNING, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
# How far the database's clock may ever have been put back, a fail-over to another machine's included: so far
# around a time the movements are looked at one by one, since their versions may not come in its order.
CLOCK_STEP_MAX = timedelta(hours=1)
# A movement takes its time before it is committed. What is older than this is not in flight any more.
IN_FLIGHT_MAX = timedelta(minutes=1)
# Below the deadline of GetDailyTotals.
TOTALS_MS_MAX = 25_000
_HASH_BYTES = 8


async def get_balance_at(
    conn: AsyncConnection,
    *,
    operator_id: str,
    account_id: int,
    read_time: datetime,
    lock: TextClause = sql.LOCK_ACCOUNT,
) -> Balance:
    """The balance as it was at a time: after the last movement, in their order, that was not later.

    The answer is the same for ever, or none any more. Errors: ACCOUNT_NOT_FOUND, FIELD_INVALID of a time in
    the future, or from whose movements on some are archived.
    """
    account = await get_player_account(conn, operator_id=operator_id, account_id=account_id)
    now = await reads_store.get_time(conn)
    if read_time > now:
        raise FieldInvalid(field="read_time", problem="in the future")
    if read_time > now - IN_FLIGHT_MAX:
        # Whoever moves the account now may have a time before `read_time` already: it holds the lock until it
        # is committed. Whoever comes after us has a time after `now`.
        await store.lock_account(conn, account_id=account_id, statement=lock)
    version_before = 1 + await reads_store.find_version(
        conn, account_id=account_id, time=read_time, margin=CLOCK_STEP_MAX
    )
    found = await reads_store.find_balance(
        conn, account_id=account_id, time=read_time, version_before=version_before
    )
    if found is None:
        raise FieldInvalid(field="read_time", problem="what moved the account about then is no longer kept")
    version, balance_minor = found
    return Balance(account.currency_code, balance_minor, version)


async def list_movements(
    conn: AsyncConnection, query: StatementQuery, *, version_before: int | None, rows_max: int
) -> tuple[str, list[Movement]]:
    """The account's currency, and a page of its statement, newest first: from below `version_before` on.

    What moves meanwhile has a higher version, so that no page changes behind the first one's top.
    Errors: ACCOUNT_NOT_FOUND
    """
    account = await get_player_account(conn, operator_id=query.operator_id, account_id=query.account_id)
    version_after, version_end = 0, account.version + 1
    if query.start_time is not None:
        version_after = await reads_store.find_version(
            conn, account_id=query.account_id, time=query.start_time, margin=-CLOCK_STEP_MAX
        )
    if query.end_time is not None:
        version_end = 1 + await reads_store.find_version(
            conn, account_id=query.account_id, time=query.end_time, margin=CLOCK_STEP_MAX
        )
    movements = await reads_store.list_movements(
        conn,
        account_id=account.account_id,
        version_after=version_after,
        version_before=version_end if version_before is None else min(version_before, version_end),
        start_time=query.start_time or BEGINNING,
        end_time=query.end_time or END,
        types=query.types,
        rows_max=rows_max,
    )
    return account.currency_code, movements


async def get_transaction(
    conn: AsyncConnection, *, operator_id: str, transaction_id: uuid.UUID
) -> tuple[str, list[Movement], list[Posting]]:
    """Currency, movements and postings of a transfer, or of a round with all that was done to it.

    Errors: TRANSACTION_NOT_FOUND, also when nothing moved, and for rounds and transfers of others;
    ID_EXPIRED when it is archived.
    """
    await reads_store.begin_snapshot(conn)
    return await _get_transaction(conn, operator_id=operator_id, transaction_id=transaction_id)


async def get_transaction_by_request(
    conn: AsyncConnection, *, operator_id: str, request_id: uuid.UUID
) -> tuple[str, list[Movement], list[Posting]]:
    """The same of a transfer by the operator's id. Errors: TRANSACTION_NOT_FOUND, of a refused one too."""
    await reads_store.begin_snapshot(conn)
    transfer = await store.find_transfer(conn, operator_id=operator_id, request_id=request_id, replayed=True)
    if transfer is None:
        raise TransactionNotFound()
    return await _get_transaction(conn, operator_id=operator_id, transaction_id=transfer.transfer_id)


async def get_daily_totals(
    conn: AsyncConnection, *, operator_id: str, day: date, currency_code: str
) -> list[DailyTotals]:
    """Sums of real money per currency: of one, or of all when `currency_code` is empty.

    A day is complete when it has been over for IN_FLIGHT_MAX. Errors: FIELD_INVALID, as get_times_of.
    """
    start_time, end_time = await get_times_of(conn, day=day)
    await reads_store.allow_time(conn, statement_ms=TOTALS_MS_MAX, idle_ms=TOTALS_MS_MAX)
    return await reads_store.list_daily_totals(
        conn, operator_id=operator_id, start_time=start_time, end_time=end_time, currency_code=currency_code
    )


async def get_times_of(conn: AsyncConnection, *, day: date) -> tuple[datetime, datetime]:
    """When a UTC day begins, and when the next one does.

    Errors: FIELD_INVALID of a day in the future, or of which some postings may be in an archive's files.
    """
    # First: a partition that went between our look and the sum would be missing there, in any snapshot.
    await reads_store.hold_months(conn)
    if day < await reads_store.get_archived_end(conn):
        raise FieldInvalid(field="day", problem="what moved then is archived, or some of it")
    start_time = datetime.combine(day, time(), UTC)
    if start_time > await reads_store.get_time(conn):
        raise FieldInvalid(field="day", problem="in the future")
    return start_time, start_time + timedelta(days=1)


def hash_of(*, transaction_id: uuid.UUID, leg: int, account_id: int, amount_minor: int) -> int:
    """What one posting adds to the checksum."""
    text = f"{transaction_id}|{leg}|{account_id}|{amount_minor}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:_HASH_BYTES])


def checksum(hash_sum: int) -> str:
    """The checksum of postings: the sum of their hashes modulo 2^64, so that their order is of no matter."""
    return f"{hash_sum % 2 ** (8 * _HASH_BYTES):016x}"


async def get_player_account(conn: AsyncConnection, *, operator_id: str, account_id: int) -> Account:
    """A player's account of this operator. Errors: ACCOUNT_NOT_FOUND, of a counter-account too."""
    account = await transfers.get_account(conn, operator_id=operator_id, account_id=account_id)
    if account.type is not Type.PLAYER:
        raise AccountNotFound()
    return account


async def _get_transaction(
    conn: AsyncConnection, *, operator_id: str, transaction_id: uuid.UUID
) -> tuple[str, list[Movement], list[Posting]]:
    movements = await reads_store.list_steps(conn, transaction_id=transaction_id)
    if not movements:
        await keeping.require_unexpired(conn, str(transaction_id), "transaction_id")
    # All steps of a round are of one account.
    account = await store.find_account(conn, account_id=movements[0].account_id) if movements else None
    if account is None or account.operator_id != operator_id:
        raise TransactionNotFound()
    postings = await reads_store.list_postings(conn, transaction_id=transaction_id)
    return account.currency_code, movements, postings
