"""What a definition becomes before it is played: arrays, in coins. Built in a second or less."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.game.engine.definition import BASE, FREE, CoinValue, GameDefinition, Mode
from services.game.maths.kernel import draws, features, prefixes, rounds, screens, wins

_NEVER = 1 << 30
_MULTIPLIER_MAX = 1 << 20
_GUIDE = 1024
BAND_STAKES = ("0.5", "1", "2", "5", "10", "20", "50", "100", "200", "500", "1000", "2000", "5000")
_EVALUATIONS = ("lines", "ways", "clusters", "anywhere")

Reel = Sequence[str] | Mapping[str, int]


def build(game: GameDefinition, mode: str = BASE) -> rounds.Tables:
    """The tables of one mode. Errors: ValueError, when the game has no such mode or its amounts are too
    large: the cap must be below 2**31 coins and a multiplier at most 2**20."""
    if mode not in game.modes_by_name:
        raise ValueError(f"{game.game_id} has no mode {mode!r}")
    cap_coins = game.max_win_multiple * game.coins_per_bet
    multipliers = _every_multiplier(game)
    if cap_coins >= wins.PRODUCT_MAX or max(multipliers) > _MULTIPLIER_MAX:
        raise ValueError(
            f"{game.game_id}: a cap of {cap_coins} coins or a multiplier is too large to simulate"
        )
    paid = _wins(game)
    sets = [_reel_set(game, game.modes_by_name[mode].reels), _reel_set(game, FREE)]
    reels = _reels(game, sets)
    return rounds.Tables(
        wins=paid,
        reels=reels,
        prefix=prefixes.build(paid, reels),
        features=_features(game, game.modes_by_name[mode]),
        cap_coins=cap_coins,
        bands=_bands(game, game.modes_by_name[mode]),
    )


def _every_multiplier(game: GameDefinition) -> list[int]:
    cascade = game.cascade.multipliers + game.cascade.free_multipliers if game.cascade else ()
    free = (game.free_spins.multiplier,) if game.free_spins else ()
    return [symbol.multiplier for symbol in game.symbols] + [*cascade, *free]


def _reel_set(game: GameDefinition, name: str) -> Sequence[Reel]:
    return game.strips.get(name) or game.weights.get(name) or ()


def _bands(game: GameDefinition, mode: Mode) -> draws.Counts:
    """A win is in a band from its lower bound, a multiple of the stake, upwards."""
    stake = mode.cost * game.coins_per_bet
    return np.array([math.ceil(type(stake)(bound) * stake) for bound in BAND_STAKES], np.int64)


def _filled(values: Mapping[int, int], size: int, factor: int = 1) -> list[int]:
    """By count 0 .. size; a count between two listed is like the lower, one above all like the highest."""
    return [
        max((value for listed, value in sorted(values.items()) if listed <= count), default=0) * factor
        for count in range(size + 1)
    ]


def _wins(game: GameDefinition) -> wins.Wins:
    reels, rows = game.grid.reels, game.grid.rows
    size = reels if game.evaluation in ("lines", "ways") else reels * rows
    left, right = list(range(reels)), list(reversed(range(reels)))
    order = {"left": [left], "right": [right], "both": [left, right]}[game.direction]
    if game.evaluation in ("clusters", "anywhere"):
        order = [left]
    kinds = [symbol.kind for symbol in game.symbols]
    paid_wilds = [i for i, s in enumerate(game.symbols) if s.kind == "wild" and s.name in game.pays]
    return wins.Wins(
        evaluation=_EVALUATIONS.index(game.evaluation),
        reels=reels,
        rows=rows,
        order=np.array(order, np.int64),
        lines=np.array(game.paylines, np.int64).reshape(-1, reels),
        pays=np.array([_filled(game.pays.get(s.name, {}), size) for s in game.symbols], np.int64),
        lowest=np.array([min(game.pays.get(s.name, {}), default=_NEVER) for s in game.symbols], np.int64),
        wild=np.array([kind == "wild" for kind in kinds], np.uint8),
        takes=np.array([s.kind == "regular" and s.takes_wild for s in game.symbols], np.uint8),
        regular=np.array([kind == "regular" for kind in kinds], np.uint8),
        multiplier=np.array([s.multiplier if s.kind == "wild" else 1 for s in game.symbols], np.int64),
        paid_wild=paid_wilds[0] if paid_wilds else -1,
    )


def _reels(game: GameDefinition, sets: Sequence[Sequence[Reel]]) -> screens.Reels:
    ids = {symbol.name: index for index, symbol in enumerate(game.symbols)}
    reels, rows, symbols = game.grid.reels, game.grid.rows, len(ids)
    width = max((len(reel) for reel_set in sets for reel in reel_set), default=0) + rows
    bounds = np.ones((2, reels), np.int64)
    strips = np.zeros((2, reels, width), np.uint8)
    cumulative = np.ones((2, reels, symbols), np.int64)
    guide = np.zeros((2, reels, _GUIDE), np.uint8)
    shift = np.zeros((2, reels), np.int64)
    by_weight = np.zeros(2, np.uint8)
    for which, reel_set in enumerate(sets):
        for index, reel in enumerate(reel_set):
            if isinstance(reel, Mapping):
                by_weight[which] = 1
                sums = np.cumsum([reel.get(name, 0) for name in ids])
                cumulative[which, index] = sums
                bounds[which, index] = sums[-1]
                shift[which, index] = max(0, int(sums[-1] - 1).bit_length() - 10)
                starts = np.arange(_GUIDE) << shift[which, index]
                guide[which, index] = np.minimum(np.searchsorted(sums, starts, side="right"), symbols - 1)
            else:
                bounds[which, index] = len(reel)
                unrolled = [ids[reel[stop % len(reel)]] for stop in range(len(reel) + rows)]
                strips[which, index, : len(unrolled)] = unrolled
    kinds = [symbol.kind for symbol in game.symbols]
    tallies = {"scatter": 1, "bonus": 1 << 20, "coin": 1 << 40}
    expands = np.array([s.kind == "wild" and s.expands for s in game.symbols], np.uint8)
    falls = _falls(game)
    return screens.Reels(
        bounds=bounds,
        by_weight=by_weight,
        strips=strips,
        cumulative=cumulative,
        guide=guide,
        shift=shift,
        tally=np.array([tallies.get(kind, 0) for kind in kinds], np.int64),
        expands=expands,
        any_expands=int(expands.any()),
        falls_max=game.cascade.falls_max if game.cascade else 0,
        multipliers=falls,
    )


def _falls(game: GameDefinition) -> draws.Counts:
    """[set, fall]: both rows as long as the longer list, filled with the last."""
    if game.cascade is None:
        return np.ones((2, 1), np.int64)
    rows = [game.cascade.multipliers, game.cascade.free_multipliers or game.cascade.multipliers]
    length = max(len(row) for row in rows)
    return np.array([row + row[-1:] * (length - len(row)) for row in rows], np.int64)


def _prizes(prizes: Sequence[CoinValue], coins: int) -> tuple[draws.Counts, draws.Counts]:
    """Summed weights and coins; one that pays nothing where there are none."""
    weights = np.cumsum([prize.weight for prize in prizes] or [1]).astype(np.int64)
    return weights, np.array([prize.multiple * coins for prize in prizes] or [0], np.int64)


def _features(game: GameDefinition, mode: Mode) -> features.Features:
    coins = game.coins_per_bet
    free: Any = game.free_spins
    hold: Any = game.hold_and_win
    value_weights, values = _prizes(hold.values if hold else (), coins)
    prize_weights, prizes = _prizes(game.pick.prizes if game.pick else (), coins)

    def by_count(counts: Mapping[int, int], factor: int = 1) -> draws.Counts:
        return np.array(_filled(counts, max(counts, default=0), factor), np.int64)

    return features.Features(
        scatter_pays=by_count(game.scatter_pays, coins),
        award=by_count(free.award if free else {}),
        retrigger=by_count(free.retrigger if free else {}),
        spins_max=free.spins_max if free else 0,
        free_multiplier=free.multiplier if free else 1,
        bought=mode.free_spins,
        hold_trigger=hold.trigger_count if hold else _NEVER,
        respins=hold.respins if hold else 0,
        coin_hits=hold.coin_odds.hits if hold else 0,
        coin_of=hold.coin_odds.of if hold else 1,
        value_weights=value_weights,
        values=values,
        full=hold.full_multiple * coins if hold else 0,
        pick_trigger=game.pick.trigger_count if game.pick else _NEVER,
        prize_weights=prize_weights,
        prizes=prizes,
    )
