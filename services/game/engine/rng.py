"""Random draws: the only place where a game meets chance, and the log that proves what was drawn.

Source of the requirements: GLI-19 v3.0, 3.2 and 3.3 (strong source, no scaling bias), 4.6 (used in order).
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

WORD_RANGE = 1 << 32
WORDS = struct.Struct("<16I")
"""64 bytes as 32-bit words, little-endian."""
_HASH_DOMAIN = b"reelmesh.draw.v1\0"

Draw = tuple[int, int]
"""(bound, value): one selection of `value` out of `bound` equally likely ones, 0 <= value < bound."""


class ReplayMismatch(ValueError):
    """The game asked for other draws than the log holds: wrong definition, stake or log."""


class DrawSource(Protocol):
    """What the rules need of chance. Two sources exist: `Draws` (live) and `ReplayedDraws` (offline)."""

    def below(self, bound: int) -> int:
        """One of 0 .. bound-1, each equally likely."""
        ...


class Draws:
    """The draws of one spin or one gamble step, from the operating system's CSPRNG, logged in order.

    Make a new one for each: `log` is then exactly that spin's draw log. Bytes are read 64 at a time and
    never outlive the spin, so no process (and no fork of it) ever holds the entropy of a later round.
    """

    __slots__ = ("_read_bytes", "_reject_tail", "_word_range", "_words", "_words_format", "log")

    def __init__(
        self,
        read_bytes: Callable[[int], bytes] = os.urandom,
        *,
        words_format: struct.Struct = WORDS,
        reject_tail: bool = True,
    ) -> None:
        """`read_bytes(n)` returns n bytes; `words_format` cuts them into words. Two settings are for tests:
        words so small that all of them can be tried, and `reject_tail=False`, a known failure that the test
        of uniformity has to see."""
        self.log: list[Draw] = []
        self._read_bytes = read_bytes
        self._reject_tail = reject_tail
        self._words: Iterator[int] = iter(())
        self._words_format = words_format
        self._word_range = WORD_RANGE if words_format is WORDS else _word_range(words_format)

    def below(self, bound: int) -> int:
        """One of 0 .. bound-1, each equally likely. Errors: ValueError unless 1 <= bound < 2**64.

        A bound up to 2**32 takes one word, a larger one two, the high word first.
        """
        word_range = self._word_range
        if not 0 < bound <= word_range:
            return self._below_two_words(bound)
        while True:
            for word in self._words:  # goes on where the last draw stopped
                value = word % bound
                # 2**32 is rarely a multiple of bound. The last, incomplete multiple would favour small
                # values, so a word in it is thrown away whatever it would have become: independent of the
                # game's state.
                if word - value <= word_range - bound or not self._reject_tail:
                    self.log.append((bound, value))
                    return value
            self._read_words()

    def _below_two_words(self, bound: int) -> int:
        wide_range = self._word_range * self._word_range
        # 2**64 itself would not fit the log.
        if not 0 < bound < wide_range:
            raise ValueError(f"bound must be within 1..2**64-1, not {bound}")
        while True:
            word = self._next_word() * self._word_range + self._next_word()
            value = word % bound
            if word - value <= wide_range - bound or not self._reject_tail:
                self.log.append((bound, value))
                return value

    def _next_word(self) -> int:
        for word in self._words:
            return word
        self._read_words()
        return next(self._words)

    def _read_words(self) -> None:
        self._words = iter(self._words_format.unpack(self._read_bytes(self._words_format.size)))


def _word_range(words_format: struct.Struct) -> int:
    words = len(words_format.unpack(bytes(words_format.size)))
    return 1 << (8 * words_format.size // words)


class ReplayedDraws:
    """The draws of a recorded spin, given again in order: re-derives an outcome without any chance."""

    __slots__ = ("_position", "log")

    def __init__(self, log: Sequence[Draw]) -> None:
        self.log: tuple[Draw, ...] = tuple(log)
        self._position = 0

    def below(self, bound: int) -> int:
        """The next recorded value. Errors: ReplayMismatch when the log ends or was made for another bound."""
        if self.exhausted:
            raise ReplayMismatch(f"draw {self._position}: the log ends here")
        logged_bound, value = self.log[self._position]
        if logged_bound != bound or not 0 <= value < bound:
            raise ReplayMismatch(
                f"draw {self._position}: asked below {bound}, log has {value} of {logged_bound}"
            )
        self._position += 1
        return value

    @property
    def exhausted(self) -> bool:
        """True when every recorded draw was used. A proof is complete only then."""
        return self._position == len(self.log)


def encode_draws(log: Sequence[Draw]) -> bytes:
    """The draw log as MessagePack: an array of [bound, value]; about 3 bytes a draw."""
    return msgspec.msgpack.encode(log)


def decode_draws(draws_bytes: bytes) -> list[Draw]:
    """The log that `encode_draws` wrote. Errors: msgspec.DecodeError."""
    return msgspec.msgpack.decode(draws_bytes, type=list[Draw])


def draw_hash(*, key: bytes, round_id_bytes: bytes, draws_bytes: bytes) -> str:
    """HMAC-SHA256 (hex) over the round and its draws: safe to show before the stake is known to be applied.

    It must be keyed: a plain hash of so few draws could be reversed by trying them all (R2).
    `round_id_bytes` is the 16-byte UUID, its fixed size keeps the two fields apart. Errors: ValueError.
    """
    if len(round_id_bytes) != 16:
        raise ValueError(f"round_id_bytes must be 16 bytes, not {len(round_id_bytes)}")
    return hmac.digest(key, _HASH_DOMAIN + round_id_bytes + draws_bytes, "sha256").hex()
