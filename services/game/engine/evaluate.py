"""What one screen pays: lines from the left with wilds, scatters anywhere. Integer arithmetic only."""

from __future__ import annotations

from collections.abc import Sequence

from services.game.engine import outcome, tables


def best_run(pays: tables.PayTable, symbols: Sequence[int]) -> tuple[int, int, int]:
    """The best paying run of one line from the left: (symbol id, count, multiple x line bet).

    Wilds at the start may pay as themselves or stand in for the first other symbol, whichever pays more;
    on a tie the longer, substituted run is shown. Multiple 0: the line pays nothing.
    """
    wild = pays.wild
    reels = len(symbols)
    wilds = 0
    while wilds < reels and symbols[wilds] == wild:
        wilds += 1
    wild_multiple = pays.line_multiples[wild][wilds] if wilds else 0
    if wilds == reels:
        return wild, wilds, wild_multiple
    # A scatter may be the target too: it has no line pays, so that nothing can stand in for it.
    target = symbols[wilds]
    count = wilds + 1
    while count < reels and symbols[count] in (target, wild):
        count += 1
    multiple = pays.line_multiples[target][count]
    if wild_multiple > multiple:
        return wild, wilds, wild_multiple
    return target, count, multiple


def line_wins(
    pays: tables.PayTable, cells: tables.Cells, *, line_bet_minor: int, multiplier: int
) -> tuple[outcome.LineWin, ...]:
    """Every paying line of a screen, in the order of the paylines."""
    wins = []
    live_starts = pays.live_starts
    for line, start, whole in pays.lines:
        if start(cells) not in live_starts:
            continue
        symbol, count, multiple = best_run(pays, whole(cells))
        if multiple:
            win_minor = multiple * line_bet_minor * multiplier
            wins.append(outcome.LineWin(line, pays.names[symbol], count, win_minor, multiplier))
    return tuple(wins)


def scatter_win(
    pays: tables.PayTable, count: int, *, stake_minor: int, multiplier: int
) -> outcome.ScatterWin | None:
    """What `count` scatters pay on the total stake; None when nothing."""
    multiple = tables.at_count(pays.scatter_multiples, count)
    if not multiple:
        return None
    win_minor = multiple * stake_minor * multiplier
    return outcome.ScatterWin(pays.names[pays.scatter], count, win_minor, multiplier)
