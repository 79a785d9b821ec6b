"""Our own wallet with one defect, as a process: python -m tests.conformance.broken_ledger <name>.

A defect is set before the modules that use it are imported: the statements are default arguments there.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.service import Runtime, run
from services.wallet import sql
from services.wallet.config import Config
from tests.integration.wallet.mutants import WITHOUT_ONE_PER_ACCOUNT, mutant

# Longer than a kill takes; eight of them are shorter than a deadline.
_LATE_S = 0.1
_ARBITER = "on conflict (round_id, step_key) do nothing"
_POSTED = (
    "where v.amount_minor <> 0\n  returning",
    "where v.amount_minor <> 0 on conflict do nothing\n returning",
)
_MOVED = "balance_after_minor = excluded.balance_after_minor, account_version = excluded.account_version"


def reexecutes_a_duplicate() -> None:
    """The key of an applied step is no obstacle to the same step."""
    again = f"""on conflict (round_id, step_key) do update set {_MOVED}
      where settlement.status = 1 and excluded.status = 1 and settlement.account_id = excluded.account_id
        and (settlement.stake_minor, settlement.win_minor) = (excluded.stake_minor, excluded.win_minor)"""
    sql.SETTLE = mutant((_ARBITER, again), _POSTED)


def accepts_an_altered_body() -> None:
    """The id alone decides."""
    from services.wallet import ledger

    ledger._body = lambda of: ()


def forgets_refusals() -> None:
    """A refused key is judged anew."""
    again = f"""on conflict (round_id, step_key) do update set {_MOVED}, status = excluded.status,
      refusal = excluded.refusal where settlement.status = 2 and excluded.status in (1, 2)"""
    sql.SETTLE = mutant((_ARBITER, again))


def bet_after_tombstone() -> None:
    """A stake takes the place of a tombstone."""
    again = f"""on conflict (round_id, step_key) do update set {_MOVED}, status = excluded.status,
      refusal = excluded.refusal, step = excluded.step, stake_minor = excluded.stake_minor,
      win_minor = excluded.win_minor, game_id = excluded.game_id
      where settlement.status = 3 and excluded.step in (1, 2)"""
    sql.SETTLE = mutant((_ARBITER, again))


def error_on_unknown_rollback() -> None:
    """The tombstone is written, and answered by an error."""
    from services.wallet.errors import StakeUnknown
    from services.wallet.handlers import Handlers

    def failing(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def answer(self: Handlers, request: Any, context: Any) -> Any:
            response = await method(self, request, context)
            if response.settlement.status == 3:
                raise StakeUnknown(round_id=request.round_id)
            return response

        return answer

    for name in ("RollbackRound", "RollbackBet"):
        setattr(Handlers, name, failing(getattr(Handlers, name)))


def refuses_a_win_after_expiry() -> None:
    """A frozen account is not paid."""
    payout = "when i.step = 3 then ("
    sql.SETTLE = mutant((payout, f"when i.step = 3 and l.frozen then 4 {payout}"))


def overdraft_under_a_race() -> None:
    """Several stakes of an account are judged on one balance."""
    sql.SETTLE = WITHOUT_ONE_PER_ACCOUNT
    from services.common import batching
    from services.wallet import handlers

    def keyless(*given: Any, key: Any, **named: Any) -> batching.Batcher[Any, Any]:
        return batching.Batcher(*given, **named)

    vars(handlers)["Batcher"] = keyless


def forgets_ids_on_restart() -> None:
    """Balances stay, verdicts and their postings do not: see `compose`."""


def rolls_back_twice() -> None:
    """Nobody looks whether a round was given back, and its key is no obstacle."""
    blind = ("r.round_id is not null as reversed", "false as reversed")
    sql.FIND_KNOWN = mutant(blind, of=sql.FIND_KNOWN)
    # The tombstone of the payout, which a rollback leaves, would tell it too.
    untold = ("where s.round_id = ", "where s.status <> 4 and s.round_id = ")
    sql.LIST_SETTLEMENTS = mutant(blind, untold, of=sql.LIST_SETTLEMENTS)
    sql.INSERT_REVERSAL = mutant(
        ("on conflict (round_id) do nothing", f"on conflict (round_id) do update set {_MOVED}"),
        ("where v.amount_minor <> 0 returning", "where v.amount_minor <> 0 on conflict do nothing returning"),
        of=sql.INSERT_REVERSAL,
    )


def acks_before_commit() -> None:
    """A batch is answered, and committed a little later."""
    tasks = set()

    @asynccontextmanager
    async def hot_statements(
        engine: AsyncEngine, name: str, *, links: Any = None
    ) -> AsyncIterator[db.HotConnection]:
        connection = await engine.connect()
        driver: Any = (await connection.get_raw_connection()).driver_connection
        yield db.HotConnection(driver)

        async def commit() -> None:
            await asyncio.sleep(_LATE_S)
            await driver.commit()
            await connection.close()

        task = asyncio.ensure_future(commit())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    db.hot_statements = hot_statements


# By name: the defect, the case that names it, and what it sees.
DEFECTS: dict[str, tuple[Callable[[], None], str, str]] = {
    defect.__name__: (defect, number, seen)
    for defect, number, seen in (
        (
            reexecutes_a_duplicate,
            "31",
            "a stake, 3 times: expected APPLIED with balance 990, seen APPLIED with balance 980",
        ),
        (accepts_an_altered_body, "32", "another amount: expected ALREADY_EXISTS, seen APPLIED"),
        (forgets_refusals, "35", "now covered: expected REFUSED, seen APPLIED"),
        (bet_after_tombstone, "40", "a bet after its tombstone: expected VOID, seen APPLIED"),
        (error_on_unknown_rollback, "39", "unknown bet: expected VOID, seen FAILED_PRECONDITION"),
        (refuses_a_win_after_expiry, "24", "payout after expiry: expected APPLIED, seen REVERSED"),
        (overdraft_under_a_race, "F6", "stakes applied: expected 8, seen "),
        (forgets_ids_on_restart, "34", "a stake again, restart: expected APPLIED with balance 9"),
        (rolls_back_twice, "38", "after a repeated rollback: expected 1000, seen 1010"),
        (acks_before_commit, "34", "after the restart, 8 stakes answered: expected 920, seen 930"),
    )
}

if __name__ == "__main__":
    # The wallet's own auditor would stop it: here the kit has to see the defect from outside.
    os.environ["REELMESH_AUDIT_INTERVAL_MS"] = "600000"
    DEFECTS[sys.argv[1]][0]()
    from services.wallet.__main__ import compose

    async def broken(runtime: Runtime[Config]) -> None:
        if sys.argv[1] == forgets_ids_on_restart.__name__:
            async with runtime.engine.begin() as conn:
                await conn.execute(text("delete from posting"))
                await conn.execute(text("delete from settlement"))
        await compose(runtime)

    run("wallet", Config, broken)
