"""What became of every request of the load, and how long each step took."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Of one proof. A retry is one more attempt of what no gateway can have begun; it is no failure."""

    spins: int = 0
    spins_retried: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    """refused: nobody listened. moved: a socket was closed with 1001 before the call was begun."""
    failures: list[str] = field(default_factory=list)
    """Everything else that was no answer, or not the answer to a spin: one line each."""
    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measures a step and says so, since a proof takes minutes."""
        start_s, spins = time.monotonic(), self.spins
        yield
        seconds = time.monotonic() - start_s
        self.steps.append((name, seconds))
        print(f"  {name}: {seconds:.1f} s, {self.spins - spins} spins", flush=True)

    def summary(self, title: str) -> str:
        """One line, and those of the failures."""
        retries = ", ".join(f"{count} {cause}" for cause, count in sorted(self.retries.items())) or "none"
        longest = max((seconds for _, seconds in self.steps), default=0.0)
        line = (
            f"{title}: {self.spins} spins, {len(self.failures)} failures, {self.spins_retried} retried"
            f" ({retries}), {len(self.steps)} steps, the longest {longest:.1f} s"
        )
        return "\n  ".join([line, *self.failures])
