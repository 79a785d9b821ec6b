"""Everything that is known of a game's returns: exact where there is a method, else simulated."""

from __future__ import annotations

import math
from fractions import Fraction
from statistics import NormalDist

import msgspec

from services.game.engine.definition import GameDefinition, Mode
from services.game.maths import distribution, limits, rounds
from services.game.maths.result import Z99
from services.game.maths.rounds import Round
from services.game.maths.screens import NoExactMethod
from services.game.maths.simulate import simulate

SIMULATED_SPINS = 1 << 21
SIMULATED_SEED = 1
SPREAD_SPINS = (10**3, 10**4, 10**5, 10**6, 10**7)
CONFIDENCES = (90, 95, 99)
"""Per cent, two-sided."""
CLASSES = ((2.5, "low"), (3.5, "medium-low"), (5.0, "medium"), (8.0, "medium-high"), (math.inf, "high"))
"""Standard deviation x stake, below -> volatility class."""


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """A figure. `fraction` is there when it is exact."""

    value: float
    fraction: str | None = None
    interval_99: tuple[float, float] | None = None
    """Of a simulated figure."""


class SymbolReturn(msgspec.Struct, frozen=True):
    """RTP of one symbol and count, on the paid screen and in free spins."""

    symbol: str
    count: int
    paid: float
    free: float


class MaxWin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The highest win, x bet."""

    multiple: float
    is_cap: bool
    probability: Value | None
    probability_bound: float


class BandShare(msgspec.Struct, frozen=True):
    """Wins from `low` to below `high` x stake; 0 to 0 is no win, the next band begins above 0."""

    low: int
    high: int | None
    probability: float
    rtp: float


class Volatility(msgspec.Struct, frozen=True):
    """In stakes; `index` is z x deviation by confidence in per cent."""

    variance: Value
    deviation: float
    index: dict[str, float]
    volatility_class: str
    rtp_spread: dict[str, tuple[float, float]]
    """Spins -> RTP within which 95 % of such plays end, by the normal distribution."""


class ModeReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One mode of a game."""

    mode: str
    cost: str
    method: str
    """How the figures were found; for a simulation also why."""
    rtp: Value
    rtp_target: str
    features: dict[str, Value]
    symbols: tuple[SymbolReturn, ...] = ()
    hit_frequency: Value | None = None
    """Paid screens that pay: symbols, scatters, hold-and-win or the pick."""
    win_frequency: Value | None = None
    """Rounds that pay anything, free spins included."""
    triggers: dict[str, Value] = {}
    free_spins_mean: Value | None = None
    volatility: Volatility | None = None
    max_win: MaxWin | None = None
    cap_effect: tuple[float, float] | None = None
    """Bounds: P(sum above the cap), RTP that the cap takes."""
    spins_max_effect: float | None = None
    """RTP that the limit of free spins takes, at most."""
    bands: tuple[BandShare, ...] = ()
    bands_error: float | None = None
    """No band's probability is wrong by more; 0: exact."""
    simulated_spins: int = 0
    """Above 0: some figures are of a simulation, after the cap and the limits; `method` says which."""
    highest_seen: float | None = None
    """The simulation's highest win, x stake."""
    capped_seen: int | None = None
    """Its rounds that won more than the cap."""


class Report(msgspec.Struct, frozen=True):
    """A game."""

    game_id: str
    version: int
    definition_hash: str
    coins_per_bet: int
    modes: tuple[ModeReport, ...]


def report_of(game: GameDefinition, modes: tuple[str, ...] = (), *, spins: int = SIMULATED_SPINS) -> Report:
    """A report of some modes, or of all; `spins` rounds where a figure must be simulated.

    Errors: KeyError for a mode that the game has not.
    """
    chosen = [game.modes_by_name[name] for name in modes or tuple(game.modes_by_name)]
    return Report(
        game_id=game.game_id,
        version=game.version,
        definition_hash=game.canonical_hash,
        coins_per_bet=game.coins_per_bet,
        modes=tuple(mode_report(game, mode, spins=spins) for mode in chosen),
    )


def mode_report(game: GameDefinition, mode: Mode, *, spins: int = SIMULATED_SPINS) -> ModeReport:
    """Exact as far as the game allows."""
    try:
        played = rounds.round_of(game, mode)
    except NoExactMethod as reason:
        return _simulated(game, mode, str(reason), spins)
    return _exact(played, spins)


def exact(value: Fraction) -> Value:
    """A figure with its fraction."""
    return Value(float(value), f"{value.numerator}/{value.denominator}")


