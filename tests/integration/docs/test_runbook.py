"""The runbook's SQL runs on the databases that it names, and its commands are there."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[3]
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
QUERIES = re.findall(r"```sql\n-- (\w+)\n(.*?)```", RUNBOOK, re.S)


def test_every_query_runs_and_only_reads(database: Callable[[str], str]) -> None:
    assert len(QUERIES) == RUNBOOK.count("```sql")
    for service in sorted({service for service, _ in QUERIES}):
        with psycopg.connect(database(service).replace("+psycopg", ""), autocommit=True) as conn:
            conn.execute("set default_transaction_read_only = on")
            for _, query in (one for one in QUERIES if one[0] == service):
                conn.execute(query)


def test_every_command_is_one_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake ([a-z-]+)", RUNBOOK)) <= targets


def test_the_database_is_opened_read_only(database: Callable[[str], str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "psql", "--service", "game"],
        input="show default_transaction_read_only;\n" + next(sql for name, sql in QUERIES if name == "game"),
        env={**os.environ, "PYTHONPATH": ".:gen", "REELMESH_GAME_DATABASE_URL": database("game")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert " on\n" in done.stdout and "round_id" in done.stdout
