"""Every SQL statement of the session service. Tokens and launch codes are met here only as SHA-256."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import IntEnum
from functools import cache
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.db import Connection


class State(IntEnum):
    """Where a session stands; the numbers of the contract."""

    OPEN = 1
    CLOSED = 2
    EXPIRED = 3
    REPLACED = 4


class Session(NamedTuple):
    """A session as it stands by the database's clock, with its own limits."""

    session_id: str
    operator_id: str
    request_id: str
    fingerprint: bytes
    player_id: str
    account_id: int
    kind: int
    game_id: str
    currency_code: str
    language_code: str
    jurisdiction: str
    stake_max_minor: int | None
    cycle_min_ms: int
    code_expire_time: datetime
    code_spent: bool
    create_time: datetime
    expire_time: datetime
    close_time: datetime | None
    state: int


_SESSION = """
  session_id::text, operator_id, request_id::text, fingerprint, player_id, account_id, kind, game_id,
  currency_code, language_code, jurisdiction, stake_max_minor, cycle_min_ms, code_expire_time,
  token_hash is not null, create_time, expire_time, close_time,
  case when end_state is not null then end_state when expire_time <= clock_timestamp() then 3 else 1 end"""


_LIST_SESSIONS = text(f"select {_SESSION} from session where session_id = any(cast(:session_ids as uuid[]))")


class NewSession(NamedTuple):
    """What a session is made of; its times are the database's."""

    session_id: UUID
    operator_id: str
    request_id: UUID
    fingerprint: bytes
    player_id: str
    account_id: int
    kind: int
    game_id: str
    currency_code: str
    language_code: str
    jurisdiction: str
    stake_max_minor: int | None
    cycle_min_ms: int
    code_hash: bytes
    code_life_s: int
    session_life_ms: int


async def find_session_by_request(
    conn: AsyncConnection, *, operator_id: str, request_id: UUID
) -> Session | None:
    """The session that a create request made."""
    return await _find(
        conn,
        f"select {_SESSION} from session where operator_id = :operator_id and request_id = :request_id",
        operator_id=operator_id,
        request_id=request_id,
    )


async def find_session_by_token(conn: AsyncConnection, *, token_hash: bytes) -> Session | None:
    """The session of a token, ended or not."""
    return await _find(
        conn, f"select {_SESSION} from session where token_hash = :token_hash", token_hash=token_hash
    )


async def find_session(conn: AsyncConnection, *, session_id: UUID) -> Session | None:
    """The session of an id, ended or not."""
    return await _find(
        conn, f"select {_SESSION} from session where session_id = :session_id", session_id=session_id
    )


async def list_sessions(conn: Connection, *, session_ids: Iterable[str]) -> list[Session]:
    """The sessions of many ids, in no order."""
    rows = await conn.execute(_LIST_SESSIONS, {"session_ids": _array(session_ids)})
    return [Session._make(row) for row in rows]


async def lock_launch(conn: AsyncConnection, *, account_id: int, game_id: str) -> None:
    """Waits for its turn to launch this account at this game; the turn ends with the transaction."""
    await conn.execute(
        text("select pg_advisory_xact_lock(hashtextextended(:launched, 0))"),
        {"launched": f"launch/{account_id}/{game_id}"},
    )


async def lock_active_session(conn: AsyncConnection, *, account_id: int, game_id: str) -> UUID | None:
    """Locks the session that a new one of this account and game replaces: there is at most one."""
    row = await conn.execute(
        text("""
        select session_id from session
        where account_id = :account_id and game_id = :game_id and close_time is null
        order by session_id for no key update"""),
        {"account_id": account_id, "game_id": game_id},
    )
    return row.scalar_one_or_none()


async def lock_session(conn: AsyncConnection, *, session_id: UUID) -> None:
    """Locks a session: what is read of it from now on stays true until the transaction ends (R9)."""
    await conn.execute(
        text("select 1 from session where session_id = :session_id for no key update"),
        {"session_id": session_id},
    )


async def update_end(conn: AsyncConnection, *, session_id: UUID, state: State) -> bool:
    """Ends a locked session as closed or replaced; False when it had ended before.

    The clock is read in this statement, hence after the lock: every spin the session authorised is older.
    """
    result = await conn.execute(
        text("""
        update session set close_time = clock_timestamp(), end_state = :state
        where session_id = :session_id and close_time is null returning 1"""),
        {"session_id": session_id, "state": int(state)},
    )
    return result.first() is not None


