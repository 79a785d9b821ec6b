"""Walks the chains of the log, to the first record that was altered, is missing or is out of order."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.events import chain
from services.events.chain import Fault
from services.events.records import GENESIS, Head, StoredEvent
from services.events.verify import store

PROGRESS_EVENTS = 20_000

# Hears how much of the way is done, 0 to 1, and how many events were read.
Tell = Callable[[float, int], None]


@dataclass(slots=True)
class Chain:
    """What was found of one source."""

    source: str
    start: Head  # what the first event looked at had to follow
    head: Head  # the last event that does follow
    events: int = 0
    fault: Fault | None = None


async def verify(
    engine: AsyncEngine,
    *,
    sources: Sequence[str] = (),
    day_start: date | None = None,
    day_end: date | None = None,
    tell: Tell = lambda done, events: None,
) -> list[Chain]:
    """Every source's chain, or of these, over the days from `day_start` to `day_end`, both included.

    By default everything that is kept, from where the archived days ended. What lies before `day_start` is
    believed. It reads one snapshot and holds nobody up.
    """
    async with engine.connect() as conn:
        await store.begin_snapshot(conn)
        span = await store.find_span(conn, day_start=day_start, day_end=day_end)
        ends = await store.list_ends(conn)
        chains: dict[str, Chain] = {}
        for source in sources or await store.list_sources(conn):
            start = await store.find_head(conn, source=source, span=span)
            chains[source] = Chain(source, start, start)
        await _walk(store.stream(conn, span=span), chains, span, tell, only=bool(sources))
        for one in chains.values():
            if one.fault is None and span.open_ended:
                one.fault = _check_end(one, ends.get(one.source))
            elif one.fault is not None:
                one.fault = await _look_around(conn, one)
    return list(chains.values())


def first_fault(chains: Sequence[Chain]) -> Fault | None:
    """The fault that lies first in the log."""
    faults = [(one.head.position, one.fault) for one in chains if one.fault is not None]
    return min(faults, key=lambda found: found[0])[1] if faults else None


async def _walk(
    events: AsyncIterator[StoredEvent],
    chains: dict[str, Chain],
    span: store.Span,
    tell: Tell,
    *,
    only: bool,
) -> None:
    count = 0
    async for stored in events:
        if stored.source not in chains and not only:
            # Nobody knows of it but the events themselves.
            chains[stored.source] = Chain(stored.source, GENESIS, GENESIS)
        one = chains.get(stored.source)
        if one is None or one.fault is not None:
            continue
        found = chain.follow(one.head, stored)
        if isinstance(found, Fault):
            one.fault = found
            continue
        one.head = found
        one.events += 1
        count += 1
        if count % PROGRESS_EVENTS == 0:
            tell((stored.position - span.start) / max(1, span.end - span.start), count)
    tell(1.0, count)


def _check_end(one: Chain, end: store.End | None) -> Fault | None:
    """Whether the chain ends where its source's head says."""
    head, expected = one.head, chain.next_place(one.head)
    found = store.End(head.batch_no, head.position, head.hash)
    if (end == found and expected[1] == 0) or (end is None and head == GENESIS):
        return None
    if end is None:
        problem = "the head of the source is missing"
    elif (head.batch_no, head.position) < (end.batch_no, end.position):
        problem = f"missing: the log ends here, its head says that it ends with batch {end.batch_no}"
    else:
        problem = f"inserted or altered: the head says that the log ends with batch {end.batch_no}"
    missing = end is not None and problem.startswith("missing")
    place = expected if missing else (head.batch_no, head.batch_index)
    return Fault(
        one.source, problem, *place, position=0 if missing else head.position, event_id="", expected=expected
    )


async def _look_around(conn: AsyncConnection, one: Chain) -> Fault:
    """The same fault, named after a look at what else is stored of the same place, or of the expected one."""
    fault = one.fault
    assert fault is not None
    there = await store.list_places(conn, source=one.source, batch_no=fault.batch_no)
    twins = [
        place
        for place in there
        if place.batch_index == fault.batch_index and place.position != fault.position
    ]
    if twins:
        problem = f"inserted: the record of this place is stored at position {twins[0].position}, too"
        return fault._replace(problem=problem)
    if fault.problem != "missing":
        return fault
    batch_no, batch_index = fault.expected
    places = await store.list_places(conn, source=one.source, batch_no=batch_no)
    for place in places:
        if place.batch_index == batch_index:
            problem = f"reordered: it is stored behind batch {fault.batch_no}, record {fault.batch_index}"
            return Fault(one.source, problem, *fault.expected, place.position, place.event_id, fault.expected)
    what = "the record is" if places else "the whole batch is"
    problem = f"missing: {what} not there; next comes batch {fault.batch_no}, record {fault.batch_index}"
    return Fault(one.source, problem, *fault.expected, 0, "", fault.expected)
