"""Protobuf <-> the session service's own rows: every check of a request's fields is here."""

import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import account_kind_pb2, money_pb2

from services.common.currencies import CURRENCIES
from services.common.errors import CurrencyUnknown, FieldInvalid, FieldMissing
from services.common.fields import (
    require_enum,
    require_money,
    require_text,
    require_uuid,
    require_uuid_text,
)
from services.common.times import timestamp_fields
from services.session.authorizations import SpinAuthorization
from services.session.errors import TokenInvalid
from services.session.policy import CHECK_MS_MIN, CYCLE_MIN_MS_MAX, SESSION_MS_MAX, Feature, GameMode
from services.session.sessions import JOINED_PREFIX, Launch, Launched, secret_hash
from services.session.spins_store import SpinAsk
from services.session.store import Session, StoredSpin

MODE_DEFAULT: Final = "base"
MODE_LENGTH_MAX: Final = 32
_DECIMAL: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}")


def parse_launch(request: session_pb2.CreateSessionRequest) -> Launch:
    """Errors: FIELD_MISSING, FIELD_INVALID, CURRENCY_UNKNOWN, AMOUNT_NOT_POSITIVE, AMOUNT_TOO_LARGE."""
    if not request.currency_code:
        raise FieldMissing(field="currency_code")
    if request.currency_code not in CURRENCIES:
        raise CurrencyUnknown(currency_code=request.currency_code[:16])
    language_code = request.language_code or "en"
    if not _LANGUAGE.fullmatch(language_code):
        raise FieldInvalid(field="language_code", problem="not a BCP 47 tag")
    return Launch(
        operator_id=require_text(request.operator_id, "operator_id"),
        request_id=require_uuid(request.request_id, "request_id"),
        player_id=require_text(request.player_id, "player_id"),
        game_id=require_text(request.game_id, "game_id"),
        currency_code=request.currency_code,
        kind=require_enum(request.kind, "kind", account_kind_pb2.AccountKind),
        language_code=language_code,
        jurisdiction=require_text(request.jurisdiction, "jurisdiction", 16) if request.jurisdiction else "",
        stake_max_minor=amount_minor(request, "stake_max", request.currency_code),
        cycle_min_ms=optional_ms(request, "cycle_min_duration", 0, CYCLE_MIN_MS_MAX) or 0,
        session_life_ms=optional_ms(request, "session_duration", 1000, SESSION_MS_MAX),
        loss_max_minor=amount_minor(request, "loss_limit", request.currency_code),
        check_interval_ms=optional_ms(request, "reality_check_interval", CHECK_MS_MIN, SESSION_MS_MAX),
        player_tier=require_text(request.player_tier, "player_tier", 32) if request.player_tier else "",
    )


def parse_modes(request: session_pb2.CreateSessionRequest) -> list[GameMode]:
    """The game's modes. Errors: FIELD_INVALID for what is no decimal."""
    modes = []
    for mode in request.modes:
        try:
            if not (_DECIMAL.fullmatch(mode.cost) and _DECIMAL.fullmatch(mode.rtp_target)):
                raise InvalidOperation
            cost, rtp_target = Decimal(mode.cost), Decimal(mode.rtp_target)
        except InvalidOperation:
            raise FieldInvalid(field="modes", problem="not a decimal") from None
        modes.append(GameMode(require_text(mode.mode, "modes.mode", MODE_LENGTH_MAX), cost, rtp_target))
    return modes


def amount_minor(message: Any, field: str, currency_code: str) -> int | None:
    """An amount that may be absent. Errors: as require_money; FIELD_INVALID in another currency."""
    if not message.HasField(field):
        return None
    given_code, minor = require_money(getattr(message, field), field)
    if given_code != currency_code:
        raise FieldInvalid(field=field, problem="not in the session's currency")
    return minor


def optional_ms(message: Any, field: str, ms_min: int, ms_max: int) -> int | None:
    """A duration that may be absent, ms. Errors: FIELD_INVALID."""
    if not message.HasField(field):
        return None
    return _duration_ms(getattr(message, field), field, ms_min, ms_max)


