"""Act: one step of a round with a choice, decided once by whoever inserts first (R8)."""

from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import db
from services.common.errors import DomainError, Unavailable
from services.game import store
from services.game.catalogue import Catalogue
from services.game.engine import play, rng
from services.game.engine.definition import GameDefinition
from services.game.errors import ChoiceUnknown, RoundNotFound, RoundNotOpen, StepOutOfOrder
from services.game.records import DecidedBy, Round, State, Step

COLLECT = "COLLECT"


class Drawn(NamedTuple):
    """A decided step, ready to be stored."""

    step: Step
    state_after: State
    draws: bytes | None


def offered(catalogue: Catalogue, round_: Round) -> tuple[str, ...]:
    """What may be chosen now; empty unless the round is OPEN.

    By the definition that drew it, whatever version is served; where that is not known, only to collect.
    """
    if round_.state is not State.OPEN:
        return ()
    game = _game_of(catalogue, round_)
    if game is None or game.gamble is None:
        return (COLLECT,)
    if not gamble_offered(game, round_, round_.at_risk_minor, round_.step_next):
        return (COLLECT,)
    return (COLLECT, *game.gamble.choices)


async def act(
    engine: AsyncEngine,
    catalogue: Catalogue,
    *,
    round_: Round,
    step: int,
    choice: str,
    decided_by: DecidedBy,
    refusal: DomainError | None,
    traceparent: str,
) -> Round:
    """Decides a step, or finds it decided; the round as it stands then.

    `round_` as it was read for this; `refusal`: why this caller may not decide, which a decided step ignores.
    Errors: ROUND_NOT_OPEN, STEP_OUT_OF_ORDER, CHOICE_UNKNOWN, UNAVAILABLE (not known yet), `refusal`.
    """
    if step < round_.step_next:
        return round_
    if round_.state is State.PENDING:
        # It may open yet, when its spin is answered.
        raise Unavailable()
    if round_.state is not State.OPEN:
        raise RoundNotOpen(round_id=round_.round_id, state=round_.state)
    if step > round_.step_next:
        raise StepOutOfOrder(step=step, step_expected=round_.step_next)
    if choice not in offered(catalogue, round_) or (decided_by is not DecidedBy.PLAYER and choice != COLLECT):
        raise ChoiceUnknown(choice=choice)
    if refusal is not None:
        raise refusal
    async with db.transaction(engine, "game.act") as conn:
        drawn = draw_step(catalogue, round_, choice=choice, decided_by=decided_by)
        return await append_step(conn, round_, drawn, traceparent=traceparent)


async def append_step(conn: AsyncConnection, round_: Round, drawn: Drawn, *, traceparent: str) -> Round:
    """Stores a decided step unless one is there: its draw then counts, and ours is dropped unseen."""
    await store.append_step(
        conn,
        round_id=round_.round_id,
        step=drawn.step,
        state_after=drawn.state_after,
        draws=drawn.draws,
        traceparent=traceparent,
    )
    decided = await store.find_round(conn, round_.round_id)
    if decided is None:
        raise RoundNotFound()
    return decided


def draw_step(catalogue: Catalogue, round_: Round, *, choice: str, decided_by: DecidedBy) -> Drawn:
    """What an offered choice leads to; a gamble draws its card here, in the transaction that stores it."""
    number, at_risk_minor = round_.step_next, round_.at_risk_minor
    if choice == COLLECT:
        return Drawn(Step(number, COLLECT, decided_by, "", at_risk_minor), State.SETTLING, None)
    game = _game_of(catalogue, round_)
    assert game is not None, "a gamble is offered only where the definition is known"
    draws = rng.Draws()
    drawn = play.gamble_step(game, choice=choice, at_risk_minor=at_risk_minor, draws=draws)
    again = gamble_offered(game, round_, drawn.at_risk_minor, number + 1)
    return Drawn(
        Step(number, choice, decided_by, drawn.card, drawn.at_risk_minor),
        State.OPEN if again else State.SETTLING,
        rng.encode_draws(draws.log),
    )


def _game_of(catalogue: Catalogue, round_: Round) -> GameDefinition | None:
    return catalogue.definitions.get(round_.definition_hash)


def gamble_offered(game: GameDefinition, round_: Round, at_risk_minor: int, step: int) -> bool:
    """Whether a step (from 1) may gamble what is at risk then, by the definition that drew the round."""
    bet_minor = game.bet_minor(
        mode=round_.mode, currency_code=round_.currency_code, stake_minor=round_.stake_minor
    )
    assert bet_minor is not None, "the definition that drew the round offered its stake"
    # The engine counts gamble steps from 0, rounds count theirs from 1.
    return play.gamble_offered(game, at_risk_minor=at_risk_minor, bet_minor=bet_minor, step=step - 1)


def colour_of(card: str) -> str:
    """RED or BLACK of a card as the engine names it ("10H"); empty for none."""
    return ("RED" if card[-1] in "HD" else "BLACK") if card else ""
