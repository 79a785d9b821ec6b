"""The monitor of the live RTP: rolls rounds up by day, and holds the last 30 days against theory.

Replicas take turns by a lease; the statement of a pass lets one of them count, whoever holds it. A round is
counted once, on the day it was drawn, when its stake is known to be taken, however late that is.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common import telemetry_names as names
from services.game.records import Kind
from services.game.rtp import bands, store
from services.game.rtp.bands import Reading, Status
from services.game.rtp.store import Sums

log = logging.getLogger(__name__)

DAYS = 30
LEASE_MS = 10_000
# Rounds of so long ago are ended but for the stuck ones: a younger one would only have to be looked at twice.
AGE_MS = 10_000
ROWS_MAX = 2_000
LATE_MAX = 500


class Played(NamedTuple):
    """What is read as one: a game file at its return, and a mode."""

    game_id: str
    profile: str
    mode: str


class Monitor:
    """One per process; `run` until told to stop."""

    def __init__(self, engine: AsyncEngine, *, holder: str, interval_ms: int, age_ms: int = AGE_MS) -> None:
        """`holder` names this process among the replicas."""
        self._engine, self._holder, self._interval_s = engine, holder, interval_ms / 1000
        self._age_ms = age_ms
        self.readings: dict[Played, Reading] = {}
        """Real rounds of the last 30 days, of all operators and currencies."""

    async def run(self, stop: asyncio.Event) -> None:
        """Passes per interval. A database that is away costs a line per interval."""
        while not stop.is_set():
            try:
                while await self.run_once() == ROWS_MAX and not stop.is_set():
                    pass
                await self.read()
            except Exception as error:
                if not db.is_connection_error(error):
                    raise
                log.warning("monitor waits: database not available")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval_s)

    async def run_once(self) -> int:
        """One pass; the number of rounds that it went over. 0 while another replica holds the lease."""
        async with db.transaction(self._engine, "game.returns_claim", links=()) as conn:
            claim = await store.claim(conn, holder=self._holder, lease_ms=LEASE_MS, age_ms=self._age_ms)
        if claim is None:
            return 0
        async with db.transaction(self._engine, "game.returns_roll_up", links=()) as conn:
            return await store.roll_up(conn, claim, holder=self._holder, rows_max=ROWS_MAX, late_max=LATE_MAX)

    async def read(self) -> None:
        """Reads the last 30 days again; what leaves its band, or comes back, is logged."""
        async with self._engine.connect() as conn:
            today = await store.find_today(conn)
            sums = await store.list_sums(conn, day=today, days=DAYS)
        before, self.readings = self.readings, totals(sums)
        for played, reading in self.readings.items():
            was = before[played].status if played in before else Status.WITHIN
            if Status.ALARM in (was, reading.status) and was is not reading.status:
                log.error(
                    "rtp of %s in mode %s over %d days is %s: %.4f of %.4f, z %.2f, %d rounds",
                    played.game_id,
                    played.mode,
                    DAYS,
                    reading.status,
                    reading.actual,
                    reading.theory,
                    reading.z_score,
                    reading.rounds,
                )

    def observe_with(self, meter: Meter) -> None:
        """Registers the gauges; each process shows the same."""
        gauges: dict[str, tuple[str, Callable[[Reading], float]]] = {
            names.RTP_ACTUAL: ("1", lambda reading: reading.actual),
            names.RTP_THEORY: ("1", lambda reading: reading.theory),
            names.RTP_Z_SCORE: ("1", lambda reading: reading.z_score),
            names.RTP_ROUNDS: ("{round}", lambda reading: reading.rounds),
        }
        for name, (unit, value) in gauges.items():
            meter.create_observable_gauge(name, [self._callback(value)], unit=unit)
        for place, name in enumerate((names.RTP_LOWER, names.RTP_UPPER)):
            callbacks = [
                self._callback(partial(_edge, place=place, z=z), band=band)
                for band, z in (("attention", bands.Z_ATTENTION), ("alarm", bands.Z_ALARM))
            ]
            meter.create_observable_gauge(name, callbacks, unit="1")

    def _callback(
        self, value: Callable[[Reading], float], *, band: str = ""
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            for played, reading in self.readings.items():
                attributes = {
                    names.GAME_ID: played.game_id,
                    names.GAME_PROFILE: played.profile,
                    names.GAME_MODE: played.mode,
                }
                if band:
                    attributes[names.RTP_BAND] = band
                yield Observation(value(reading), attributes)

        return observe


def _edge(reading: Reading, *, place: int, z: float) -> float:
    return reading.band(z)[place]


def totals(sums: Sequence[Sums]) -> dict[Played, Reading]:
    """Real rounds by game and mode, whatever their version, operator and currency."""
    parts: dict[Played, list[Sums]] = defaultdict(list)
    for one in sums:
        if one.kind == Kind.REAL:
            parts[Played(one.game_id, one.profile, one.mode)].append(one)
    return {played: bands.read(of) for played, of in parts.items()}
