"""A stored round derived again from its draw log and its definition, and compared step by step. Asks nobody.

Nothing here tells what a round holds whose stake is not known to be applied (R2): of one that is over without
its stake, only whether everything agrees.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from services.game import choices, definitions
from services.game.catalogue import Declared, Drawn, Game
from services.game.engine import play, rng
from services.game.engine.definition import GameDefinition
from services.game.records import Round, State
from services.game.replay.store import StoredDefinition, StoredStep

HIDDEN = frozenset({State.PENDING, State.NEEDS_REVIEW})
"""States in which the stake may not be known yet."""
DIFFERENCES_SHOWN = 5


class Stored(NamedTuple):
    """All that is stored of a round."""

    round: Round
    draws: bytes | None
    steps: Sequence[StoredStep]
    definition: StoredDefinition | None


class Check(NamedTuple):
    """One comparison. `stored` and `derived` are for people; empty where the outcome is not to be seen."""

    name: str
    same: bool
    stored: str = ""
    derived: str = ""


def is_hidden(round_: Round) -> bool:
    """Whether a replay of the round would tell what nobody may know yet."""
    return round_.state in HIDDEN and not round_.stake_applied


def replay(stored: Stored, served: Callable[[], Iterable[Game]]) -> list[Check]:
    """Every comparison, in the order in which things happened.

    `served`: the games of this installation, looked at when a version was not made of a definition.
    """
    checks = list(_compare(stored, served))
    if stored.round.stake_applied or stored.round.birth is not State.PENDING:
        return checks
    return [Check(check.name, check.same) for check in checks]


def _compare(stored: Stored, served: Callable[[], Iterable[Game]]) -> Iterator[Check]:
    round_ = stored.round
    if round_.birth is not State.PENDING:
        yield _check("nothing drawn", (stored.draws, round_.outcome, round_.win_minor), (None, None, 0))
        return
    definition_hash = _hash_of(stored.definition)
    yield _check("definition", round_.definition_hash, definition_hash or "not stored")
    game, definition = _game_of(stored, served)
    if game is None:
        yield Check("game", False, round_.definition_hash, "no definition of this hash")
        return
    yield _check(
        "game",
        _game_text(round_.game_id, round_.game_version, round_.offers_choice),
        _game_text(game.game_id, game.version, game.offers_choice),
    )
    checks, drawn = _draw(stored, game)
    yield from checks
    if drawn is None:
        return
    yield _outcome_check(round_.outcome or b"", drawn.outcome_json)
    yield _check("win", round_.win_minor, drawn.win_minor)
    yield from _steps(stored, definition, win_minor=drawn.win_minor)


def _hash_of(definition: StoredDefinition | None) -> str | None:
    """Of the text that is stored: the hash beside it may have been changed with it."""
    if definition is None:
        return None
    return hashlib.sha256(definition.canonical_json.encode()).hexdigest()


def _game_of(
    stored: Stored, served: Callable[[], Iterable[Game]]
) -> tuple[Game | None, GameDefinition | None]:
    wanted = stored.round.definition_hash
    if stored.definition is not None:
        definition = definitions.thaw(stored.definition.canonical_json, definition_hash=wanted)
        if definition is not None:
            return Declared(definition), definition
    for game in served():
        if game.canonical_hash == wanted:
            return game, definitions.thaw(game.canonical_json.decode(), definition_hash=wanted)
    return None, None


def _draw(stored: Stored, game: Game) -> tuple[list[Check], Drawn | None]:
    """The spin drawn again; None when it cannot be, and the last check says why."""
    round_ = stored.round
    bet_minor = None
    if round_.mode in game.modes_by_name:
        bet_minor = game.bet_minor(
            mode=round_.mode, currency_code=round_.currency_code, stake_minor=round_.stake_minor
        )
    stake = f"{round_.stake_minor} {round_.currency_code} in mode {round_.mode}"
    if bet_minor is None:
        return [Check("stake", False, stake, "not offered")], None
    staked = _check("stake", stake, stake)
    try:
        draws = rng.ReplayedDraws(rng.decode_draws(stored.draws or b""))
        drawn = game.draw(bet_minor=bet_minor, mode=round_.mode, draws=draws)
    except (rng.ReplayMismatch, msgspec.DecodeError) as error:
        return [staked, Check("draws", False, "the draw log", str(error))], None
    logged = f"{len(draws.log)} draws"
    if not draws.exhausted:
        return [staked, Check("draws", False, logged, "fewer were needed")], None
    return [staked, _check("draws", logged, logged)], drawn


def _steps(stored: Stored, game: GameDefinition | None, *, win_minor: int) -> Iterator[Check]:
    """The choice from its opening on, and what was paid in the end."""
    round_, at_risk_minor = stored.round, win_minor
    for place, step in enumerate(stored.steps):
        derived: StoredStep | str = step._replace(
            step=0, choice="", card="", at_risk_minor=win_minor, state_after=State.OPEN.value
        )
        if place > 0:
            derived = _step(round_, game, step, number=place, at_risk_minor=at_risk_minor)
        if isinstance(derived, str):
            yield Check(f"step {place}", False, _step_text(step), derived)
            return
        yield Check(f"step {place}", step == derived, _step_text(step), _step_text(derived))
        at_risk_minor = derived.at_risk_minor
    if round_.state is State.SETTLED:
        yield _check("paid", round_.paid_minor, at_risk_minor)


def _step(
    round_: Round, game: GameDefinition | None, step: StoredStep, *, number: int, at_risk_minor: int
) -> StoredStep | str:
    """A step as its choice and draws make it; or why they cannot."""
    if step.choice == choices.COLLECT:
        return StoredStep(number, step.choice, "", at_risk_minor, State.SETTLING.value, None)
    if game is None or not choices.gamble_offered(game, round_, at_risk_minor, number):
        return "was not offered"
    try:
        draws = rng.ReplayedDraws(rng.decode_draws(step.draws or b""))
        drawn = play.gamble_step(game, choice=step.choice, at_risk_minor=at_risk_minor, draws=draws)
    except (ValueError, msgspec.DecodeError) as error:
        return str(error)
    if not draws.exhausted:
        return "fewer draws were needed"
    again = choices.gamble_offered(game, round_, drawn.at_risk_minor, number + 1)
    state_after = State.OPEN.value if again else State.SETTLING.value
    return StoredStep(number, step.choice, drawn.card, drawn.at_risk_minor, state_after, step.draws)


def _game_text(game_id: str, version: int, offers_choice: bool) -> str:
    return f"{game_id} version {version}{', offers a choice' if offers_choice else ''}"


def _step_text(step: StoredStep) -> str:
    words = (str(step.step), step.choice, step.card, str(step.at_risk_minor), step.state_after)
    return " ".join(word for word in words if word)


def _check(name: str, stored: object, derived: object) -> Check:
    return Check(name, stored == derived, str(stored), str(derived))


def _outcome_check(stored: bytes, derived: bytes) -> Check:
    if stored == derived:
        return Check("outcome", True, f"{len(stored)} bytes", f"{len(derived)} bytes")
    try:
        differences = list(_differences("", msgspec.json.decode(stored), msgspec.json.decode(derived)))
    except msgspec.DecodeError:
        return Check("outcome", False, "no JSON", f"{len(derived)} bytes")
    shown = differences[:DIFFERENCES_SHOWN] or [("spelling", "", "")]
    return Check(
        "outcome",
        False,
        ", ".join(f"{path} {was}" for path, was, _ in shown),
        ", ".join(f"{path} {is_}" for path, _, is_ in shown),
    )


def _differences(path: str, was: object, is_: object) -> Iterator[tuple[str, object, object]]:
    """Where two decoded outcomes differ: path, stored and derived value."""
    if isinstance(was, dict) and isinstance(is_, dict):
        for key in sorted(was.keys() | is_.keys()):
            yield from _differences(f"{path}.{key}".lstrip("."), was.get(key), is_.get(key))
    elif isinstance(was, list) and isinstance(is_, list) and len(was) == len(is_):
        for place, (one, other) in enumerate(zip(was, is_, strict=True)):
            yield from _differences(f"{path}[{place}]", one, other)
    elif was != is_:
        yield path, was, is_
