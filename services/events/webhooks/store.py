"""Every SQL statement of webhooks and their dead letters. No commit here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.events.records import DeadLetter, Webhook

_COLUMNS = """cast(webhook_id as text), operator_id, url, event_types, secret, create_time, paused, position,
  attempts, last_error, given_up, nullif(due_time, '-infinity'),
  (select count(*) from dead_letter d where d.webhook_id = w.webhook_id)"""

_INSERT = text("""
insert into webhook (webhook_id, operator_id, request_id, url, event_types, secret, create_time, position)
values (:webhook_id, :operator_id, :request_id, :url, :event_types, :secret, :create_time,
  (select position from log_head))
on conflict (operator_id, request_id) do nothing returning 1""")

# Whoever is due, nobody's at the moment, and behind the log's end or asked to send something once more.
_TAKE_DUE = text(f"""
update webhook w set holder = :holder, lease_until = :lease_until
where webhook_id in (
  select webhook_id from webhook w
  where not paused and due_time <= :now and lease_until < :now and (
    position < (select position from log_head)
    or exists (select from dead_letter d where d.webhook_id = w.webhook_id and redelivering))
  order by due_time, webhook_id limit :limit for update skip locked)
returning {_COLUMNS}""")

_LIST_DEAD = """
select position, cast(event_id as text), event_type, attempts, last_error, dead_time, redelivering
from dead_letter where webhook_id = :webhook_id and position > :position_after {condition}
order by position limit :limit"""


class Held(NamedTuple):
    """A webhook that a process holds, at the place where it began a delivery: both must still be so."""

    webhook_id: str
    holder: str
    position: int


_HELD = "webhook_id = :webhook_id and holder = :holder and position = :position"


async def insert_webhook(conn: AsyncConnection, values: dict[str, Any]) -> bool:
    """Whether it is new; it begins at the log's end."""
    return (await conn.execute(_INSERT, values)).first() is not None


async def lock_operator(conn: AsyncConnection, *, operator_id: str) -> None:
    """Waits until nobody else registers for this operator; held to the end of the transaction."""
    query = text("select pg_advisory_xact_lock(hashtextextended('webhook ' || :operator_id, 0))")
    await conn.execute(query, {"operator_id": operator_id})


async def list_webhooks(conn: AsyncConnection, *, operator_id: str) -> list[Webhook]:
    """An operator's, oldest first."""
    query = f"select {_COLUMNS} from webhook w where operator_id = :operator_id order by webhook_id"
    return [_webhook(row) for row in await conn.execute(text(query), {"operator_id": operator_id})]


async def find_webhook(conn: AsyncConnection, *, operator_id: str, webhook_id: str) -> Webhook | None:
    """By its id."""
    query = f"""select {_COLUMNS} from webhook w
        where operator_id = :operator_id and webhook_id = cast(:webhook_id as uuid)"""
    rows = await conn.execute(text(query), {"operator_id": operator_id, "webhook_id": webhook_id})
    return next(map(_webhook, rows), None)


async def find_by_request(conn: AsyncConnection, *, operator_id: str, request_id: str) -> Webhook:
    """By the id of its registration."""
    query = f"""select {_COLUMNS} from webhook w
        where operator_id = :operator_id and request_id = cast(:request_id as uuid)"""
    rows = await conn.execute(text(query), {"operator_id": operator_id, "request_id": request_id})
    return _webhook(rows.one())


async def update_secret(conn: AsyncConnection, *, webhook_id: str, secret: bytes) -> None:
    """Another secret, sealed."""
    query = text("update webhook set secret = :secret where webhook_id = :webhook_id")
    await conn.execute(query, {"webhook_id": webhook_id, "secret": secret})


async def update_paused(conn: AsyncConnection, *, webhook_id: str, paused: bool) -> None:
    """Stops deliveries, or goes on at once and with a clean sheet."""
    query = """update webhook set paused = :paused where webhook_id = :webhook_id and not paused"""
    if not paused:
        query = """update webhook set paused = :paused, attempts = 0, given_up = false,
            due_time = '-infinity' where webhook_id = :webhook_id and paused"""
    await conn.execute(text(query), {"webhook_id": webhook_id, "paused": paused})


async def delete_webhook(conn: AsyncConnection, *, webhook_id: str) -> None:
    """With its dead letters."""
    await conn.execute(text("delete from webhook where webhook_id = :webhook_id"), {"webhook_id": webhook_id})


async def take_due(
    conn: AsyncConnection, *, holder: str, now: datetime, lease_until: datetime, limit: int
) -> list[Webhook]:
    """Webhooks that this process is to deliver to, until then."""
    values = {"holder": holder, "now": now, "lease_until": lease_until, "limit": limit}
    return [_webhook(row) for row in await conn.execute(_TAKE_DUE, values)]


