"""Checks of cascades, scatters, free spins, hold-and-win, pick and gamble."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from services.game.engine.checks.fault import (
    WEIGHT_SUM_MAX,
    Fault,
    by_count_faults,
    names_of,
    paid_sets,
    seen_max,
    used_sets,
    weight_faults,
)

if TYPE_CHECKING:
    from services.game.engine.definition import CoinValue, GameDefinition, HoldAndWin

GAMBLE_CHOICES = ("RED", "BLACK")
_SPINS_MAX = 1000
_CELLS_MAX = 250_000
"""Cells that the longest outcome may show: some 3 MB of JSON, so that one round cannot fill a store."""


_DRAWS_MAX = 250_000
"""Draws that the longest hold-and-win may take: some 1 MB of log, and no round that never ends."""


def faults(game: GameDefinition) -> Iterator[Fault]:
    """Faults, in the order of dependence."""
    yield from _cascade(game)
    yield from _scatters(game)
    yield from _free_spins(game)
    yield from _size(game)
    yield from _hold_and_win(game)
    yield from _pick(game)
    yield from _gamble(game)


def _cascade(game: GameDefinition) -> Iterator[Fault]:
    if game.cascade is None:
        return
    if not game.cascade.multipliers:
        yield Fault("cascade.multipliers", "must not be empty")
    for field in ("multipliers", "free_multipliers"):
        if len(getattr(game.cascade, field)) > game.cascade.falls_max + 1:
            yield Fault(f"cascade.{field}", "has more than the first grid and falls_max falls")
    if game.cascade.free_multipliers and game.free_spins is None:
        yield Fault("cascade.free_multipliers", "the game has no free spins")


def _scatters(game: GameDefinition) -> Iterator[Fault]:
    scatters = names_of(game, "scatter")
    if scatters and not game.scatter_pays and not game.free_spins:
        yield Fault("symbols", f"{scatters[0]} gives nothing: neither scatter_pays nor free_spins")
    if game.scatter_pays:
        if not scatters:
            yield Fault("scatter_pays", "the game has no scatter")
        yield from by_count_faults("scatter_pays", game.scatter_pays)
        yield from _seen(game, "scatter_pays", "scatter", max(game.scatter_pays), used_sets(game))
        if max(game.scatter_pays.values()) > game.max_win_multiple:
            yield Fault("scatter_pays", "pays more than max_win_multiple allows")


def _seen(game: GameDefinition, field: str, kind: str, count: int, reels: Sequence[str]) -> Iterator[Fault]:
    most = max(
        (sum(seen_max(game, name, set(names_of(game, kind)), drawn=True)) for name in reels), default=0
    )
    if count > most:
        yield Fault(field, f"{count} {kind} symbols cannot occur: at most {most} are seen")


def _free_spins(game: GameDefinition) -> Iterator[Fault]:
    free = game.free_spins
    if free is None:
        return
    if not names_of(game, "scatter"):
        yield Fault("free_spins", "the game has no scatter")
    yield from by_count_faults("free_spins.award", free.award)
    yield from _seen(game, "free_spins.award", "scatter", max(free.award), paid_sets(game))
    if free.retrigger:
        yield from by_count_faults("free_spins.retrigger", free.retrigger)
        yield from _seen(game, "free_spins.retrigger", "scatter", max(free.retrigger), ["free"])
    if free.spins_max < max(free.award.values()):
        yield Fault("free_spins.spins_max", "is less than one award")
    if free.spins_max > _SPINS_MAX:
        yield Fault("free_spins.spins_max", f"is more than {_SPINS_MAX}")


def _size(game: GameDefinition) -> Iterator[Fault]:
    screens = 1 + (game.free_spins.spins_max if game.free_spins else 0)
    grids = 1 + (game.cascade.falls_max if game.cascade else 0)
    cells = screens * grids * game.grid.reels * game.grid.rows
    if cells > _CELLS_MAX:
        field = "cascade.falls_max" if game.cascade else "free_spins.spins_max"
        yield Fault(field, f"one outcome could show {cells} cells, at most {_CELLS_MAX} are stored")


def _hold_and_win(game: GameDefinition) -> Iterator[Fault]:
    coins = names_of(game, "coin")
    rules = game.hold_and_win
    if rules is None:
        if coins:
            yield Fault("symbols", f"{coins[0]} gives nothing: the game has no hold_and_win")
        return
    yield from _trigger(game, "hold_and_win", "coin", rules.trigger_count)
    if rules.coin_odds.hits > rules.coin_odds.of:
        yield Fault("hold_and_win.coin_odds", "hits more than it tries")
    if rules.coin_odds.of > WEIGHT_SUM_MAX:
        yield Fault("hold_and_win.coin_odds.of", "is above 2**32")
    yield from _respins(game, rules)
    yield from _multiples(game, "hold_and_win.values", rules.values)
    if rules.full_multiple > game.max_win_multiple:
        yield Fault("hold_and_win.full_multiple", "is above max_win_multiple")


def _respins(game: GameDefinition, rules: HoldAndWin) -> Iterator[Fault]:
    # The longest: each coin comes alone, in the last respin that may bring it.
    empty = game.grid.reels * game.grid.rows - rules.trigger_count
    draws = rules.respins * empty * (empty + 1) // 2
    if draws > _DRAWS_MAX:
        problem = f"one outcome could take {draws} draws, at most {_DRAWS_MAX} are kept"
        yield Fault("hold_and_win.respins", problem)


def _pick(game: GameDefinition) -> Iterator[Fault]:
    bonuses = names_of(game, "bonus")
    if game.pick is None:
        if bonuses:
            yield Fault("symbols", f"{bonuses[0]} gives nothing: the game has no pick")
        return
    yield from _trigger(game, "pick", "bonus", game.pick.trigger_count)
    yield from _multiples(game, "pick.prizes", game.pick.prizes)


def _trigger(game: GameDefinition, field: str, kind: str, count: int) -> Iterator[Fault]:
    names = names_of(game, kind)
    if not names:
        yield Fault(field, f"the game has no {kind}")
    cells = game.grid.reels * game.grid.rows
    if count > cells:
        yield Fault(f"{field}.trigger_count", f"is more than the {cells} cells")
    yield from _seen(game, f"{field}.trigger_count", kind, count, paid_sets(game))
    # Only the paid screen starts the feature.
    if game.free_spins and any(seen_max(game, "free", set(names), drawn=True)):
        where = "strips" if "free" in game.strips else "weights"
        yield Fault(f"{where}.free", f"{names[0]} does nothing in free spins")


def _multiples(game: GameDefinition, field: str, values: Sequence[CoinValue]) -> Iterator[Fault]:
    yield from weight_faults(field, [value.weight for value in values])
    for index, value in enumerate(values):
        if value.multiple > game.max_win_multiple:
            yield Fault(f"{field}[{index}].multiple", "is above max_win_multiple")


def _gamble(game: GameDefinition) -> Iterator[Fault]:
    if game.gamble is None:
        return
    if game.gamble.choices != GAMBLE_CHOICES:
        yield Fault("gamble.choices", f"must be {list(GAMBLE_CHOICES)}")
    if game.gamble.win_multiple_max > game.max_win_multiple:
        yield Fault("gamble.win_multiple_max", "is above max_win_multiple")
