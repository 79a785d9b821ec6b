"""What a request to read must look like, before anything is asked of the database."""

from datetime import UTC, date, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from services.common.fields import encode_page_token
from services.wallet.reads import messages as reads_messages
from services.wallet.records import MovementType, StatementQuery

QUERY = StatementQuery(operator_id="acme", account_id=2, start_time=None, end_time=None, types=())


@pytest.mark.parametrize(
    ("time", "parsed"),
    [
        (Timestamp(), datetime(1970, 1, 1, tzinfo=UTC)),
        (Timestamp(seconds=1, nanos=1_999), datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC)),
        (Timestamp(seconds=-1, nanos=999_999_999), datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        (Timestamp(seconds=-62135596800), datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_to_the_microsecond_below(time: Timestamp, parsed: datetime) -> None:
    assert reads_messages.parse_time(time, "read_time") == parsed


@pytest.mark.parametrize(
    "time",
    [
        Timestamp(nanos=-1),
        Timestamp(nanos=10**9),
        Timestamp(seconds=-62135596801),
        Timestamp(seconds=253402300800),
        Timestamp(seconds=2**63 - 1, nanos=10**9 - 1),
    ],
)
def test_a_time_out_of_range_is_refused(time: Timestamp) -> None:
    with pytest.raises(DomainError, match="FIELD_INVALID") as caught:
        reads_messages.parse_time(time, "read_time")
    assert caught.value.metadata["field"] == "read_time"


def test_a_day_is_a_day_of_the_calendar() -> None:
    assert reads_messages.parse_day("2028-02-29") == date(2028, 2, 29)
    for day in ("2026-02-30", "2026-13-01", "0000-01-01", "20261130", "2026-W48-1", "2026-1-1", "٢٠٢٦-01-01"):
        with pytest.raises(DomainError, match="FIELD_INVALID"):
            reads_messages.parse_day(day)
    for day in ("2026-11-30 ", "2026-11-30T00:00", "2026-11-30\n", "yesterday"):
        with pytest.raises(DomainError, match="FIELD_INVALID"):
            reads_messages.parse_day(day)


@pytest.mark.parametrize("parts", [("0",), ("-1",), ("1.5",), ("",), ("9" * 19,), ("٣",), ("1", "2")])
def test_a_page_token_holds_one_version(parts: tuple[str, ...]) -> None:
    token = encode_page_token(reads_messages.page_query(QUERY), *parts)
    with pytest.raises(DomainError, match="PAGE_TOKEN_INVALID"):
        reads_messages.parse_version_before(token, QUERY)


def test_the_version_of_a_page_token_is_read_back() -> None:
    assert reads_messages.parse_version_before("", QUERY) is None
    token = encode_page_token(reads_messages.page_query(QUERY), 17)
    assert reads_messages.parse_version_before(token, QUERY) == 17


def test_the_numbers_of_the_types_are_those_of_the_contract() -> None:
    for kind in MovementType:
        assert wallet_pb2.TransactionType.Value(f"TRANSACTION_TYPE_{kind.name}") == int(kind)
