"""Playing a game: one spin with its free spins, and the steps of a gamble. Pure: chance comes in as draws.

Everything that can be refused is refused before the first draw; after it nothing can fail (R1).
"""

from __future__ import annotations

import msgspec

from services.game.engine import checks, features, outcome, screens
from services.game.engine.definition import BASE, GameDefinition
from services.game.engine.rng import DrawSource

_RANKS = ("2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K", "A")
_SUITS = ("H", "D", "C", "S")
_CARDS = tuple(rank + suit for suit in _SUITS for rank in _RANKS)
_RED_CARDS = frozenset(card for card in _CARDS if card[-1] in "HD")


class Spin(msgspec.Struct, frozen=True):
    """A drawn spin. `win_minor` is in the currency of the bet, never above the cap of the game."""

    outcome: outcome.Outcome
    win_minor: int


class GambleStep(msgspec.Struct, frozen=True):
    """A drawn gamble step. `at_risk_minor` is what the player holds after it: doubled, or 0."""

    won: bool
    at_risk_minor: int
    card: str
    """Rank and suit, as in 10H or QS; H and D are red."""


def spin(game: GameDefinition, *, bet_minor: int, mode: str = BASE, draws: DrawSource) -> Spin:
    """Play one spin of a mode. The stake, bet x cost of the mode, is the caller's to take; so is the ladder
    (`GameDefinition.bet_minor`).

    Errors: ValueError, before anything is drawn, unless the game has the mode, and the bet (minor units) is a
    positive multiple of the game's coins whose cap fits 2**53.
    """
    tables = game.tables
    coins, cap_minor = tables.coins_per_bet, bet_minor * game.max_win_multiple
    if mode not in game.modes_by_name:
        raise ValueError(f"{game.game_id} has no mode {mode!r}")
    if bet_minor < 1 or bet_minor % coins:
        raise ValueError(f"bet {bet_minor} is not a positive multiple of {coins} coins")
    if cap_minor > checks.AMOUNT_MINOR_MAX:
        raise ValueError(f"bet {bet_minor} x {game.max_win_multiple} is above 2**53")
    stage = tables.paid.get(mode)
    base = hold_and_win = pick = None
    if stage is None:
        sum_minor, awarded = 0, game.modes_by_name[mode].free_spins
    else:
        base = screens.play_screen(tables, stage, bet_minor, tables.spins_max, draws)
        sum_minor, awarded = base.win_minor, base.free_spins_awarded
        if game.hold_and_win is not None:
            hold_and_win = features.play_hold_and_win(game, base, bet_minor=bet_minor, draws=draws)
            sum_minor += hold_and_win.win_minor if hold_and_win else 0
        if game.pick is not None:
            pick = features.play_pick(game, base, bet_minor=bet_minor, draws=draws)
            sum_minor += pick.win_minor if pick else 0
    free_spins: tuple[outcome.Screen, ...] = ()
    if awarded:
        free_spins = features.play_free_spins(tables, awarded, bet_minor=bet_minor, draws=draws)
        sum_minor += sum([screen.win_minor for screen in free_spins])
    win_minor = min(sum_minor, cap_minor)
    shown = outcome.Outcome(base, free_spins, win_minor, sum_minor > cap_minor, hold_and_win, pick)
    return Spin(shown, win_minor)


def gamble_offered(game: GameDefinition, *, at_risk_minor: int, bet_minor: int, step: int) -> bool:
    """Whether the gamble step with this index (0 is the first after the spin) may be offered.

    Not without a win, not beyond the game's number of steps, and not when winning it would exceed its limit.
    """
    if game.gamble is None or at_risk_minor < 1 or step >= game.gamble.steps_max:
        return False
    return 2 * at_risk_minor <= game.gamble.win_multiple_max * bet_minor


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