def _exact(played: Round, simulated_spins: int) -> ModeReport:
    by_feature = rounds.returns(played)
    rtp = rounds.rtp(played)
    variance = rounds.variance(played)
    found = distribution.distribution_of(played)
    hits = rounds.hit_frequency(played)
    cut = limits.cut_by_cap(played, found, variance)
    spins = rounds.free_spins_mean(played)
    known = ModeReport(
        mode=played.mode.name,
        cost=str(played.mode.cost),
        method="exact: " + ", then ".join(screen.method for screen in played.screens),
        rtp=exact(rtp),
        rtp_target=str(played.mode.rtp_target),
        features={name: exact(share) for name, share in by_feature.items() if share},
        symbols=tuple(
            SymbolReturn(symbol, count, float(paid), float(free))
            for (symbol, count), (paid, free) in rounds.symbol_returns(played).items()
        ),
        hit_frequency=exact(hits) if hits is not None else None,
        win_frequency=_win_frequency(found) if found is not None else None,
        triggers={name: exact(rate) for name, rate in rounds.triggers(played).items()},
        free_spins_mean=exact(spins) if spins else None,
        volatility=_volatility(float(rtp), exact(variance)) if variance is not None else None,
        max_win=_max_win(played, limits.highest_win(played, found)),
        cap_effect=(cut.probability_bound, cut.rtp_bound) if cut is not None else None,
        spins_max_effect=rounds.limit_effect(played) if played.tree is not None else None,
        bands=tuple(
            BandShare(*band) for band in distribution.bands(found, stake_coins=played.stake_coins)
        ) if found is not None else (),
        bands_error=found.error if found is not None else None,
    )  # fmt: skip
    if found is not None:
        return known
    seen = _simulated(played.game, played.mode, "", simulated_spins)
    return msgspec.structs.replace(
        known,
        method=known.method + "; no exact method for rounds that pay and deviation: simulated",
        win_frequency=seen.win_frequency,
        volatility=known.volatility or seen.volatility,
        simulated_spins=seen.simulated_spins,
        highest_seen=seen.highest_seen,
    )


def _win_frequency(found: distribution.Distribution) -> Value:
    if found.exact is not None:
        return exact(1 - found.exact.get(0, Fraction(0)))
    return Value(1 - float(found.probabilities[0]) if found.coins[0] == 0 else 1.0)


def _volatility(rtp: float, variance: Value) -> Volatility:
    deviation = math.sqrt(variance.value)
    z95 = NormalDist().inv_cdf(0.975)
    return Volatility(
        variance=variance,
        deviation=deviation,
        index={str(c): NormalDist().inv_cdf(0.5 + c / 200) * deviation for c in CONFIDENCES},
        volatility_class=next(name for below, name in CLASSES if deviation < below),
        rtp_spread={
            str(spins): (rtp - z95 * deviation / math.sqrt(spins), rtp + z95 * deviation / math.sqrt(spins))
            for spins in SPREAD_SPINS
        },
    )


def _max_win(played: Round, highest: limits.Highest | None) -> MaxWin | None:
    if highest is None:
        return None
    probability = exact(highest.exact) if highest.exact is not None else None
    if probability is None and highest.probability is not None:
        probability = Value(highest.probability)
    multiple = highest.coins / played.game.coins_per_bet
    return MaxWin(multiple, highest.is_cap, probability, highest.bound)


def _simulated(game: GameDefinition, mode: Mode, reason: str, spins: int) -> ModeReport:
    result = simulate(game, mode.name, spins=spins, seed=SIMULATED_SEED)
    rtp, half = float(result.rtp), result.half_width
    wins = result.hits / result.spins
    wins_half = Z99 * math.sqrt(wins * (1 - wins) / result.spins)
    rounds_with = {name: result.tally[f"{name}_rounds"] for name in ("free_spins", "hold_and_win", "pick")}
    return ModeReport(
        mode=mode.name,
        cost=str(mode.cost),
        method=f"simulated, as there is no exact method: {reason}",
        rtp=Value(rtp, interval_99=(rtp - half, rtp + half)),
        rtp_target=str(mode.rtp_target),
        features={
            {"base": "base_wins"}.get(name, name): Value(float(share))
            for name, share in result.parts.items()
            if share
        },
        win_frequency=Value(wins, interval_99=(wins - wins_half, wins + wins_half)),
        triggers={name: Value(number / result.spins) for name, number in rounds_with.items() if number},
        volatility=_volatility(rtp, Value(result.deviation**2)),
        free_spins_mean=Value(free_spins / result.spins)
        if (free_spins := result.tally["free_spins_played"])
        else None,
        simulated_spins=result.spins,
        highest_seen=float(result.win_max),
        capped_seen=result.tally["capped"],
    )
