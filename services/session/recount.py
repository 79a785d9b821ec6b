"""Looks for what rounds returned where nobody told: a gateway died, or the round ended without one (R13).

Until then the stake counts as lost: a limit is stricter, never laxer. Several replicas may run it.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import DomainError
from services.session import counts_store
from services.session.counts_store import Return, Uncounted

log = logging.getLogger(__name__)

PAGE_SIZE = 50


class Rounds(Protocol):
    """Game as this rule sees it: it may not import the contract. See game_client.py."""

    async def find_return(self, spin: Uncounted) -> Return | None:
        """What the spin's round returned; None while it has not ended. Where there is no round, there will be
        none afterwards (R4). Errors: as GameService.GetRound, Play."""
        ...


class Recount:
    """One per process; `run` until told to stop."""

    def __init__(self, engine: AsyncEngine, rounds: Rounds, *, age_ms: int, interval_ms: int) -> None:
        """`age_ms`: from when on a spin is looked for; by then its gateway is done with it or dead."""
        self._engine, self._rounds = engine, rounds
        self._age_ms, self._interval_s = age_ms, interval_ms / 1000

    async def run(self, stop: asyncio.Event) -> None:
        """A pass per interval. What is away costs a line per pass, nothing else."""
        while not stop.is_set():
            try:
                while await self.run_once() == PAGE_SIZE and not stop.is_set():
                    pass
            except Exception as error:
                if not db.is_connection_error(error):
                    raise
                log.warning("recount waits: database not available")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval_s)

    async def run_once(self) -> int:
        """Looks for a page of returns; how many spins that were."""
        async with db.transaction(self._engine, "session.take_uncounted", links=()) as conn:
            spins = await counts_store.take_uncounted(conn, age_ms=self._age_ms, rows_max=PAGE_SIZE)
        if spins:
            await self._count(spins)
        return len(spins)

    async def _count(self, spins: Sequence[Uncounted]) -> None:
        found = await asyncio.gather(
            *(self._rounds.find_return(spin) for spin in spins), return_exceptions=True
        )
        returns = [one for one in found if isinstance(one, Return)]
        silent = [one for one in found if isinstance(one, BaseException)]
        for error in silent:
            if not isinstance(error, DomainError):
                raise error
        if silent:
            log.warning("recount: %d spins wait (%s)", len(silent), silent[0])
        if returns:
            async with db.transaction(self._engine, "session.count_returns", links=()) as conn:
                await counts_store.count_returns(conn, returns)
