"""`make bench-outage`: the events service away while a queue grows, then back while spins go on.

First the mesh at its peak with everything up and with the events process killed, in turn; then killed until
so many events wait in the outboxes; then spins at a fifth of the peak, and the events process again: how fast
the queue goes down, against what comes in. In the end books, chains and the number of events must agree.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec

from bench.cells import LoadClient
from bench.errors import BenchError
from bench.helpers import start_collector
from bench.load import Plan, Result
from bench.reelmesh import Reelmesh
from bench.servers import value
from deploy.local.errors import LocalError
from deploy.local.mesh import REPOSITORY
from services.common.db import create_engine
from services.events.verify import verifier

OUTPUT = REPOSITORY / "build" / "bench-outage.json"
EVENTS = 20_000
PLAYERS = 128
WINDOW_S = 4.0
PAIRS = 3
SHARE = 0.2
# What a spin writes for the events service: the wallet's and game's word.
EVENTS_PER_SPIN = 2
POLL_S = 0.2


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured in one run."""

    peak_spins_per_s: float
    peak_p99_ms: float
    away_to_peak: float
    """Spins per second with the events process dead over those with it, in turn; the median."""
    away_p99_ms: float
    queued: int
    """Events in the outboxes when the process came back."""
    input_events_per_s: float
    drained_events_per_s: float
    """Stored per second until the queue was empty."""
    drain_s: float
    drain_to_input: float
    during_spins_per_s: float
    during_p99_ms: float
    """Of the spins at a fifth of the peak, meanwhile."""
    lost: int
    """Rounds answered but not told. 0, or the run is void."""


class Outage:
    """A mesh, and one load after the other."""

    def __init__(self, subject: Reelmesh) -> None:
        self.subject = subject
        self._events = subject.postgres.reader("reelmesh_events")

    def play(self, *, rate_per_s: float = 0.0, window_s: float = WINDOW_S) -> Result:
        """A load to its end."""
        client = self.begin(rate_per_s=rate_per_s, window_s=window_s)
        return self.end(client)

    def pair(self) -> tuple[Result, Result]:
        """The peak with everything up, and without the events process, one after the other."""
        there = self.play()
        self.subject.wait_quiet()
        self.subject.mesh.kill("events")
        away = self.play()
        self.subject.mesh.start("events")
        self.subject.wait_quiet()
        return there, away

    def begin(self, *, rate_per_s: float, window_s: float) -> LoadClient:
        """Closed loop, or spins at a rate."""
        mode: Literal["open", "closed"] = "open" if rate_per_s else "closed"
        client = LoadClient(
            Plan(
                port=self.subject.port,
                tokens=self.subject.tokens,
                mode=mode,
                rate_per_s=rate_per_s,
                window_s=window_s,
            )
        )
        client.start()
        return client

    def end(self, client: LoadClient) -> Result:
        """Its result. Errors: BenchError when a spin was not answered with a settled round."""
        try:
            result = client.result()
        finally:
            client.close()
        self.subject.acknowledged += result.acknowledged
        if result.refused or result.unknown:
            raise BenchError(f"spins were refused: {result.refused}, {result.unknown} unknown")
        return result

    def stored(self) -> int:
        """Events in the log."""
        return int(value(self._events, "select count(*) from event"))


def run(subject: Reelmesh, events: int) -> Figures:
    """The three parts of a run. Errors: BenchError."""
    outage = Outage(subject)
    outage.play()
    pairs = [outage.pair() for _ in range(PAIRS)]
    peak_per_s = median(there.spins_per_s for there, _ in pairs)
    before = outage.stored()
    subject.mesh.kill("events")
    spins = 0
    while spins * EVENTS_PER_SPIN < events:
        spins += outage.play().acknowledged
    queued = spins * EVENTS_PER_SPIN
    rate_per_s = SHARE * peak_per_s
    # As long as the queue may take at five times of what comes in, and a little.
    window_s = 5.0 + queued / (4 * EVENTS_PER_SPIN * rate_per_s)
    client = outage.begin(rate_per_s=rate_per_s, window_s=window_s)
    time.sleep(1.0)
    subject.mesh.start("events")
    start_s, start_count = time.monotonic(), outage.stored()
    while outage.stored() - before < queued:
        if time.monotonic() - start_s > 10 * window_s:
            raise BenchError("the queue does not go down")
        time.sleep(POLL_S)
    drain_s, drained = time.monotonic() - start_s, outage.stored() - start_count
    during = outage.end(client)
    subject.wait_quiet()
    books = subject.books()
    asyncio.run(_verify(subject))
    input_per_s = EVENTS_PER_SPIN * during.spins_per_s
    return Figures(
        peak_spins_per_s=peak_per_s,
        peak_p99_ms=median(there.p99_ms for there, _ in pairs),
        away_to_peak=median(away.spins_per_s / there.spins_per_s for there, away in pairs),
        away_p99_ms=median(away.p99_ms for _, away in pairs),
        queued=queued,
        input_events_per_s=input_per_s,
        drained_events_per_s=drained / drain_s,
        drain_s=drain_s,
        drain_to_input=drained / drain_s / input_per_s,
        during_spins_per_s=during.spins_per_s,
        during_p99_ms=during.p99_ms,
        lost=books.pending,
    )


async def _verify(subject: Reelmesh) -> None:
    engine = create_engine(
        subject.mesh.database_urls["events"], pool_size=1, application_name="bench", statement_timeout_ms=0
    )
    try:
        fault = verifier.first_fault(await verifier.verify(engine))
    finally:
        await engine.dispose()
    if fault is not None:
        raise BenchError(f"the log is broken: {fault}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1: it could not run, or something was lost."""
    parser = argparse.ArgumentParser(prog="bench.outage", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help="how many are to wait")
    options = parser.parse_args(arguments)
    OUTPUT.parent.mkdir(exist_ok=True)
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="outage-", dir=OUTPUT.parent))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.chmod(0o755)
        try:
            subject = Reelmesh(directory, collector_url=start_collector(stack))
            stack.callback(subject.stop)
            subject.start(PLAYERS)
            figures = run(subject, options.events)
        except (BenchError, LocalError) as problem:
            print(f"bench: {problem}", file=sys.stderr)
            return 1
    OUTPUT.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2))
    for name, figure in msgspec.structs.asdict(figures).items():
        print(f"{name:22} {figure:,.2f}" if isinstance(figure, float) else f"{name:22} {figure:,}")
    return 1 if figures.lost else 0


if __name__ == "__main__":
    sys.exit(main())
