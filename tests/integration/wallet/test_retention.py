"""The commands for old months, as processes: killed at every step and given again, or over a damaged file."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date
from pathlib import Path

import pytest

from services.archiving.dropping import ArchiveError
from services.wallet.months import retention
from tests import invariants
from tests.integration.wallet.harness import Wallet
from tests.integration.wallet.months import NEXT, OLD, find_month, lay_months, month_at
from tests.integration.wallet.test_archive import deposit_in, figures, play_in

# Every step that archiving a month may be killed at, in their order: failpoints.
KILLS = (
    "before_commit@wallet.close_month",
    "after_commit@wallet.close_month",
    "mid_archive@settlement",
    "mid_archive@manifest",
    "before_commit@wallet.archive_month",
    "after_commit@wallet.archive_month",
)


def shows(shown: str, month: date) -> list[str]:
    """The states that a list shows of a month, a line each."""
    cells = [[cell.strip() for cell in line.split("│")] for line in shown.splitlines()]
    return [row[2] for row in cells if len(row) > 2 and row[1] == f"{month:%Y-%m}"]


class Command:
    """The command on a wallet's database."""

    def __init__(self, url: str, tmp_path: Path) -> None:
        self.url, self.directory, self.mark = url, tmp_path / "archive", tmp_path / "mark"

    def start(self, *arguments: str, fail: str = "") -> subprocess.Popen[str]:
        """Starts it, armed with a failpoint or not."""
        environment = {
            **os.environ,
            "REELMESH_WALLET_DATABASE_URL": self.url,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COLUMNS": "80",
        }
        if fail:
            environment |= {"REELMESH_FAIL": fail, "REELMESH_FAIL_MARK": str(self.mark)}
        return subprocess.Popen(
            [sys.executable, "-m", "services.wallet.months.retention", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def archive(self, *, fail: str = "") -> tuple[int, str]:
        """Archives the oldest month; exit code and everything it said."""
        process = self.start("archive", str(self.directory), "--before", f"{NEXT:%Y-%m}", fail=fail)
        said, complained = process.communicate(timeout=60)
        return process.returncode, said + complained


@pytest.fixture
def url(database: Callable[[str], str]) -> str:
    """A wallet's database of this test's own."""
    return database("wallet")


@pytest.fixture
async def old_wallet(url: str) -> AsyncIterator[Wallet]:
    """A wallet whose oldest months have a bit of everything."""
    async with Wallet(url) as wallet:
        await lay_months(wallet.engine, first=OLD, last=month_at(1))
        account_id = await wallet.open()
        for month in (OLD, NEXT):
            await deposit_in(wallet, account_id, month, amount_minor=1000)
            await play_in(wallet, account_id, month)
        yield wallet


@pytest.mark.parametrize(
    "kills", [KILLS[1::3], pytest.param(KILLS, marks=pytest.mark.long)], ids=["two", "all"]
)
async def test_an_archive_command_may_be_killed_at_any_step(
    old_wallet: Wallet, url: str, tmp_path: Path, kills: Sequence[str]
) -> None:
    wallet, command = old_wallet, Command(url, tmp_path)
    async with wallet.engine.connect() as conn:
        before = await figures(conn)
    for kill in kills:
        code, said = command.archive(fail=kill)
        assert code == -signal.SIGKILL, said
        # Either all of the month is there or all of it is in the openings; it is closed before it goes.
        month = await find_month(wallet.engine, OLD)
        assert (month.closed, month.archived) == (kill != KILLS[0], kill == KILLS[-1]), kill
        async with wallet.engine.connect() as conn:
            await invariants.check_wallet(conn)
            assert await figures(conn) == before
    code, said = command.archive()
    assert code == 0, said
    shown = command.start("list").communicate(timeout=60)[0]
    assert shows(shown, OLD) == ["archived"]
    assert shows(shown, NEXT) == ["open"] * 4
    months = [await find_month(wallet.engine, month) for month in (OLD, NEXT)]
    assert all(f"│ {month.id_min} │ {month.id_end} │" in shown for month in months)
    assert any("settlement" in line and "│ 6 " in line for line in shown.splitlines())
    assert sorted(path.name for path in (command.directory / f"{OLD:%Y-%m}").iterdir()) == [
        "manifest.json", "posting.csv.gz", "reversal.csv.gz", "settlement.csv.gz", "transfer.csv.gz",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "damage",
    [pytest.param("cut", marks=pytest.mark.long), "flipped", pytest.param("empty", marks=pytest.mark.long)],
)
async def test_nothing_is_dropped_for_a_file_that_cannot_be_read_back(
    old_wallet: Wallet, url: str, tmp_path: Path, damage: str
) -> None:
    command = Command(url, tmp_path)
    process = command.start(
        "archive", str(command.directory), "--before", f"{NEXT:%Y-%m}", fail="mid_archive@posting:1:hold"
    )
    while not command.mark.exists():
        assert process.poll() is None
    path = command.directory / f"{OLD:%Y-%m}" / "posting.csv.gz"
    content = path.read_bytes()
    half, middle, rest = (
        content[: len(content) // 2],
        content[len(content) // 2],
        content[len(content) // 2 + 1 :],
    )
    damaged = {"cut": half, "flipped": half + bytes([middle ^ 0xFF]) + rest, "empty": b""}
    path.write_bytes(damaged[damage])
    command.mark.unlink()
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "posting.csv.gz: it does not read as it was written" in complained
    assert "Traceback" not in complained
    month = await find_month(old_wallet.engine, OLD)
    assert (month.closed, month.archived) == (True, False)
    async with old_wallet.engine.connect() as conn:
        await invariants.check_wallet(conn)
    # Given again, it writes the file anew.
    code, said = command.archive()
    assert code == 0, said
    assert (await find_month(old_wallet.engine, OLD)).archived


@pytest.mark.parametrize(
    ("before", "keep_months", "complaint"),
    [
        ("", 0, "give either --before or --keep-months"),
        ("2026-01", 13, "give either --before or --keep-months"),
        ("2026-13", 0, "'2026-13' is no month: write 2026-01"),
        ("", 1_000_000, "there is no month so long ago"),
    ],
)
def test_a_bad_command_says_why(tmp_path: Path, before: str, keep_months: int, complaint: str) -> None:
    with pytest.raises(ArchiveError, match=complaint):
        retention.archive_command(tmp_path, before=before, keep_months=keep_months)
