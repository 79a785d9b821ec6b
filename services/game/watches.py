"""What game's rounds wait for, as gauges."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import telemetry_names as names
from services.game import watch_store
from services.game.records import State
from services.watching.watch import Reading, Watch


def rounds(engine: AsyncEngine) -> Watch:
    """Rounds that are not ended, and those that wait for a person."""

    async def read(conn: AsyncConnection) -> Sequence[Reading]:
        readings = []
        pending_age_s = await watch_store.find_pending_age_s(conn)
        if pending_age_s is not None:
            readings.append(Reading(names.ROUND_PENDING_AGE, pending_age_s))
        open_rounds = await watch_store.list_open(conn)
        for state in (State.OPEN, State.SETTLING):
            rounds, age_s = open_rounds.get(state, (0, 0.0))
            attributes = {names.ROUND_STATE: state.value}
            readings.append(Reading(names.ROUND_OPEN, rounds, attributes))
            readings.append(Reading(names.ROUND_OPEN_AGE, age_s, attributes))
        rounds, age_s = await watch_store.find_reviews(conn)
        return [*readings, Reading(names.REVIEW_COUNT, rounds), Reading(names.REVIEW_AGE, age_s)]

    gauges = {names.ROUND_PENDING_AGE: "s", names.ROUND_OPEN: "{round}", names.ROUND_OPEN_AGE: "s"}
    return Watch(engine, read, gauges={**gauges, names.REVIEW_COUNT: "{round}", names.REVIEW_AGE: "s"})
