"""Protobuf <-> limits of the account, and what is to be shown of a session."""

from datetime import datetime
from typing import Any, Final

from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import account_kind_pb2

from services.common.currencies import CURRENCIES
from services.common.errors import CurrencyUnknown, FieldInvalid, FieldMissing
from services.common.fields import require_enum, require_text, require_uuid, require_uuid_text
from services.common.times import timestamp
from services.session.counts_store import Return
from services.session.limits import LimitChange, Status, in_force, status_of
from services.session.limits_store import Play, PlayerLimits
from services.session.messages import amount_minor, duration, money, optional_ms
from services.session.policy import CHECK_MS_MIN, SESSION_MS_MAX, Duty, Feature, NamedPolicy
from services.session.store import Session

AMOUNT_MINOR_MAX: Final = 2**53
RETURNS_MAX: Final = 200
COOL_OFF_MS_MAX: Final = 365 * 24 * 3_600_000
_DUTIES: Final[dict[Duty, session_pb2.DisplayDuty.ValueType]] = {
    "net_position": session_pb2.DISPLAY_DUTY_NET_POSITION,
    "elapsed_time": session_pb2.DISPLAY_DUTY_ELAPSED_TIME,
    "clock": session_pb2.DISPLAY_DUTY_CLOCK,
    "rtp": session_pb2.DISPLAY_DUTY_RTP,
    "no_celebration_up_to_stake": session_pb2.DISPLAY_DUTY_NO_CELEBRATION_UP_TO_STAKE,
    "stakes_and_wins": session_pb2.DISPLAY_DUTY_STAKES_AND_WINS,
    "autoplay_alert": session_pb2.DISPLAY_DUTY_AUTOPLAY_ALERT,
}
_AMOUNTS: Final = (
    ("stake_max", "stake_max_minor"),
    ("loss_day_max", "loss_day_max_minor"),
    ("loss_week_max", "loss_week_max_minor"),
    ("loss_month_max", "loss_month_max_minor"),
)
_TIMES: Final = (("session_max_duration", "session_max_ms"), ("reality_check_interval", "check_interval_ms"))


def require_player(request: Any) -> None:
    """Checks who is named. Errors: FIELD_MISSING, FIELD_INVALID, CURRENCY_UNKNOWN."""
    require_text(request.operator_id, "operator_id")
    require_text(request.player_id, "player_id")
    if not request.currency_code:
        raise FieldMissing(field="currency_code")
    if request.currency_code not in CURRENCIES:
        raise CurrencyUnknown(currency_code=request.currency_code[:16])
    require_enum(request.kind, "kind", account_kind_pb2.AccountKind)


def parse_limits(request: session_pb2.SetPlayerLimitsRequest) -> LimitChange:
    """Errors: FIELD_MISSING, FIELD_INVALID, CURRENCY_UNKNOWN, AMOUNT_NOT_POSITIVE, AMOUNT_TOO_LARGE."""
    require_player(request)
    values: dict[str, int | None] = {
        column: amount_minor(request.limits, field, request.currency_code) for field, column in _AMOUNTS
    }
    for field, column in _TIMES:
        values[column] = optional_ms(request.limits, field, CHECK_MS_MIN, SESSION_MS_MAX)
    return LimitChange(
        operator_id=request.operator_id,
        request_id=require_uuid(request.request_id, "request_id"),
        limits=PlayerLimits(**values),
        cool_off_ms=optional_ms(request, "cool_off_duration", CHECK_MS_MIN, COOL_OFF_MS_MAX) or 0,
    )


def parse_returns(request: session_pb2.BatchCountReturnsRequest) -> list[Return]:
    """Errors: FIELD_MISSING, FIELD_INVALID."""
    if len(request.returns) > RETURNS_MAX:
        raise FieldInvalid(field="returns", problem=f"more than {RETURNS_MAX}")
    returns = []
    for one in request.returns:
        if one.account_id <= 0:
            raise FieldMissing(field="returns.account_id")
        if not 0 <= one.returned_minor <= AMOUNT_MINOR_MAX:
            raise FieldInvalid(field="returns.returned_minor", problem="not within 0 to 2^53")
        request_id = require_uuid_text(one.request_id, "returns.request_id")
        round_id = require_uuid_text(one.round_id, "returns.round_id")
        returns.append(Return(one.account_id, request_id, round_id, one.returned_minor, one.reversed))
    return returns


def write_limits(limits: PlayerLimits, currency_code: str) -> session_pb2.PlayerLimits:
    """The message of a set of limits."""
    message = session_pb2.PlayerLimits()
    for field, column in _AMOUNTS:
        minor = getattr(limits, column)
        if minor is not None:
            getattr(message, field).CopyFrom(money(currency_code, minor))
    for field, column in _TIMES:
        ms = getattr(limits, column)
        if ms is not None:
            getattr(message, field).CopyFrom(duration(ms))
    return message


def limits_fields(play: Play | None, currency_code: str) -> dict[str, Any]:
    """What is in force and what will be, as the fields of its message."""
    fields: dict[str, Any] = {"limits": write_limits(PlayerLimits(), currency_code)}
    if play is None:
        return fields
    fields["limits"] = write_limits(in_force(play), currency_code)
    if play.next_time is not None and play.next_time > play.now:
        fields["next_limits"] = write_limits(play.next_limits, currency_code)
        fields["next_time"] = timestamp(play.next_time)
    if play.lock_end_time is not None and play.lock_end_time > play.now:
        fields["lock_end_time"] = timestamp(play.lock_end_time)
    return fields


def write_play(
    session: Session, play: Play | None, policy: NamedPolicy | None, *, now: datetime
) -> session_pb2.PlayStatus:
    """What is to be shown and kept to. `policy`: the one that the session pins; `now`: the database's."""
    status: Status = status_of(session, play, now)
    message = session_pb2.PlayStatus(
        jurisdiction=session.jurisdiction,
        policy_version=session.policy_version,
        policy_hash=session.policy_hash,
        display_duties=[_DUTIES[duty] for duty in policy.policy.display] if policy is not None else [],
        current_time=timestamp(now),
        elapsed_duration=duration(int(status.elapsed.total_seconds() * 1000)),
        autoplay_allowed=not session.features_forbidden & Feature.AUTOPLAY,
        turbo_allowed=not session.features_forbidden & Feature.TURBO,
        modes_allowed=session.modes_allowed or (),
    )
    if session.counted:
        message.staked.CopyFrom(money(session.currency_code, session.staked_minor))
        message.returned.CopyFrom(money(session.currency_code, session.returned_minor))
        net_minor = session.returned_minor - session.staked_minor
        message.net_position.CopyFrom(money(session.currency_code, net_minor))
    if status.loss_room_minor is not None:
        message.loss_room.CopyFrom(money(session.currency_code, status.loss_room_minor))
    if status.check_interval_ms is not None:
        message.reality_check_interval.CopyFrom(duration(status.check_interval_ms))
        message.reality_check_in_duration.CopyFrom(duration(status.check_in_ms or 0))
    if status.lock_end_time is not None:
        message.lock_end_time.CopyFrom(timestamp(status.lock_end_time))
    if session.idle_end_time is not None:
        message.idle_end_time.CopyFrom(timestamp(session.idle_end_time))
    return message
