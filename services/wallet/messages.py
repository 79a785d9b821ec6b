"""Contract messages <-> the ledger's records. What a request must look like is checked only here."""

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.type.v1 import account_kind_pb2, error_pb2, money_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common import telemetry
from services.common.currencies import CURRENCIES
from services.common.errors import (
    CurrencyMismatch,
    CurrencyUnknown,
    FieldInvalid,
    FieldMissing,
    PageTokenInvalid,
)
from services.common.fields import (
    require_enum,
    require_money,
    require_text,
    require_uuid,
    require_uuid_text,
)
from services.wallet import records
from services.wallet.records import (
    FreezeOrder,
    Item,
    Refusal,
    RollbackOrder,
    Step,
    TransferOrder,
    TransferType,
)

BATCH_SIZE_MAX = 200
REASON_LENGTH_MAX = 1000
# What the kinds of outbox rows are told as; a review's second row is "review.resolved".
_EVENT_TYPES = {"settle": "wallet.settled", "transfer": "transfer.applied", "review": "review.opened"}
_REFUSALS = {
    Refusal.INSUFFICIENT_FUNDS: error_pb2.ERROR_REASON_INSUFFICIENT_FUNDS,
    Refusal.ACCOUNT_FROZEN: error_pb2.ERROR_REASON_ACCOUNT_FROZEN,
}
# The enum's look-up by value, without its call.
_STEPS: dict[int, Step] = {step.value: step for step in Step}
_GAME_ID = re.compile(r"[a-z0-9][a-z0-9-]*")


class TransferRequest(Protocol):
    """DepositRequest and WithdrawRequest have the same fields."""

    operator_id: str
    request_id: str
    account_id: int

    @property
    def amount(self) -> money_pb2.Money: ...


class FreezeRequest(Protocol):
    """FreezeAccountRequest and UnfreezeAccountRequest have the same fields."""

    operator_id: str
    account_id: int
    actor: str
    reason: str


def require_account_id(account_id: int) -> int:
    """An account id, above zero."""
    if account_id == 0:
        raise FieldMissing(field="account_id")
    if account_id < 0:
        raise FieldInvalid(field="account_id", problem="negative")
    return account_id


def require_batch(requests: Sequence[object]) -> None:
    """1 to 200 items. An empty request may be a message of the wrong type (docs/traps.md, 1)."""
    if not requests:
        raise FieldMissing(field="requests")
    if len(requests) > BATCH_SIZE_MAX:
        raise FieldInvalid(field="requests", problem=f"more than {BATCH_SIZE_MAX}")


def require_kind(kind: account_kind_pb2.AccountKind.ValueType) -> records.Kind:
    """Real or demo."""
    return records.Kind(require_enum(kind, "kind", account_kind_pb2.AccountKind))


def require_currency(currency_code: str) -> str:
    """A registered currency."""
    if not currency_code:
        raise FieldMissing(field="currency_code")
    if currency_code not in CURRENCIES:
        raise CurrencyUnknown(currency_code=currency_code)
    return currency_code


def parse_settle(request: wallet_pb2.SettleRequest, *, traceparent: str) -> Item:
    """A settle that makes sense by itself: amounts as its step asks, one currency.

    Errors: FIELD_MISSING, FIELD_INVALID, CURRENCY_UNKNOWN, CURRENCY_MISMATCH, AMOUNT_NOT_POSITIVE,
    AMOUNT_TOO_LARGE
    """
    round_id = require_uuid_text(request.round_id, "round_id")
    step = _STEPS[require_enum(request.step, "step", wallet_pb2.SettleStep)]
    account_id = require_account_id(request.account_id)
    currency_code, stake_minor, win_minor = _amounts(step, request.stake, request.win)
    game_id = require_text(request.game_id, "game_id")
    if not _GAME_ID.fullmatch(game_id):
        # The seal's text is unambiguous only while no field can contain its separator.
        raise FieldInvalid(field="game_id", problem="not lower case letters, digits and dashes")
    return Item(round_id, step, account_id, currency_code, stake_minor, win_minor, game_id, traceparent)


