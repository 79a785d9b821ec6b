"""Spins: invariants that hold for every draw, checked against a second, naive reading of the rules."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.game.engine import definition, loading, outcome, play, rng
from services.game.engine.definition import GameDefinition
from tests.unit.game import naive, published

GAMES = {**loading.load_all(definition.SHIPPED_GAMES), "atkins-diet": published.atkins_diet()}
HARBOUR = GAMES["harbour-lights"]
EVERY_TIME = settings(max_examples=300, deadline=None, derandomize=True)


def steered(stops: list[int], *, seed: int) -> Callable[[int], bytes]:
    """A byte source whose first draws are `stops` (small words pass the rejection), then pseudo-random."""
    source = random.Random(seed)
    head = [struct.pack("<16I", *(stops + [source.getrandbits(16) for _ in range(16 - len(stops))]))]
    return lambda size: head.pop() if head else source.randbytes(size)


def lengths(game: GameDefinition, reels: str) -> list[int]:
    return [len(strip) for strip in game.strips[reels]]


def scatter_stops(game: GameDefinition, reels: str) -> list[list[bool]]:
    """[reel][stop] -> whether a scatter is visible."""
    scatters = naive.names_of(game, "scatter")
    return [
        [
            any(strip[(stop + row) % len(strip)] in scatters for row in range(game.grid.rows))
            for stop in range(len(strip))
        ]
        for strip in game.strips[reels]
    ]


@st.composite
def spins(draw: st.DrawFn) -> tuple[GameDefinition, int, rng.Draws]:
    """A game (sometimes with a cap so low that it bites), a stake and draws, half of them with scatters."""
    game = GAMES[draw(st.sampled_from(sorted(GAMES)))]
    cap = draw(st.sampled_from([1, 3, game.max_win_multiple]))
    game = msgspec.structs.replace(game, max_win_multiple=cap)
    bet_minor = draw(st.sampled_from([stake for ladder in game.stakes_minor.values() for stake in ladder]))
    favoured = draw(st.booleans())
    stops = [
        draw(st.sampled_from([stop for stop, seen in enumerate(scatters) if seen or not favoured] or [0]))
        for scatters in scatter_stops(game, "base")
    ]
    seed = draw(st.integers(min_value=0, max_value=2**32))
    return game, bet_minor, rng.Draws(steered(stops, seed=seed))


@settings(EVERY_TIME, max_examples=100)
@given(spins())
def test_a_spin_is_what_the_naive_reading_of_its_draws_tells(
    case: tuple[GameDefinition, int, rng.Draws],
) -> None:
    game, bet_minor, draws = case
    spin = play.spin(game, bet_minor=bet_minor, draws=draws)
    again = rng.ReplayedDraws(draws.log)
    assert naive.told(spin.outcome) == naive.play(game, bet_minor=bet_minor, mode="base", below=again.below)
    assert again.exhausted
    assert 0 <= spin.win_minor <= min(2**53, bet_minor * game.max_win_multiple)


@EVERY_TIME
@given(spins())
def test_every_awarded_free_spin_is_played(case: tuple[GameDefinition, int, rng.Draws]) -> None:
    game, bet_minor, draws = case
    shown = play.spin(game, bet_minor=bet_minor, draws=draws).outcome
    assert shown.base is not None
    awarded = [shown.base.free_spins_awarded, *(screen.free_spins_awarded for screen in shown.free_spins)]
    assert len(shown.free_spins) == sum(awarded)
    if game.free_spins is None:
        assert awarded == [0]
        return
    last_grid = shown.base.falls[-1].grid if shown.base.falls else shown.base.grid
    scatters = naive.count_of(game, "scatter", last_grid)
    assert awarded[0] == naive.highest_listed(game.free_spins.award, scatters)
    assert sum(awarded) <= game.free_spins.spins_max


@EVERY_TIME
@given(spins())
def test_the_draw_log_alone_derives_the_outcome_again(case: tuple[GameDefinition, int, rng.Draws]) -> None:
    game, bet_minor, draws = case
    spin = play.spin(game, bet_minor=bet_minor, draws=draws)
    replayed = rng.ReplayedDraws(rng.decode_draws(rng.encode_draws(draws.log)))
    assert play.spin(game, bet_minor=bet_minor, draws=replayed) == spin
    assert replayed.exhausted
    encoded = outcome.encode_outcome(spin.outcome)
    assert outcome.decode_outcome(encoded) == spin.outcome
    assert outcome.encode_outcome(outcome.decode_outcome(encoded)) == encoded


def test_retriggers_stop_at_the_limit_of_free_spins() -> None:
    assert HARBOUR.free_spins is not None
    free = [next(stop for stop, seen in enumerate(reel) if seen) for reel in scatter_stops(HARBOUR, "free")]
    base = [next(stop for stop, seen in enumerate(reel) if seen) for reel in scatter_stops(HARBOUR, "base")]
    log = list(zip(lengths(HARBOUR, "base"), base, strict=True))
    log += list(zip(lengths(HARBOUR, "free"), free, strict=True)) * HARBOUR.free_spins.spins_max
    draws = rng.ReplayedDraws(log)
    shown = play.spin(HARBOUR, bet_minor=20, draws=draws).outcome
    assert len(shown.free_spins) == HARBOUR.free_spins.spins_max
    assert draws.exhausted
    assert shown.free_spins[-1].free_spins_awarded == 0


def test_a_win_above_the_cap_is_the_cap() -> None:
    game = msgspec.structs.replace(HARBOUR, max_win_multiple=1)
    base = [next(stop for stop, seen in enumerate(reel) if seen) for reel in scatter_stops(game, "base")]
    spin = play.spin(game, bet_minor=20, draws=rng.Draws(steered(base, seed=1)))
    assert spin.win_minor == 20
    assert spin.outcome.capped


@pytest.mark.parametrize("bet_minor", [0, -20, 21, 20 * 2**40])
def test_a_refused_bet_draws_nothing(bet_minor: int) -> None:
    draws = rng.Draws()
    with pytest.raises(ValueError, match="bet"):
        play.spin(HARBOUR, bet_minor=bet_minor, draws=draws)
    assert draws.log == []


def test_a_bought_round_has_no_paid_screen_and_the_spins_it_bought() -> None:
    bought = definition.Mode(name="bought", cost=Decimal(40), rtp_target=HARBOUR.rtp_target, free_spins=8)
    game = msgspec.structs.replace(HARBOUR, modes=(bought,))
    draws = rng.Draws(random.Random(7).randbytes)
    shown = play.spin(game, bet_minor=20, mode="bought", draws=draws).outcome
    assert shown.base is None
    assert len(shown.free_spins) == 8 + sum(screen.free_spins_awarded for screen in shown.free_spins)
    assert [bound for bound, _ in draws.log] == lengths(game, "free") * len(shown.free_spins)
    with pytest.raises(ValueError, match="has no mode 'other'"):
        play.spin(game, bet_minor=20, mode="other", draws=draws)


def test_an_outcome_is_plain_json_by_reel() -> None:
    draws = rng.ReplayedDraws([(length, 0) for length in lengths(GAMES["double-dawn"], "base")])
    spin = play.spin(GAMES["double-dawn"], bet_minor=5, draws=draws)
    decoded = msgspec.json.decode(outcome.encode_outcome(spin.outcome))
    assert set(decoded) == {"base", "free_spins", "win_minor", "capped"}
    assert decoded["base"]["grid"] == [list(strip[:3]) for strip in GAMES["double-dawn"].strips["base"]]
    assert decoded["free_spins"] == []
