"""A walk over all rounds of a time, in pages, in the order of their ids. A difference is looked at twice.

The three databases are read one after the other, so a round that moves meanwhile may seem torn. A difference
counts when a second look, a moment later, finds it too.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from services.reconciliation import store
from services.reconciliation.differences import differences, waits
from services.reconciliation.facts import Difference, Settled, Sides

SERVICES = ("game", "wallet", "events")
PAGE_ROWS = 2_000
# One statement writes a row and the outbox beside it, each with a time of its own, the outbox a little later.
WRITE_MAX = timedelta(seconds=5)
FIRST_ID, LAST_ID = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"


class Page(NamedTuple):
    """What a page came to. `last`: the id that it ends with."""

    last: str
    sides: Sequence[Sides]
    found: Sequence[tuple[Sides, Sequence[Difference]]]
    waiting: int


def id_at(time: datetime) -> str:
    """The smallest UUIDv7 of a time."""
    digits = f"{max(int(time.timestamp() * 1000), 0):012x}"
    return f"{digits[:8]}-{digits[8:]}-0000-0000-000000000000"


class Walk:
    """One comparison. `engines`: by service."""

    def __init__(self, engines: Mapping[str, AsyncEngine], *, grace: timedelta) -> None:
        """`grace`: what was written more recently may be on its way."""
        self._engines, self._grace = engines, grace

    async def now(self) -> datetime:
        """Up to when all three can be read: the time, or that of the replica which is furthest behind."""
        return min(now for now, _ in (await self._times()).values())

    async def kept(self) -> str:
        """From where on wallet and events have everything: what is archived cannot be compared."""
        kept = [FIRST_ID]
        for service in ("wallet", "events"):
            async with self._engines[service].connect() as conn:
                kept.append(await store.find_kept(conn, service) or FIRST_ID)
        return max(kept)

    async def pages(self, *, after: str, last: str) -> AsyncIterator[Page]:
        """The range (after, last], a page at a time: of bounded size, however many rounds there are."""
        while after < last:
            end = await self._end(after, last)
            settled = await self.settled()
            sides = await self.look(after, end)
            found = await self._twice(sides, settled)
            yield Page(end, sides, found, sum(map(waits, sides)))
            after = end

    async def look(self, after: str, last: str) -> list[Sides]:
        """All rounds of a range that any side has."""
        async with self._engines["events"].connect() as conn:
            events = await store.list_events(conn, after=after, last=last)
        async with self._engines["wallet"].connect() as conn:
            wallet = await store.list_wallet(conn, after=after, last=last)
        async with self._engines["game"].connect() as conn:
            game = await store.list_game(conn, after=after, last=last)
        ids = sorted(game.keys() | wallet.keys() | events.keys())
        return [Sides(one, game.get(one), wallet.get(one), events.get(one, ())) for one in ids]

    async def look_again(self, round_id: str) -> list[Difference]:
        """What differs about one round now."""
        settled = await self.settled()
        before = f"{int(round_id.replace('-', ''), 16) - 1:032x}"
        after = "-".join((before[:8], before[8:12], before[12:16], before[16:20], before[20:]))
        return [one for sides in await self.look(after, round_id) for one in differences(sides, settled)]

    async def _twice(
        self, sides: Iterable[Sides], settled: Settled
    ) -> list[tuple[Sides, Sequence[Difference]]]:
        found: list[tuple[Sides, Sequence[Difference]]] = []
        for one in sides:
            if differences(one, settled) and (still := await self.look_again(one.round_id)):
                found.append((one, still))
        return found

    async def _end(self, after: str, last: str) -> str:
        """Where a page ends: no side has more than PAGE_ROWS rows before it, or not many more."""
        ends = [last]
        for service in SERVICES:
            async with self._engines[service].connect() as conn:
                end = await store.find_last(conn, service, after=after, last=last, rows_max=PAGE_ROWS)
            ends += [end] if end else []
        return min(ends)

    async def settled(self) -> Settled:
        """Up to when what was written must be everywhere by now."""
        times = await self._times()
        # What one of the three cannot show yet is no difference.
        settled = min(now for now, _ in times.values()) - self._grace
        told = {
            service: min(settled, unsent_time - WRITE_MAX) if unsent_time else settled
            for service, (_, unsent_time) in times.items()
        }
        return Settled(settled, settled, told["game"], told["wallet"])

    async def _times(self) -> dict[str, tuple[datetime, datetime | None]]:
        times = {}
        for service in SERVICES:
            async with self._engines[service].connect() as conn:
                times[service] = await store.find_times(conn, service)
        return times