async def insert_session(conn: AsyncConnection, new: NewSession) -> Session | None:
    """Inserts a session; None when the request id is known or the account has an active session in this game.

    It goes on with the game cycle of the session before it: a relaunch does not shorten the cycle.
    """
    return await _find(
        conn,
        f"""
        insert into session (session_id, operator_id, request_id, fingerprint, player_id, account_id, kind,
          game_id, currency_code, language_code, jurisdiction, stake_max_minor, cycle_min_ms, code_hash,
          code_expire_time, authorize_time_last, create_time, expire_time)
        select :session_id, :operator_id, :request_id, :fingerprint, :player_id, :account_id, :kind, :game_id,
          :currency_code, :language_code, :jurisdiction, :stake_max_minor, :cycle_min_ms, :code_hash,
          clock.now + least(make_interval(secs => :code_life_s), :session_life_ms * interval '1 ms'),
          (select max(s.authorize_time_last) from session s
           where s.account_id = :account_id and s.game_id = :game_id),
          clock.now, clock.now + :session_life_ms * interval '1 ms'
        from (select clock_timestamp() as now) clock
        on conflict do nothing
        returning {_SESSION}""",
        **new._asdict(),
    )


async def spend_code(
    conn: AsyncConnection, *, code_hash: bytes, token_hash: bytes, once: bool = True
) -> Session | None:
    """Gives the session of an unspent launch code its token; None when the code is not, or no longer, good.

    `once=False` leaves the condition out that makes it once: for the test that shows what it prevents.
    """
    unspent = "and token_hash is null" if once else ""
    return await _find(
        conn,
        f"""
        update session set token_hash = :token_hash
        where code_hash = :code_hash {unspent} and code_expire_time > clock_timestamp() and close_time is null
        returning {_SESSION}""",
        code_hash=code_hash,
        token_hash=token_hash,
    )


async def insert_outbox(
    conn: AsyncConnection, *, kind: str, session_id: UUID | str, traceparent: str
) -> None:
    """Records what happened to a session; the relay reads the facts by its id."""
    payload = {"session_ids": [str(session_id)], "traceparents": [traceparent]}
    await conn.execute(
        text("insert into outbox (kind, payload) values (:kind, cast(:payload as json))"),
        {"kind": kind, "payload": json.dumps(payload)},
    )


class SpinAsk(NamedTuple):
    """A spin to authorise; the amount in minor units."""

    token_hash: bytes
    request_id: str
    currency_code: str
    stake_minor: int


class Verdict(NamedTuple):
    """What the session row says to one ask. Only ALLOWED has stored something."""

    verdict: str
    session_id: str
    operator_id: str
    player_id: str
    account_id: int
    kind: int
    game_id: str
    currency_code: str
    stake_max_minor: int | None
    retry_after_ms: int
    authorize_time: datetime | None


_AUTHORIZE = """
with input as materialized (
  select t.* from unnest(cast(:token_hashes as bytea[]), cast(:request_ids as uuid[]),
    cast(:currency_codes as text[]), cast(:stakes_minor as bigint[]))
    with ordinality as t(token_hash, request_id, currency_code, stake_minor, ord)),
-- In the order of the ids, as close and create take them: two batches cannot deadlock. After a wait a locking
-- read returns the newest committed row, so no verdict is made on a session that was closed meanwhile.
locked as materialized (
  select token_hash, session_id, operator_id, player_id, account_id, kind, game_id, currency_code,
    stake_max_minor, cycle_min_ms, authorize_time_last, expire_time, end_state
  from session where token_hash = any(cast(:token_hashes as bytea[])) order by session_id {lock}),
-- Read once, after the last lock (the count needs them all): authorize_time is before any later close_time.
clock as materialized (select clock_timestamp() as now, count(*) as sessions from locked),
judged as materialized (
  select i.ord, i.request_id, i.stake_minor, c.now, l.session_id, l.operator_id, l.player_id, l.account_id,
    l.kind, l.game_id, l.currency_code, l.stake_max_minor,
    l.authorize_time_last + l.cycle_min_ms * interval '1 ms' as cycle_end_time,
    case
      when l.session_id is null then 'TOKEN_INVALID'
      when row_number() over (partition by l.account_id order by i.ord) > {per_account} then 'DEFERRED'
      when l.end_state = 2 then 'SESSION_CLOSED'
      when l.end_state = 4 then 'SESSION_REPLACED'
      when l.expire_time <= c.now then 'SESSION_EXPIRED'
      when i.currency_code <> l.currency_code then 'CURRENCY_MISMATCH'
      when i.stake_minor > l.stake_max_minor then 'STAKE_ABOVE_LIMIT'
      when c.now < l.authorize_time_last + l.cycle_min_ms * interval '1 ms' then 'SPIN_TOO_EARLY'
      else 'ALLOWED' end as verdict
  from input i cross join clock c left join locked l on l.token_hash = i.token_hash),
-- The arbiter of R4: a known id returns no row, so nothing below moves for it. Ordered: two batches with the
-- same ids, through different sessions of an account, wait for each other in one direction only.
ins as (
  insert into spin_authorization (account_id, request_id, session_id, stake_minor, authorize_time)
  select account_id, request_id, session_id, stake_minor, now from judged
  where verdict = 'ALLOWED' order by account_id, request_id
  on conflict do nothing
  returning account_id, request_id, session_id, authorize_time),
touched as (
  update session s set authorize_time_last = n.authorize_time from ins n where s.session_id = n.session_id)
select case when j.verdict = 'ALLOWED' and n.request_id is null then 'KNOWN' else j.verdict end,
  j.session_id::text, j.operator_id, j.player_id, j.account_id, j.kind, j.game_id, j.currency_code,
  j.stake_max_minor, coalesce(ceil(extract(epoch from j.cycle_end_time - j.now) * 1000), 0)::bigint,
  n.authorize_time
from judged j left join ins n on n.account_id = j.account_id and n.request_id = j.request_id
  and n.session_id = j.session_id and j.verdict = 'ALLOWED'
order by j.ord"""