def _amounts(step: Step, stake: money_pb2.Money, win: money_pb2.Money) -> tuple[str, int, int]:
    main, other, field = (win, stake, "win") if step is Step.PAYOUT else (stake, win, "stake")
    code, main_minor = require_money(main, field, zero=step is Step.PAYOUT)
    other_field = "stake" if step is Step.PAYOUT else "win"
    other_minor = 0
    # The amount that its step leaves at zero need not be written down.
    if other.currency_code or other.amount_minor:
        other_code, other_minor = require_money(other, other_field, zero=True)
        if other_code != code:
            raise CurrencyMismatch(currency_code=other_code, currency_code_expected=code)
    if other_minor and step is not Step.FUSED:
        raise FieldInvalid(field=other_field, problem=f"not zero in a {step.name.lower()}")
    return (code, other_minor, main_minor) if step is Step.PAYOUT else (code, main_minor, other_minor)


def parse_void(request: wallet_pb2.VoidRequest, *, traceparent: str) -> Item:
    """A void. Errors: FIELD_MISSING, FIELD_INVALID"""
    round_id = require_uuid_text(request.round_id, "round_id")
    return Item(round_id, Step.VOID, require_account_id(request.account_id), traceparent=traceparent)


def parse_rollback(request: wallet_pb2.RollbackRoundRequest | wallet_pb2.RollbackBetRequest) -> RollbackOrder:
    """A round or a stake to give back. Errors: FIELD_MISSING, FIELD_INVALID"""
    return RollbackOrder(
        round_id=require_uuid_text(request.round_id, "round_id"),
        account_id=require_account_id(request.account_id),
        actor=require_text(request.actor, "actor"),
        reason=require_text(request.reason, "reason", REASON_LENGTH_MAX),
        traceparent=telemetry.traceparent(),
    )


def parse_position(parts: Sequence[str]) -> tuple[datetime, str] | None:
    """(time, round_id) of a page token; None for the first page. Errors: PAGE_TOKEN_INVALID"""
    if not parts:
        return None
    try:
        time, round_id = parts
        # In UTC: Python knows offsets that PostgreSQL refuses.
        return datetime.fromisoformat(time).astimezone(UTC), str(uuid.UUID(round_id))
    except (ValueError, OverflowError):
        raise PageTokenInvalid() from None


def parse_transfer(request: TransferRequest, *, sign: int) -> TransferOrder:
    """A deposit (`sign` 1) or withdrawal (-1)."""
    operator_id = require_text(request.operator_id, "operator_id")
    request_id: uuid.UUID = require_uuid(request.request_id, "request_id")
    account_id = require_account_id(request.account_id)
    currency_code, amount_minor = require_money(request.amount, "amount")
    return TransferOrder(
        operator_id=operator_id,
        request_id=request_id,
        account_id=account_id,
        currency_code=currency_code,
        type=TransferType.DEPOSIT if sign > 0 else TransferType.WITHDRAWAL,
        amount_minor=sign * amount_minor,
        traceparent=telemetry.traceparent(),
    )


def parse_adjustment(request: wallet_pb2.AdjustRequest) -> TransferOrder:
    """An adjustment, up or down. Errors: FIELD_MISSING, FIELD_INVALID, CURRENCY_UNKNOWN, AMOUNT_TOO_LARGE"""
    currency_code, amount_minor = require_money(request.amount, "amount", zero=True, signed=True)
    if amount_minor == 0:
        raise FieldInvalid(field="amount", problem="zero")
    return TransferOrder(
        operator_id=require_text(request.operator_id, "operator_id"),
        request_id=require_uuid(request.request_id, "request_id"),
        account_id=require_account_id(request.account_id),
        currency_code=currency_code,
        type=TransferType.ADJUSTMENT,
        amount_minor=amount_minor,
        traceparent=telemetry.traceparent(),
        actor=require_text(request.actor, "actor"),
        reason=require_text(request.reason, "reason", REASON_LENGTH_MAX),
        round_id=require_uuid_text(request.round_id, "round_id") if request.round_id else "",
    )


