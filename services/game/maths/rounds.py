"""A whole round of one mode: the paid screen with the features that follow from it. Amounts in coins."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from services.game.engine.definition import FREE, FreeSpins, GameDefinition, Mode
from services.game.maths import features, screens
from services.game.maths.features import NOTHING, FreeSpinTree, Hold, Moments
from services.game.maths.reels import Counts
from services.game.maths.rules import highest_listed
from services.game.maths.screens import Screen


class Follow(NamedTuple):
    """What a paid screen leads to: it depends on what the screen counts only."""

    scatter_coins: int
    free_spins: int
    hold_coins: int
    """Coins that hold-and-win starts with; 0 when it is not triggered."""
    pick: bool


class Round(NamedTuple):
    """The parts of a round, and how they hang together."""

    game: GameDefinition
    mode: Mode
    paid: Screen | None
    """None when the mode buys free spins."""
    free: Screen | None
    tree: FreeSpinTree | None
    hold: Hold | None
    prizes: Mapping[int, Fraction]
    """Of the pick: amount -> probability."""

    @property
    def stake_coins(self) -> Fraction:
        return Fraction(self.mode.cost) * self.game.coins_per_bet

    @property
    def cap_coins(self) -> int:
        return self.game.max_win_multiple * self.game.coins_per_bet

    @property
    def screens(self) -> tuple[Screen, ...]:
        return tuple(screen for screen in (self.paid, self.free) if screen is not None)

    @property
    def feature(self) -> FreeSpins:
        assert self.game.free_spins is not None
        return self.game.free_spins

    def follow(self, counts: Counts) -> Follow:
        """What follows from what the last grid of the paid screen counts."""
        game = self.game
        award = game.free_spins.award if game.free_spins else {}
        hold, pick = game.hold_and_win, game.pick
        return Follow(
            scatter_coins=highest_listed(game.scatter_pays, counts.scatters) * game.coins_per_bet,
            free_spins=highest_listed(award, counts.scatters),
            hold_coins=counts.coins if hold and counts.coins >= hold.trigger_count else 0,
            pick=bool(pick and counts.bonuses >= pick.trigger_count),
        )

    def follows(self) -> dict[Follow, Fraction]:
        """Everything that a paid (or bought) start leads to -> probability."""
        if self.paid is None:
            return {Follow(0, self.mode.free_spins, 0, False): Fraction(1)}
        found: dict[Follow, Fraction] = {}
        for counts, p in self.paid.counts.items():
            follow = self.follow(counts)
            found[follow] = found.get(follow, NOTHING) + p
        return found

    def feature_moments(self, follow: Follow) -> Moments | None:
        """Of all that follows, scatters not included; None when the variance is not known."""
        mean, variance = NOTHING, NOTHING
        if follow.free_spins and self.tree is not None:
            if self.tree.variance is None:
                return None
            mean += follow.free_spins * self.tree.mean
            variance += follow.free_spins * self.tree.variance
        parts = [self.hold.moments(follow.hold_coins)] if follow.hold_coins and self.hold else []
        parts += [features.moments_of(self.prizes)] if follow.pick else []
        return Moments(
            mean + sum((part.mean for part in parts), NOTHING),
            variance + sum((part.variance for part in parts), NOTHING),
        )


def round_of(game: GameDefinition, mode: Mode) -> Round:
    """Every part of a round by its exact method. Errors: screens.NoExactMethod."""
    paid = None if mode.free_spins else screens.screen_of(game, mode.reels, free=False)
    free = tree = hold = None
    if game.free_spins is not None:
        free = screens.screen_of(game, FREE, free=True)
        try:
            tree = features.free_spin_tree(game, game.free_spins, free)
        except ValueError as error:
            raise screens.NoExactMethod(str(error)) from error
    if game.hold_and_win is not None:
        cells = game.grid.reels * game.grid.rows
        hold = Hold(game.hold_and_win, cells=cells, coins_per_bet=game.coins_per_bet)
    prizes = features.prizes_of(game.pick.prizes, game.coins_per_bet) if game.pick else {}
    return Round(game, mode, paid, free, tree, hold, prizes)


def returns(played: Round) -> dict[str, Fraction]:
    """RTP by feature; its sum is the RTP, before the cap and the limit of free spins."""
    coins = {
        "base_wins": played.paid.mean_coins if played.paid else NOTHING,
        "scatter": NOTHING,
        "free_spins": NOTHING,
        "hold_and_win": NOTHING,
        "pick": NOTHING,
    }
    prize = features.moments_of(played.prizes).mean
    for follow, p in played.follows().items():
        coins["scatter"] += follow.scatter_coins * p
        if played.tree is not None:
            coins["free_spins"] += follow.free_spins * played.tree.mean * p
        if follow.hold_coins and played.hold is not None:
            coins["hold_and_win"] += played.hold.moments(follow.hold_coins).mean * p
        if follow.pick:
            coins["pick"] += prize * p
    return {feature: mean / played.stake_coins for feature, mean in coins.items()}


def rtp(played: Round) -> Fraction:
    """All of `returns`."""
    return sum(returns(played).values(), NOTHING)


def free_spins_mean(played: Round) -> Fraction:
    """Free spins of a round, retriggers included."""
    if played.tree is None:
        return NOTHING
    return sum((follow.free_spins * p for follow, p in played.follows().items()), NOTHING) * played.tree.spins


def symbol_returns(played: Round) -> dict[tuple[str, int], tuple[Fraction, Fraction]]:
    """(symbol, count) -> RTP on the paid screen, RTP in free spins."""
    paid = dict(played.paid.pays) if played.paid else {}
    free = {}
    if played.free is not None:
        factor = free_spins_mean(played) * played.feature.multiplier
        free = {key: coins * factor for key, coins in played.free.pays.items()}
    return {
        key: (paid.get(key, NOTHING) / played.stake_coins, free.get(key, NOTHING) / played.stake_coins)
        for key in sorted({*paid, *free})
    }


def hit_frequency(played: Round) -> Fraction | None:
    """Probability that the paid screen pays: symbols, scatters, hold-and-win or the pick. None: not known,
    or no paid screen."""
    if played.paid is None or played.paid.histogram is None:
        return None

    pays_anyway = {}
    for counts in played.paid.counts:
        follow = played.follow(counts)
        pays_anyway[counts] = follow.scatter_coins > 0 or follow.hold_coins > 0 or follow.pick
    return played.paid.histogram.chance_of(lambda counts, coins: coins > 0 or pays_anyway[counts])


def triggers(played: Round) -> dict[str, Fraction]:
    """Probability of each feature in a round; `retrigger`: in a free spin."""
    follows = played.follows()
    rates = {
        "free_spins": sum((p for follow, p in follows.items() if follow.free_spins), NOTHING),
        "hold_and_win": sum((p for follow, p in follows.items() if follow.hold_coins), NOTHING),
        "pick": sum((p for follow, p in follows.items() if follow.pick), NOTHING),
    }
    if played.free is not None:
        rates["retrigger"] = sum(
            (p for counts, p in played.free.counts.items() if features.retriggered(played.feature, counts)),
            NOTHING,
        )
    return {name: rate for name, rate in rates.items() if rate}


def variance(played: Round) -> Fraction | None:
    """Of the win of a round per stake, before the cap; None when it is not known exactly."""
    within = NOTHING
    means: dict[Follow, Fraction] = {}
    for follow, p in played.follows().items():
        moments = played.feature_moments(follow)
        if moments is None:
            return None
        within += moments.variance * p
        means[follow] = moments.mean + follow.scatter_coins
    if played.paid is None:
        return within / played.stake_coins**2
    if played.paid.histogram is None:
        return None
    mean = sum(returns(played).values(), NOTHING) * played.stake_coins
    square = played.paid.histogram.mean_square(lambda counts: means[played.follow(counts)])
    return (within + square - mean * mean) / played.stake_coins**2


def limit_effect(played: Round) -> float:
    """RTP that `spins_max` takes away, at most."""
    if played.free is None or played.tree is None:
        return 0.0
    starts: dict[int, Fraction] = {}
    for follow, p in played.follows().items():
        starts[follow.free_spins] = starts.get(follow.free_spins, NOTHING) + p
    retriggers: dict[int, Fraction] = {}
    for counts, p in played.free.counts.items():
        more = features.retriggered(played.feature, counts)
        retriggers[more] = retriggers.get(more, NOTHING) + p
    lost = features.spins_lost(played.feature, starts, retriggers)
    return lost * float(played.tree.own_mean / played.stake_coins)
