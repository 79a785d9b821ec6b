"""What one screen returns, exactly, by symbol and run: from counts of symbols, no screen is evaluated.

Reels are independent, so on a line each reel shows its symbols as often as its row does; expectations of
lines, ways and symbols anywhere then are sums of products over the reels. Whole numbers only: a return is a
number of coins summed over the whole cycle, to be divided by `reels.totals_of`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from services.game.engine.definition import GameDefinition
from services.game.maths.reels import Reel
from services.game.maths.rules import NONE, Rules

Pays = Counter[tuple[int, int]]
"""(symbol id, count) -> coins that it pays over the whole cycle."""
_Run = tuple[int, int, int, int]
"""Symbol that the run is of (NONE: wilds only so far), wilds at its start, product of their multipliers,
product of all multipliers in it."""


def screen_pays(game: GameDefinition, rules: Rules, reels: Sequence[Reel]) -> Pays:
    """Pays of one screen without scatters. Errors: ValueError for a game that has no formula."""
    if game.cascade is not None or game.evaluation == "clusters":
        raise ValueError(f"{game.game_id}: no formula for cascades and clusters")
    if game.evaluation == "anywhere":
        return _anywhere_pays(rules, reels)
    one_direction = _line_pays if game.evaluation == "lines" else _ways_pays
    pays: Pays = Counter()
    if game.direction in ("left", "both"):
        pays.update(one_direction(rules, reels, rules.lines.tolist()))
    if game.direction in ("right", "both"):
        mirrored = [line[::-1] for line in rules.lines.tolist()]
        from_right = one_direction(rules, reels[::-1], mirrored)
        if game.direction == "both":  # a run over all reels is paid once, as from the left
            from_right = Counter({key: paid for key, paid in from_right.items() if key[1] < len(reels)})
        pays.update(from_right)
    return pays


def best_of(rules: Rules, run: _Run, count: int) -> tuple[int, int, int]:
    """What a run of `count` reels is paid as: (symbol, count, coins). A tie is the longer run's."""
    symbol, wilds, wild_multiplier, multiplier = run
    as_wild = int(rules.pays[rules.payer, wilds]) * wild_multiplier if rules.payer != NONE else 0
    as_symbol = int(rules.pays[symbol, count]) * multiplier if symbol != NONE else 0
    if as_wild > as_symbol:
        return rules.payer, wilds, as_wild
    return symbol, count, as_symbol


def _line_pays(rules: Rules, reels: Sequence[Reel], lines: Sequence[Sequence[int]]) -> Pays:
    """Lines that see the same counts on every reel pay the same: each kind of line is computed once."""
    kinds: Counter[tuple[tuple[tuple[int, int], ...], ...]] = Counter(
        tuple(tuple(sorted(reel.cells[row].items())) for reel, row in zip(reels, line, strict=True))
        for line in lines
    )
    pays: Pays = Counter()
    for cells, number in kinds.items():
        for key, paid in _one_line(rules, [dict(cell) for cell in cells]).items():
            pays[key] += paid * number
    return pays


def _one_line(rules: Rules, cells: Sequence[Mapping[int, int]]) -> Pays:
    pays: Pays = Counter()
    runs: Counter[_Run] = Counter({(NONE, 0, 1, 1): 1})
    totals = [sum(cell.values()) for cell in cells]
    for reel, cell in enumerate(cells):
        rest = math.prod(totals[reel + 1 :])
        longer: Counter[_Run] = Counter()
        for run, weight in runs.items():
            ended = totals[reel]
            for following, more in _continuations(rules, run, cell):
                longer[following] += weight * more
                ended -= more
            _add(pays, best_of(rules, run, reel), weight * ended * rest)
        runs = longer
    for run, weight in runs.items():
        _add(pays, best_of(rules, run, len(cells)), weight)
    return pays


def _add(pays: Pays, paid: tuple[int, int, int], weight: int) -> None:
    symbol, count, coins = paid
    if coins and weight:
        pays[symbol, count] += coins * weight


def _continuations(rules: Rules, run: _Run, cell: Mapping[int, int]) -> list[tuple[_Run, int]]:
    """The runs that this one may grow into on the next reel, with the weight of each way."""
    symbol, wilds, wild_multiplier, multiplier = run
    grown: list[tuple[_Run, int]] = []
    for shown, weight in cell.items():
        if rules.wild[shown]:
            more = int(rules.multiplier[shown])
            if symbol == NONE:
                grown.append(((NONE, wilds + 1, wild_multiplier * more, multiplier * more), weight))
            elif rules.takes_wild[symbol]:
                grown.append(((symbol, wilds, wild_multiplier, multiplier * more), weight))
        elif symbol == NONE:
            if rules.regular[shown] and (rules.takes_wild[shown] or not wilds):
                grown.append(((shown, wilds, wild_multiplier, multiplier), weight))
        elif shown == symbol:
            grown.append((run, weight))
    return grown


def matches(rules: Rules, symbol: int, shown: Sequence[int]) -> int:
    """Ways that a window continues a run of `symbol`: one per cell, a wild as many as its multiplier."""
    return sum(
        1
        if cell == symbol
        else int(rules.multiplier[cell])
        if rules.wild[cell] and rules.takes_wild[symbol]
        else 0
        for cell in shown
    )


def _ways_pays(rules: Rules, reels: Sequence[Reel], _lines: Sequence[Sequence[int]]) -> Pays:
    pays: Pays = Counter()
    for symbol in range(len(rules.pays)):
        if not (rules.regular[symbol] and rules.pays[symbol].any()):
            continue
        ways = 1
        for reel, shown in enumerate(reels):
            rest = math.prod(later.total for later in reels[reel + 1 :])
            by_matches: Counter[int] = Counter()
            for view, weight in shown.views.items():
                by_matches[matches(rules, symbol, view.symbols)] += weight
            _add(pays, (symbol, reel, int(rules.pays[symbol, reel])), ways * by_matches[0] * rest)
            ways *= sum(number * weight for number, weight in by_matches.items())
        _add(pays, (symbol, len(reels), int(rules.pays[symbol, len(reels)])), ways)
    return pays


def _anywhere_pays(rules: Rules, reels: Sequence[Reel]) -> Pays:
    """Number of cells that count, whether the symbol itself is among them -> weight x multipliers."""
    pays: Pays = Counter()
    for symbol in range(len(rules.pays)):
        if not (rules.regular[symbol] and rules.pays[symbol].any()):
            continue
        numbers: Counter[tuple[int, bool]] = Counter({(0, False): 1})
        for reel in reels:
            shown: Counter[tuple[int, bool]] = Counter()
            for view, weight in reel.views.items():
                wilds = [cell for cell in view.symbols if rules.wild[cell] and rules.takes_wild[symbol]]
                own = view.symbols.count(symbol)
                factor = math.prod(int(rules.multiplier[cell]) for cell in wilds)
                shown[own + len(wilds), own > 0] += weight * factor
            convolved: Counter[tuple[int, bool]] = Counter()
            for (before, seen), weight in numbers.items():
                for (more, seen_here), factor in shown.items():
                    convolved[before + more, seen or seen_here] += weight * factor
            numbers = convolved
        for (number, seen), weight in numbers.items():
            if seen:
                _add(pays, (symbol, number, int(rules.pays[symbol, number])), weight)
    return pays
