"""A PostgreSQL server of the bench: started, read from aside of the measurement, thrown away."""

import shutil
from pathlib import Path
from typing import Any

import psycopg

from bench.machine import postgres_cpu_s
from deploy.local.ports import free_ports
from deploy.local.postgres import Cluster

DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


class PostgresServer:
    """A cluster of its own per subject, so that its CPU is the subject's and nobody else's."""

    def __init__(self, directory: Path) -> None:
        self._cluster = Cluster(directory, free_ports(1)[0])
        self.directory = self._cluster.directory
        self._link = directory
        self._readers: list[psycopg.Connection[Any]] = []
        self._postmaster_pid = 0

    def start(self) -> None:
        """With the settings that `make run` uses; fsync and synchronous_commit stay at their default, on."""
        self._cluster.start()
        self.server = self._cluster.server
        lock = (self.directory / "data" / "postmaster.pid").read_text()
        self._postmaster_pid = int(lock.splitlines()[0])

    def stop(self) -> None:
        """Ends the server and removes its data."""
        for reader in self._readers:
            reader.close()
        self._cluster.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._link.is_symlink():
            self._link.unlink()

    def reader(self, database: str) -> psycopg.Connection[Any]:
        """A connection for the bench's own questions, kept open; its backend is not in cpu_s."""
        reader = self.server.connect(database)
        self._readers.append(reader)
        return reader

    def cpu_s(self) -> float:
        """What the whole server spent since its start."""
        pids = [reader.info.backend_pid for reader in self._readers]
        return postgres_cpu_s(self._postmaster_pid, except_pids=pids)

    def durability(self) -> dict[str, str]:
        """The settings that make a commit durable, as the server shows them."""
        return {name: str(value(self._readers[0], f"show {name}")) for name in DURABILITY}


def value(reader: psycopg.Connection[Any], query: str, *parameters: object) -> Any:
    """The only value of a query."""
    row = reader.execute(query, parameters or None).fetchone()
    assert row is not None
    return row[0]


def transaction_id(reader: psycopg.Connection[Any]) -> int:
    """What is written from now on has this transaction id or a higher one."""
    return int(value(reader, "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"))


def rows_per_transaction(reader: psycopg.Connection[Any], table: str, since: int) -> float:
    """Mean rows of the table that one transaction inserted, over those since a transaction id; 0 of none.

    PostgreSQL keeps the inserting transaction in each row (xmin): the batch size needs no counter in the code
    that is measured. Valid for tables that are only inserted into.
    """
    return float(
        value(
            reader,
            f"""select coalesce(count(*)::float / nullif(count(distinct xmin::text), 0), 0)
                from {table} where xmin::text::bigint >= %s""",
            since,
        )
    )
