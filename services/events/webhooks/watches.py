"""What webhooks do not take, as gauges."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import telemetry_names as names
from services.events.webhooks import store
from services.watching.watch import Reading, Watch


def webhooks(engine: AsyncEngine) -> Watch:
    """Dead letters, and webhooks that are paused."""

    async def read(conn: AsyncConnection) -> Sequence[Reading]:
        dead_letters, paused = await store.count_untaken(conn)
        return [Reading(names.WEBHOOK_DEAD_LETTERS, dead_letters), Reading(names.WEBHOOK_PAUSED, paused)]

    gauges = {names.WEBHOOK_DEAD_LETTERS: "{event}", names.WEBHOOK_PAUSED: "{webhook}"}
    return Watch(engine, read, gauges=gauges)
