"""What a paid screen may start: hold-and-win, a pick, free spins. Nothing here needs a decision."""

from __future__ import annotations

from services.game.engine import outcome, screens
from services.game.engine.definition import GameDefinition
from services.game.engine.rng import DrawSource
from services.game.engine.tables import Tables


def play_hold_and_win(
    game: GameDefinition, base: outcome.Screen, *, bet_minor: int, draws: DrawSource
) -> outcome.HoldAndWin | None:
    """The feature, when the paid screen holds enough coins; else None.

    Draws: a value for every coin that is there, in the order of the cells (reel by reel, from the top); then,
    respin by respin, over the empty cells in that order, whether a coin comes, and at once its value.
    """
    rules, values = game.hold_and_win, game.tables.coin_values
    assert rules is not None and values is not None
    grid = screens.last_grid(base)
    if _count(grid, game.tables.coin) < rules.trigger_count:
        return None
    empty: list[outcome.Cell] = []
    held: list[outcome.Cell] = []
    for reel, column in enumerate(grid):
        for row, name in enumerate(column):
            (held if name == game.tables.coin else empty).append((reel, row))

    def coin(cell: outcome.Cell, respin: int) -> outcome.Coin:
        return outcome.Coin(cell, respin, rules.values[values.draw(draws)].multiple * bet_minor)

    coins = [coin(cell, 0) for cell in held]
    respins, left = 0, rules.respins
    while empty and left:
        respins += 1
        still_empty = []
        for cell in empty:
            if draws.below(rules.coin_odds.of) < rules.coin_odds.hits:
                coins.append(coin(cell, respins))
            else:
                still_empty.append(cell)
        left = rules.respins if len(still_empty) < len(empty) else left - 1
        empty = still_empty
    full_win_minor = 0 if empty else rules.full_multiple * bet_minor
    win_minor = sum([held.win_minor for held in coins]) + full_win_minor
    return outcome.HoldAndWin(tuple(coins), respins, win_minor, full_win_minor)


def play_pick(
    game: GameDefinition, base: outcome.Screen, *, bet_minor: int, draws: DrawSource
) -> outcome.Pick | None:
    """The prize, when the paid screen holds enough bonus symbols; else None."""
    rules, prizes = game.pick, game.tables.prizes
    assert rules is not None and prizes is not None
    if _count(screens.last_grid(base), game.tables.bonus) < rules.trigger_count:
        return None
    prize = prizes.draw(draws)
    return outcome.Pick(prize, rules.prizes[prize].multiple * bet_minor)


def play_free_spins(
    tables: Tables, awarded: int, *, bet_minor: int, draws: DrawSource
) -> tuple[outcome.Screen, ...]:
    """All free spins of a round, retriggers included, at most `spins_max` of them."""
    assert tables.free is not None, "only a game with free spins awards any"
    played: list[outcome.Screen] = []
    granted = awarded
    while len(played) < granted:
        screen = screens.play_screen(tables, tables.free, bet_minor, tables.spins_max - granted, draws)
        granted += screen.free_spins_awarded
        played.append(screen)
    return tuple(played)


def _count(grid: outcome.Names, name: str) -> int:
    return sum([column.count(name) for column in grid])
