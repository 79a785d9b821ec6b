"""Checks of request fields, the same in every service: each returns the parsed value or raises its reason."""

import base64
import hashlib
import json
import re
import uuid
from typing import TYPE_CHECKING, TypeVar

from reelmesh.type.v1 import money_pb2
from uuid_utils.compat import uuid7 as uuid7

from services.common.currencies import CURRENCIES
from services.common.errors import (
    AmountNotPositive,
    AmountTooLarge,
    CurrencyUnknown,
    FieldInvalid,
    FieldMissing,
    PageTokenInvalid,
)

if TYPE_CHECKING:  # the name exists in the type stubs only
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

# Every integer up to here is exact in a JSON number too.
# Ours have a quarter of it.
PAGE_TOKEN_LENGTH_MAX = 512
AMOUNT_MINOR_MAX = 2**53

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# C0 and C1 controls: PostgreSQL refuses NUL, a terminal that shows a log line obeys the others.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_NIL = uuid.UUID(int=0)
_NIL_TEXT = str(_NIL)

V = TypeVar("V", bound=int)


def require_uuid(value: str, field: str) -> uuid.UUID:
    """A UUID of RFC 9562 as 36 characters, in either case; the nil UUID is refused."""
    if not value:
        raise FieldMissing(field=field)
    if not _UUID.fullmatch(value):
        raise FieldInvalid(field=field, problem="not a UUID of 36 characters")
    parsed = uuid.UUID(value)
    if parsed == _NIL:
        raise FieldInvalid(field=field, problem="the nil UUID")
    return parsed


def require_uuid_text(value: str, field: str) -> str:
    """The same as lower-case text, for batches: an object per item would cost 10 us and be text again."""
    if not _UUID.fullmatch(value):
        require_uuid(value, field)
    text = value.lower()
    if text == _NIL_TEXT:
        raise FieldInvalid(field=field, problem="the nil UUID")
    return text


def require_text(value: str, field: str, length_max: int = 128) -> str:
    """Text of 1 to `length_max` characters without control characters."""
    if not value:
        raise FieldMissing(field=field)
    if len(value) > length_max:
        raise FieldInvalid(field=field, problem=f"longer than {length_max} characters")
    if _CONTROL.search(value):
        raise FieldInvalid(field=field, problem="contains a control character")
    return value


def require_enum(value: V, field: str, enum: "_EnumTypeWrapper[V]") -> V:
    """A value of the enum other than zero; the enum is asked because proto3 lets unknown numbers through."""
    if value == 0:
        raise FieldMissing(field=field)
    if value not in enum.DESCRIPTOR.values_by_number:
        raise FieldInvalid(field=field, problem="not a value of the enum")
    return value


def require_money(
    message: money_pb2.Money, field: str, *, zero: bool = False, signed: bool = False
) -> tuple[str, int]:
    """Currency code and amount in minor units, above 0 (from 0 with `zero`) and up to 2^53.

    `signed`: below zero too, as far as above.
    """
    code, amount_minor = message.currency_code, message.amount_minor
    if not code:
        raise FieldMissing(field=field)
    if code not in CURRENCIES:
        raise CurrencyUnknown(currency_code=code[:16])
    if (amount_minor < 0 and not signed) or (amount_minor == 0 and not zero):
        raise AmountNotPositive(field=field, amount_minor=amount_minor)
    if abs(amount_minor) > AMOUNT_MINOR_MAX:
        raise AmountTooLarge(field=field, amount_minor_max=AMOUNT_MINOR_MAX)
    return code, amount_minor


def require_page(page_size: int, *, default: int, size_max: int) -> int:
    """Rows of a page (AIP-158): 0 is the default, above the maximum is the maximum, negative an error."""
    if page_size < 0:
        raise FieldInvalid(field="page_size", problem="negative")
    return min(page_size or default, size_max)


def encode_page_token(query: str, *parts: object) -> str:
    """An opaque token for the position `parts` in the result of `query`, a text that names its filter."""
    body = json.dumps([_digest(query), *map(str, parts)], separators=(",", ":"))
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


def decode_page_token(token: str, query: str) -> tuple[str, ...]:
    """The position; () for the empty token of a first page. Errors: PAGE_TOKEN_INVALID, of another query too.

    The token is not a secret and grants nothing: the query's own filter is applied whatever it says.
    """
    if not token:
        return ()
    if len(token) > PAGE_TOKEN_LENGTH_MAX:
        raise PageTokenInvalid()
    try:
        digest, *parts = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError, RecursionError):
        raise PageTokenInvalid() from None
    if digest != _digest(query) or not all(isinstance(part, str) for part in parts):
        raise PageTokenInvalid()
    return tuple(parts)


def _digest(query: str) -> str:
    return hashlib.sha256(query.encode()).hexdigest()[:16]
