"""Contract messages <-> the records of game. What a request must look like is checked only here."""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from reelmesh.events.v1 import events_pb2
from reelmesh.game.v1 import game_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import account_kind_pb2, error_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError, FieldInvalid, FieldMissing, PageTokenInvalid
from services.common.fields import require_enum, require_money, require_text, require_uuid_text
from services.common.times import datetime_of, timestamp_fields
from services.game import choices, rounds
from services.game.catalogue import Catalogue, Game
from services.game.engine.definition import BASE, GameDefinition, Symbol
from services.game.errors import SessionClosed, SessionExpired, SessionReplaced
from services.game.records import Authorization, DecidedBy, Kind, Round, Settlement, State, Step
from services.game.wallet import settlement_of

BATCH_SIZE_MAX = 200
MODE_LENGTH_MAX = 32

# The enum's look-up by value, without its call.
_KINDS: dict[int, Kind] = {kind.value: kind for kind in Kind}
_STATES = {state: game_pb2.RoundState.Value(f"ROUND_STATE_{state}") for state in State}
_DECIDED_BY = {who: game_pb2.DecidedBy.Value(f"DECIDED_BY_{who}") for who in DecidedBy}
_EVALUATIONS = {
    name: game_pb2.Evaluation.Value(f"EVALUATION_{name.upper()}")
    for name in ("lines", "ways", "clusters", "anywhere")
}
_SYMBOL_KINDS = {
    name: game_pb2.SymbolKind.Value(f"SYMBOL_KIND_{name.upper()}")
    for name in ("regular", "wild", "scatter", "bonus", "coin")
}
_SESSION_ENDS = {
    session_pb2.SESSION_STATE_CLOSED: SessionClosed,
    session_pb2.SESSION_STATE_EXPIRED: SessionExpired,
    session_pb2.SESSION_STATE_REPLACED: SessionReplaced,
}
# Of these the stake is known to be applied, so their events may tell the outcome (R2).
_TOLD = frozenset({State.OPEN, State.SETTLED, State.REVERSED})


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


def parse_authorization(request: game_pb2.PlayRequest, *, traceparent: str, gateway: str) -> Authorization:
    """What session allowed, and who brings it. Errors: FIELD_MISSING, FIELD_INVALID and the money reasons."""
    if not request.HasField("authorization"):
        raise FieldMissing(field="authorization")
    given = request.authorization
    if not given.HasField("authorize_time"):
        raise FieldMissing(field="authorization.authorize_time")
    currency_code, stake_minor = require_money(given.stake, "authorization.stake")
    return Authorization(
        request_id=require_uuid_text(given.request_id, "authorization.request_id"),
        account_id=require_account_id(given.account_id),
        session_id=require_uuid_text(given.session_id, "authorization.session_id"),
        operator_id=require_text(given.operator_id, "authorization.operator_id"),
        player_id=require_text(given.player_id, "authorization.player_id"),
        kind=_KINDS[require_enum(given.kind, "authorization.kind", account_kind_pb2.AccountKind)],
        game_id=require_text(given.game_id, "authorization.game_id"),
        currency_code=currency_code,
        stake_minor=stake_minor,
        mint=given.mint,
        authorize_time=datetime_of(given.authorize_time),
        traceparent=traceparent,
        gateway=gateway,
        mode=require_text(given.mode, "authorization.mode", MODE_LENGTH_MAX) if given.mode else BASE,
    )


def parse_settlement(
    request: game_pb2.FinishRequest, *, traceparent: str, outcome_wanted: bool = True
) -> Settlement:
    """What the wallet answered. Errors: FIELD_MISSING, FIELD_INVALID."""
    if not request.HasField("settlement"):
        raise FieldMissing(field="settlement")
    require_uuid_text(request.settlement.round_id, "settlement.round_id")
    require_enum(request.settlement.status, "settlement.status", wallet_pb2.SettlementStatus)
    if request.settlement.step not in wallet_pb2.SettleStep.DESCRIPTOR.values_by_number:
        raise FieldInvalid(field="settlement.step", problem="not a value of the enum")
    return settlement_of(request.settlement, traceparent=traceparent, outcome_wanted=outcome_wanted)


