"""A round of any mechanic read from the format's words, slowly, from symbol names: shares no code with the
engine or the kernel. Amounts are in coins; `below(n)` is one draw."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from services.game.engine.definition import FREE, CoinValue, GameDefinition, Symbol

Below = Callable[[int], int]
Cell = tuple[int, int]
Grid = list[list[str]]
Win = tuple[int, set[Cell]]
"""(coins, the cells that are part of it)."""


class Rules:
    """A definition by names."""

    def __init__(self, game: GameDefinition) -> None:
        self.game = game
        self.symbols: dict[str, Symbol] = {symbol.name: symbol for symbol in game.symbols}
        self.reels, self.rows = game.grid.reels, game.grid.rows
        self.wilds = {name for name, symbol in self.symbols.items() if symbol.kind == "wild"}
        self.payers = [s.name for s in game.symbols if s.kind == "regular" and s.name in game.pays]

    def count(self, grid: Grid, kind: str) -> int:
        return sum(self.symbols[name].kind == kind for reel in grid for name in reel)

    def is_in(self, name: str, symbol: str) -> bool:
        """Whether a cell with `name` may be part of a win of `symbol`."""
        return name == symbol or (name in self.wilds and self.symbols[symbol].takes_wild)

    def product(self, names: Sequence[str]) -> int:
        return math.prod(self.symbols[name].multiplier for name in names if name in self.wilds)


def highest_listed(values: dict[int, int], count: int) -> int:
    return max(((listed, value) for listed, value in values.items() if listed <= count), default=(0, 0))[1]


def play(game: GameDefinition, mode: str, below: Below) -> dict[str, int]:
    rules = Rules(game)
    bet = game.coins_per_bet
    asked = game.modes_by_name[mode]
    parts = Counter(dict.fromkeys(("base", "scatter", "free_spins", "hold_and_win", "pick"), 0))
    granted = asked.free_spins
    if not granted:
        parts["base"], grid, falls = screen(rules, asked.reels, below, free=False)
        parts["falls"] += falls
        scatters = rules.count(grid, "scatter")
        parts["scatter"] = highest_listed(game.scatter_pays, scatters) * bet
        if game.hold_and_win and rules.count(grid, "coin") >= game.hold_and_win.trigger_count:
            parts["hold_and_win"] = hold_and_win(rules, grid, below) * bet
            parts["hold_and_win_rounds"] = 1
        if game.pick and rules.count(grid, "bonus") >= game.pick.trigger_count:
            parts["pick"] = draw_value(game.pick.prizes, below) * bet
            parts["pick_rounds"] = 1
        if game.free_spins:
            granted = min(highest_listed(game.free_spins.award, scatters), game.free_spins.spins_max)
    played = 0
    while played < granted:
        assert game.free_spins is not None
        coins, grid, falls = screen(rules, FREE, below, free=True)
        scatters = rules.count(grid, "scatter")
        coins += highest_listed(game.scatter_pays, scatters) * bet * game.free_spins.multiplier
        more = highest_listed(game.free_spins.retrigger, scatters)
        granted += min(more, game.free_spins.spins_max - granted)
        parts["free_spins"] += coins
        parts["falls"] += falls
        played += 1
    parts["free_spins_played"] = played
    win = sum(parts[part] for part in ("base", "scatter", "free_spins", "hold_and_win", "pick"))
    parts["capped"] = int(win > game.max_win_multiple * bet)
    parts["win"] = min(win, game.max_win_multiple * bet)
    return dict(parts)


def draw_name(weights: Mapping[str, int], below: Below) -> str:
    ticket = below(sum(weights.values()))
    for name, weight in weights.items():
        ticket -= weight
        if ticket < 0:
            return name
    raise AssertionError("a draw is below its bound")


def draw_value(values: Sequence[CoinValue], below: Below) -> int:
    drawn = draw_name({str(place): value.weight for place, value in enumerate(values)}, below)
    return values[int(drawn)].multiple


def screen(rules: Rules, reels: str, below: Below, *, free: bool) -> tuple[int, Grid, int]:
    """(coins without scatters, last grid, falls)."""
    game = rules.game
    strips, weights = game.strips.get(reels, ()), game.weights.get(reels, ())
    grid: Grid = []
    above: list[Iterator[str]] = []

    def new_cell(reel: int) -> str:
        return draw_name({name: weights[reel].get(name, 0) for name in rules.symbols}, below)

    def upwards(strip: Sequence[str], stop: int) -> Iterator[str]:
        while True:
            stop -= 1
            yield strip[stop % len(strip)]

    for reel in range(rules.reels):
        if strips:
            stop = below(len(strips[reel]))
            grid.append([strips[reel][(stop + row) % len(strips[reel])] for row in range(rules.rows)])
            above.append(upwards(strips[reel], stop))
        else:
            grid.append([new_cell(reel) for _ in range(rules.rows)])
    coins = falls = 0
    while True:
        wins = grid_wins(rules, expanded(rules, grid))
        multiplier = game.free_spins.multiplier if free and game.free_spins else 1
        if game.cascade:
            listed = (free and game.cascade.free_multipliers) or game.cascade.multipliers
            multiplier *= listed[min(falls, len(listed) - 1)]
        coins += sum(win * multiplier for win, _ in wins)
        if not wins or not game.cascade or falls == game.cascade.falls_max:
            return coins, grid, falls
        gone = set().union(*(cells for _, cells in wins))
        for reel in range(rules.reels):
            kept = [name for row, name in enumerate(grid[reel]) if (reel, row) not in gone]
            missing = rules.rows - len(kept)
            if strips:
                entering = [next(above[reel]) for _ in range(missing)][::-1]
            else:
                entering = [new_cell(reel) for _ in range(missing)]
            grid[reel] = entering + kept
        falls += 1


def expanded(rules: Rules, grid: Grid) -> Grid:
    seen = []
    for reel in grid:
        expanding = [name for name in reel if name in rules.wilds and rules.symbols[name].expands]
        seen.append([expanding[0]] * rules.rows if expanding else list(reel))
    return seen


def grid_wins(rules: Rules, grid: Grid) -> list[Win]:
    game = rules.game
    if game.evaluation == "clusters":
        return [win for name in rules.payers for win in clusters(rules, grid, name)]
    if game.evaluation == "anywhere":
        return [win for name in rules.payers for win in anywhere(rules, grid, name)]
    wins = []
    forwards = list(range(rules.reels))
    orders = {"left": [forwards], "right": [forwards[::-1]], "both": [forwards, forwards[::-1]]}
    for index, order in enumerate(orders[game.direction]):
        if game.evaluation == "lines":
            found = [line(rules, [(reel, rows[reel]) for reel in order], grid) for rows in game.paylines]
        else:
            found = [ways(rules, order, grid, name) for name in rules.payers]
        for coins, cells in found:
            whole = len({reel for reel, _ in cells}) == rules.reels
            if coins and not (index == 1 and whole):
                wins.append((coins, cells))
    return wins


def line(rules: Rules, cells: list[Cell], grid: Grid) -> Win:
    names = [grid[reel][row] for reel, row in cells]
    best: tuple[int, int] = (0, 0)
    for payer, pays in rules.game.pays.items():
        count = 0
        if payer in rules.wilds:
            while count < len(names) and names[count] in rules.wilds:
                count += 1
        else:
            while count < len(names) and rules.is_in(names[count], payer):
                count += 1
            if payer not in names[:count]:
                continue  # a run of wilds alone is paid as wilds
        best = max(best, (highest_listed(pays, count) * rules.product(names[:count]), count))
    return best[0], set(cells[: best[1]])


def ways(rules: Rules, order: list[int], grid: Grid, name: str) -> Win:
    number, length = 1, 0
    cells: set[Cell] = set()
    for reel in order:
        found = [(reel, row) for row in range(rules.rows) if rules.is_in(grid[reel][row], name)]
        if not found:
            break
        number *= sum(rules.product([grid[reel][row]]) for reel, row in found)
        length += 1
        cells.update(found)
    return highest_listed(rules.game.pays[name], length) * number, cells


def clusters(rules: Rules, grid: Grid, name: str) -> list[Win]:
    every = {(x, y) for x in range(rules.reels) for y in range(rules.rows) if rules.is_in(grid[x][y], name)}
    wins = []
    while every:
        group: set[Cell] = set()
        edge = {every.pop()}
        while edge:
            x, y = edge.pop()
            group.add((x, y))
            near = {(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)} & every
            every -= near
            edge |= near
        names = [grid[x][y] for x, y in group]
        coins = highest_listed(rules.game.pays[name], len(group)) * rules.product(names)
        if name in names and coins:
            wins.append((coins, group))
    return wins


def anywhere(rules: Rules, grid: Grid, name: str) -> list[Win]:
    group = {(x, y) for x in range(rules.reels) for y in range(rules.rows) if rules.is_in(grid[x][y], name)}
    names = [grid[x][y] for x, y in group]
    coins = highest_listed(rules.game.pays[name], len(group)) * rules.product(names)
    return [(coins, group)] if coins and name in names else []


def hold_and_win(rules: Rules, grid: Grid, below: Below) -> int:
    """Multiples of the bet."""
    feature = rules.game.hold_and_win
    assert feature is not None
    cells = [(reel, row) for reel in range(rules.reels) for row in range(rules.rows)]
    held = {}
    for reel, row in cells:
        if rules.symbols[grid[reel][row]].kind == "coin":
            held[reel, row] = draw_value(feature.values, below)
    left = feature.respins
    while left and len(held) < len(cells):
        new = False
        for cell in cells:
            if cell not in held and below(feature.coin_odds.of) < feature.coin_odds.hits:
                held[cell] = draw_value(feature.values, below)
                new = True
        left = feature.respins if new else left - 1
    return sum(held.values()) + (feature.full_multiple if len(held) == len(cells) else 0)
