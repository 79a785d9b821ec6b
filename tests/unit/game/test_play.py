"""Spins: invariants that hold for every draw, checked against a second, naive reading of the rules."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.game.engine import definition, outcome, play, rng
from services.game.engine.definition import GameDefinition
from tests.unit.game import naive, published

GAMES = {**definition.load_all(definition.SHIPPED_GAMES), "atkins-diet": published.atkins_diet()}
HARBOUR = GAMES["harbour-lights"]
EVERY_TIME = settings(max_examples=300, deadline=None, derandomize=True)


def steered(stops: list[int], *, seed: int) -> Callable[[int], bytes]:
    """A byte source whose first draws are `stops` (small words pass the rejection), then pseudo-random."""
    source = random.Random(seed)
    head = [struct.pack("<16I", *(stops + [source.getrandbits(16) for _ in range(16 - len(stops))]))]
    return lambda size: head.pop() if head else source.randbytes(size)


@st.composite
def spins(draw: st.DrawFn) -> tuple[GameDefinition, int, rng.Draws]:
    """A game (sometimes with a cap so low that it bites), a stake and draws, half of them with scatters."""
    game = GAMES[draw(st.sampled_from(sorted(GAMES)))]
    cap = draw(st.sampled_from([1, 3, game.max_win_multiple]))
    game = msgspec.structs.replace(game, max_win_multiple=cap)
    stake_minor = draw(st.sampled_from([stake for ladder in game.stakes_minor.values() for stake in ladder]))
    favoured = draw(st.booleans())
    stops = [
        draw(st.sampled_from([stop for stop, seen in enumerate(scatters) if seen or not favoured] or [0]))
        for scatters in game.base_reels.scatters
    ]
    seed = draw(st.integers(min_value=0, max_value=2**32))
    return game, stake_minor, rng.Draws(steered(stops, seed=seed))


def check_screen(game: GameDefinition, screen: outcome.Screen, *, stake_minor: int, multiplier: int) -> None:
    """The screen pays what the naive reading pays, and its parts add up."""
    line_bet_minor = stake_minor // len(game.paylines)
    expected = naive.line_wins(game, screen.grid, line_bet_minor=line_bet_minor * multiplier)
    assert {win.line: win.win_minor for win in screen.line_wins} == expected
    for win in screen.line_wins:
        shown = [screen.grid[reel][game.paylines[win.line][reel]] for reel in range(win.count)]
        assert set(shown) <= {win.symbol} | naive.names_of(game, "wild")
        assert win.win_minor == game.pays[win.symbol][win.count] * line_bet_minor * multiplier
        assert win.multiplier == multiplier
    scatters = naive.scatter_count(game, screen.grid)
    scatter_minor = naive.highest_listed(game.scatter_pays, scatters) * stake_minor * multiplier
    if screen.scatter_win:
        assert screen.scatter_win.count == scatters
        assert screen.scatter_win.multiplier == multiplier
    assert (screen.scatter_win.win_minor if screen.scatter_win else 0) == scatter_minor
    assert screen.win_minor == sum(expected.values()) + scatter_minor


@EVERY_TIME
@given(spins())
def test_a_spin_pays_what_its_screens_show_up_to_the_cap(case: tuple[GameDefinition, int, rng.Draws]) -> None:
    game, stake_minor, draws = case
    spin = play.spin(game, stake_minor=stake_minor, draws=draws)
    shown = spin.outcome
    check_screen(game, shown.base, stake_minor=stake_minor, multiplier=1)
    for screen in shown.free_spins:
        assert game.free_spins is not None
        check_screen(game, screen, stake_minor=stake_minor, multiplier=game.free_spins.multiplier)
    sum_minor = shown.base.win_minor + sum(screen.win_minor for screen in shown.free_spins)
    cap_minor = stake_minor * game.max_win_multiple
    assert spin.win_minor == shown.win_minor == min(sum_minor, cap_minor)
    assert shown.capped is (sum_minor > cap_minor)
    assert 0 <= spin.win_minor <= 2**53


@EVERY_TIME
@given(spins())
def test_every_awarded_free_spin_is_played(case: tuple[GameDefinition, int, rng.Draws]) -> None:
    game, stake_minor, draws = case
    shown = play.spin(game, stake_minor=stake_minor, draws=draws).outcome
    awarded = [shown.base.free_spins_awarded, *(screen.free_spins_awarded for screen in shown.free_spins)]
    assert len(shown.free_spins) == sum(awarded)
    if game.free_spins is None:
        assert awarded == [0]
        return
    scatters = naive.scatter_count(game, shown.base.grid)
    assert awarded[0] == naive.highest_listed(game.free_spins.award, scatters)
    assert sum(awarded) <= game.free_spins.spins_max


@EVERY_TIME
@given(spins())
def test_the_draw_log_alone_derives_the_outcome_again(case: tuple[GameDefinition, int, rng.Draws]) -> None:
    game, stake_minor, draws = case
    spin = play.spin(game, stake_minor=stake_minor, draws=draws)
    replayed = rng.ReplayedDraws(rng.decode_draws(rng.encode_draws(draws.log)))
    assert play.spin(game, stake_minor=stake_minor, draws=replayed) == spin
    assert replayed.exhausted
    encoded = outcome.encode_outcome(spin.outcome)
    assert outcome.decode_outcome(encoded) == spin.outcome
    assert outcome.encode_outcome(outcome.decode_outcome(encoded)) == encoded


def test_retriggers_stop_at_the_limit_of_free_spins() -> None:
    assert HARBOUR.free_spins is not None
    free = [next(stop for stop, seen in enumerate(reel) if seen) for reel in HARBOUR.free_reels.scatters]
    base = [next(stop for stop, seen in enumerate(reel) if seen) for reel in HARBOUR.base_reels.scatters]
    log = list(zip(HARBOUR.base_reels.lengths, base, strict=True))
    log += list(zip(HARBOUR.free_reels.lengths, free, strict=True)) * HARBOUR.free_spins.spins_max
    draws = rng.ReplayedDraws(log)
    shown = play.spin(HARBOUR, stake_minor=20, draws=draws).outcome
    assert len(shown.free_spins) == HARBOUR.free_spins.spins_max
    assert draws.exhausted
    assert shown.free_spins[-1].free_spins_awarded == 0


def test_a_win_above_the_cap_is_the_cap() -> None:
    game = msgspec.structs.replace(HARBOUR, max_win_multiple=1)
    base = [next(stop for stop, seen in enumerate(reel) if seen) for reel in game.base_reels.scatters]
    spin = play.spin(game, stake_minor=20, draws=rng.Draws(steered(base, seed=1)))
    assert spin.win_minor == 20
    assert spin.outcome.capped


@pytest.mark.parametrize("stake_minor", [0, -20, 21, 20 * 2**40])
def test_a_refused_stake_draws_nothing(stake_minor: int) -> None:
    draws = rng.Draws()
    with pytest.raises(ValueError, match="stake"):
        play.spin(HARBOUR, stake_minor=stake_minor, draws=draws)
    assert draws.log == []


def test_an_outcome_is_plain_json_by_reel() -> None:
    draws = rng.ReplayedDraws([(length, 0) for length in GAMES["double-dawn"].base_reels.lengths])
    spin = play.spin(GAMES["double-dawn"], stake_minor=5, draws=draws)
    decoded = msgspec.json.decode(outcome.encode_outcome(spin.outcome))
    assert set(decoded) == {"base", "free_spins", "win_minor", "capped"}
    assert decoded["base"]["grid"] == [list(strip[:3]) for strip in GAMES["double-dawn"].strips.base]
    assert decoded["free_spins"] == []