def parse_decided_by(value: game_pb2.DecidedBy.ValueType) -> DecidedBy:
    """Who decides; the time-out is game's own to call. Errors: FIELD_MISSING, FIELD_INVALID."""
    require_enum(value, "decided_by", game_pb2.DecidedBy)
    if value == game_pb2.DECIDED_BY_TIMEOUT:
        raise FieldInvalid(field="decided_by", problem="only game itself knows when time is out")
    return DecidedBy.CLOSE if value == game_pb2.DECIDED_BY_CLOSE else DecidedBy.PLAYER


def session_refusal(state: session_pb2.SessionState.ValueType, decided_by: DecidedBy) -> DomainError | None:
    """Why a session in this state may not decide a step. Close always may (R8)."""
    if decided_by is not DecidedBy.PLAYER or state == session_pb2.SESSION_STATE_OPEN:
        return None
    if state in _SESSION_ENDS:
        return _SESSION_ENDS[state]()
    return FieldMissing(field="session_state")


def parse_position(parts: Sequence[str]) -> tuple[str, str] | None:
    """(time, round_id) of a page token. Errors: PAGE_TOKEN_INVALID."""
    if not parts:
        return None
    try:
        time, round_id = parts
        # In UTC: Python knows offsets that PostgreSQL refuses.
        moment = dt.datetime.fromisoformat(time).astimezone(dt.UTC)
        return moment.isoformat(), str(uuid.UUID(round_id))
    except (ValueError, OverflowError):
        raise PageTokenInvalid() from None


def game(served: Game) -> game_pb2.Game:
    """A game as the catalogue lists it."""
    reels, rows, lines = served.size
    return game_pb2.Game(
        game_id=served.game_id,
        game_version=served.version,
        definition_hash=served.canonical_hash,
        display_name=served.name,
        reels=reels,
        rows=rows,
        lines=lines,
        rtp_target=f"{served.modes_by_name[BASE].rtp_target:f}",
        offers_choice=served.offers_choice,
        bet_ladders=[
            game_pb2.BetLadder(currency_code=code, stakes_minor=stakes)
            for code, stakes in sorted(served.stakes_minor.items())
        ],
        modes=[
            game_pb2.Mode(mode=mode.name, cost=f"{mode.cost:f}", rtp_target=f"{mode.rtp_target:f}")
            for mode in served.modes_by_name.values()
        ],
        display=None if served.declaration is None else display(served.declaration),
    )


def display(definition: GameDefinition) -> game_pb2.Display:
    """What a client draws the game with."""
    respins = definition.hold_and_win.respins if definition.hold_and_win else 0
    return game_pb2.Display(
        evaluation=_EVALUATIONS[definition.evaluation],
        symbols=[_symbol(definition, symbol) for symbol in definition.symbols],
        paylines=[game_pb2.Payline(rows=rows) for rows in definition.paylines],
        coins=definition.coins_per_bet,
        max_win_multiple=definition.max_win_multiple,
        respins=respins,
        cascades=definition.cascade is not None,
        awards_free_spins=definition.free_spins is not None,
    )


def _symbol(definition: GameDefinition, symbol: Symbol) -> game_pb2.Symbol:
    scatter = symbol.kind == "scatter"
    pays = definition.scatter_pays if scatter else definition.pays.get(symbol.name, {})
    return game_pb2.Symbol(
        symbol=symbol.name,
        kind=_SYMBOL_KINDS[symbol.kind],
        multiplier=symbol.multiplier,
        expands=symbol.expands,
        pays=[game_pb2.Pay(count=count, multiple=multiple) for count, multiple in sorted(pays.items())],
    )


def round_(catalogue: Catalogue, stored: Round) -> game_pb2.Round:
    """A round as its owner may see it."""
    return game_pb2.Round(**round_fields(catalogue, stored))


