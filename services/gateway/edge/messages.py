"""JSON bodies <-> the gateway's messages, by hand: json_format costs ten times as much (docs/traps.md, 12).

Field names are those of gateway.proto, in snake_case. An amount is {"currency_code", "amount_minor"}, a time
RFC 3339, a duration seconds with an "s" ("2.5s"), an enum its name without prefix, the outcome a JSON object.
An absent field has its zero value, as over gRPC, and is refused by the same check.
"""

import datetime
import re
from typing import Any, TypeVar

import msgspec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import account_kind_pb2, money_pb2

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


class Transfer(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a deposit or withdrawal."""

    request_id: str = ""
    amount: Amount = Amount()
    kind: str = "REAL"


class NewSession(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a session's creation."""

    request_id: str = ""
    player_id: str = ""
    game_id: str = ""
    currency_code: str = ""
    kind: str = "REAL"
    language_code: str = ""
    jurisdiction: str = ""
    stake_max: Amount | None = None
    cycle_min_duration: str | None = None
    session_duration: str | None = None


class Code(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a launch code's exchange."""

    launch_code: str = ""


class Spin(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a spin."""

    request_id: str = ""
    stake: Amount = Amount()


class Choice(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a choice."""

    step: int = 0
    choice: str = ""


B = TypeVar("B", bound=msgspec.Struct)
_decoders: dict[type[msgspec.Struct], msgspec.json.Decoder[Any]] = {
    body_type: msgspec.json.Decoder(body_type) for body_type in (Transfer, NewSession, Code, Spin, Choice)
}


def decode(body: bytes, body_type: type[B]) -> B:
    """The body as its type.

    Errors: INVALID_ARGUMENT/BODY_MALFORMED
    """
    try:
        decoded: B = _decoders[body_type].decode(body)
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


def kind(name: str) -> account_kind_pb2.AccountKind.ValueType:
    """REAL or DEMO.

    Errors: INVALID_ARGUMENT/FIELD_INVALID
    """
    if name not in ("REAL", "DEMO"):
        raise FieldInvalid(field="kind", problem="must be REAL or DEMO")
    return account_kind_pb2.AccountKind.Value(f"ACCOUNT_KIND_{name}")


def duration(text: str, field: str) -> Duration:
    """A Duration of its JSON form, "2.5s".

    Errors: INVALID_ARGUMENT/FIELD_INVALID
    """
    message = Duration()
    try:
        # protobuf's own parser takes blanks, underscores, any script's digits, and drops what it cannot hold.
        if not _DURATION.fullmatch(text):
            raise ValueError
        message.FromJsonString(text)
    except ValueError:
        raise FieldInvalid(field=field, problem='must be seconds, such as "2.5s"') from None
    return message


def new_session(body: NewSession) -> gateway_pb2.CreateSessionRequest:
    """The body as its message."""
    request = gateway_pb2.CreateSessionRequest(
        request_id=body.request_id,
        player_id=body.player_id,
        game_id=body.game_id,
        currency_code=body.currency_code,
        kind=kind(body.kind),
        language_code=body.language_code,
        jurisdiction=body.jurisdiction,
    )
    if body.stake_max is not None:
        request.stake_max.CopyFrom(money(body.stake_max, "stake_max"))
    for field in ("cycle_min_duration", "session_duration"):
        text = getattr(body, field)
        if text is not None:
            getattr(request, field).CopyFrom(duration(text, field))
    return request


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


def transfer_json(
    response: gateway_pb2.FundPlayerResponse | gateway_pb2.WithdrawPlayerResponse,
) -> dict[str, Any]:
    """A deposit's or a withdrawal's result."""
    return {
        "transfer_id": response.transfer_id,
        "balance_after": amount_json(response.balance_after),
        "current_balance": amount_json(response.current_balance),
    }


def created_json(response: gateway_pb2.CreateSessionResponse) -> dict[str, Any]:
    """A created session."""
    return {
        "session_id": response.session_id,
        "launch_code": response.launch_code or None,
        "launch_url": response.launch_url or None,
        "expire_time": time_json(response.expire_time),
    }


def exchanged_json(response: gateway_pb2.ExchangeCodeResponse) -> dict[str, Any]:
    """A token with the first screen's facts."""
    return {
        "token": response.token,
        "session_id": response.session_id,
        "game": game_json(response.game) if response.HasField("game") else None,
        "balance": amount_json(response.balance) if response.HasField("balance") else None,
        "expire_time": time_json(response.expire_time),
        "round": round_json(response.round) if response.HasField("round") else None,
    }


def closed_json(response: gateway_pb2.CloseSessionResponse) -> dict[str, Any]:
    """A closed session."""
    return {
        "session_id": response.session_id,
        "state": session_pb2.SessionState.Name(response.state).removeprefix("SESSION_STATE_"),
        "close_time": time_json(response.close_time),
        "collected_rounds": [round_json(played) for played in response.collected_rounds],
    }


def game_json(game: game_pb2.Game) -> dict[str, Any]:
    """A game of the catalogue."""
    return {
        "game_id": game.game_id,
        "game_version": game.game_version,
        "definition_hash": game.definition_hash,
        "display_name": game.display_name,
        "reels": game.reels,
        "rows": game.rows,
        "lines": game.lines,
        "rtp_target": game.rtp_target,
        "offers_choice": game.offers_choice,
        "bet_ladders": [
            {"currency_code": ladder.currency_code, "stakes_minor": list(ladder.stakes_minor)}
            for ladder in game.bet_ladders
        ],
    }
