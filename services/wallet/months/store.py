"""Every access to the months of the ledger and their partitions. No commit here."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.wallet.records import Kind

# In the order in which writers lock them, so that whoever closes or drops a month waits but never deadlocks:
# a rollback writes reversal, posting, settlement.
TABLES = ("reversal", "transfer", "settlement", "posting")
_KEYS = {
    "settlement": "round_id, step_key",
    "reversal": "round_id",
    "transfer": "transfer_id",
    "posting": "transaction_id, leg",
}
# Any constant: two archive commands of one database do not run at once.
_LOCK_ID = 7_263_003

_ADD_MONTHS = text("""
select add_months(cast(date_trunc('month', now() at time zone 'UTC')
  + make_interval(months => cast(:months_ahead as integer)) as date))
""")

_FIND_KEPT = text("""
select cast(month_id(cast(closed + interval '1 month' as date)) as text),
  cast(month_id(cast(newest + interval '1 month' as date)) as text)
from (select max(month) filter (where close_time is not null) as closed, max(month) as newest
  from ledger_month) months
""")

_LIST_MONTHS = text("""
select month, cast(month_id(start) as text) as id_min, cast(month_id(next) as text) as id_end,
  close_time is not null as closed, archive_time is not null as archived,
  next <= cast(now() at time zone 'UTC' as date) as past
from (
  select *, cast(month + interval '1 month' as date) as next,
    cast(lag(month) over (order by month) + interval '1 month' as date) as start
  from ledger_month) months
where start is not null order by month
""")

# A stake that may wait for its payout, until game says that its rounds so old are over: a lost one needs
# none, a payout that comes must not be refused (R8). A rollback that waits for a person. A call that an
# operator's own wallet has not answered.
_LIST_UNFINISHED = """
select cast(s.round_id as text), 'a stake without payout, of a round that game has not reported over'
from settlement_{month} s
where s.step = 2 and s.status = 1 and s.round_id >= (select round_id_low from game_report)
  and not exists (select from settlement_{month} p where p.round_id = s.round_id and p.step_key = 1)
  and not exists (select from reversal_{month} r where r.round_id = s.round_id)
union all
select cast(round_id as text), 'in review' from review
where verdict is null and round_id >= cast(:id_min as uuid) and round_id < cast(:id_end as uuid)
union all
select cast(round_id as text), 'a call to an operator''s wallet' from external_call
where state <> 2 and round_id >= cast(:id_min as uuid) and round_id < cast(:id_end as uuid)
order by 1 limit 10
"""

# Never back, and never into a time to come: a mistake there would let go of every month.
_RAISE_ROUND_LOW = text("""
update game_report set report_time = clock_timestamp(),
  round_id_low = greatest(round_id_low, least(cast(:round_id_low as uuid), cast(
    rpad(lpad(to_hex(cast(floor(extract(epoch from clock_timestamp()) * 1000) as bigint)), 12, '0'), 32, '0')
    as uuid)))
returning cast(round_id_low as text)
""")

_LIST_SUMS = """
select a.currency_code, a.kind, count(*) as postings,
  cast(coalesce(sum(p.amount_minor) filter (where p.amount_minor > 0), 0) as bigint) as credit_minor,
  cast(coalesce(sum(-p.amount_minor) filter (where p.amount_minor < 0), 0) as bigint) as debit_minor
from posting_{month} p join account a using (account_id)
group by a.currency_code, a.kind order by a.currency_code, a.kind
"""

_ADD_OPENINGS = """
insert into account_opening as o (account_id, amount_minor, movements)
select account_id, sum(amount_minor), sum(movements) from (
  select account_id, amount_minor, 0 as movements from posting_{month}
  union all select counter_account_id, -amount_minor, 0 from posting_{month}
  union all select account_id, 0, 1 from settlement_{month} where account_version > 0
  union all select account_id, 0, 1 from reversal_{month}
  union all select account_id, 0, 1 from transfer_{month} where account_version > 0) parts
group by account_id order by account_id
on conflict (account_id) do update set amount_minor = o.amount_minor + excluded.amount_minor,
  movements = o.movements + excluded.movements
"""


# Of no movement at all it is the month's begin.
_UPDATE_ARCHIVED = """
update ledger_month set archive_time = clock_timestamp(), manifest = cast(:manifest as jsonb),
  last_movement_time = greatest(cast(month as timestamp) at time zone 'UTC',
    (select max(create_time) from settlement_{month} where account_version > 0),
    (select max(create_time) from reversal_{month}),
    (select max(create_time) from transfer_{month} where account_version > 0))
where month = :month
"""


@dataclass(frozen=True, slots=True)
class Month:
    """A month of the ledger, or the first one and those before it: a partition of every table."""

    month: date  # its first day
    id_min: str
    id_end: str  # the first id of the next one
    closed: bool
    archived: bool
    past: bool  # over, by the database's clock

    @property
    def name(self) -> str:
        """As people write it."""
        return f"{self.month:%Y-%m}"

    @property
    def suffix(self) -> str:
        """How the names of its partitions end."""
        return f"{self.month:%Y_%m}"


class Sum(NamedTuple):
    """Postings of one currency and kind, as players' accounts saw them."""

    currency_code: str
    kind: Kind
    postings: int
    credit_minor: int
    debit_minor: int


