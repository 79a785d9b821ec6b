"""The rules of a round written again, slowly and from the names only: shares no code with the engine.

A grid is a list of reels, each a list of names from the top. `play` tells a round in the same plain values as
`told` tells an outcome of the engine.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from services.game.engine import outcome
from services.game.engine.definition import GameDefinition

Below = Callable[[int], int]
Grid = Sequence[Sequence[str]]


def names_of(game: GameDefinition, kind: str) -> set[str]:
    return {symbol.name for symbol in game.symbols if symbol.kind == kind}


def stand_ins(game: GameDefinition, name: str) -> set[str]:
    """The symbols that count as this one."""
    symbol = next(symbol for symbol in game.symbols if symbol.name == name)
    return {name} | (names_of(game, "wild") if symbol.kind == "wild" or symbol.takes_wild else set())


def factor(game: GameDefinition, names: Sequence[str]) -> int:
    return math.prod(symbol.multiplier for name in names for symbol in game.symbols if symbol.name == name)


def line_best(game: GameDefinition, line: Sequence[str]) -> tuple[int, int, str, int]:
    """(pay x coin, run, symbol, its wilds' multiplier) of the best reading: every symbol is tried in turn."""
    best = (0, 0, "", 1)
    for name, multiple_by_run in game.pays.items():
        run = len(list(itertools.takewhile(stand_ins(game, name).__contains__, line)))
        if name in line[:run] or name in names_of(game, "wild"):
            times = factor(game, line[:run])
            best = max(best, (multiple_by_run.get(run, 0) * times, run, name, times), key=lambda one: one[:2])
    return best if best[0] else (0, 0, "", 1)


def line_multiple(game: GameDefinition, line: Sequence[str]) -> int:
    """Best pay of one line, x coin, its wilds' multipliers included."""
    return line_best(game, line)[0]


def highest_listed(values: dict[int, int], count: int) -> int:
    """The value of the highest listed count that is not above `count`; 0 below all of them."""
    return max((value for listed, value in values.items() if listed <= count), default=0)


def count_of(game: GameDefinition, kind: str, grid: Grid) -> int:
    return sum(name in names_of(game, kind) for reel in grid for name in reel)


Win = tuple[str, int, Any, bool, int, int, int]
"""(symbol, count, line or cells, from the right, ways, multiplier, coins)"""


def wins_of(game: GameDefinition, grid: Grid, *, times: int) -> list[Win]:
    """Wins of a grid in the order they are shown; `times` is the multiplier of the screen."""
    filled = []
    for reel in grid:
        expanding = [
            symbol.name for name in reel for symbol in game.symbols if symbol.name == name and symbol.expands
        ]
        filled.append(expanding[:1] * len(reel) or list(reel))
    found = {"lines": _lines, "ways": _ways, "clusters": _clusters, "anywhere": _anywhere}
    return list(found[game.evaluation](game, filled, times))


def _lines(game: GameDefinition, grid: Grid, times: int) -> Iterator[Win]:
    for line, rows in enumerate(game.paylines):
        names = [reel[row] for reel, row in zip(grid, rows, strict=True)]
        for from_right in (False, True):
            if game.direction == ("left" if from_right else "right"):
                continue
            pay, run, symbol, wild_times = line_best(game, names[::-1] if from_right else names)
            if pay and not (game.direction == "both" and from_right and run == len(names)):
                yield symbol, run, line, from_right, 1, wild_times * times, pay * times


def _ways(game: GameDefinition, grid: Grid, times: int) -> Iterator[Win]:
    for name in [symbol.name for symbol in game.symbols if symbol.name in game.pays]:
        good = stand_ins(game, name)
        for from_right in (False, True):
            if game.direction == ("left" if from_right else "right"):
                continue
            reels = list(enumerate(grid))[:: -1 if from_right else 1]
            reached = list(itertools.takewhile(lambda reel: good & set(reel[1]), reels))  # noqa: B023 - it is used up on this line
            paths = itertools.product(*(reel for _, reel in reached))
            ways = sum(factor(game, path) for path in paths if set(path) <= good)
            pay = game.pays[name].get(len(reached), 0)
            if pay and not (game.direction == "both" and from_right and len(reached) == len(grid)):
                cells = [(at, row) for at, reel in reached for row, shown in enumerate(reel) if shown in good]
                yield name, len(reached), tuple(sorted(cells)), from_right, ways, times, pay * ways * times


def _groups(
    game: GameDefinition, grid: Grid, groups: Callable[[set[Any]], list[set[Any]]], times: int
) -> list[Win]:
    shown = {(at, row): name for at, reel in enumerate(grid) for row, name in enumerate(reel)}
    wins: list[Win] = []
    for name in [symbol.name for symbol in game.symbols if symbol.name in game.pays]:
        for group in groups({cell for cell in shown if shown[cell] in stand_ins(game, name)}):
            pay = highest_listed(game.pays[name], len(group))
            if pay and name in {shown[cell] for cell in group}:
                all_times = times * factor(game, [shown[cell] for cell in group])
                wins.append((name, len(group), tuple(sorted(group)), False, 1, all_times, pay * all_times))
    return sorted(wins, key=lambda win: win[2][0])


def _anywhere(game: GameDefinition, grid: Grid, times: int) -> list[Win]:
    return _groups(game, grid, lambda cells: [cells] if cells else [], times)


def _clusters(game: GameDefinition, grid: Grid, times: int) -> list[Win]:
    def merged(cells: set[Any]) -> list[set[Any]]:
        groups = [{cell} for cell in cells]
        while True:
            for one, other in itertools.combinations(groups, 2):
                if any(abs(a - c) + abs(b - d) == 1 for a, b in one for c, d in other):
                    groups = [group for group in groups if group not in (one, other)] + [one | other]
                    break
            else:
                return groups

    return _groups(game, grid, merged, times)


def _drawn(game: GameDefinition, weights: dict[str, int], below: Below) -> str:
    left = below(sum(weights.values()))
    for symbol in game.symbols:
        left -= weights.get(symbol.name, 0)
        if left < 0:
            return symbol.name
    raise AssertionError("a draw below the sum of the weights is below one of them")


def screen(
    game: GameDefinition, reels: str, *, free: bool, bet_minor: int, award_max: int, below: Below
) -> dict[str, Any]:
    """Play one screen."""
    times = game.free_spins.multiplier if free and game.free_spins else 1
    ladder: tuple[int, ...] = (1,)
    if game.cascade:
        ladder = (game.cascade.free_multipliers if free else ()) or game.cascade.multipliers
    grid: list[list[str]] = []
    above: list[Iterator[str]] = []
    for at in range(game.grid.reels):
        if reels in game.strips:
            strip = game.strips[reels][at]
            stop = below(len(strip))
            grid.append(list(itertools.islice(itertools.cycle(strip), stop, stop + game.grid.rows)))
            upwards = itertools.cycle(reversed(strip))
            above.append(itertools.islice(upwards, len(strip) - stop, None))
        else:
            weights = game.weights[reels][at]
            grid.append([_drawn(game, weights, below) for _ in range(game.grid.rows)])
    grids, wins = [grid], [wins_of(game, grid, times=times * ladder[0])]
    while game.cascade and wins[-1] and len(grids) <= game.cascade.falls_max:
        gone = {cell for win in wins[-1] for cell in _cells(game, win)}
        grid = []
        for at, reel in enumerate(grids[-1]):
            left = [name for row, name in enumerate(reel) if (at, row) not in gone]
            new = range(len(reel) - len(left))
            if above:
                grid.append([next(above[at]) for _ in new][::-1] + left)
            else:
                grid.append([_drawn(game, game.weights[reels][at], below) for _ in new] + left)
        wins.append(wins_of(game, grid, times=times * ladder[min(len(grids), len(ladder) - 1)]))
        grids.append(grid)
    scatters = count_of(game, "scatter", grid)
    scatter_minor = highest_listed(game.scatter_pays, scatters) * bet_minor * times
    awards = (game.free_spins.retrigger if free else game.free_spins.award) if game.free_spins else {}
    coin_minor = bet_minor // game.coins_per_bet
    return {
        "grids": grids,
        "wins": [[(*win[:-1], win[-1] * coin_minor) for win in one] for one in wins],
        "scatter": (scatters, scatter_minor) if scatter_minor else None,
        "awarded": min(highest_listed(awards, scatters), award_max),
        "win": sum(win[-1] for one in wins for win in one) * coin_minor + scatter_minor,
    }


def _cells(game: GameDefinition, win: Win) -> list[tuple[int, int]]:
    if game.evaluation != "lines":
        return list(win[2])
    cells = list(enumerate(game.paylines[win[2]]))
    return cells[len(cells) - win[1] :] if win[3] else cells[: win[1]]


def _hold_and_win(game: GameDefinition, grid: Grid, bet_minor: int, below: Below) -> dict[str, Any] | None:
    rules = game.hold_and_win
    if rules is None or count_of(game, "coin", grid) < rules.trigger_count:
        return None

    def value() -> int:
        worth = [value.multiple for value in rules.values for _ in range(value.weight)]
        return worth[below(len(worth))] * bet_minor

    cells = [(at, row) for at, reel in enumerate(grid) for row in range(len(reel))]
    coins = {(at, row): (0, value()) for at, row in cells if grid[at][row] in names_of(game, "coin")}
    left, played = rules.respins, 0
    while left > 0 and len(coins) < len(cells):
        left, played = left - 1, played + 1
        for cell in cells:
            if cell not in coins and below(rules.coin_odds.of) < rules.coin_odds.hits:
                coins[cell] = (played, value())
                left = rules.respins
    full_minor = rules.full_multiple * bet_minor if len(coins) == len(cells) else 0
    return {
        "coins": [(cell, *coin) for cell, coin in coins.items()],
        "respins": played,
        "full": full_minor,
        "win": sum(coin[1] for coin in coins.values()) + full_minor,
    }


def _pick(game: GameDefinition, grid: Grid, bet_minor: int, below: Below) -> tuple[int, int] | None:
    if game.pick is None or count_of(game, "bonus", grid) < game.pick.trigger_count:
        return None
    lots = [index for index, prize in enumerate(game.pick.prizes) for _ in range(prize.weight)]
    prize = lots[below(len(lots))]
    return prize, game.pick.prizes[prize].multiple * bet_minor


def play(game: GameDefinition, *, bet_minor: int, mode: str, below: Below) -> dict[str, Any]:
    """Play a round."""
    rules = game.modes_by_name[mode]
    most = game.free_spins.spins_max if game.free_spins else 0
    told: dict[str, Any] = {"base": None, "hold_and_win": None, "pick": None, "free_spins": []}
    granted, total = rules.free_spins, 0
    if not granted:
        base = screen(game, rules.reels, free=False, bet_minor=bet_minor, award_max=most, below=below)
        told["base"] = base
        told["hold_and_win"] = _hold_and_win(game, base["grids"][-1], bet_minor, below)
        told["pick"] = _pick(game, base["grids"][-1], bet_minor, below)
        total = base["win"] + (told["hold_and_win"] or {"win": 0})["win"] + (told["pick"] or (0, 0))[1]
        granted = base["awarded"]
    while len(told["free_spins"]) < granted:
        one = screen(game, "free", free=True, bet_minor=bet_minor, award_max=most - granted, below=below)
        told["free_spins"].append(one)
        granted += one["awarded"]
        total += one["win"]
    cap_minor = game.max_win_multiple * bet_minor
    return {**told, "win": min(total, cap_minor), "capped": total > cap_minor}


def told(shown: outcome.Outcome) -> dict[str, Any]:
    """What the engine showed, in the plain values of `play`."""
    hold, pick = shown.hold_and_win, shown.pick
    return {
        "base": _told_screen(shown.base) if shown.base else None,
        "hold_and_win": hold
        and {
            "coins": [(coin.cell, coin.respin, coin.win_minor) for coin in hold.coins],
            "respins": hold.respins,
            "full": hold.full_win_minor,
            "win": hold.win_minor,
        },
        "pick": pick and (pick.prize, pick.win_minor),
        "free_spins": [_told_screen(one) for one in shown.free_spins],
        "win": shown.win_minor,
        "capped": shown.capped,
    }


def _told_screen(shown: outcome.Screen) -> dict[str, Any]:
    grids: list[outcome.Screen | outcome.Fall] = [shown, *shown.falls]
    for fall in shown.falls:
        assert fall.win_minor == sum(win.win_minor for win in fall.line_wins + fall.symbol_wins)
    return {
        "grids": [[list(reel) for reel in one.grid] for one in grids],
        "wins": [
            [
                (win.symbol, win.count, win.line, win.from_right, 1, win.multiplier, win.win_minor)
                for win in one.line_wins
            ]
            + [
                (win.symbol, win.count, win.cells, win.from_right, win.ways, win.multiplier, win.win_minor)
                for win in one.symbol_wins
            ]
            for one in grids
        ],
        "scatter": shown.scatter_win and (shown.scatter_win.count, shown.scatter_win.win_minor),
        "awarded": shown.free_spins_awarded,
        "win": shown.win_minor,
    }
