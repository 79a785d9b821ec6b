"""What is read now and then of rounds that are not ended. No commit here."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# The mark is the reconciler's: not one round is looked at. Before its first pass there is none.
_PENDING_AGE = text("""
select case when isfinite(create_time_low) then extract(epoch from clock_timestamp() - create_time_low) end
from reconciler where name = 'rounds'""")

_OPEN = text("""
select v.state, count(*), extract(epoch from clock_timestamp() - min(v.step_time))
from open_round o join round_view v on v.round_id = o.round_id group by v.state""")

_REVIEWS = text("""
select count(*), coalesce(extract(epoch from clock_timestamp() - min(create_time)), 0)
from review where resolve_time is null""")


async def find_pending_age_s(conn: AsyncConnection) -> float | None:
    """No round older than this is PENDING."""
    age_s = (await conn.execute(_PENDING_AGE)).scalar_one()
    return None if age_s is None else float(age_s)


async def list_open(conn: AsyncConnection) -> dict[str, tuple[int, float]]:
    """Unfinished rounds of choice games by state: how many, and for how long (s) the oldest is so."""
    rows = await conn.execute(_OPEN)
    return {state: (rounds, float(age_s or 0)) for state, rounds, age_s in rows}


async def find_reviews(conn: AsyncConnection) -> tuple[int, float]:
    """Rounds in review, and how long (s) the oldest of them is."""
    rounds, age_s = (await conn.execute(_REVIEWS)).one()
    return rounds, float(age_s)
