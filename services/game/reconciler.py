"""The reconciler: ends every round that nobody else ends, by recording what the wallet answers (R7).

Several replicas may run it: one holds the lease, and two at once would only ask the wallet twice. No RPC
happens inside a transaction. Ages are told by the database's clock. A pass is no trace (`links=()`); what it
ends is one, linked to the round's own.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, telemetry
from services.common.errors import DomainError
from services.game import choices, seal, store
from services.game.catalogue import Catalogue
from services.game.records import DecidedBy, Round, Settlement, State, Wallet
from services.game.settlements import Finish

log = logging.getLogger(__name__)

# A pass that takes longer than this may be joined by another replica's: harmless.
LEASE_MS = 3_000
PAGE_SIZE = 200
# Payouts go one by one; the wallet's batcher puts those in flight together.
PAYOUTS_AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """From when on a round is the reconciler's."""

    pending_ms: int  # twice the gateway's deadline: from then on no gateway settles it (R6, R7)
    payout_ms: int
    open_ms: int


class Reconciler:
    """One per process; `run` until told to stop."""

    def __init__(
        self,
        engine: AsyncEngine,
        catalogue: Catalogue,
        *,
        wallet: Wallet,
        finish: Finish,
        seal_key: bytes,
        ages: Ages,
        interval_ms: int,
        holder: str,
    ) -> None:
        """`holder` names this process among the replicas."""
        self._engine, self._catalogue, self._wallet, self._finish = engine, catalogue, wallet, finish
        self._seal_key, self._ages, self._interval_s = seal_key, ages, interval_ms / 1000
        self._holder = holder
        self._low_told = ""

    async def run(self, stop: asyncio.Event) -> None:
        """A pass per interval. A wallet or database that is away costs a line per pass, nothing else."""
        while not stop.is_set():
            try:
                await self.run_once()
            except DomainError as error:
                log.warning("reconciler waits: %s", error.reason)
            except Exception as error:
                if not db.is_connection_error(error):
                    raise
                log.warning("reconciler waits: database not available")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval_s)

    async def run_once(self) -> bool:
        """One pass over everything that is due; False when another replica holds the lease."""
        low = await self._take_lease()
        if low is None:
            return False
        await self._void_pending(low)
        await self._end_unfinished()
        await self._report_low()
        return True

    async def _take_lease(self) -> str | None:
        async with db.transaction(self._engine, "game.reconciler_lease", links=()) as conn:
            return await store.take_lease(conn, holder=self._holder, lease_ms=LEASE_MS)

    async def _void_pending(self, low: str) -> None:
        """Voids what is too old, unless the wallet knows it; then moves the low-water mark up."""
        # First the horizon, then the list with a snapshot of its own: what commits in between is listed.
        async with self._engine.connect() as conn:
            horizon = await store.find_horizon(conn, age_ms=self._ages.pending_ms)
        after: store.Pending | None = None
        left: datetime | None = None
        while True:
            async with self._engine.connect() as conn:
                page = await store.list_pending(
                    conn, create_time_low=low, horizon=horizon, after=after, rows_max=PAGE_SIZE
                )
            if page:
                left = await self._void_page(page, left)
                after = page[-1]
            if len(page) < PAGE_SIZE or await self._take_lease() is None:
                break
        complete = len(page) < PAGE_SIZE
        low_next = left or (horizon if complete else page[-1].create_time)
        async with db.transaction(self._engine, "game.reconciler_low", links=()) as conn:
            await store.move_low(conn, holder=self._holder, create_time_low=low_next)

    async def _void_page(self, page: Sequence[store.Pending], left: datetime | None) -> datetime | None:
        """The creation time of the oldest round that is still PENDING after it."""
        links = [link for pending in page if (link := telemetry.link(pending.traceparent))]
        with telemetry.span("reconciler.void", links=links):
            answers = await self._wallet.void([(pending.round_id, pending.account_id) for pending in page])
            recorded = await asyncio.gather(
                *(self._record(answer) for answer in answers), return_exceptions=True
            )
        for pending, round_ in zip(page, recorded, strict=True):
            if isinstance(round_, Round) and round_.state is not State.PENDING:
                continue
            log.warning("reconciler: round %s is still pending (%s)", pending.round_id, round_)
            left = left or pending.create_time
        return left

    async def _record(self, answer: Settlement | DomainError) -> Round:
        if isinstance(answer, DomainError):
            raise answer
        return await self._finish(answer)

    async def _end_unfinished(self) -> None:
        """Collects rounds that waited too long for a choice, and repeats payouts until they are answered."""
        id_after = store.FIRST_ID
        while True:
            async with self._engine.connect() as conn:
                page = await store.list_unfinished(
                    conn,
                    payout_age_ms=self._ages.payout_ms,
                    open_age_ms=self._ages.open_ms,
                    id_after=id_after,
                    rows_max=PAYOUTS_AT_ONCE,
                )
            results = await asyncio.gather(*(self._end(round_) for round_ in page), return_exceptions=True)
            for round_, result in zip(page, results, strict=True):
                if isinstance(result, BaseException):
                    log.warning(
                        "reconciler: round %s is still %s (%s)", round_.round_id, round_.state, result
                    )
            if len(page) < PAYOUTS_AT_ONCE:
                return
            id_after = page[-1].round_id

    async def _report_low(self) -> None:
        """Tells the wallet when more rounds are over, about once an hour: then it may archive their month."""
        async with self._engine.connect() as conn:
            low = await store.find_round_low(conn)
        if low == self._low_told:
            return
        try:
            await self._wallet.report_low(low)
            self._low_told = low
        except DomainError as error:
            log.warning("reconciler: the wallet was not told which rounds are over: %s", error.reason)

    async def _end(self, round_: Round) -> None:
        links = [link for link in (telemetry.link(round_.traceparent),) if link]
        with telemetry.span("reconciler.end", links=links):
            if round_.state is State.OPEN:
                drawn = choices.draw_step(
                    self._catalogue, round_, choice=choices.COLLECT, decided_by=DecidedBy.TIMEOUT
                )
                async with db.transaction(self._engine, "game.reconciler_collect") as conn:
                    round_ = await choices.append_step(
                        conn, round_, drawn, traceparent=telemetry.traceparent()
                    )
            # Somebody else may have decided first, and the choice may be open again.
            if round_.state is State.SETTLING:
                await self._finish(await self._wallet.settle(seal.payout_of(round_, key=self._seal_key)))
