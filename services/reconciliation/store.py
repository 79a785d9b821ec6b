"""Every statement of the three-way comparison. They read, and lock nothing. Pages are ranges of round ids.

A range is (after, last]: rounds have UUIDv7, so that it is one of time too, and an index has it in order.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.reconciliation.facts import Change, Entry, GameRound, Owner, Told, WalletRound

_FIND_LAST = """
select (array_agg(cast(round_id as text) order by round_id desc))[1] as last, count(*) as n from (
  select round_id from {table} where round_id > cast(:after as uuid) and round_id <= cast(:last as uuid)
  order by round_id limit :rows_max) page
"""
_TABLES = {"game": "round", "wallet": "settlement", "events": "event"}

# Of a round whose stake is not known here to be applied no amount is read but the stake (R2).
_LIST_GAME = text("""
with page as (
  select r.*, exists (select from round_step s where s.round_id = r.round_id)
    or exists (select from round_end e
      where e.round_id = r.round_id and e.state in ('SETTLED', 'REVERSED'))
    or exists (select from round_reversal b where b.round_id = r.round_id)
    or exists (select from round_review w
      where w.round_id = r.round_id and w.state in ('SETTLED', 'REVERSED'))
    as applied
  from round r where r.round_id > cast(:after as uuid) and r.round_id <= cast(:last as uuid)),
change as (
  select s.round_id, 'STEP' as place, s.state_after as state, s.at_risk_minor as amount_minor,
    s.balance_after_minor, s.account_version, s.create_time as time
  from round_step s join page using (round_id) where s.step = 0
  union all
  select e.round_id, 'END', e.state, e.paid_minor, e.balance_after_minor, e.account_version, e.end_time
  from round_end e join page using (round_id)
  union all
  select b.round_id, 'REVERSAL', 'REVERSED', 0, b.balance_after_minor, b.account_version, b.end_time
  from round_reversal b join page using (round_id)
  union all
  select w.round_id, 'REVIEW', 'NEEDS_REVIEW', 0, 0, 0, w.create_time
  from round_review w join page using (round_id)
  union all
  select w.round_id, 'VERDICT', w.state, w.paid_minor, w.balance_after_minor, w.account_version,
    w.resolve_time
  from round_review w join page using (round_id) where w.resolve_time is not null)
select cast(p.round_id as text) as round_id, p.operator_id, p.account_id, p.kind, p.currency_code, p.birth,
  p.offers_choice, p.stake_minor, case when p.applied then p.win_minor end as win_minor,
  l.at_risk_minor, coalesce(l.state_after = 'SETTLING', false) as settling, p.create_time,
  coalesce((
    select json_agg(json_build_array(c.place, c.state, c.amount_minor, c.balance_after_minor,
      c.account_version, c.time) order by c.time)
    from change c where c.round_id = p.round_id), '[]') as changes,
  coalesce(w.problem, '') as problem, coalesce(w.verdict, '') as verdict
from page p
left join lateral (
  select s.at_risk_minor, s.state_after from round_step s
  where s.round_id = p.round_id order by s.step desc limit 1) l on true
left join round_review w on w.round_id = p.round_id
order by p.round_id
""")

# A tombstone that a reversal left on the payout's key has no event of its own.
_LIST_WALLET = text("""
select cast(s.round_id as text) as round_id, s.step, s.status, s.stake_minor,
  case when s.status = 1 then s.win_minor else 0 end as win_minor, s.balance_after_minor, s.account_version,
  not (s.step = 0 and s.status = 4) as told, s.create_time, false as reversal,
  a.operator_id, s.account_id, a.kind, a.currency_code, coalesce(a.external, false) as external, s.step_key
from settlement s left join account a using (account_id)
where s.round_id > cast(:after as uuid) and s.round_id <= cast(:last as uuid)
union all
select cast(r.round_id as text),
  (select s.step from settlement s where s.round_id = r.round_id and s.step_key = 0),
  4, r.stake_minor, r.win_minor, r.balance_after_minor, r.account_version, true, r.create_time, true,
  a.operator_id, r.account_id, a.kind, a.currency_code, a.external, 2
from reversal r join account a using (account_id)
where r.round_id > cast(:after as uuid) and r.round_id <= cast(:last as uuid)
order by round_id, step_key
""")

_LIST_EVENTS = text("""
select cast(round_id as text) as round_id, event_type, operator_id, account_id, account_version,
  coalesce(payload ->> 'currency_code', '') as currency_code,
  case payload ->> 'account_kind' when 'DEMO' then 2 else 1 end as kind,
  coalesce(payload ->> 'step', '') as step, coalesce(payload ->> 'status', '') as status,
  coalesce(cast(payload ->> 'stake_minor' as bigint), 0) as stake_minor,
  cast(payload ->> 'win_minor' as bigint) as win_minor,
  cast(payload ->> 'balance_after_minor' as bigint) as balance_after_minor, event_time