def round_fields(catalogue: Catalogue, stored: Round) -> dict[str, Any]:
    """The same as fields: outcome, win and choices are among them only when their time has come (R2)."""
    code = stored.currency_code
    fields: dict[str, Any] = {
        "round_id": stored.round_id,
        "request_id": stored.request_id,
        "operator_id": stored.operator_id,
        "player_id": stored.player_id,
        "session_id": stored.session_id,
        "account_id": stored.account_id,
        "kind": stored.kind.value,
        "game_id": stored.game_id,
        "game_version": stored.game_version,
        "state": _STATES[stored.state],
        "stake": money_fields(code, stored.stake_minor),
        "outcome_json": rounds.visible_outcome(stored),
        "trace_id": stored.traceparent[3:35],
        "authorize_time": timestamp_fields(stored.authorize_time),
        "mode": stored.mode,
    }
    if stored.create_time is not None:
        fields["create_time"] = timestamp_fields(stored.create_time)
    if stored.end_time is not None:
        fields["end_time"] = timestamp_fields(stored.end_time)
    if stored.balance_after_minor is not None:
        fields["balance_after"] = money_fields(code, stored.balance_after_minor)
    if stored.state is State.SETTLED and stored.paid_minor is not None:
        fields["win"] = money_fields(code, stored.paid_minor)
    if stored.state is State.OPEN:
        fields["at_risk"] = money_fields(code, stored.at_risk_minor)
        fields["step_next"] = stored.step_next
        fields["choices"] = choices.offered(catalogue, stored)
    if stored.steps:
        fields["steps"] = [_step_fields(code, step) for step in stored.steps]
    reason, metadata = rounds.reason_of(stored)
    if reason:
        fields["reason"] = error_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}")
        fields["reason_metadata"] = metadata
    return fields


def money_fields(currency_code: str, amount_minor: int) -> dict[str, Any]:
    """An amount as the fields of its message."""
    return {"currency_code": currency_code, "amount_minor": amount_minor}


def decided_by(who: DecidedBy) -> game_pb2.DecidedBy.ValueType:
    """Who decided a step."""
    return _DECIDED_BY[who]


def stray(round_id: str, *, operator_id: str, problem: str, state: State) -> game_pb2.Round:
    """A round in review that game does not know: only its names and its state."""
    message = game_pb2.Round(round_id=round_id, operator_id=operator_id, state=_STATES[state])
    if state is State.NEEDS_REVIEW:
        message.reason = error_pb2.ERROR_REASON_ROUND_IN_REVIEW
        message.reason_metadata.update({"round_id": round_id, "problem": problem})
    return message


def _step_fields(currency_code: str, step: Step) -> dict[str, Any]:
    return {
        "step": step.step,
        "choice": step.choice,
        "decided_by": _DECIDED_BY[DecidedBy(step.decided_by)],
        "card": choices.colour_of(step.card),
        "at_risk": money_fields(currency_code, step.at_risk_minor),
    }


def event(
    stored: Round, *, state: State, balance_after_minor: int | None, account_version: int, traceparent: str
) -> events_pb2.Event:
    """What an outbox row tells of a round: how it stood then, so that it is the same at every delivery."""
    facts: dict[str, object] = {
        "request_id": stored.request_id,
        "player_id": stored.player_id,
        "account_kind": stored.kind.name,
        "game_id": stored.game_id,
        "game_version": stored.game_version,
        "definition_hash": stored.definition_hash,
        "currency_code": stored.currency_code,
        "mode": stored.mode,
        "stake_minor": stored.stake_minor,
        "state": state,
    }
    if balance_after_minor is not None:
        facts["balance_after_minor"] = balance_after_minor
    if state in _TOLD and stored.stake_applied:
        facts["outcome"] = msgspec.Raw(stored.outcome or b"null")
        facts["win_minor"] = stored.paid_minor if state is State.SETTLED else stored.win_minor
    if state in (State.REFUSED, State.VOID):
        # The wallet's answer is stored with the end, so this, too, is the same at every delivery.
        wallet_reason = stored.refusal or "INSUFFICIENT_FUNDS" if state is State.REFUSED else "ROUND_VOID"
        facts["reason"] = stored.birth_reason or wallet_reason
    return events_pb2.Event(
        event_type=f"round.{state.lower()}",
        operator_id=stored.operator_id,
        account_id=stored.account_id,
        account_version=account_version,
        player_id=stored.player_id,
        session_id=stored.session_id,
        round_id=stored.round_id,
        payload_json=msgspec.json.encode(facts),
        traceparent=traceparent,
    )
