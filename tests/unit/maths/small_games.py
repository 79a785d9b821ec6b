"""Small definitions of every mechanic, made from a random generator: nothing about them is balanced."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Literal, get_args

from services.game.engine import definition
from services.game.engine.definition import GameDefinition, Symbol

REGULAR = ("A", "B", "C", "D")
Evaluation = Literal["lines", "ways", "clusters", "anywhere"]
EVALUATIONS: tuple[Evaluation, ...] = get_args(Evaluation)
DIRECTIONS: tuple[Literal["left", "right", "both"], ...] = ("left", "right", "both")


def small_game(rng: random.Random, evaluation: Evaluation, *, cascade: bool, weights: bool) -> GameDefinition:
    """A game with free spins and modes; hold-and-win, pick, multipliers, expanding wilds as the dice fall."""
    reels, rows = rng.randint(3, 5), rng.randint(2, 4)
    symbols = _symbols(rng, cascade=cascade)
    sets = {name: _reels(rng, symbols, reels, name, weights=weights) for name in ("base", "free", "ante")}
    lines = {tuple(rng.randrange(rows) for _ in range(reels)) for _ in range(rng.randint(1, 8))}
    by_weight = {name for name in sets if weights and rng.random() < 0.9}
    return GameDefinition(
        game_id="small",
        version=1,
        name="Small",
        grid=definition.Grid(reels=reels, rows=rows),
        symbols=symbols,
        pays=_pays(rng, symbols, evaluation, reels, reels * rows),
        stakes_minor={"EUR": (20,)},
        rtp_target=Decimal("0.95"),
        max_win_multiple=rng.choice([3, 1000]),
        strips={name: _strips(rng, sets[name]) for name in sets if name not in by_weight},
        weights={name: sets[name] for name in sets if name in by_weight},
        evaluation=evaluation,
        paylines=tuple(sorted(lines)) if evaluation == "lines" else (),
        direction=rng.choice(DIRECTIONS) if evaluation in ("lines", "ways") else "left",
        coins=rng.choice([1, 7, 20]),
        scatter_pays=rng.choice([{}, {2: 1, 3: 4}]),
        free_spins=definition.FreeSpins(
            award={2: 2, 3: 5},
            multiplier=rng.randint(1, 3),
            spins_max=9,
            retrigger=rng.choice([{}, {2: 1, 3: 3}]),
        ),
        cascade=_cascade(rng) if cascade else None,
        hold_and_win=_hold_and_win(rng) if "COIN" in {s.name for s in symbols} else None,
        pick=_pick(rng) if "BONUS" in {s.name for s in symbols} else None,
        modes=(
            definition.Mode(name="ante", cost=Decimal("1.25"), rtp_target=Decimal("0.95"), reels="ante"),
            definition.Mode(name="buy", cost=Decimal(40), rtp_target=Decimal("0.95"), free_spins=3),
        ),
    )


def _symbols(rng: random.Random, *, cascade: bool) -> tuple[Symbol, ...]:
    regular = REGULAR[: rng.randint(2, 4)]  # few, so that runs over all reels happen
    symbols = [Symbol(name=name, kind="regular", takes_wild=rng.random() < 0.8) for name in regular]
    for name in rng.sample(["WILD", "WILD_B"], rng.randint(0, 2)):
        expands = not cascade and rng.random() < 0.4
        symbols.append(Symbol(name=name, kind="wild", multiplier=rng.choice([1, 1, 2, 3]), expands=expands))
    symbols.append(Symbol(name="SCATTER", kind="scatter"))
    if rng.random() < 0.5:
        symbols.append(Symbol(name="BONUS", kind="bonus"))
    if rng.random() < 0.5:
        symbols.append(Symbol(name="COIN", kind="coin"))
    rng.shuffle(symbols)
    return tuple(symbols)


def _reels(
    rng: random.Random, symbols: tuple[Symbol, ...], reels: int, name: str, *, weights: bool
) -> tuple[dict[str, int], ...]:
    """Symbol -> weight by reel. Coins are on paid reels only; large sums need the coarse guide."""
    scale = rng.choice([1, 1, 997]) if weights else 1
    common = {"regular": 4, "wild": 3, "coin": 0 if name == "free" else 3}
    return tuple(
        {s.name: w for s in symbols if (w := rng.randint(0, common.get(s.kind, 2)) * scale)} or {"A": 1}
        for _ in range(reels)
    )


def _strips(rng: random.Random, reels: tuple[dict[str, int], ...]) -> tuple[tuple[str, ...], ...]:
    strips = []
    for reel in reels:
        strip = [name for name, weight in reel.items() for _ in range(min(weight, 2))] + ["A", "B"]
        rng.shuffle(strip)
        strips.append(tuple(strip))
    return tuple(strips)


def _pays(
    rng: random.Random, symbols: tuple[Symbol, ...], evaluation: str, reels: int, cells: int
) -> dict[str, dict[int, int]]:
    kinds = ("regular", "wild") if evaluation == "lines" else ("regular",)
    paying = [symbol for symbol in symbols if symbol.kind in kinds and rng.random() < 0.9]
    wild = next((symbol for symbol in paying if symbol.kind == "wild"), None)
    paying = [symbol for symbol in paying if symbol.kind != "wild" or symbol is wild]
    if evaluation in ("lines", "ways"):
        counts = range(rng.randint(2, 3), reels + 1)
    else:
        counts = range(rng.randint(3, 4), cells, 3)
    pays = {}
    for symbol in paying or [next(symbol for symbol in symbols if symbol.kind == "regular")]:
        values = sorted(rng.randint(1, 30) for _ in counts)
        pays[symbol.name] = dict(zip(counts, values, strict=True))
    return pays


def _cascade(rng: random.Random) -> definition.Cascade:
    return definition.Cascade(
        falls_max=rng.randint(1, 6),
        multipliers=rng.choice([(1,), (1, 2, 3, 5)]),
        free_multipliers=rng.choice([(), (2, 4)]),
    )


def _values(rng: random.Random) -> tuple[definition.CoinValue, ...]:
    return tuple(
        definition.CoinValue(weight=rng.randint(1, 9), multiple=rng.randint(1, 20))
        for _ in range(rng.randint(1, 4))
    )


def _hold_and_win(rng: random.Random) -> definition.HoldAndWin:
    return definition.HoldAndWin(
        trigger_count=rng.randint(1, 3),
        respins=rng.randint(1, 3),
        coin_odds=definition.Odds(hits=rng.randint(1, 3), of=rng.choice([4, 10])),
        values=_values(rng),
        full_multiple=rng.choice([0, 50]),
    )


def _pick(rng: random.Random) -> definition.Pick:
    return definition.Pick(trigger_count=rng.randint(1, 2), prizes=_values(rng))