from event
where round_id > cast(:after as uuid) and round_id <= cast(:last as uuid)
  and (event_type = 'wallet.settled' or event_type like 'round.%')
order by round_id, position
""")

# Up to when a database can be read. A replica that does not follow, or is behind with what it has received,
# shows what was committed up to the last transaction that it replayed.
_NOW = """coalesce(case when pg_is_in_recovery() and not (exists (select from pg_stat_wal_receiver)
    and pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()) then pg_last_xact_replay_timestamp() end,
  clock_timestamp()) as now"""
_FIND_NOW = text(f"select {_NOW}, null as unsent_time")
_FIND_TIMES = text(f"""
select {_NOW},
  least((select create_time from outbox where batch_no is null order by outbox_id limit 1),
    (select min(create_time) from outbox where batch_no
      > coalesce((select batch_no_acked from relay where source = :source), 0))) as unsent_time
""")

# From where on nothing is archived.
_FIND_KEPT = {
    "wallet": """select cast(month_id(cast(max(month) + interval '1 month' as date)) as text)
      from ledger_month where archive_time is not null""",
    "events": """select cast(cast(rpad(lpad(to_hex(max(position) / 1000), 12, '0'), 32, '0') as uuid) as text)
      from archived_head""",
}


async def find_last(
    conn: AsyncConnection, service: str, *, after: str, last: str, rows_max: int
) -> str | None:
    """The id that `rows_max` rows of a range end with; None when there are fewer."""
    query = _FIND_LAST.format(table=_TABLES[service])
    row = (await conn.execute(text(query), {"after": after, "last": last, "rows_max": rows_max})).one()
    return row.last if row.n == rows_max else None


async def list_game(conn: AsyncConnection, *, after: str, last: str) -> dict[str, GameRound]:
    """Game's rounds of a range."""
    rows = await conn.execute(_LIST_GAME, {"after": after, "last": last})
    return {row.round_id: _game_round(row) for row in rows}


async def list_wallet(conn: AsyncConnection, *, after: str, last: str) -> dict[str, WalletRound]:
    """The wallet's rounds of a range."""
    rows = (await conn.execute(_LIST_WALLET, {"after": after, "last": last})).all()
    return {
        round_id: _wallet_round(round_id, list(of_round))
        for round_id, of_round in groupby(rows, key=lambda row: str(row.round_id))
    }


async def list_events(conn: AsyncConnection, *, after: str, last: str) -> dict[str, list[Told]]:
    """The events of a range's rounds."""
    rows = (await conn.execute(_LIST_EVENTS, {"after": after, "last": last})).all()
    return {
        round_id: [Told(*row[1:]) for row in of_round]
        for round_id, of_round in groupby(rows, key=lambda row: str(row.round_id))
    }


async def find_times(conn: AsyncConnection, service: str) -> tuple[datetime, datetime | None]:
    """Up to when it can be read, and when it wrote the oldest event that is not delivered; None: all are.

    The events service has none of its own to deliver.
    """
    query = _FIND_NOW if service == "events" else _FIND_TIMES.bindparams(source=service)
    row = (await conn.execute(query)).one()
    return row.now, row.unsent_time


async def find_kept(conn: AsyncConnection, service: str) -> str | None:
    """An id under which some rounds may be archived; None: nothing is."""
    kept: str | None = (await conn.execute(text(_FIND_KEPT[service]))).scalar_one()
    return kept


def _game_round(row: Row[Any]) -> GameRound:
    changes = [
        Change(place, state, amount, balance or 0, version or 0, msgspec.convert(time, datetime))
        for place, state, amount, balance, version, time in row.changes
    ]
    return GameRound(
        row.round_id,
        Owner(row.operator_id, row.account_id, row.kind, row.currency_code),
        row.birth,
        row.offers_choice,
        row.stake_minor,
        row.win_minor,
        row.at_risk_minor,
        row.settling,
        row.create_time,
        changes,
        row.problem,
        row.verdict,
    )


def _wallet_round(round_id: str, rows: list[Row[Any]]) -> WalletRound:
    first = rows[0]
    owner = Owner(first.operator_id or "", first.account_id, first.kind or 0, first.currency_code or "")
    entries = [(row.reversal, _entry(row)) for row in rows]
    reversals: Iterator[Entry] = (entry for is_reversal, entry in entries if is_reversal)
    booked = [entry for is_reversal, entry in entries if not is_reversal]
    return WalletRound(round_id, owner, booked, next(reversals, None), first.external)


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        row.step,
        row.status,
        row.stake_minor,
        row.win_minor,
        row.balance_after_minor,
        row.account_version,
        row.told,
        row.create_time,
        row.account_id,
    )
