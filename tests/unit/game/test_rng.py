"""Draws: uniform, logged, replayable. Statistics use fixed byte sources: a failure here is never bad luck."""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import pytest

from services.game.engine import rng

CRITICAL_99 = {2: 9.210, 40: 63.691, 51: 77.386, 99: 134.642}
"""Chi-square quantiles at 99 %, by degrees of freedom (GLI-19 v3.0 3.2.2 asks for 99 % confidence)."""


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


@pytest.mark.parametrize("bound", [41, 52, 100])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_values_are_uniform(bound: int, seed: int) -> None:
    drawn = Counter(values(rng.Draws(random.Random(seed).randbytes), bound, count=50_000))
    assert set(drawn) <= set(range(bound))
    assert chi_square([drawn[value] for value in range(bound)]) < CRITICAL_99[bound - 1]


def test_consecutive_values_are_independent() -> None:
    drawn = values(rng.Draws(random.Random(4).randbytes), 10, count=100_000)
    pairs = Counter(zip(drawn[::2], drawn[1::2], strict=True))
    assert chi_square([pairs[a, b] for a in range(10) for b in range(10)]) < CRITICAL_99[99]


@pytest.mark.parametrize("reject_tail", [True, False])
def test_the_chi_square_sees_modulo_bias_when_the_guard_is_off(reject_tail: bool) -> None:
    # A bound of 3/4 of the word range is where a bare modulo is worst: the lowest third comes twice as often.
    bound = 3 << 30
    draws = rng.Draws(random.Random(5).randbytes, reject_tail=reject_tail)
    thirds = Counter(value >> 30 for value in values(draws, bound, count=3_000))
    uniform = chi_square([thirds[third] for third in range(3)]) < CRITICAL_99[2]
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


@pytest.mark.parametrize("bound", [0, -1, rng.WORD_RANGE + 1])
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
