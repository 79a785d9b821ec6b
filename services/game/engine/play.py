"""Playing a game: one spin with its free spins, and the steps of a gamble. Pure: chance comes in as draws.

Everything that can be refused is refused before the first draw; after it nothing can fail (R1).
"""

from __future__ import annotations

import msgspec

from services.game.engine import checks, evaluate, outcome, tables
from services.game.engine.definition import GameDefinition
from services.game.engine.rng import DrawSource

_RANKS = ("2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K", "A")
_SUITS = ("H", "D", "C", "S")
_CARDS = tuple(rank + suit for suit in _SUITS for rank in _RANKS)
_RED_CARDS = frozenset(card for card in _CARDS if card[-1] in "HD")


class Spin(msgspec.Struct, frozen=True):
    """A drawn spin. `win_minor` is in the currency of the stake, never above the cap of the game."""

    outcome: outcome.Outcome
    win_minor: int


class GambleStep(msgspec.Struct, frozen=True):
    """A drawn gamble step. `at_risk_minor` is what the player holds after it: doubled, or 0."""

    won: bool
    at_risk_minor: int
    card: str
    """Rank and suit, as in 10H or QS; H and D are red."""


def spin(game: GameDefinition, *, stake_minor: int, draws: DrawSource) -> Spin:
    """Play one spin at a total stake (minor units). The ladder is the caller's to check (`accepts_stake`).

    Errors: ValueError, before anything is drawn, unless the stake is a positive multiple of the number of
    lines and its cap fits 2**53.
    """
    if stake_minor < 1 or stake_minor % len(game.paylines):
        raise ValueError(f"stake {stake_minor} is not a positive multiple of {len(game.paylines)} lines")
    cap_minor = stake_minor * game.max_win_multiple
    if cap_minor > checks.AMOUNT_MINOR_MAX:
        raise ValueError(f"stake {stake_minor} x {game.max_win_multiple} is above 2**53")
    base = _base_screen(game, stake_minor=stake_minor, draws=draws)
    free_screens: tuple[outcome.Screen, ...] = ()
    sum_minor = base.win_minor
    if base.free_spins_awarded:
        free_screens = _free_screens(game, base.free_spins_awarded, stake_minor=stake_minor, draws=draws)
        sum_minor += sum(screen.win_minor for screen in free_screens)
    win_minor = min(sum_minor, cap_minor)
    return Spin(outcome.Outcome(base, free_screens, win_minor, sum_minor > cap_minor), win_minor)


def gamble_offered(game: GameDefinition, *, at_risk_minor: int, stake_minor: int, step: int) -> bool:
    """Whether the gamble step with this index (0 is the first after the spin) may be offered.

    Not without a win, not beyond the game's number of steps, and not when winning it would exceed its limit.
    """
    if game.gamble is None or at_risk_minor < 1 or step >= game.gamble.steps_max:
        return False
    return 2 * at_risk_minor <= game.gamble.win_multiple_max * stake_minor


def gamble_step(game: GameDefinition, *, choice: str, at_risk_minor: int, draws: DrawSource) -> GambleStep:
    """Draw one of 52 cards: the named colour doubles what is at risk (minor units), the other takes it.

    Whether the step may be played at all is `gamble_offered`, asked when the round was left open.
    Errors: ValueError, before anything is drawn, when the game has no such choice or nothing is at risk.
    """
    if game.gamble is None or choice not in game.gamble.choices:
        raise ValueError(f"{game.game_id} has no choice {choice!r}")
    if not 1 <= at_risk_minor <= checks.AMOUNT_MINOR_MAX // 2:
        raise ValueError(f"at_risk_minor must be within 1..2**52, not {at_risk_minor}")
    card = _CARDS[draws.below(len(_CARDS))]
    won = (card in _RED_CARDS) == (choice == "RED")
    return GambleStep(won=won, at_risk_minor=2 * at_risk_minor if won else 0, card=card)


def _base_screen(game: GameDefinition, *, stake_minor: int, draws: DrawSource) -> outcome.Screen:
    return _screen(
        game,
        game.base_reels,
        stake_minor=stake_minor,
        multiplier=1,
        awards=game.free_spins_award,
        award_max=game.free_spins.spins_max if game.free_spins else 0,
        draws=draws,
    )


def _free_screens(
    game: GameDefinition, awarded: int, *, stake_minor: int, draws: DrawSource
) -> tuple[outcome.Screen, ...]:
    """All free spins of a round, retriggers included, at most `spins_max` of them."""
    assert game.free_spins is not None
    screens: list[outcome.Screen] = []
    granted = awarded
    while len(screens) < granted:
        screen = _screen(
            game,
            game.free_reels,
            stake_minor=stake_minor,
            multiplier=game.free_spins.multiplier,
            awards=game.free_spins_retrigger,
            award_max=game.free_spins.spins_max - granted,
            draws=draws,
        )
        granted += screen.free_spins_awarded
        screens.append(screen)
    return tuple(screens)


def _screen(
    game: GameDefinition,
    reels: tables.ReelSet,
    *,
    stake_minor: int,
    multiplier: int,
    awards: tuple[int, ...],
    award_max: int,
    draws: DrawSource,
) -> outcome.Screen:
    """Draw one stop per reel, from the left, and say what the screen pays and awards."""
    stops = [draws.below(length) for length in reels.lengths]
    cells: tables.Cells = ()
    scatters = 0
    for windows, reel_scatters, stop in zip(reels.windows, reels.scatters, stops, strict=True):
        cells += windows[stop]
        scatters += reel_scatters[stop]
    pays = game.pay_table
    line_bet_minor = stake_minor // len(game.paylines)
    line_wins = evaluate.line_wins(pays, cells, line_bet_minor=line_bet_minor, multiplier=multiplier)
    scatter_win = evaluate.scatter_win(pays, scatters, stake_minor=stake_minor, multiplier=multiplier)
    win_minor = scatter_win.win_minor if scatter_win else 0
    for line_win in line_wins:
        win_minor += line_win.win_minor
    return outcome.Screen(
        grid=tuple([names[stop] for names, stop in zip(reels.names, stops, strict=True)]),
        line_wins=line_wins,
        scatter_win=scatter_win,
        free_spins_awarded=min(tables.at_count(awards, scatters), award_max),
        win_minor=win_minor,
    )
