"""Play: a round is minted and drawn once per (account, request id), or found (R1); what may be said of it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import DomainError, Unavailable
from services.common.fields import uuid7
from services.game import store
from services.game.catalogue import Catalogue, Game
from services.game.engine import rng
from services.game.errors import GameNotFound
from services.game.records import Authorization, Round, State
from services.game.store import Draft

# A blocked round is tried again when its blocker ends meanwhile; more often than this is not bad luck.
ATTEMPTS_MAX = 4
# The engine holds the loop for some 25 us a draw.
DRAWS_PER_TURN = 50


class Played(NamedTuple):
    """A round as Play answers it; `draws` is its draw log when this call drew it."""

    round: Round
    draws: bytes | None = None


async def play_batch(
    engine: AsyncEngine, catalogue: Catalogue, items: Sequence[Authorization]
) -> list[Played | DomainError]:
    """Mints, draws and stores the rounds of authorisations, or finds them. One answer per item, in order.

    Known ids lose their fresh draw unseen. Errors, per item: GAME_NOT_FOUND, UNAVAILABLE.
    """
    if not catalogue.recorded:
        return [Unavailable() for _ in items]
    drafts: dict[int, Draft] = {}
    for place, item in enumerate(items):
        draft = draft_round(catalogue, item)
        if draft is not None:
            drafts[place] = draft
        if place % DRAWS_PER_TURN == DRAWS_PER_TURN - 1:
            await asyncio.sleep(0)
    # A row of open_round whose round turns out to be known is taken back before anybody sees it.
    opening = any(draft.round.offers_choice for draft in drafts.values())
    begin = db.hot_transaction if opening else db.hot_statements
    async with begin(engine, "game.play") as conn:
        return await _mint_or_find(conn, items, drafts)


async def _mint_or_find(
    conn: db.Connection, items: Sequence[Authorization], drafts: dict[int, Draft]
) -> list[Played | DomainError]:
    answers: dict[int, Played] = {}
    waiting = list(range(len(items)))
    for _ in range(ATTEMPTS_MAX):
        await _append(conn, {place: drafts[place] for place in waiting if place in drafts}, answers)
        waiting = [place for place in waiting if place not in answers]
        # A statement of its own has a fresh snapshot: it sees what committed while the insert waited for it.
        keys = [(items[place].account_id, items[place].request_id) for place in waiting]
        found = await store.find_rounds(conn, keys) if keys else []
        answers.update(
            (place, Played(known)) for place, known in zip(waiting, found, strict=True) if known is not None
        )
        waiting = [place for place in waiting if place not in answers and place in drafts]
        if not waiting:
            break
        await _refuse_blocked(conn, waiting, drafts)
    return [answers.get(place) or _unanswered(drafts, place, item) for place, item in enumerate(items)]


async def _append(conn: db.Connection, drafts: dict[int, Draft], answers: dict[int, Played]) -> None:
    if not drafts:
        return
    appended = await store.append_rounds(conn, list(drafts.values()))
    stale = []
    for (place, draft), stored in zip(drafts.items(), appended, strict=True):
        if stored.create_time is not None:
            end_time = None if draft.round.birth is State.PENDING else stored.create_time
            round_ = replace(draft.round, create_time=stored.create_time, end_time=end_time)
            answers[place] = Played(round_, draft.draws)
        elif stored.opened:
            stale.append(draft.round.round_id)
    if stale:
        # The id was known, so its round is not this one: nothing would ever remove the row (R8).
        await store.delete_open_rounds(conn, stale)


async def _refuse_blocked(conn: db.Connection, places: Sequence[int], drafts: dict[int, Draft]) -> None:
    """Turns drafts that found another unfinished round into refusals that name it; their draw goes unseen."""
    keys = [(drafts[place].round.account_id, drafts[place].round.game_id) for place in places]
    blocking = await store.list_blocking(conn, keys)
    for place, key in zip(places, keys, strict=True):
        if key in blocking:
            round_ = drafts[place].round
            metadata = {"round_id": blocking[key].round_id, "request_id": blocking[key].request_id}
            drafts[place] = _undrawn(round_, State.REFUSED, "ROUND_OPEN", metadata)


def _unanswered(drafts: dict[int, Draft], place: int, item: Authorization) -> DomainError:
    return Unavailable() if place in drafts else GameNotFound(game_id=item.game_id)


def draft_round(catalogue: Catalogue, item: Authorization) -> Draft | None:
    """The round of an authorisation, drawn if it may be played, ready to be stored. None: no such game.

    Nothing can fail after the draw (R1).
    """
    game = catalogue.games.get(item.game_id)
    round_ = _newborn(item, game)
    if not item.mint:
        return _undrawn(round_, State.VOID, "ROUND_VOID", {"round_id": round_.round_id})
    if game is None:
        return None
    if item.game_id in catalogue.withdrawn:
        return _undrawn(round_, State.REFUSED, "GAME_WITHDRAWN", {"game_id": item.game_id})
    if item.currency_code not in game.stakes_minor:
        metadata = {"game_id": item.game_id, "currency_code": item.currency_code}
        return _undrawn(round_, State.REFUSED, "CURRENCY_NOT_OFFERED", metadata)
    if item.mode not in game.modes_by_name:
        metadata = {"game_id": item.game_id, "mode": item.mode}
        return _undrawn(round_, State.REFUSED, "MODE_UNKNOWN", metadata)
    bet_minor = game.bet_minor(mode=item.mode, currency_code=item.currency_code, stake_minor=item.stake_minor)
    if bet_minor is None:
        metadata = {"game_id": item.game_id, "amount_minor": str(item.stake_minor)}
        return _undrawn(round_, State.REFUSED, "STAKE_NOT_ON_LADDER", metadata)
    draws = rng.Draws()
    drawn = game.draw(bet_minor=bet_minor, mode=item.mode, draws=draws)
    played = replace(round_, win_minor=drawn.win_minor, outcome=drawn.outcome_json)
    return Draft(played, rng.encode_draws(draws.log))


def _newborn(item: Authorization, game: Game | None) -> Round:
    return Round(
        round_id=str(uuid7()),
        account_id=item.account_id,
        request_id=item.request_id,
        operator_id=item.operator_id,
        player_id=item.player_id,
        session_id=item.session_id,
        kind=item.kind,
        game_id=item.game_id,
        game_version=game.version if game else 0,
        definition_hash=game.canonical_hash if game else "",
        currency_code=item.currency_code,
        stake_minor=item.stake_minor,
        win_minor=0,
        outcome=None,
        offers_choice=game.offers_choice if game else False,
        birth=State.PENDING,
        birth_reason="",
        birth_metadata=None,
        authorize_time=item.authorize_time,
        traceparent=item.traceparent,
        gateway=item.gateway,
        mode=item.mode,
        state=State.PENDING,
        steps=(),
    )


def _undrawn(round_: Round, birth: State, reason: str, metadata: Mapping[str, str]) -> Draft:
    ended = replace(
        round_,
        birth=birth,
        state=birth,
        birth_reason=reason,
        birth_metadata=metadata,
        win_minor=0,
        outcome=None,
    )
    return Draft(ended, None)


def visible_outcome(round_: Round) -> bytes:
    """The outcome as JSON once the stake is known to be applied; empty before, and if it never is (R2)."""
    return (round_.outcome or b"") if round_.stake_applied else b""


def whole(catalogue: Catalogue, round_: Round) -> Round:
    """The round with all of its outcome, where it is served by what drew it. For one round at a time: an
    outcome may fill most of a message."""
    game = catalogue.games.get(round_.game_id)
    if round_.outcome is None or game is None or game.canonical_hash != round_.definition_hash:
        return round_
    return replace(round_, outcome=game.whole_outcome(round_.outcome))


def reason_of(round_: Round) -> tuple[str, Mapping[str, str]]:
    """Why a round is REFUSED, VOID or NEEDS_REVIEW, with the keys that the reason documents; else ""."""
    match round_.state:
        case State.REFUSED | State.VOID if round_.birth is not State.PENDING:
            return round_.birth_reason, round_.birth_metadata or {}
        case State.REFUSED if round_.refusal == "ACCOUNT_FROZEN":
            return round_.refusal, {}
        case State.REFUSED:
            balance = str(round_.balance_after_minor)
            return "INSUFFICIENT_FUNDS", {"balance_minor": balance, "currency_code": round_.currency_code}
        case State.VOID:
            return "ROUND_VOID", {"round_id": round_.round_id}
        case State.NEEDS_REVIEW:
            return "ROUND_IN_REVIEW", {"round_id": round_.round_id, "problem": round_.review_problem}
        case _:
            return "", {}
