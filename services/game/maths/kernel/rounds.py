"""Rounds in a loop: every part of each, summed exactly."""

from __future__ import annotations

from typing import NamedTuple

from services.game.maths.kernel.compiled import compiled, inlined
from services.game.maths.kernel.draws import Counts, Source
from services.game.maths.kernel.features import Features, at_count, hold_and_win, pick
from services.game.maths.kernel.screens import (
    FREE,
    PAID,
    Prefix,
    Reels,
    bonuses_of,
    coins_of,
    scatters_of,
    screen,
    show,
)
from services.game.maths.kernel.wins import Board, Wins, times

TOTALS = (
    "win",
    "squares_low",
    "squares_high",
    "hits",
    "win_max",
    "base",
    "scatter",
    "free_spins",
    "hold_and_win",
    "pick",
    "cut",
    "capped",
    "free_spins_rounds",
    "free_spins_played",
    "retriggers",
    "hold_and_win_rounds",
    "respins",
    "full_rounds",
    "pick_rounds",
    "falls",
)
"""What `play` adds up: places of its array `totals`. Wins are in coins; `cut` is what the cap took, so that
win = base + scatter + free_spins + hold_and_win + pick - cut. The squares of the wins are
squares_low + (squares_high << 32)."""
(
    WIN,
    SQUARES_LOW,
    SQUARES_HIGH,
    HITS,
    WIN_MAX,
    BASE,
    SCATTER,
    FREE_SPINS,
    HOLD,
    PICK,
    CUT,
    CAPPED,
    FREE_ROUNDS,
    FREE_PLAYED,
    RETRIGGERS,
    HOLD_ROUNDS,
    RESPINS,
    FULL_ROUNDS,
    PICK_ROUNDS,
    FALLS,
) = range(len(TOTALS))
_LOW = (1 << 32) - 1


class Tables(NamedTuple):
    """A game and mode, ready to be played."""

    wins: Wins
    reels: Reels
    prefix: Prefix
    features: Features
    cap_coins: int
    bands: Counts
    """Lower bounds of the win bands above the first, coins, ascending."""


@compiled
def _paid_features(tables: Tables, board: Board, source: Source, totals: Counts, tally: int) -> int:
    """Hold-and-win and pick of the paid screen, coins."""
    wins, reels, features = tables.wins, tables.reels, tables.features
    sum_coins = 0
    if coins_of(tally) >= features.hold_trigger:
        if tables.prefix.depth[PAID]:
            show(wins, reels, board, PAID)
        coins, respins, held = hold_and_win(features, reels, board, source)
        sum_coins += coins
        totals[HOLD] += coins
        totals[HOLD_ROUNDS] += 1
        totals[RESPINS] += respins
        totals[FULL_ROUNDS] += held == board.grid.size
    if bonuses_of(tally) >= features.pick_trigger:
        coins = pick(features, source)
        sum_coins += coins
        totals[PICK] += coins
        totals[PICK_ROUNDS] += 1
    return sum_coins


@inlined
def _add_win(tables: Tables, totals: Counts, histogram: Counts, sum_coins: int) -> None:
    """A round's win, at most the cap, to the sums and to its band."""
    if sum_coins == 0:
        histogram[0] += 1
        return
    win = min(sum_coins, tables.cap_coins)
    totals[CUT] += sum_coins - win
    totals[CAPPED] += sum_coins > win
    totals[HITS] += 1
    totals[WIN] += win
    totals[SQUARES_LOW] += (win * win) & _LOW
    totals[SQUARES_HIGH] += (win * win) >> 32
    totals[WIN_MAX] = max(totals[WIN_MAX], win)
    band = 0
    while band < tables.bands.shape[0] and win >= tables.bands[band]:
        band += 1
    histogram[band + 1] += 1


@compiled
def play(
    tables: Tables, board: Board, source: Source, totals: Counts, histogram: Counts, rounds: int
) -> None:
    """Play rounds and add them to `totals` (see TOTALS) and to `histogram`: [0] rounds without a win, then
    one place per band."""
    wins, reels, prefix, features = tables.wins, tables.reels, tables.prefix, tables.features
    for _ in range(rounds):
        which = FREE if features.bought else PAID
        granted = features.bought
        left = max(granted, 1)
        round_coins = 0
        free_coins = 0
        while left:
            left -= 1
            coins, tally, falls = screen(wins, reels, prefix, board, source, which)
            totals[FALLS] += falls
            scatters = scatters_of(tally)
            scatter_coins = at_count(features.scatter_pays, scatters)
            if which == FREE:
                free_coins += times(coins + scatter_coins, features.free_multiplier)
                more = min(at_count(features.retrigger, scatters), features.spins_max - granted)
                totals[RETRIGGERS] += more > 0
            else:
                which = FREE
                round_coins = coins + scatter_coins
                totals[BASE] += coins
                totals[SCATTER] += scatter_coins
                if coins_of(tally) >= features.hold_trigger or bonuses_of(tally) >= features.pick_trigger:
                    round_coins += _paid_features(tables, board, source, totals, tally)
                more = min(at_count(features.award, scatters), features.spins_max)
            granted += more
            left += more
        if granted:
            totals[FREE_ROUNDS] += 1
            totals[FREE_PLAYED] += granted
            totals[FREE_SPINS] += free_coins
            round_coins += free_coins
        _add_win(tables, totals, histogram, round_coins)
