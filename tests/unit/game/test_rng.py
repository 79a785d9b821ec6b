"""Draws: uniform, logged, replayable. Statistics use fixed byte sources: a failure here is never bad luck."""

from __future__ import annotations

import itertools
import math
import random
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction

import msgspec
import pytest

from services.game.engine import play, rng
from tests.unit.game import published

Z_99 = 2.326
"""Quantile of the standard normal distribution at 99 % (GLI-19 v3.0 3.2.2 asks for 99 % confidence)."""
BOUNDS = (2, 3, 5, 6, 7, 10, 26, 27, 32, 38, 41, 52, 64, 97, 100, 255, 256, 257, 1000)
BIAS_MAX = Fraction(1, 50_000_000)
"""25 CFR 547.14(f): how far the likelihood of a value may be off."""


def critical_99(freedom: int) -> float:
    """Chi-square quantile at 99 % by Wilson and Hilferty: less than 1 % off."""
    return freedom * (1 - 2 / (9 * freedom) + Z_99 * math.sqrt(2 / (9 * freedom))) ** 3


def chi_square(counts: Sequence[int]) -> float:
    """Pearson's statistic against equal likelihood, len(counts) - 1 degrees of freedom."""
    mean = sum(counts) / len(counts)
    return sum((count - mean) ** 2 for count in counts) / mean


def values(draws: rng.Draws, bound: int, *, count: int) -> list[int]:
    return [draws.below(bound) for _ in range(count)]


def words(*given: int) -> Callable[[int], bytes]:
    """A byte source whose first 32-bit words are `given`, the rest zero."""
    packed = struct.pack(f"<{len(given)}I", *given)
    return lambda size: packed.ljust(size, b"\0")


@pytest.mark.parametrize("bound", BOUNDS)
def test_values_are_uniform(bound: int) -> None:
    draws = rng.Draws(random.Random(bound).randbytes)
    drawn = Counter(values(draws, bound, count=max(10_000, 20 * bound)))
    assert set(drawn) <= set(range(bound))
    assert chi_square([drawn[value] for value in range(bound)]) < critical_99(bound - 1)


