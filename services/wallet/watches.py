"""What waits for a person in the wallet, as gauges."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import telemetry_names as names
from services.wallet import review_store
from services.wallet.external import store as external_store
from services.watching.watch import Reading, Watch


def reviews(engine: AsyncEngine) -> Watch:
    """Open reviews, and calls to operators' own wallets that are not answered."""

    async def read(conn: AsyncConnection) -> Sequence[Reading]:
        rounds, age_s = await review_store.count_open(conn)
        calls = await external_store.count_stuck(conn)
        return [
            Reading(names.REVIEW_COUNT, rounds),
            Reading(names.REVIEW_AGE, age_s),
            Reading(names.EXTERNAL_CALL_COUNT, calls),
        ]

    gauges = {names.REVIEW_COUNT: "{round}", names.REVIEW_AGE: "s", names.EXTERNAL_CALL_COUNT: "{call}"}
    return Watch(engine, read, gauges=gauges)
