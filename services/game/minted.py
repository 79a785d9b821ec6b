"""Rounds that this process drew and whose verdict is on its way: Finish need not read them back."""

from collections.abc import Iterable

from services.game.records import Round, State

# Some seconds of play: a verdict comes within the gateway's deadline, or from the reconciler, which may read.
ROUNDS_MAX = 8_192


class Minted:
    """Simple rounds as they were stored. What became of one meanwhile its rows decide, not this (R7)."""

    def __init__(self, *, rounds_max: int = ROUNDS_MAX) -> None:
        self._rounds: dict[str, Round] = {}
        self._rounds_max = rounds_max

    def add(self, rounds: Iterable[Round]) -> None:
        """Remembers rounds that are committed; the oldest ones are forgotten first."""
        for round_ in rounds:
            if round_.state is State.PENDING and not round_.offers_choice:
                self._rounds[round_.round_id] = round_
        while len(self._rounds) > self._rounds_max:
            del self._rounds[next(iter(self._rounds))]

    def take(self, round_id: str) -> Round | None:
        """A round, once: whoever comes again reads what is stored."""
        return self._rounds.pop(round_id, None)
