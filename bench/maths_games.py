"""Games for `make bench-maths` beside the shipped ones: one per kind of evaluation, unbalanced."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from services.game.engine.definition import (
    Cascade,
    FreeSpins,
    GameDefinition,
    Grid,
    Symbol,
)

_NAMES = ("RED", "BLUE", "GREEN", "GOLD", "PINK", "GREY", "TEAL", "PLUM", "LIME")


def _game(
    game_id: str,
    evaluation: Literal["ways", "clusters", "anywhere"],
    *,
    reels: int,
    rows: int,
    regular: int,
    pays: dict[int, int],
    cascade: Cascade | None = None,
) -> GameDefinition:
    """Cells drawn by weight, the first symbol the rarest; a wild, a scatter, free spins from 4 of them."""
    names = _NAMES[:regular]
    weights = {name: 6 + place for place, name in enumerate(names)} | {"WILD": 1, "SCATTER": 2}
    return GameDefinition(
        game_id=game_id,
        version=1,
        name=game_id,
        grid=Grid(reels=reels, rows=rows),
        symbols=(
            *(Symbol(name=name, kind="regular") for name in names),
            Symbol(name="WILD", kind="wild"),
            Symbol(name="SCATTER", kind="scatter"),
        ),
        stakes_minor={"EUR": (20,)},
        rtp_target=Decimal("0.95"),
        max_win_multiple=5000,
        weights={"base": (weights,) * reels, "free": (weights,) * reels},
        coins=20,
        free_spins=FreeSpins(award={4: 10}, multiplier=2, spins_max=50, retrigger={4: 5}),
        evaluation=evaluation,
        pays={
            name: {count: max(1, coins // (place + 1)) for count, coins in pays.items()}
            for place, name in enumerate(names)
        },
        cascade=cascade,
    )


def games() -> dict[str, GameDefinition]:
    """By id: 6x5 anywhere with falls, 5x5 clusters with falls, 5x3 of 243 ways."""
    cascade = Cascade(falls_max=30, multipliers=(1, 2, 3, 5))

    tumble, cluster, run = {8: 10, 10: 40, 12: 200}, {5: 10, 8: 40, 12: 200}, {3: 10, 4: 40, 5: 200}
    found = (
        _game("6x5-anywhere-falls", "anywhere", reels=6, rows=5, regular=9, pays=tumble, cascade=cascade),
        _game("5x5-clusters-falls", "clusters", reels=5, rows=5, regular=7, pays=cluster, cascade=cascade),
        _game("5x3-ways", "ways", reels=5, rows=3, regular=9, pays=run),
    )
    return {game.game_id: game for game in found}