@cache
def _authorize(*, row_lock: bool, one_per_account: bool) -> TextClause:
    lock = "for no key update" if row_lock else ""
    return text(_AUTHORIZE.format(lock=lock, per_account=1 if one_per_account else 1_000_000))


async def authorize(
    conn: Connection, asks: Sequence[SpinAsk], *, row_lock: bool = True, one_per_account: bool = True
) -> list[Verdict]:
    """Judges many spins and stores the allowed ones, in one statement; a verdict per ask, in its order.

    KNOWN: allowed, but the id was there before. DEFERRED: not judged, an earlier ask is of the same account.
    `row_lock=False` and `one_per_account=False` are for the tests that show what each prevents.
    """
    rows = await conn.execute(
        _authorize(row_lock=row_lock, one_per_account=one_per_account),
        {
            # Text literals: psycopg's list dumper costs several times more Python.
            "token_hashes": _array(f'"\\\\x{ask.token_hash.hex()}"' for ask in asks),
            "request_ids": _array(ask.request_id for ask in asks),
            "currency_codes": _array(ask.currency_code for ask in asks),
            "stakes_minor": _array(str(ask.stake_minor) for ask in asks),
        },
    )
    return [Verdict._make(row) for row in rows]


class KnownKey(NamedTuple):
    """Where to look for an authorisation, and through which session it is asked for."""

    account_id: int
    request_id: str
    session_id: str


class KnownSpin(NamedTuple):
    """A stored authorisation with the session that authorised it."""

    session_id: str
    operator_id: str
    player_id: str
    kind: int
    game_id: str
    currency_code: str
    stake_minor: int
    authorize_time: datetime
    mint: bool


_FIND_KNOWN = text("""
with input as materialized (
  select t.* from unnest(cast(:account_ids as bigint[]), cast(:request_ids as uuid[]),
    cast(:session_ids as uuid[])) with ordinality as t(account_id, request_id, session_id, ord))
select a.session_id::text, s.operator_id, s.player_id, s.kind, s.game_id, s.currency_code, a.stake_minor,
  a.authorize_time,
  -- An id that another session authorised never mints: that session was replaced, or this token's was.
  a.session_id = i.session_id and s.close_time is null and s.expire_time > clock_timestamp()
    and clock_timestamp() < a.authorize_time + :mint_age_ms * interval '1 ms'
from input i
-- "offset 0" keeps it one look-up per id whatever the planner thinks of the table's size.
left join lateral (
  select k.session_id, k.stake_minor, k.authorize_time from spin_authorization k
  where k.account_id = i.account_id and k.request_id = i.request_id offset 0) a on true
left join session s on s.session_id = a.session_id
order by i.ord""")


async def find_known_spins(
    conn: Connection, keys: Sequence[KnownKey], *, mint_age_ms: int
) -> list[KnownSpin | None]:
    """The stored authorisation of each key, or None; `mint` while younger than `mint_age_ms` and open."""
    rows = await conn.execute(
        _FIND_KNOWN,
        {
            "account_ids": _array(str(key.account_id) for key in keys),
            "request_ids": _array(key.request_id for key in keys),
            "session_ids": _array(key.session_id for key in keys),
            "mint_age_ms": mint_age_ms,
        },
    )
    return [None if row[0] is None else KnownSpin._make(row) for row in rows]


async def _find(conn: AsyncConnection, sql: str, **values: object) -> Session | None:
    row = (await conn.execute(text(sql), values)).one_or_none()
    return None if row is None else Session._make(row)


def _array(items: Iterable[str]) -> str:
    return "{" + ",".join(items) + "}"
