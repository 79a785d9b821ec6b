"""The audit as a command: its table, its JSON, its exit codes, and the end of a break."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from sqlalchemy import text

from services.wallet.audit import auditor
from services.wallet.audit.auditor import Auditor
from tests.integration.wallet.harness import Wallet, settle_request


def audit(url: str, *arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    environment = os.environ | {
        "REELMESH_WALLET_DATABASE_URL": url,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "COLUMNS": "160",
    }
    command = [sys.executable, "-m", "services.wallet.audit", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout or done.stderr


async def heard(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The wallet says in one line, once, that the command halted it."""
    engine = auditor.create_engine(url)
    try:
        one = Auditor(engine, interval_ms=60_000)
        for _ in range(2):
            await one.run_once()
    finally:
        await engine.dispose()
    said = [record for record in caplog.records if "no stake is taken" in record.getMessage()]
    # What its own first pass finds in what is new it tells as an error.
    [warning] = [record for record in said if record.levelname == "WARNING"]
    assert "I4 sums" in warning.getMessage()


async def test_a_break_is_shown_stored_and_resolved(
    database: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    url = database("wallet")
    async with Wallet(url) as wallet:
        account_id = await wallet.open(balance=1000)
        await wallet.settle(account_id, stake=100, win=30)
        code, shown = audit(url)
        assert code == 0 and "I3 postings" in shown and "open" not in shown

        async with wallet.engine.begin() as conn:
            await conn.execute(text("update posting set amount_minor = 31 where leg = 2"))
        code, shown = audit(url, "--json")
        told = json.loads(shown)
        violations = {one["invariant"]: one["violations"] for one in told["invariants"]}
        assert code == 1
        assert {name for name, count in violations.items() if count} == {
            "I3 postings",
            "I4 sums",
            "I5 counters",
        }
        assert {one["invariant"] for one in told["open_breaks"]} == {"I3 postings", "I4 sums", "I5 counters"}
        assert told["tables"]["settlement"] == 1
        await heard(url, caplog)
        stake = settle_request(account_id, stake=10)
        try:
            await wallet.send(stake)
        except Exception as error:
            assert "LEDGER_HALTED" in str(error)
        else:
            raise AssertionError("a stake was taken on broken books")

        resume = ("--resume", "--actor", "ann", "--reason", "the posting is corrected")
        code, shown = audit(url, *resume)
        assert code == 1 and "resolved" not in shown
        assert "3 breaks resolved" in audit(url, *resume, "--force")[1]
        assert audit(url)[0] == 1
        async with wallet.engine.begin() as conn:
            await conn.execute(text("update posting set amount_minor = 30 where leg = 2"))
        code, shown = audit(url)
        assert code == 1 and "open, no stake is taken: I4 sums" in shown
        assert audit(url, "--resume", "--actor", "ann")[0] == 1
        code, shown = audit(url, *resume)
        assert code == 0 and "3 breaks resolved" in shown
        assert audit(url)[0] == 0
        await wallet.send(stake)
        await wallet.check()
