"""JSON <-> spins and choices, by hand: json_format costs ten times as much (docs/traps.md, 12).

How the contract is written in JSON says mapping.py, which does all else.
"""

import datetime
import re
from typing import Any, TypeVar

import msgspec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.type.v1 import money_pb2

from services.common.errors import AmountNotPositive, AmountTooLarge, BodyMalformed, FieldInvalid
from services.common.fields import AMOUNT_MINOR_MAX
from services.gateway.rounds import Played, reason_name

INT64_MAX = 2**63 - 1
_DURATION = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?s")

# By number: the name without its prefix.
_STATES = {number: name.removeprefix("ROUND_STATE_") for name, number in game_pb2.RoundState.items()}


class Amount(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Money in minor units."""

    currency_code: str = ""
    amount_minor: int = 0


class Spin(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a spin."""

    request_id: str = ""
    stake: Amount = Amount()
    mode: str = ""
    autoplay: bool = False
    turbo: bool = False


class Choice(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a choice."""

    step: int = 0
    choice: str = ""


class ChoiceOfRound(Choice, forbid_unknown_fields=True):
    """A choice that names its round itself."""

    round_id: str = ""


B = TypeVar("B", bound=msgspec.Struct)
P = TypeVar("P", Duration, Timestamp)
_decoders: dict[type[msgspec.Struct], msgspec.json.Decoder[Any]] = {
    body_type: msgspec.json.Decoder(body_type) for body_type in (Spin, Choice, ChoiceOfRound)
}


def decode(body: bytes, body_type: type[B]) -> B:
    """The body as its type.

    Errors: INVALID_ARGUMENT/BODY_MALFORMED
    """
    decoded: B = _decoded(_decoders[body_type], body)
    return decoded


def decode_as(body: bytes, body_type: type[B]) -> B:
    """The same of any type, which costs a little more.

    Errors: INVALID_ARGUMENT/BODY_MALFORMED
    """
    decoded: B = _decoded(msgspec.json.Decoder(body_type), body)
    return decoded


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        decoded = decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyMalformed(problem=str(error)[:200]) from None
    return decoded


def money(amount: Amount, field: str) -> money_pb2.Money:
    """An amount as its message, which has 64 bits; what is smaller is judged by the service.

    Errors: INVALID_ARGUMENT/AMOUNT_TOO_LARGE, AMOUNT_NOT_POSITIVE
    """
    if amount.amount_minor > INT64_MAX:
        raise AmountTooLarge(field=field, amount_minor_max=AMOUNT_MINOR_MAX)
    if amount.amount_minor < -INT64_MAX:
        raise AmountNotPositive(field=field, amount_minor=amount.amount_minor)
    return money_pb2.Money(currency_code=amount.currency_code, amount_minor=amount.amount_minor)


def duration(text: str, field: str) -> Duration:
    """A Duration of its JSON form, "2.5s".

    Errors: INVALID_ARGUMENT/FIELD_INVALID
    """
    return parse(Duration(), _DURATION, text, field=field, problem='must be seconds, such as "2.5s"')


def parse(message: P, form: re.Pattern[str], text: str, *, field: str, problem: str) -> P:
    """The message, of its JSON form: protobuf's own parser takes more, and drops what it cannot hold.

    Errors: INVALID_ARGUMENT/FIELD_INVALID
    """
    try:
        if not form.fullmatch(text):
            raise ValueError
        message.FromJsonString(text)
    except ValueError:
        raise FieldInvalid(field=field, problem=problem) from None
    return message


def amount_json(message: money_pb2.Money) -> dict[str, Any]:
    """{"currency_code", "amount_minor"}."""
    return {"currency_code": message.currency_code, "amount_minor": message.amount_minor}


def time_json(message: Timestamp) -> datetime.datetime:
    """In UTC, microseconds: the encoder writes RFC 3339."""
    moment = datetime.datetime.fromtimestamp(message.seconds, datetime.UTC)
    return moment.replace(microsecond=message.nanos // 1000)


def round_json(played: gateway_pb2.PlayedRound | game_pb2.Round) -> dict[str, Any]:
    """A round as players see it, also straight from game's own; what is absent in the message is null."""
    reason = played.reason
    return {
        "round_id": played.round_id,
        "request_id": played.request_id,
        "game_id": played.game_id,
        "game_version": played.game_version,
        "mode": played.mode,
        "state": _STATES[played.state],
        "stake": amount_json(played.stake),
        "win": amount_json(played.win) if played.HasField("win") else None,
        "outcome": msgspec.Raw(played.outcome_json) if played.outcome_json else None,
        "at_risk": amount_json(played.at_risk) if played.HasField("at_risk") else None,
        "step_next": played.step_next or None,
        "choices": list(played.choices),
        "steps": [_step_json(step) for step in played.steps],
        "balance_after": amount_json(played.balance_after) if played.HasField("balance_after") else None,
        "create_time": time_json(played.create_time),
        "trace_id": played.trace_id,
        "reason": (reason if isinstance(reason, str) else reason_name(reason)) or None,
    }


def _step_json(step: game_pb2.Step) -> dict[str, Any]:
    return {
        "step": step.step,
        "choice": step.choice,
        "decided_by": game_pb2.DecidedBy.Name(step.decided_by).removeprefix("DECIDED_BY_"),
        "card": step.card or None,
        "at_risk": amount_json(step.at_risk),
    }


def played_json(played: Played) -> dict[str, Any]:
    """A spin's or a choice's result."""
    return {"round": round_json(played.round), "current_balance": amount_json(played.current_balance)}
