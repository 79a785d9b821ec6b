"""Verification names the first record that was tampered with, whatever was done to it."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.db import create_engine
from services.events.chain import Fault, hash_of
from services.events.log import Log
from services.events.records import Event
from services.events.verify import verifier
from services.events.verify.verifier import Chain
from tests.databases import Databases
from tests.integration.events.written import Clock, batch

# The source, a batch and a record in it: wallet's third batch of six, three records each, 1 us apart.
_AT = "source = 'wallet' and batch_no = 3 and batch_index = {}"
FIRST, MIDDLE, LAST = (_AT.format(index) for index in range(3))
_COPIED = """event_id, source, batch_no, {batch_index}, {batch_size}, event_type, operator_id, account_id,
  account_version, player_id, session_id, round_id, event_time, payload, traceparent, hash"""


def insert(
    where: str, position: str, *, batch_index: str = "batch_index", batch_size: str = "batch_size"
) -> str:
    """A record like another one, at a position that is free."""
    columns = _COPIED.format(batch_index=batch_index, batch_size=batch_size)
    return f"insert into event select {position}, {columns} from event where {where}"


class Tampering(NamedTuple):
    """What was done, and what is to be told: which record, and how the problem begins."""

    what: str
    statements: tuple[str, ...]
    batch_no: int
    batch_index: int
    problem: str
    source: str = "wallet"


def altered(column: str, value: str) -> Tampering:
    return Tampering(
        f"{column} changed", (f"update event set {column} = {value} where {MIDDLE}",), 3, 1, "altered"
    )


TAMPERINGS = [
    altered("payload", """'{"status":"applied", "stake_minor":100}'"""),
    altered("event_time", "event_time + interval '1 microsecond'"),
    altered("operator_id", "'rival'"),
    altered("event_type", "'wallet.voided'"),
    altered("event_id", "gen_random_uuid()"),
    altered("account_id", "8"),
    altered("account_version", "99"),
    altered("player_id", "'eve'"),
    altered("session_id", "gen_random_uuid()"),
    altered("round_id", "null"),
    altered("traceparent", "''"),
    altered("hash", "sha256('')"),
    Tampering("batch_size changed", (f"update event set batch_size = 2 where {FIRST}",), 3, 0, "altered"),
    Tampering(
        "contents of two records exchanged",
        (
            """update event e set (event_id, account_version, event_time)
              = (o.event_id, o.account_version, o.event_time) from event o
            where e.source = 'wallet' and o.source = 'wallet' and e.batch_index = 1 and o.batch_index = 1
              and (e.batch_no, o.batch_no) in ((3, 4), (4, 3))""",
        ),
        3,
        1,
        "altered",
    ),
    Tampering("a record deleted", (f"delete from event where {MIDDLE}",), 3, 1, "missing: the record"),
    Tampering("a batch's first deleted", (f"delete from event where {FIRST}",), 3, 0, "missing: the record"),
    Tampering("a batch's last deleted", (f"delete from event where {LAST}",), 3, 2, "missing: the record"),
    Tampering(
        "a batch deleted",
        ("delete from event where source = 'wallet' and batch_no = 3",),
        3,
        0,
        "missing: the whole batch",
    ),
    Tampering(
        "two records swapped",
        (
            f"update event set position = position + 500 where {FIRST}",
            f"update event set position = position - 1 where {MIDDLE}",
            f"update event set position = position - 499 where {FIRST}",
        ),
        3,
        0,
        "reordered",
    ),
    Tampering(
        "a record moved to the end",
        (f"update event set position = (select max(position) + 9 from event) where {MIDDLE}",),
        3,
        1,
        "reordered",
    ),
    Tampering(
        "a record moved a little",
        (f"update event set position = position + 9 where {LAST}",),
        3,
        2,
        "altered",
    ),
    Tampering("a record inserted twice", (insert(MIDDLE, "position + 500"),), 3, 1, "inserted"),
    Tampering("a record inserted before its twin", (insert(MIDDLE, "position - 500"),), 3, 1, "inserted"),
    Tampering(
        "a record added to a batch",
        (insert(LAST, "position + 500", batch_index="3", batch_size="4"),),
        3,
        3,
        "inserted",
    ),
    Tampering(
        "the tail cut",
        ("delete from event where source = 'wallet' and batch_no >= 5",),
        5,
        0,
        "missing: the log ends here",
    ),
    Tampering(
        "the last record cut",
        ("delete from event where source = 'wallet' and batch_no = 6 and batch_index = 2",),
        6,
        2,
        "missing: the log ends here",
    ),
    Tampering(
        "the beginning cut",
        ("delete from event where source = 'game' and batch_no = 1",),
        1,
        0,
        "missing: the whole batch",
        source="game",
    ),
    Tampering(
        "a source cut", ("delete from event where source = 'game'",), 1, 0, "missing: the log", source="game"
    ),
    Tampering(
        "the head forgotten",
        ("delete from source_head where source = 'game'",),
        4,
        1,
        "the head of the source is missing",
        source="game",
    ),
    Tampering(
        "the head put back",
        ("update source_head set batch_no = 3 where source = 'game'",),
        4,
        1,
        "inserted or altered",
        source="game",
    ),
]


@pytest.fixture(scope="module")
def shared_url(databases: Databases) -> Iterator[str]:
    """One database for all that is done to it: each test puts it back."""
    url = databases.create("events")
    yield url
    databases.drop(url)


@pytest.fixture
async def log(shared_url: str) -> AsyncIterator[AsyncEngine]:
    """Six batches of wallet, four of game between them, a millisecond apart; as they were, after the test."""
    engine = create_engine(shared_url, pool_size=3, application_name="events")
    if not await execute(engine, "select 1 from event limit 1"):
        clock = Clock()
        log = Log(engine, clock_us=clock)
        for number in range(1, 7):
            await log.append("wallet", [batch(number, count=3)])
            clock.now_us += 1_000
            if number <= 4:
                await log.append("game", [batch(number, source="game", count=2)])
                clock.now_us += 1_000
        for table in ("event", "source_head"):
            await execute(engine, f"create table {table}_kept as table {table}")
    yield engine
    for table in ("event", "source_head"):
        await execute(engine, f"delete from {table}")
        await execute(engine, f"insert into {table} table {table}_kept")
    await engine.dispose()


async def execute(engine: AsyncEngine, *statements: str) -> list[Any]:
    rows: list[Any] = []
    async with engine.begin() as conn:
        for statement in statements:
            result = await conn.execute(text(statement.replace(":", "\\:")))
            rows = list(result.all()) if result.returns_rows else []
    return rows


def faults(chains: list[Chain]) -> list[Fault]:
    return [one.fault for one in chains if one.fault is not None]


async def test_a_log_that_nobody_touched_is_whole(log: AsyncEngine) -> None:
    told: list[float] = []
    chains = await verifier.verify(log, tell=lambda done, events: told.append(done))
    assert {one.source: one.events for one in chains} == {"game": 8, "wallet": 18}
    assert faults(chains) == [] and told[-1] == 1.0
    [[hash_]] = await execute(log, "select hash from source_head where source = 'wallet'")
    assert {one.source: one.head.hash for one in chains}["wallet"] == hash_


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda tampering: tampering.what)
async def test_the_first_record_tampered_with_is_named(log: AsyncEngine, tampering: Tampering) -> None:
    await execute(log, *tampering.statements)
    [fault] = faults(await verifier.verify(log))
    assert (fault.source, fault.batch_no, fault.batch_index) == (
        tampering.source,
        tampering.batch_no,
        tampering.batch_index,
    ), fault
    assert fault.problem.startswith(tampering.problem), fault
    if not fault.problem.startswith(("missing", "the head", "inserted or altered")):
        [[position]] = await execute(
            log,
            f"select position from event where cast(event_id as text) = '{fault.event_id}'"
            f" and position = {fault.position}",
        )
        assert position == fault.position
    other = "game" if tampering.source == "wallet" else "wallet"
    assert faults(await verifier.verify(log, sources=[other])) == []


async def test_a_record_altered_together_with_its_hash_breaks_the_next_one(log: AsyncEngine) -> None:
    chains = {one.source: one for one in await verifier.verify(log)}
    assert chains["wallet"].fault is None
    [row] = await execute(log, f"select position from event where {MIDDLE}")
    event: Event = batch(3, count=3).events[1]._replace(payload_json='{"stake_minor":1}')
    [[previous]] = await execute(log, f"select hash from event where {FIRST}")
    hash_ = hash_of(previous, event, source="wallet", position=row[0])
    await execute(
        log,
        f"""update event set payload = '{event.payload_json}', hash = decode('{hash_.hex()}', 'hex')
        where {MIDDLE}""",
    )
    [fault] = faults(await verifier.verify(log))
    assert (fault.batch_no, fault.batch_index) == (3, 2) and fault.problem.startswith("altered")


async def test_what_is_rewritten_up_to_the_head_shows_in_a_hash_noted_before(log: AsyncEngine) -> None:
    """Whoever may write everything may also write a whole chain: the noted head is what it cannot reach."""
    noted = {one.source: one.head.hash for one in await verifier.verify(log)}
    await execute(
        log,
        "delete from event where source = 'wallet' and batch_no = 6",
        """update source_head set batch_no = 5, (position, hash) = (select position, hash from event
        where source = 'wallet' order by position desc limit 1) where source = 'wallet'""",
    )
    chains = await verifier.verify(log)
    assert faults(chains) == []
    assert {one.source for one in chains if noted[one.source] != one.head.hash} == {"wallet"}


class Command:
    """make verify-events, as a process."""

    def __init__(self, url: str) -> None:
        self._environment = {
            **os.environ,
            "REELMESH_EVENTS_DATABASE_URL": url,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COLUMNS": "200",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "services.events.verify", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )


async def test_the_command_tells_it_and_ends_with_1(log: AsyncEngine, shared_url: str) -> None:
    command = Command(shared_url)
    whole = command.run("--json")
    assert whole.returncode == 0, whole.stderr
    told = json.loads(whole.stdout)
    assert (told["events"], told["first_fault"]) == (26, None)
    assert {one["source"]: one["batch_no"] for one in told["sources"]} == {"game": 4, "wallet": 6}

    await execute(log, f"update event set operator_id = 'rival' where {MIDDLE}")
    [[position, event_id]] = await execute(log, f"select position, event_id from event where {MIDDLE}")
    broken = command.run("--json")
    assert broken.returncode == 1
    fault = json.loads(broken.stdout)["first_fault"]
    assert fault["source"] == "wallet" and (fault["batch_no"], fault["batch_index"]) == (3, 1)
    assert (fault["position"], fault["event_id"]) == (position, str(event_id))
    table = command.run()
    assert table.returncode == 1
    assert f"wallet: batch 3, record 1, position {position}, event {event_id}: altered" in table.stdout
    assert command.run("--source", "game").returncode == 0
    for arguments, said in (
        (("--start", "yesterday"), "'yesterday' is no day: write 2026-11-30"),
        (
            ("--start", "2026-11-30", "--end", "2026-11-29"),
            "verify: no day lies between 2026-11-30 and 2026-11-29",
        ),
        (("--source", "wallett"), "verify: nothing is known of a source 'wallett'"),
    ):
        done = command.run(*arguments)
        assert (done.returncode, done.stdout, done.stderr.strip()) == (2, "", said)
    await execute(log, "alter table event rename to event_away")
    try:
        done = command.run()
    finally:
        await execute(log, "alter table event_away rename to event")
    assert done.returncode == 2 and 'relation "event" does not exist' in done.stderr, done.stderr
