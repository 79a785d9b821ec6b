"""Checks of bets, costs and targets: whole minor units, and none beyond what every reader keeps exact."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from services.game.engine.checks.fault import AMOUNT_MINOR_MAX, Fault, seen_max, used_sets

if TYPE_CHECKING:
    from services.game.engine.definition import GameDefinition

_COST_MAX = 100_000


def faults(game: GameDefinition) -> Iterator[Fault]:
    """Faults, in the order of dependence."""
    yield from _stakes(game)
    yield from _modes(game)
    yield from _targets("", game.rtp_target, game.deviation)
    for index, mode in enumerate(game.modes):
        yield from _targets(f"modes[{index}].", mode.rtp_target, mode.deviation)
    if game.profile and game.profile.of == game.game_id:
        yield Fault("profile.of", "is this game itself")
    yield from _screen_win(game)
    yield from _coins_win(game)


def _stakes(game: GameDefinition) -> Iterator[Fault]:
    if not game.stakes_minor:
        yield Fault("stakes_minor", "must not be empty")
    for currency_code, ladder in game.stakes_minor.items():
        field = f"stakes_minor.{currency_code}"
        if not ladder:
            yield Fault(field, "must not be empty")
        if list(ladder) != sorted(set(ladder)):
            yield Fault(field, "must ascend")
        for index, stake_minor in enumerate(ladder):
            if stake_minor % game.coins_per_bet:
                problem = f"{stake_minor} is not divisible by {game.coins_per_bet} coins"
                yield Fault(field, problem, f"[{index}]")
        if ladder[-1] * game.max_win_multiple > AMOUNT_MINOR_MAX:
            yield Fault(field, f"{ladder[-1]} x max_win_multiple is above 2**53", f"[{len(ladder) - 1}]")


def _modes(game: GameDefinition) -> Iterator[Fault]:
    for index, mode in enumerate(game.modes):
        field = f"modes[{index}].cost"
        # Compared before it becomes a fraction: that of 1e9999999 would fill the memory.
        if not (mode.cost.is_finite() and 0 < mode.cost <= _COST_MAX):
            yield Fault(field, f"must be above 0 and at most {_COST_MAX}")
        elif _decimals(mode.cost) > 6:
            yield Fault(field, "has more than 6 decimals")
        else:
            yield from _mode_stakes(game, field, Fraction(mode.cost))


def _mode_stakes(game: GameDefinition, field: str, cost: Fraction) -> Iterator[Fault]:
    for currency_code, ladder in game.stakes_minor.items():
        for bet_minor in ladder:
            stake_minor = bet_minor * cost
            if stake_minor.denominator != 1:
                yield Fault(field, f"x {bet_minor} {currency_code} is not a whole number of minor units")
            if stake_minor > AMOUNT_MINOR_MAX:
                yield Fault(field, f"x {bet_minor} {currency_code} is above 2**53")


def _decimals(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _targets(field: str, rtp_target: Decimal, deviation: Decimal | None) -> Iterator[Fault]:
    if not (rtp_target.is_finite() and 0 < rtp_target < 1):
        yield Fault(f"{field}rtp_target", "must be above 0 and below 1")
    elif _decimals(rtp_target) > 6:
        yield Fault(f"{field}rtp_target", "has more than 6 decimals")
    if deviation is not None:
        if not (deviation.is_finite() and 0 < deviation < 1_000_000):
            yield Fault(f"{field}deviation", "must be above 0 and below 1000000")
        elif _decimals(deviation) > 2:
            yield Fault(f"{field}deviation", "has more than 2 decimals")


def _screen_win(game: GameDefinition) -> Iterator[Fault]:
    """Parts of an outcome are not capped, so that their largest amounts must fit too."""
    free = game.free_spins.multiplier if game.free_spins else 1
    falling = 1
    if game.cascade:
        multipliers = game.cascade.multipliers + game.cascade.free_multipliers
        falling = max(multipliers) * (game.cascade.falls_max + 1)
    grid_coins = max(_grid_coins_max(game, reels) for reels in used_sets(game))
    scatter_coins = max(game.scatter_pays.values(), default=0) * game.coins_per_bet
    coins = (grid_coins * falling + scatter_coins) * free
    for currency_code, ladder in game.stakes_minor.items():
        if coins * (ladder[-1] // game.coins_per_bet) > AMOUNT_MINOR_MAX:
            problem = f"one screen could win more than 2**53 {currency_code} before the cap"
            yield Fault("pays", f"{problem}: fewer reels with wilds, or lower multipliers")


def _grid_coins_max(game: GameDefinition, reels: str) -> int:
    """More coins than any grid of these reels can win."""
    multipliers = {symbol.name: symbol.multiplier for symbol in game.symbols if symbol.multiplier > 1}
    highest = [0] * game.grid.reels
    for name, multiplier in multipliers.items():
        for reel, cells in enumerate(seen_max(game, reels, {name})):
            highest[reel] = max(highest[reel], multiplier if cells else 0)
    pay_max = max(max(values.values()) for values in game.pays.values())
    directions = 2 if game.direction == "both" else 1
    if game.evaluation == "lines":
        return len(game.paylines) * directions * pay_max * math.prod(max(1, value) for value in highest)
    if game.evaluation == "ways":
        ways = math.prod(game.grid.rows * max(1, value) for value in highest)
        return len(game.pays) * directions * pay_max * ways
    seen = seen_max(game, reels, set(multipliers))
    factor = 1
    for value, cells in zip(highest, seen, strict=True):
        factor *= max(1, value) ** cells
    return game.grid.reels * game.grid.rows * pay_max * factor


def _coins_win(game: GameDefinition) -> Iterator[Fault]:
    rules = game.hold_and_win
    if rules is None:
        return
    cells = game.grid.reels * game.grid.rows
    multiple = cells * max(value.multiple for value in rules.values) + rules.full_multiple
    if multiple * max(ladder[-1] for ladder in game.stakes_minor.values()) > AMOUNT_MINOR_MAX:
        yield Fault("hold_and_win.values", "every cell could win more than 2**53 before the cap")