async def add_months(conn: AsyncConnection, *, months_ahead: int) -> int:
    """Makes what is missing of this month and the next ones; how many months it made."""
    return int((await conn.execute(_ADD_MONTHS, {"months_ahead": months_ahead})).scalar_one())


async def find_kept(conn: AsyncConnection) -> tuple[str, str]:
    """The smallest id that is kept, and the first one beyond the newest month."""
    id_min, id_end = (await conn.execute(_FIND_KEPT)).one()
    return id_min, id_end


async def list_months(conn: AsyncConnection) -> list[Month]:
    """All months that have or had partitions, oldest first."""
    return [Month(*row) for row in await conn.execute(_LIST_MONTHS)]


async def lock_archive(conn: AsyncConnection) -> bool:
    """Reserves archiving for this connection until it closes; False when another one has it."""
    return bool((await conn.execute(text(f"select pg_try_advisory_lock({_LOCK_ID})"))).scalar_one())


async def count_rows(conn: AsyncConnection, month: Month, table: str) -> int:
    """The rows of a partition, counted."""
    return int((await conn.execute(text(f"select count(*) from {table}_{month.suffix}"))).scalar_one())


async def find_size_bytes(conn: AsyncConnection, month: Month, table: str) -> int:
    """What a partition takes on the disk with its indexes."""
    query = text(f"select pg_total_relation_size('{table}_{month.suffix}')")
    return int((await conn.execute(query)).scalar_one())


async def fence_month(conn: AsyncConnection, month: Month) -> None:
    """Keeps rows out of a month, from the moment that the writers of now have ended.

    A trigger that adds nothing, silently: what is refused to one item must not fail its batch. Making it
    locks out writers to these partitions until the commit, and nobody else. Postings hang on the others.
    """
    for table in TABLES[:3]:
        await conn.execute(
            text(f"""
            create or replace trigger closed before insert on {table}_{month.suffix}
            for each row execute function add_nothing()""")
        )


async def lock_unfinished(conn: AsyncConnection) -> None:
    """Waits for whoever writes a review or a call, and lets nobody write another until the transaction ends.

    After the fence: a payout or rollback writes its rows in that order too. Who waited looks at the months
    behind its insert.
    """
    await conn.execute(text("lock table review, external_call in share mode"))


async def raise_round_low(conn: AsyncConnection, *, round_id_low: str) -> str:
    """Keeps that game's rounds under smaller ids are over, unless it said so of more before; what is kept."""
    kept: str = (await conn.execute(_RAISE_ROUND_LOW, {"round_id_low": round_id_low})).scalar_one()
    return kept


async def list_unfinished(conn: AsyncConnection, month: Month) -> list[tuple[str, str]]:
    """Up to ten rounds of a month that are not over, each with what it waits for."""
    query = text(_LIST_UNFINISHED.format(month=month.suffix))
    rows = await conn.execute(query, {"id_min": month.id_min, "id_end": month.id_end})
    return [(round_id, why) for round_id, why in rows]


async def update_closed(conn: AsyncConnection, month: Month) -> None:
    """Moves the low end of the kept range behind this month."""
    query = text("update ledger_month set close_time = clock_timestamp() where month = :month")
    await conn.execute(query, {"month": month.month})


async def list_sums(conn: AsyncConnection, month: Month) -> list[Sum]:
    """What a month's postings add up to, per currency and kind."""
    rows = await conn.execute(text(_LIST_SUMS.format(month=month.suffix)))
    return [Sum(code, Kind(kind), *amounts) for code, kind, *amounts in rows]


async def copy_partition(conn: AsyncConnection, month: Month, table: str) -> AsyncIterator[bytes]:
    """A partition's rows as CSV with a head line, in the order of their key."""
    query = (
        f"copy (select * from {table}_{month.suffix} order by {_KEYS[table]}) to stdout (format csv, header)"
    )
    driver: Any = (await conn.get_raw_connection()).driver_connection
    async with driver.cursor() as cursor, cursor.copy(query) as copy:
        async for part in copy:
            yield bytes(part)


async def add_openings(conn: AsyncConnection, month: Month) -> None:
    """Adds what a month's postings and movements add up to, per account, to the openings."""
    await conn.execute(text(_ADD_OPENINGS.format(month=month.suffix)))


async def update_archived(conn: AsyncConnection, month: Month, *, manifest: Mapping[str, Any]) -> None:
    """Keeps the manifest of a month's files, and when the last of what is in them moved."""
    query = text(_UPDATE_ARCHIVED.format(month=month.suffix))
    await conn.execute(query, {"month": month.month, "manifest": json.dumps(manifest)})


async def drop_partitions(conn: AsyncConnection, month: Month, *, lock_timeout_ms: int) -> None:
    """Drops a month's partitions. Settles wait meanwhile, and while it waits for them: hence the time-out."""
    await conn.execute(text(f"set local lock_timeout = {lock_timeout_ms}"))
    await conn.execute(text("drop table " + ", ".join(f"{table}_{month.suffix}" for table in TABLES)))