async def record_taken(conn: AsyncConnection, held: Held, *, position: int, lease_until: datetime) -> bool:
    """All up to a position was taken, and the lease is renewed. False: it is another's by now, or paused."""
    query = f"""update webhook set position = :position_new, attempts = 0, last_error = '', given_up = false,
        due_time = '-infinity', lease_until = :lease_until where {_HELD} returning not paused"""
    values = {**held._asdict(), "position_new": position, "lease_until": lease_until}
    return bool((await conn.execute(text(query), values)).scalar_one_or_none())


async def record_failed(conn: AsyncConnection, held: Held, *, last_error: str, due_time: datetime) -> None:
    """A try failed; the lease ends."""
    query = f"""update webhook set attempts = attempts + 1, last_error = :last_error, due_time = :due_time,
        lease_until = '-infinity' where {_HELD}"""
    await conn.execute(text(query), {**held._asdict(), "last_error": last_error, "due_time": due_time})


async def record_dead(
    conn: AsyncConnection, held: Held, letter: DeadLetter, *, due_time: datetime
) -> bool | None:
    """The next event is given up; the lease ends. Whether that paused the webhook; None: it is another's.

    The second one in a row without anything taken pauses it: what comes after waits, and is not lost.
    """
    query = f"""update webhook set position = :position_new, attempts = 0, last_error = :last_error,
        paused = given_up, given_up = true, due_time = :due_time, lease_until = '-infinity'
        where {_HELD} returning paused"""
    values = {**held._asdict(), "position_new": letter.position, "last_error": letter.last_error}
    paused = (await conn.execute(text(query), {**values, "due_time": due_time})).scalar_one_or_none()
    if paused is None:
        return None
    insert = """insert into dead_letter values (:webhook_id, :position, :event_id, :event_type, :attempts,
        :last_error, :dead_time, :redelivering)"""
    await conn.execute(text(insert), {"webhook_id": held.webhook_id, **letter._asdict()})
    return bool(paused)


async def release(conn: AsyncConnection, held: Held, *, position: int, due_time: datetime) -> None:
    """There is nothing to deliver up to a position."""
    query = f"""update webhook set position = greatest(position, :position_new), due_time = :due_time,
        lease_until = '-infinity' where {_HELD}"""
    await conn.execute(text(query), {**held._asdict(), "position_new": position, "due_time": due_time})


async def list_dead_letters(
    conn: AsyncConnection, *, webhook_id: str, position_after: int, limit: int, redelivering: bool = False
) -> list[DeadLetter]:
    """The first ones behind a position; with `redelivering` those only that are to be sent once more."""
    query = _LIST_DEAD.format(condition="and redelivering" if redelivering else "")
    values = {"webhook_id": webhook_id, "position_after": position_after, "limit": limit}
    return [DeadLetter(*row) for row in await conn.execute(text(query), values)]


async def redeliver(conn: AsyncConnection, *, webhook_id: str, event_ids: Sequence[str]) -> int:
    """Has these dead letters sent once more, or all; how many there are."""
    query = "update dead_letter set redelivering = true where webhook_id = :webhook_id"
    if event_ids:
        query += " and event_id = any(cast(:event_ids as uuid[]))"
    result = await conn.execute(
        text(f"with sent as ({query} returning 1) select count(*) from sent"),
        {"webhook_id": webhook_id, "event_ids": list(event_ids)},
    )
    await conn.execute(
        text("update webhook set due_time = '-infinity' where webhook_id = :webhook_id and attempts = 0"),
        {"webhook_id": webhook_id},
    )
    return int(result.scalar_one())


async def delete_dead_letter(conn: AsyncConnection, *, webhook_id: str, position: int) -> None:
    """It was taken after all."""
    query = text("delete from dead_letter where webhook_id = :webhook_id and position = :position")
    await conn.execute(query, {"webhook_id": webhook_id, "position": position})


async def update_dead_letter(
    conn: AsyncConnection, *, webhook_id: str, position: int, last_error: str
) -> None:
    """It was not."""
    query = text("""update dead_letter set redelivering = false, attempts = attempts + 1,
        last_error = :last_error where webhook_id = :webhook_id and position = :position""")
    await conn.execute(query, {"webhook_id": webhook_id, "position": position, "last_error": last_error})


async def count_untaken(conn: AsyncConnection) -> tuple[int, int]:
    """Dead letters, and paused webhooks, of all operators."""
    query = text("select (select count(*) from dead_letter), (select count(*) from webhook where paused)")
    dead_letters, paused = (await conn.execute(query)).one()
    return dead_letters, paused


async def list_behind(conn: AsyncConnection, *, position: int) -> list[tuple[str, str]]:
    """Webhooks, with their operators, that are not paused and wait for something up to a position."""
    query = text("""select cast(webhook_id as text), operator_id from webhook
        where not paused and position < :position order by 1""")
    rows = await conn.execute(query, {"position": position})
    return [(webhook_id, operator_id) for webhook_id, operator_id in rows]


def _webhook(row: Any) -> Webhook:
    webhook_id, operator_id, url, event_types, *rest = row
    return Webhook(webhook_id, operator_id, url, tuple(event_types), *rest)
