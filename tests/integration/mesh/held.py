"""A table held still, so that what is sent meanwhile meets there; requests on connections of their own."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from services.common.server import TRACE_ID_KEY
from tests.mesh.asking import Rest
from tests.mesh.players import Answer
from tests.mesh.stage import Stage


class Held:
    """A locked table. Services give up waiting for it after a second (db.LOCK_TIMEOUT_MS)."""

    def __init__(self, conn: AsyncConnection, table: str) -> None:
        self._conn = conn
        self._table = table

    async def waited_for(self, count: int) -> None:
        """Returns when so many statements wait for the table."""
        query = text("select count(*) from pg_locks where relation = cast(:t as regclass) and not granted")
        async with asyncio.timeout(10):
            found = 0
            while found < count:
                found = (await self._conn.execute(query, {"t": self._table})).scalar_one()


@asynccontextmanager
async def held_table(stage: Stage, service: str, table: str, mode: str) -> AsyncIterator[Held]:
    """Locks a service's table in the block, e.g. "share" (no writes) or "exclusive" (no row locks either)."""
    engine = create_async_engine(stage.mesh.database_urls[service], poolclass=NullPool)
    async with engine.connect() as conn:
        await conn.execute(text(f"lock table {table} in {mode} mode"))
        yield Held(conn, table)


class Said(NamedTuple):
    """An answer and the trace that it names."""

    answer: Answer
    trace_id: str


class Wire:
    """One HTTP request on a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def said(self) -> Said:
        """The answer, which ends the connection."""
        whole = await self._reader.read()
        await self.close()
        head, _, body = whole.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return Said(Answer(int(status.split()[1]), json.loads(body)), headers[TRACE_ID_KEY])

    def cut(self) -> None:
        """Ends the connection at once, whatever is under way."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Ends the connection."""
        self._writer.close()
        await self._writer.wait_closed()


async def send(url: str, asks: Sequence[Rest]) -> list[Wire]:
    """Requests written at once, each on a connection of its own; returns when all are there."""
    place = urlsplit(url)
    ends = await asyncio.gather(*(asyncio.open_connection(place.hostname, place.port) for _ in asks))
    for (_, writer), ask in zip(ends, asks, strict=True):
        writer.write(_request(ask))
    # A gateway reads what is there before what comes later; the first answer may overtake tasks just made.
    for _ in range(2):
        await _games(place.hostname, place.port)
    return [Wire(reader, writer) for reader, writer in ends]


async def _games(host: str | None, port: int | None) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(_request(Rest("GET", "/v1/games")))
    await Wire(reader, writer).said()


def _request(ask: Rest) -> bytes:
    body = b"" if ask.body is None else json.dumps(ask.body).encode()
    head = f"{ask.method} {ask.path} HTTP/1.1\r\nhost: mesh\r\nconnection: close\r\n"
    if ask.credential:
        head += f"authorization: Bearer {ask.credential}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