def _duration_ms(duration: Duration, field: str, ms_min: int, ms_max: int) -> int:
    """Whole milliseconds, a fraction rounded up: a limit never gets laxer."""
    ms = duration.seconds * 1000 - (-duration.nanos // 1_000_000)
    if not ms_min <= ms <= ms_max:
        raise FieldInvalid(field=field, problem=f"not within {ms_min} to {ms_max} ms")
    return ms


def parse_spin(request: session_pb2.AuthorizeRequest) -> SpinAsk:
    """Errors: TOKEN_INVALID, FIELD_MISSING, FIELD_INVALID, CURRENCY_UNKNOWN, AMOUNT_NOT_POSITIVE,
    AMOUNT_TOO_LARGE."""
    if not request.token:
        raise TokenInvalid()
    request_id = require_uuid_text(request.request_id, "request_id")
    currency_code, stake_minor = require_money(request.stake, "stake")
    mode = require_text(request.mode, "mode", MODE_LENGTH_MAX) if request.mode else MODE_DEFAULT
    features = (Feature.AUTOPLAY if request.autoplay else 0) | (Feature.TURBO if request.turbo else 0)
    return SpinAsk(
        secret_hash(request.token),
        request_id,
        currency_code,
        stake_minor,
        mode,
        int(features),
        request.token.startswith(JOINED_PREFIX),
    )


def write_session(session: Session) -> session_pb2.Session:
    """The message of a session."""
    message = session_pb2.Session(
        session_id=session.session_id,
        operator_id=session.operator_id,
        player_id=session.player_id,
        account_id=session.account_id,
        kind=account_kind_pb2.AccountKind.ValueType(session.kind),
        game_id=session.game_id,
        currency_code=session.currency_code,
        state=session_pb2.SessionState.ValueType(session.state),
        language_code=session.language_code,
        jurisdiction=session.jurisdiction,
        cycle_min_duration=duration(session.cycle_min_ms),
        policy_version=session.policy_version,
        policy_hash=session.policy_hash,
        counted=session.counted,
        keeps_open_rounds=session.keeps_open_rounds,
    )
    if session.stake_max_minor is not None:
        message.stake_max.CopyFrom(money(session.currency_code, session.stake_max_minor))
    message.create_time.FromDatetime(session.create_time)
    message.expire_time.FromDatetime(session.expire_time)
    if session.close_time is not None:
        message.close_time.FromDatetime(session.close_time)
    return message


def write_created(launched: Launched) -> session_pb2.CreateSessionResponse:
    """The message of an opened session and the way in."""
    expire_time = Timestamp()
    expire_time.FromDatetime(launched.code_expire_time)
    return session_pb2.CreateSessionResponse(
        session=write_session(launched.session),
        launch_code=launched.code,
        launch_code_expire_time=expire_time,
    )


def authorization_fields(spin: SpinAuthorization) -> dict[str, Any]:
    """An authorisation as the fields of its message."""
    return {
        "request_id": spin.request_id,
        "account_id": spin.account_id,
        "session_id": spin.session_id,
        "operator_id": spin.operator_id,
        "player_id": spin.player_id,
        "kind": spin.kind,
        "game_id": spin.game_id,
        "stake": {"currency_code": spin.currency_code, "amount_minor": spin.stake_minor},
        "mint": spin.mint,
        "authorize_time": timestamp_fields(spin.authorize_time),
        "mode": spin.mode,
        "counted": spin.counted,
    }


def write_spin(request_id: str, spin: StoredSpin, session: Session) -> session_pb2.SpinRecord:
    """The message of a stored authorisation."""
    record = session_pb2.SpinRecord(
        request_id=request_id,
        session=write_session(session),
        stake=money(session.currency_code, spin.stake_minor),
        mode=spin.mode,
    )
    record.authorize_time.FromDatetime(spin.authorize_time)
    return record


def duration(ms: int) -> Duration:
    """Of milliseconds."""
    return Duration(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)


def money(currency_code: str, amount_minor: int) -> money_pb2.Money:
    """An amount as its message."""
    return money_pb2.Money(currency_code=currency_code, amount_minor=amount_minor)