def parse_freeze(request: FreezeRequest, *, frozen: bool) -> FreezeOrder:
    """A freeze or its end. Errors: FIELD_MISSING, FIELD_INVALID"""
    return FreezeOrder(
        operator_id=require_text(request.operator_id, "operator_id"),
        account_id=require_account_id(request.account_id),
        frozen=frozen,
        actor=require_text(request.actor, "actor"),
        reason=require_text(request.reason, "reason", REASON_LENGTH_MAX),
        traceparent=telemetry.traceparent(),
    )


def money(currency_code: str, amount_minor: int) -> money_pb2.Money:
    """An amount."""
    return money_pb2.Money(currency_code=currency_code, amount_minor=amount_minor)


def account(found: records.Account) -> wallet_pb2.Account:
    """An account."""
    return wallet_pb2.Account(
        account_id=found.account_id,
        operator_id=found.operator_id,
        player_id=found.player_id,
        kind=account_kind_pb2.AccountKind.ValueType(found.kind),
        balance=money(found.currency_code, found.balance_minor),
        account_version=found.version,
        frozen=found.frozen,
    )


def settlement(stored: records.Settlement) -> wallet_pb2.Settlement:
    """A verdict."""
    return wallet_pb2.Settlement(**settlement_fields(stored))


def settlement_fields(stored: records.Settlement) -> dict[str, Any]:
    """A verdict as the fields of its message."""
    code = stored.currency_code
    fields: dict[str, Any] = {
        "round_id": stored.round_id,
        # A tombstone nobody sent a stake for has no step: VOID is 0, unspecified.
        "step": stored.step.value,
        "status": stored.status.value,
        "account_id": stored.account_id,
        "stake": {"currency_code": code, "amount_minor": stored.stake_minor},
        "win": {"currency_code": code, "amount_minor": stored.win_minor},
        "balance_after": {"currency_code": code, "amount_minor": stored.balance_after_minor},
        "account_version": stored.account_version,
        "replayed": stored.replayed,
        "current_balance": {"currency_code": code, "amount_minor": stored.current_balance_minor},
    }
    if stored.refusal is not Refusal.NONE:
        fields["refusal"] = _REFUSALS[stored.refusal]
    return fields


def refusal(stored: Refusal) -> error_pb2.ErrorReason.ValueType:
    """Why a stake was refused; unspecified when it was not."""
    return _REFUSALS.get(stored, error_pb2.ERROR_REASON_UNSPECIFIED)


def transfer(stored: records.Transfer) -> wallet_pb2.Transfer:
    """A deposit, withdrawal or adjustment."""
    create_time = Timestamp()
    create_time.FromDatetime(stored.create_time)
    return wallet_pb2.Transfer(
        transfer_id=str(stored.transfer_id),
        request_id=str(stored.request_id),
        account_id=stored.account_id,
        amount=money(stored.currency_code, stored.amount_minor),
        balance_after=money(stored.currency_code, stored.balance_after_minor),
        account_version=stored.account_version,
        create_time=create_time,
        replayed=stored.replayed,
        actor=stored.actor,
        reason=stored.reason,
        round_id=stored.round_id or "",
    )


def review(stored: records.Review) -> wallet_pb2.Review:
    """A rollback that could not be made."""
    create_time = Timestamp()
    create_time.FromDatetime(stored.create_time)
    return wallet_pb2.Review(
        round_id=stored.round_id,
        account_id=stored.account_id,
        missing=money(stored.currency_code, stored.missing_minor),
        balance=money(stored.currency_code, stored.balance_minor),
        actor=stored.actor,
        reason=stored.reason,
        create_time=create_time,
        external=stored.external,
    )
