"""Days of the log: appends across their borders, old batches again, archiving, and what goes on after it."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from psycopg.errors import CheckViolation
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.archiving import archive_files
from services.archiving.dropping import ArchiveError
from services.events import store
from services.events.days import archive, export, keeping
from services.events.days import store as days_store
from services.events.errors import BatchOutOfOrder
from services.events.log import Log
from services.events.records import EventFilter
from services.events.verify import verifier
from services.events.webhooks.vault import Vault
from services.events.webhooks.webhooks import Webhooks
from tests.integration.events.written import DAY_US, Clock, batch

TODAY = datetime.now(UTC).date()
OLD, NEXT = TODAY - timedelta(days=3), TODAY - timedelta(days=2)
KILLS = (
    "after_commit@events.close_day",
    "mid_archive@event",
    "mid_archive@manifest",
    "before_commit@events.archive_day",
    "after_commit@events.archive_day",
)


def position_of(day: date) -> int:
    """The first position of a day."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.fixture
async def old_log(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """A log that began three days ago: wallet's batches 1 to 8, two a day, and game's one on the first."""
    await lay_days(engine, first=OLD)
    clock = Clock()
    clock.now_us = position_of(OLD) + DAY_US // 2
    log = Log(engine, clock_us=clock)
    await log.append("game", [batch(1, source="game")])
    for number in range(1, 9):
        await log.append("wallet", [batch(number, count=2)])
        clock.now_us += DAY_US // 2 if number % 2 == 0 else DAY_US // 2 - 1_000
    yield engine


async def lay_days(engine: AsyncEngine, *, first: date) -> None:
    """Gives a fresh log a partition for each day from this one on, instead of those of its migration."""
    async with engine.begin() as conn:
        for day in await days_store.list_days(conn):
            if not day.archived:
                await conn.execute(text(f"drop table {day.partition}"))
        await conn.execute(text("delete from event_day"))
        await conn.execute(
            text("insert into event_day values (cast(:first as date) - 1, now(), '{}')"), {"first": first}
        )
    await keeping.add_ahead(engine)


async def rows(engine: AsyncEngine, query: str) -> list[Any]:
    async with engine.connect() as conn:
        return list(await conn.execute(text(query)))


async def archived(engine: AsyncEngine, directory: Path, *, before: date = NEXT) -> list[date]:
    return await archive.archive(engine, directory=directory, before=before, tell=lambda said: None)


async def whole(engine: AsyncEngine, **options: Any) -> dict[str, int]:
    """How many events verification followed, by source; none of them was broken."""
    chains = await verifier.verify(engine, **options)
    assert [one.fault for one in chains if one.fault] == []
    return {one.source: one.events for one in chains}


async def test_a_batch_may_lie_on_both_sides_of_midnight(engine: AsyncEngine) -> None:
    clock = Clock()
    clock.now_us = position_of(TODAY + timedelta(days=1)) - 2
    log = Log(engine, clock_us=clock)
    await log.append("wallet", [batch(1, count=4)])
    found = await rows(engine, "select cast(tableoid as regclass)::text from event order by position")
    assert len({name for (name,) in found[:2]}) == len({name for (name,) in found[2:]}) == 1
    assert found[1] != found[2]
    # Again, and with the next one, on the other day: and by a replica that has seen nothing.
    assert await log.append("wallet", [batch(1, count=4), batch(2)]) == 2
    assert await Log(engine, clock_us=clock).append("wallet", [batch(1, count=4)]) == 2
    assert await whole(engine) == {"wallet": 5}


async def test_a_day_that_no_partition_is_made_for_is_made_in_time(engine: AsyncEngine) -> None:
    clock = Clock(days=keeping.DAYS_AHEAD + 1)
    log = Log(engine, clock_us=clock)
    with pytest.raises(CheckViolation, match="no partition"):
        await log.append("wallet", [batch(1)])
    clock.now_us -= DAY_US
    assert await keeping.add_ahead(engine) == 1
    assert await keeping.add_ahead(engine) == 0
    assert await log.append("wallet", [batch(1)]) == 1


async def test_an_archived_day_is_in_its_file_and_the_chain_goes_on(
    old_log: AsyncEngine, tmp_path: Path
) -> None:
    before = await rows(old_log, "select position, event_id from event order by position")
    heads = {one.source: one.head for one in await verifier.verify(old_log)}
    assert await archived(old_log, tmp_path) == [OLD]
    assert await archived(old_log, tmp_path) == []
    directory = tmp_path / f"{OLD}"
    read = list(archive.read_events(directory / archive.FILE_NAME))
    after = await rows(old_log, "select position, event_id from event order by position")
    assert [(one.position, one.event.event_id) for one in read] == [
        (position, str(event_id)) for position, event_id in before[: len(before) - len(after)]
    ]
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["rows"] == len(read) == 5
    assert manifest["sha256"] == archive_files.file_sha256(directory / archive.FILE_NAME)

    # Game has nothing left in the database; its chain stands where it stood, and goes on.
    assert await whole(old_log) == {"game": 0, "wallet": 12}
    assert {one.source: one.head for one in await verifier.verify(old_log)} == heads
    log = Log(old_log)
    await log.append("game", [batch(2, source="game")])
    assert await whole(old_log) == {"game": 1, "wallet": 12}
    assert await archived(old_log, tmp_path, before=TODAY) == [NEXT, TODAY - timedelta(days=1)]
    assert await whole(old_log) == {"game": 1, "wallet": 4}


async def test_an_old_batch_again_is_known_though_its_day_is_gone(
    old_log: AsyncEngine, tmp_path: Path
) -> None:
    await archived(old_log, tmp_path, before=TODAY)
    log = Log(old_log)
    assert await log.append("wallet", [batch(1, count=2)]) == 8
    assert await log.append("wallet", [batch(8, count=2), batch(9)]) == 9
    with pytest.raises(BatchOutOfOrder):
        await log.append("wallet", [batch(11)])
    assert [n for (n,) in await rows(old_log, "select count(*) from event where batch_no < 7")] == [0]


async def test_no_position_of_a_closed_day_is_given_out_any_more(engine: AsyncEngine, tmp_path: Path) -> None:
    """A replica whose clock is late, and that remembers where the log ended, appends behind the day."""
    await lay_days(engine, first=OLD)
    clock = Clock()
    clock.now_us = position_of(OLD) + 10
    log = Log(engine, clock_us=clock)
    await log.append("wallet", [batch(1)])
    assert await archived(engine, tmp_path) == [OLD]
    await log.append("wallet", [batch(2)])
    assert await rows(engine, "select position from event") == [(position_of(NEXT),)]
    assert await whole(engine) == {"wallet": 1}


async def test_what_verification_believes_is_what_lies_before_its_first_day(
    old_log: AsyncEngine, tmp_path: Path
) -> None:
    yesterday = TODAY - timedelta(days=1)
    assert await whole(old_log, day_start=yesterday) == {"game": 0, "wallet": 8}
    assert await whole(old_log, day_start=NEXT, day_end=NEXT) == {"game": 0, "wallet": 4}
    async with old_log.begin() as conn:
        await conn.execute(text("delete from event where batch_no = 2"))
    assert await whole(old_log, day_start=yesterday) == {"game": 0, "wallet": 8}
    broken = [one.fault for one in await verifier.verify(old_log, day_end=OLD) if one.fault]
    assert broken == []  # the day's end is not the log's: what was cut there shows where it goes on
    [fault] = [one.fault for one in await verifier.verify(old_log) if one.fault]
    assert (fault.batch_no, fault.problem.split(":")[0]) == (2, "missing")


async def test_a_broken_chain_is_not_archived(old_log: AsyncEngine, tmp_path: Path) -> None:
    async with old_log.begin() as conn:
        await conn.execute(
            text("update event set player_id = 'eve' where batch_no = 1 and source = 'wallet'")
        )
    with pytest.raises(ArchiveError, match="chain of wallet is broken"):
        await archived(old_log, tmp_path)
    assert len(await rows(old_log, "select from event where batch_no = 1")) == 3


async def test_a_day_that_is_not_over_is_not_archived(old_log: AsyncEngine, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="is not over"):
        await archived(old_log, tmp_path, before=TODAY + timedelta(days=1))
    assert await whole(old_log) == {"game": 0, "wallet": 4}


async def test_a_day_that_a_webhook_waits_for_is_not_archived(old_log: AsyncEngine, tmp_path: Path) -> None:
    webhooks = Webhooks(old_log, Vault("a key of the tests"))
    webhook = await webhooks.create(
        operator_id="acme",
        request_id="00000000-0000-4000-8000-000000000001",
        url="https://casino.example/",
        event_types=(),
        secret=bytes(24),
    )
    # It has what is of before its registration behind it: as if it had not.
    assert await archived(old_log, tmp_path) == [OLD]
    async with old_log.begin() as conn:
        await conn.execute(text("update webhook set position = 1"))
    with pytest.raises(
        ArchiveError, match=f"not delivered to all webhooks.*\n  {webhook.webhook_id} of acme"
    ):
        await archived(old_log, tmp_path, before=TODAY)
    await webhooks.set_paused(operator_id="acme", webhook_id=webhook.webhook_id, paused=True)
    assert await archived(old_log, tmp_path, before=TODAY) == [NEXT, TODAY - timedelta(days=1)]


async def test_a_token_of_before_goes_on_with_what_is_kept(old_log: AsyncEngine, tmp_path: Path) -> None:
    await archived(old_log, tmp_path)
    async with old_log.connect() as conn:
        found = await store.list_events(
            conn, EventFilter("acme"), position_after=position_of(OLD), position_end=None, limit=100
        )
    assert [one.event.batch_no for one in found[:2]] == [3, 3]


class Command:
    """A command of the service on this database, as a process."""

    def __init__(self, url: str, tmp_path: Path) -> None:
        self.url, self.mark = url, tmp_path / "mark"

    def run(self, module: str, *arguments: str, fail: str = "") -> tuple[int, str]:
        """Exit code and everything it said."""
        environment = {
            **os.environ,
            "REELMESH_EVENTS_DATABASE_URL": self.url,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COLUMNS": "200",
        }
        if fail:
            environment |= {"REELMESH_FAIL": fail, "REELMESH_FAIL_MARK": str(self.mark)}
        command = [sys.executable, "-m", f"services.events.days.{module}", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "kills", [KILLS[1::2], pytest.param(KILLS, marks=pytest.mark.long)], ids=["two", "all"]
)
async def test_retention_that_is_killed_is_given_again(
    old_log: AsyncEngine, url: str, tmp_path: Path, kills: tuple[str, ...]
) -> None:
    command = Command(url, tmp_path)
    arguments = ("retention", "archive", str(tmp_path / "archive"), "--before", f"{NEXT}")
    for fail in kills:
        code, said = command.run(*arguments, fail=fail)
        assert code == -signal.SIGKILL, said
    code, said = command.run(*arguments)
    assert code == 0, said
    assert await whole(old_log) == {"game": 0, "wallet": 12}
    assert (tmp_path / "archive" / f"{OLD}" / archive.FILE_NAME).exists()
    code, said = command.run("retention", "list")
    assert code == 0 and f"{OLD}" in said and "archived" in said
    assert command.run("retention", "archive", str(tmp_path)) == (
        1,
        "retention: give either --before or --keep-days, of 1 or more\n",
    )


async def test_a_day_is_exported_as_parquet_from_the_log_and_from_its_archive(
    old_log: AsyncEngine, url: str, tmp_path: Path
) -> None:
    command, output = Command(url, tmp_path), tmp_path / "day.parquet"
    code, said = command.run("export", "--day", f"{OLD}", "--output", str(output))
    assert (code, said) == (0, f"{output}: 5 events\n")
    query = """select position, event_id, payload_json, epoch_us(append_time), epoch_us(event_time), hash
        from read_parquet(?)"""
    found = duckdb.execute(query, [str(output)]).fetchall()
    stored = await rows(
        old_log,
        f"""select position, event_id, cast(payload as text), position,
          cast(extract(epoch from event_time) * 1000000 as bigint), encode(hash, 'hex')
        from event where position < {position_of(NEXT)} order by position""",
    )
    assert found == [tuple(row) for row in stored]

    directory = tmp_path / "archive"
    await archived(old_log, directory)
    code, said = command.run("export", "--day", f"{OLD}", "--output", str(output))
    assert (code, said) == (1, f"export: {OLD} is archived: say in which --directory\n")
    again = tmp_path / "again.parquet"
    code, said = command.run(
        "export", "--day", f"{OLD}", "--output", str(again), "--directory", str(directory)
    )
    assert code == 0, said
    assert duckdb.execute(query, [str(again)]).fetchall() == found
    assert command.run("export", "--day", "1999-01-01", "--output", str(again))[0] == 1


def test_a_damaged_file_is_not_exported(tmp_path: Path) -> None:
    path = tmp_path / archive.FILE_NAME
    path.write_bytes(gzip.compress(b"position,source\n1\n")[:-4])
    with pytest.raises(ArchiveError):
        export.write_parquet(path, tmp_path / "day.parquet")
    assert not (tmp_path / "day.parquet").exists() and not list(tmp_path.glob("*.part"))
