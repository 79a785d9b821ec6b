"""What a request field may hold."""

import uuid
from typing import Any

import pytest
from reelmesh.type.v1 import account_kind_pb2, money_pb2

from services.common import errors, fields

CANONICAL = "0190f5a8-7b3c-7def-8123-456789abcdef"


@pytest.mark.parametrize("text", [CANONICAL, CANONICAL.upper(), "6ba7b810-9dad-11d1-80b4-00c04fd430c8"])
def test_any_uuid_is_taken_in_either_case(text: str) -> None:
    assert str(fields.require_uuid(text, "request_id")) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "0" * 32,
        str(uuid.UUID(int=0)),
        CANONICAL.replace("-", ""),
        "{" + CANONICAL + "}",
        f"urn:uuid:{CANONICAL}",
        CANONICAL + "\n",
        CANONICAL[:-1] + "g",
        "\u0660" + CANONICAL[1:],
        "x" * 100_000,
    ],
)
def test_another_form_of_uuid_is_refused(text: str) -> None:
    with pytest.raises(errors.FieldInvalid) as caught:
        fields.require_uuid(text, "request_id")
    assert caught.value.metadata["field"] == "request_id"


def test_an_absent_field_is_missing_not_invalid() -> None:
    kind = account_kind_pb2.AccountKind
    for call in (
        lambda: fields.require_uuid("", "f"),
        lambda: fields.require_text("", "f"),
        lambda: fields.require_enum(kind.ACCOUNT_KIND_UNSPECIFIED, "f", kind),
        lambda: fields.require_money(money_pb2.Money(), "f"),
    ):
        with pytest.raises(errors.FieldMissing):
            call()


@pytest.mark.parametrize("text", ["a\x00b", "a\nb", "a\x1b[2J", "a\x7f", "a\x85", "x" * 129])
def test_text_with_controls_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(errors.FieldInvalid):
        fields.require_text(text, "player_id")


def test_text_of_the_longest_length_in_any_script_is_taken() -> None:
    assert fields.require_text("ж" * 128, "player_id") == "ж" * 128


def test_an_enum_number_that_nobody_defined_is_refused() -> None:
    kind = account_kind_pb2.AccountKind
    assert fields.require_enum(kind.ACCOUNT_KIND_DEMO, "kind", kind) == 2
    with pytest.raises(errors.FieldInvalid):
        number: Any = 77
        fields.require_enum(number, "kind", kind)


@pytest.mark.parametrize(
    ("code", "amount_minor", "reason"),
    [
        ("usd", 1, "CURRENCY_UNKNOWN"),
        ("XXX", 1, "CURRENCY_UNKNOWN"),
        ("USD ", 1, "CURRENCY_UNKNOWN"),
        ("USD", 0, "AMOUNT_NOT_POSITIVE"),
        ("USD", -1, "AMOUNT_NOT_POSITIVE"),
        ("USD", -(2**63), "AMOUNT_NOT_POSITIVE"),
        ("USD", 2**53 + 1, "AMOUNT_TOO_LARGE"),
        ("USD", 2**63 - 1, "AMOUNT_TOO_LARGE"),
    ],
)
def test_bad_money_is_refused_before_any_arithmetic(code: str, amount_minor: int, reason: str) -> None:
    with pytest.raises(errors.DomainError) as caught:
        fields.require_money(money_pb2.Money(currency_code=code, amount_minor=amount_minor), "stake")
    assert caught.value.reason == reason


def test_money_is_taken_up_to_two_to_the_53rd_and_from_zero_where_allowed() -> None:
    top = money_pb2.Money(currency_code="JPY", amount_minor=2**53)
    assert fields.require_money(top, "stake") == ("JPY", 2**53)
    assert fields.require_money(money_pb2.Money(currency_code="BTC"), "win", zero=True) == ("BTC", 0)


def test_a_page_has_a_default_and_a_maximum() -> None:
    sizes = [fields.require_page(size, default=20, size_max=100) for size in (0, 1, 100, 101, 2**31 - 1)]
    assert sizes == [20, 1, 100, 100, 100]
    with pytest.raises(errors.FieldInvalid):
        fields.require_page(-1, default=20, size_max=100)


def test_a_page_token_is_good_for_its_query_only() -> None:
    token = fields.encode_page_token("account=1", "r-9", 4)
    assert fields.decode_page_token(token, "account=1") == ("r-9", "4")
    assert fields.decode_page_token("", "account=1") == ()
    with pytest.raises(errors.PageTokenInvalid):
        fields.decode_page_token(token, "account=2")


@pytest.mark.parametrize("token", ["x", "%%%", "bnVsbA", "W10", "WzFd", "e30", "ж", "WyJhIiwxXQ"])
def test_a_made_up_page_token_is_refused(token: str) -> None:
    with pytest.raises(errors.PageTokenInvalid):
        fields.decode_page_token(token, "account=1")


def test_minted_ids_are_ordered_by_time() -> None:
    ids = [fields.uuid7() for _ in range(100)]
    assert all(found.version == 7 for found in ids) and ids == sorted(ids)
