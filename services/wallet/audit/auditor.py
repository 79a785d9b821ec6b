"""The auditor: reads the books again and again, and stops the taking of stakes when they are broken.

It shares no code with what it audits: it reads tables, each invariant in one query, all queries of a pass in
one snapshot that nobody waits for. A window pass looks at what moved since the last one, whoever made that;
replicas take turns. A break is a row of ledger_break: while one is open stakes and withdrawals are refused
with LEDGER_HALTED; payouts, voids, rollbacks, deposits, corrections and reads go on.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import db
from services.common import telemetry_names as names
from services.wallet.audit import sql, state_sql
from services.wallet.audit.sql import Check

log = logging.getLogger(__name__)

# A pass that takes longer is taken over by another replica: both find the same, and a break is stored once.
LEASE_S = 60
# A pass may take this long; the service's own statements have 2 s.
STATEMENT_TIMEOUT_MS = 30_000
SELDOM_S = 60
# What is found is looked for again in a fresh snapshot and this much further back, so that no edge of a
# window stops a casino.
CONFIRM_S = 60
# Longer than the longest pass and its interval: what a window compares is still in the outbox.
OUTBOX_KEEP_S = 60
FOREVER = "-infinity"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: 0 violations, or how many and the first few as JSON. They name no amounts."""

    check: Check
    violations: int
    details: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Break:
    """A stored finding that nobody has resolved yet."""

    break_id: int
    invariant: str
    detail: str
    violations: int
    find_time: datetime


def create_engine(url: str, *, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS) -> AsyncEngine:
    """The auditor's own, so that no settle waits for a connection of a pass. 0: no time limit."""
    return db.create_engine(
        url, pool_size=1, application_name="wallet-auditor", statement_timeout_ms=statement_timeout_ms
    )


class Auditor:
    """One per process; `run` until told to stop. Replicas take turns at the same window."""

    def __init__(self, engine: AsyncEngine, *, interval_ms: int) -> None:
        """`engine` is of `create_engine`."""
        self._engine = engine
        self._interval_s = interval_ms / 1000
        self._open: dict[str, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """A pass per interval. A database that is away costs a line per attempt, and no audit is skipped."""
        while not stop.is_set():
            try:
                await self.run_once()
            except Exception as error:
                if not db.is_connection_error(error):
                    raise
                log.warning("auditor waits: database not available, or a pass takes too long")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval_s)

    async def run_once(self) -> bool:
        """One window pass; False when a replica makes it, or made it within the interval."""
        async with db.transaction(self._engine, "wallet.audit_claim", links=()) as conn:
            values = {"lease_s": LEASE_S, "seldom_s": SELDOM_S}
            claim = (await conn.execute(state_sql.CLAIM, values)).one_or_none()
        told: set[str] = set()
        if claim is not None:
            found = await audit_window(self._engine, since=claim.since, seldom=claim.seldom)
            told = {finding.check.name for finding in found}
            async with db.transaction(self._engine, "wallet.audit_end", links=()) as conn:
                await _store_breaks(conn, found)
                end = {"horizon": claim.horizon, "interval_s": self._interval_s, "seldom": claim.seldom}
                await conn.execute(state_sql.MOVE_ON, end)
        async with self._engine.connect() as conn:
            opened = {open_.invariant: open_.violations for open_ in await list_open_breaks(conn)}
        # The audit command has its own output: without this line the wallet would stop and say nothing.
        others = sorted(opened.keys() - self._open.keys() - told)
        if others:
            log.warning(
                "no stake is taken: the audit command, or a replica, found broken: %s", ", ".join(others)
            )
        self._open = opened
        return claim is not None

    def observe_with(self, meter: Meter) -> None:
        """Registers reelmesh.ledger.imbalance: the violations of each invariant that nobody has resolved."""

        def observe(options: CallbackOptions) -> Iterable[Observation]:
            for check in sql.CHECKS:
                attributes = {names.LEDGER_INVARIANT: check.name}
                yield Observation(self._open.get(check.name, 0), attributes)

        meter.create_observable_gauge(names.LEDGER_IMBALANCE, [observe], unit="{violation}")


async def audit_window(engine: AsyncEngine, *, since: str, seldom: bool = True) -> list[Finding]:
    """The confirmed breaks of what was written since a database time; `seldom`: by all checks."""
    checks = [
        check for check in sql.CHECKS if check.window is not None and (seldom or check.name != sql.SELDOM)
    ]
    async with _snapshot(engine) as conn:
        found = await _broken(conn, checks, since=since)
    if found:
        async with _snapshot(engine) as conn:
            widened = await conn.execute(state_sql.WIDEN, {"since": since, "seconds": CONFIRM_S})
            found = await _broken(conn, [finding.check for finding in found], since=widened.scalar_one())
    return found


async def audit_whole(conn: AsyncConnection, checks: Sequence[Check] = sql.CHECKS) -> list[Finding]:
    """What each check finds in all that is stored, in their order."""
    return [await _find(conn, check, whole=True) for check in checks]


async def audit_everything(engine: AsyncEngine) -> tuple[list[Finding], dict[str, int]]:
    """The whole audit in one snapshot, and the rows of each table; breaks are stored like those of a pass."""
    async with _snapshot(engine) as conn:
        rows = {row.name: row.rows for row in await conn.execute(sql.COUNT_ROWS)}
        findings = await audit_whole(conn)
    async with db.transaction(engine, "wallet.audit_end", links=()) as conn:
        await _store_breaks(conn, [finding for finding in findings if finding.violations])
    return findings, rows


async def list_open_breaks(conn: AsyncConnection) -> list[Break]:
    """What stops the taking of stakes."""
    return [Break(**row._asdict()) for row in await conn.execute(state_sql.LIST_OPEN_BREAKS)]


async def resume(conn: AsyncConnection, *, actor: str, reason: str) -> list[Break]:
    """Resolves every open break, for the record: stakes are taken again. Returns what was resolved."""
    rows = await conn.execute(state_sql.RESOLVE_BREAKS, {"actor": actor, "reason": reason})
    return [Break(**row._asdict()) for row in rows]


@asynccontextmanager
async def _snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that reads one state of the database, takes no lock and holds nobody up."""
    async with engine.connect() as conn:
        await conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        await conn.execute(sql.PLAN_EACH_TIME)
        await conn.execute(sql.WITHOUT_JIT)
        yield conn


async def _broken(conn: AsyncConnection, checks: Sequence[Check], *, since: str) -> list[Finding]:
    findings = [await _find(conn, check, since=since) for check in checks]
    return [finding for finding in findings if finding.violations]


async def _find(conn: AsyncConnection, check: Check, *, since: str = FOREVER, whole: bool = False) -> Finding:
    start_s = time.monotonic()
    query = check.whole if whole else check.window
    assert query is not None, "checks without a window are not asked for one"
    rows = (await conn.execute(query, {"since": since} if ":since" in query.text else {})).all()
    details = tuple(row.detail for row in rows)
    return Finding(check, rows[0].violations if rows else 0, details, time.monotonic() - start_s)


async def _store_breaks(conn: AsyncConnection, found: Iterable[Finding]) -> None:
    for finding in found:
        values = {"invariant": finding.check.name, "detail": ", ".join(finding.details)}
        stored = await conn.execute(state_sql.INSERT_BREAK, {**values, "violations": finding.violations})
        if stored.first() is not None:
            log.error(
                "the books are broken, no stake is taken: %s: %d violations: %s",
                finding.check.name,
                finding.violations,
                values["detail"],
            )