@pytest.mark.parametrize("bound", [(1 << 32) + 1, 3 << 40, (1 << 64) - 1])
def test_values_of_two_words_are_uniform(bound: int) -> None:
    draws = rng.Draws(random.Random(7).randbytes)
    parts = Counter(value * 100 // bound for value in values(draws, bound, count=10_000))
    assert chi_square([parts[part] for part in range(100)]) < critical_99(99)


@pytest.mark.long
def test_values_of_the_operating_system_are_uniform() -> None:
    # One in a hundred passes the quantile by chance: of so many trials a few do, and not many more.
    trials = [(bound, trial) for bound in BOUNDS for trial in range(20)]
    above = 0
    for bound, _ in trials:
        drawn = Counter(values(rng.Draws(), bound, count=100 * max(bound, 50)))
        above += chi_square([drawn[value] for value in range(bound)]) >= critical_99(bound - 1)
    mean = len(trials) / 100
    assert above <= mean + 5 * math.sqrt(mean)


def test_consecutive_values_are_independent() -> None:
    drawn = values(rng.Draws(random.Random(4).randbytes), 10, count=100_000)
    pairs = Counter(zip(drawn[::2], drawn[1::2], strict=True))
    assert chi_square([pairs[a, b] for a in range(10) for b in range(10)]) < critical_99(99)


class Words:
    """Draws that read one word at a time, these first and then zeros, and how many were read."""

    def __init__(self, given: Sequence[int], *, bits: int = 32, reject_tail: bool = True) -> None:
        self.read = 0
        self._given = given
        format_ = struct.Struct("<B" if bits == 8 else "<I")
        self.draws = rng.Draws(self._word, words_format=format_, reject_tail=reject_tail)

    def _word(self, size: int) -> bytes:
        self.read += 1
        return (self._given[self.read - 1] if self.read <= len(self._given) else 0).to_bytes(size, "little")


def likelihoods(bound: int, *, words: int, reject_tail: bool = True) -> list[Fraction]:
    """Of every value, by trying each possible draw of one or two words of 8 bits."""
    drawn: Counter[int] = Counter()
    for given in itertools.product(range(256), repeat=words):
        source = Words(given, bits=8, reject_tail=reject_tail)
        value = source.draws.below(bound)
        if source.read == words:  # else it was thrown away, and the next ones taken
            drawn[value] += 1
    total = drawn.total()
    return [Fraction(drawn[value], total) for value in range(bound)]


@pytest.mark.parametrize("reject_tail", [True, False])
def test_no_value_is_favoured_whatever_the_words(reject_tail: bool) -> None:
    biased = [
        bound
        for bound in range(1, 257)
        if set(likelihoods(bound, words=1, reject_tail=reject_tail)) != {Fraction(1, bound)}
    ]
    # Without the guard only the powers of 2 come out even.
    assert biased == ([] if reject_tail else [bound for bound in range(1, 257) if 256 % bound])


@pytest.mark.parametrize("bound", [257, 1000, 40_000, 65_535])
def test_no_value_of_two_words_is_favoured(bound: int) -> None:
    assert set(likelihoods(bound, words=2)) == {Fraction(1, bound)}


@pytest.mark.parametrize(
    ("bound", "word_range"), [(41, 1 << 32), (3 << 30, 1 << 32), ((1 << 63) + 1, 1 << 64)]
)
def test_the_accepted_words_are_a_multiple_of_the_bound(bound: int, word_range: int) -> None:
    # Words cannot all be tried at full size: the first rejected one is found, and what is below it counted.
    def accepted(word: int) -> bool:
        given = [word] if word_range == 1 << 32 else [word >> 32, word % (1 << 32)]
        source = Words(given)
        source.draws.below(bound)
        return source.read == len(given)

    low, high = bound - 1, word_range  # accepted, and rejected or the end
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if accepted(middle) else (low, middle)
    count_max, count_min = -(-high // bound), high // bound
    bias = Fraction(count_max - count_min, high)
    assert bias <= BIAS_MAX
    assert bias == 0, "none at all, by design"
    assert word_range - high < bound, "no more is thrown away than must be"


def test_what_is_read_depends_on_the_sequence_of_bounds_alone() -> None:
    # Nothing of the house takes part: another bet or cap, other pays, and the same words give the same log.
    atkins = published.atkins_diet()
    poorer = {name: {count: 1 for count in values} for name, values in atkins.pays.items()}
    houses = [atkins, msgspec.structs.replace(atkins, max_win_multiple=1, pays=poorer)]
    for seed in range(20):
        logs = []
        for game, bet_minor in itertools.product(houses, (20, 100)):
            sizes: list[int] = []
            source = random.Random(seed)

            def read_bytes(size: int, sizes: list[int] = sizes, source: random.Random = source) -> bytes:
                sizes.append(size)
                return source.randbytes(size)

            draws = rng.Draws(read_bytes)
            play.spin(game, bet_minor=bet_minor, draws=draws)
            bounds = rng.Draws(random.Random(seed).randbytes)
            assert [(bound, bounds.below(bound)) for bound, _ in draws.log] == draws.log
            logs.append((draws.log, sizes))
        assert all(log == logs[0] for log in logs)


@pytest.mark.parametrize("reject_tail", [True, False])
def test_the_chi_square_sees_modulo_bias_when_the_guard_is_off(reject_tail: bool) -> None:
    # A bound of 3/4 of the word range is where a bare modulo is worst: the lowest third comes twice as often.
    bound = 3 << 30
    draws = rng.Draws(random.Random(5).randbytes, reject_tail=reject_tail)
    thirds = Counter(value >> 30 for value in values(draws, bound, count=3_000))
    uniform = chi_square([thirds[third] for third in range(3)]) < critical_99(2)
    assert uniform is reject_tail


def test_a_word_in_the_incomplete_multiple_is_thrown_away_and_not_logged() -> None:
    tail_start = rng.WORD_RANGE - rng.WORD_RANGE % 41
    draws = rng.Draws(words(tail_start, rng.WORD_RANGE - 1, tail_start - 1, 7))
    assert values(draws, 41, count=2) == [40, 7]
    assert draws.log == [(41, 40), (41, 7)]


def test_the_operating_system_is_the_default_source() -> None:
    first, second = rng.Draws(), rng.Draws()
    assert values(first, rng.WORD_RANGE, count=40) != values(second, rng.WORD_RANGE, count=40)


def test_every_word_is_used_once_and_in_order() -> None:
    source = random.Random(6)
    draws = rng.Draws(random.Random(6).randbytes)
    expected = [word for _ in range(3) for word in struct.unpack("<16I", source.randbytes(64))]
    assert values(draws, rng.WORD_RANGE, count=48) == expected


@pytest.mark.parametrize("bound", [0, -1, 1 << 64])
def test_an_impossible_bound_is_refused(bound: int) -> None:
    with pytest.raises(ValueError, match="bound must be within"):
        rng.Draws().below(bound)


def test_a_replay_gives_the_log_again_and_nothing_else() -> None:
    draws = rng.Draws()
    drawn = [draws.below(bound) for bound in (5, 41, 52)]
    replayed = rng.ReplayedDraws(rng.decode_draws(rng.encode_draws(draws.log)))
    assert not replayed.exhausted
    assert [replayed.below(bound) for bound in (5, 41, 52)] == drawn
    assert replayed.exhausted
    with pytest.raises(rng.ReplayMismatch, match="draw 3: the log ends here"):
        replayed.below(5)


@pytest.mark.parametrize("entry", [(40, 3), (41, 41), (41, -1)])
def test_a_replay_refuses_a_log_of_another_game(entry: rng.Draw) -> None:
    with pytest.raises(rng.ReplayMismatch, match="draw 0: asked below 41"):
        rng.ReplayedDraws([entry]).below(41)


def test_broken_draw_bytes_are_refused() -> None:
    for broken in (b"", b"\xc1", msgspec.msgpack.encode([[1, 2, 3]]), msgspec.msgpack.encode([["5", 1]])):
        with pytest.raises(msgspec.DecodeError):
            rng.decode_draws(broken)


def test_the_draw_hash_depends_on_key_round_and_draws() -> None:
    draws_bytes = rng.encode_draws([(41, 3)])

    def digest(key: bytes = b"k", round_id_bytes: bytes = bytes(16), draws: bytes = draws_bytes) -> str:
        return rng.draw_hash(key=key, round_id_bytes=round_id_bytes, draws_bytes=draws)

    digests = {digest(), digest(key=b"other"), digest(round_id_bytes=b"r" * 16), digest(draws=b"\x90")}
    assert len(digests) == 4
    assert digest() == digest()
    assert len(digest()) == 64
    with pytest.raises(ValueError, match="16 bytes"):
        digest(round_id_bytes=b"short")
