"""What is read: contract messages <-> the ledger's records."""

import re
from collections.abc import Sequence
from datetime import date, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import FieldInvalid, FieldMissing, PageTokenInvalid
from services.common.fields import decode_page_token, require_text
from services.common.times import datetime_of, timestamp
from services.wallet.messages import money, require_account_id
from services.wallet.reads import statements
from services.wallet.records import DailyTotals, Movement, MovementType, Posting, StatementQuery

PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX = 100, 500
_NANOS = range(10**9)
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_VERSION = re.compile("[1-9][0-9]{0,17}")
_WITH_AMOUNTS = (MovementType.BET, MovementType.STAKE, MovementType.PAYOUT, MovementType.ROLLBACK)


def parse_time(time: Timestamp, field: str) -> datetime:
    """A time, to the microsecond below. Errors: FIELD_INVALID outside the years 1 to 9999."""
    if time.nanos not in _NANOS:
        raise FieldInvalid(field=field, problem="nanos not from 0 to 999999999")
    try:
        return datetime_of(time)
    except OverflowError:
        raise FieldInvalid(field=field, problem="not in the years 1 to 9999") from None


def parse_day(day: str) -> date:
    """A day as 2026-11-30. Errors: FIELD_MISSING, FIELD_INVALID"""
    if not day:
        raise FieldMissing(field="day")
    try:
        if not _DAY.fullmatch(day):
            raise ValueError
        return date.fromisoformat(day)
    except ValueError:
        raise FieldInvalid(field="day", problem="no day of the form 2026-11-30") from None


def parse_statement(request: wallet_pb2.ListTransactionsRequest) -> StatementQuery:
    """The filter of a statement. Errors: FIELD_MISSING, FIELD_INVALID"""
    operator_id = require_text(request.operator_id, "operator_id")
    account_id = require_account_id(request.account_id)
    start_time = parse_time(request.start_time, "start_time") if request.HasField("start_time") else None
    end_time = parse_time(request.end_time, "end_time") if request.HasField("end_time") else None
    if start_time is not None and end_time is not None and end_time < start_time:
        raise FieldInvalid(field="end_time", problem="before start_time")
    return StatementQuery(
        operator_id=operator_id,
        account_id=account_id,
        start_time=start_time,
        end_time=end_time,
        types=_parse_types(request.types),
    )


def _parse_types(types: Sequence[int]) -> tuple[MovementType, ...]:
    for number in types:
        if number not in wallet_pb2.TransactionType.DESCRIPTOR.values_by_number:
            raise FieldInvalid(field="types", problem="not a value of the enum")
    if not types or wallet_pb2.TRANSACTION_TYPE_UNSPECIFIED in types:
        return tuple(MovementType)
    return tuple(MovementType(number) for number in sorted(set(types)))


def page_query(query: StatementQuery) -> str:
    """What a page token is good for."""
    return f"statement/{query}"


def parse_version_before(page_token: str, query: StatementQuery) -> int | None:
    """The version that the page before ended with; None on the first page. Errors: PAGE_TOKEN_INVALID"""
    match decode_page_token(page_token, page_query(query)):
        case ():
            return None
        case (version,) if _VERSION.fullmatch(version):
            return int(version)
        case _:
            raise PageTokenInvalid()


def transaction(movement: Movement, currency_code: str) -> wallet_pb2.Transaction:
    """One movement of an account in this currency."""
    message = wallet_pb2.Transaction(
        transaction_id=str(movement.transaction_id),
        type=wallet_pb2.TransactionType.ValueType(movement.type),
        account_id=movement.account_id,
        account_version=movement.account_version,
        amount=money(currency_code, movement.amount_minor),
        balance_after=money(currency_code, movement.balance_after_minor),
        create_time=timestamp(movement.create_time),
        round_id=str(movement.round_id or ""),
        game_id=movement.game_id,
        request_id=str(movement.request_id or ""),
        actor=movement.actor,
        reason=movement.reason,
    )
    if movement.type in _WITH_AMOUNTS:
        message.stake.CopyFrom(money(currency_code, movement.stake_minor))
        message.win.CopyFrom(money(currency_code, movement.win_minor))
    return message


def posting(stored: Posting, currency_code: str) -> wallet_pb2.Posting:
    """One side of an entry."""
    return wallet_pb2.Posting(
        transaction_id=str(stored.transaction_id),
        leg=stored.leg,
        account_id=stored.account_id,
        amount=money(currency_code, stored.amount_minor),
    )


def daily_totals(totals: DailyTotals) -> wallet_pb2.DailyTotals:
    """A day's sums in one currency."""
    code = totals.currency_code
    return wallet_pb2.DailyTotals(
        currency_code=code,
        round_count=totals.round_count,
        stake=money(code, totals.stake_minor),
        win=money(code, totals.win_minor),
        stake_reversed=money(code, totals.stake_reversed_minor),
        win_reversed=money(code, totals.win_reversed_minor),
        deposit=money(code, totals.deposit_minor),
        withdrawal=money(code, totals.withdrawal_minor),
        adjustment=money(code, totals.adjustment_minor),
        posting_count=totals.posting_count,
        checksum=statements.checksum(totals.hash_sum),
    )
