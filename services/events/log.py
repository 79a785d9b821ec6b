"""The log: what arrives at least once is stored exactly once, and read in the order it was stored."""

from collections.abc import Sequence
from typing import NamedTuple

from services.common import failpoints
from services.common.db import Connection
from services.events import store
from services.events.errors import BatchOutOfOrder


class Batch(NamedTuple):
    """One outbox batch of a source."""

    batch_no: int
    events: Sequence[store.Event]


async def append(
    conn: Connection, source: str, batches: Sequence[Batch], *, locked: bool = True, arbiter: bool = True
) -> int:
    """Stores the batches that are new; returns the source's highest stored batch.

    Errors: BATCH_OUT_OF_ORDER when a number is above the next one; then nothing is stored.
    `locked` and `arbiter` are off only in the tests that show what they are for.
    """
    # Positions are given out before they are committed: without the lock a reader that pages along the end
    # could pass a position that another source commits later, and never see it.
    if locked:
        await store.lock_append(conn)
    batch_no_last = await store.find_batch_no_last(conn, source=source)
    expected = batch_no_last + 1
    for batch in batches:
        if batch.batch_no > expected:
            raise BatchOutOfOrder(batch_no_expected=expected)
        expected = max(expected, batch.batch_no + 1)
    new = await store.insert_inbox(conn, source=source, batch_nos=[batch.batch_no for batch in batches])
    await failpoints.reach("mid_inbox", source)
    events = [event for batch in batches if batch.batch_no in new or not arbiter for event in batch.events]
    if events:
        await store.append_events(conn, source=source, batch_no_last=expected - 1, events=events)
    return expected - 1
