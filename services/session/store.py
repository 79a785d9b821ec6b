"""Every SQL statement of the session service. Tokens and launch codes are met here only as SHA-256."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common import arrays
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
    policy_version: int
    policy_hash: str
    loss_max_minor: int | None
    check_interval_ms: int | None
    lock_out_ms: int
    idle_max_ms: int | None
    features_forbidden: int
    modes_allowed: Sequence[str] | None
    counted: bool
    staked_minor: int
    returned_minor: int
    joins: bool
    keeps_open_rounds: bool
    idle_end_time: datetime | None


_IDLE_END = "greatest(create_time, authorize_time_last, keep_alive_time) + idle_max_ms * interval '1 ms'"
_OPEN = f"(end_state is null and least(expire_time, {_IDLE_END}) > clock_timestamp())"
_SESSION = f"""
  session_id::text, operator_id, request_id::text, fingerprint, player_id, account_id, kind, game_id,
  currency_code, language_code, jurisdiction, stake_max_minor, cycle_min_ms, code_expire_time,
  token_hash is not null and not joins, create_time, expire_time, close_time,
  case when end_state is not null then end_state when {_OPEN} then 1 else 3 end,
  policy_version, policy_hash, loss_max_minor, check_interval_ms, lock_out_ms, idle_max_ms,
  features_forbidden, modes_allowed, counted, staked_minor, returned_minor, joins, keeps_open_rounds,
  {_IDLE_END}"""


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
    token_hash: bytes | None
    policy_version: int
    policy_hash: str
    loss_max_minor: int | None
    check_interval_ms: int | None
    lock_out_ms: int
    idle_max_ms: int | None
    features_forbidden: int
    modes_allowed: list[str] | None
    counted: bool
    joins: bool
    keeps_open_rounds: bool


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


async def find_session_by_token(conn: AsyncConnection, *, token_hash: bytes, joined: bool) -> Session | None:
    """The session of a token, ended or not. `joined`: the token is one of several."""
    where = "token_hash = :token_hash and not joins"
    if joined:
        where = "session_id = (select e.session_id from session_entry e where e.token_hash = :token_hash)"
    return await _find(conn, f"select {_SESSION} from session where {where}", token_hash=token_hash)


async def find_session(conn: AsyncConnection, *, session_id: UUID) -> Session | None:
    """The session of an id, ended or not."""
    return await _find(
        conn, f"select {_SESSION} from session where session_id = :session_id", session_id=session_id
    )


async def read_clock(conn: AsyncConnection) -> datetime:
    """The time by which everything here is judged."""
    now: datetime = (await conn.execute(text("select clock_timestamp()"))).scalar_one()
    return now


async def list_sessions(conn: Connection, *, session_ids: Iterable[str]) -> list[Session]:
    """The sessions of many ids, in no order."""
    rows = await conn.execute(_LIST_SESSIONS, {"session_ids": arrays.plain(session_ids)})
    return [Session._make(row) for row in rows]


async def lock_launch(conn: AsyncConnection, *, account_id: int) -> None:
    """Waits for its turn to launch this account or to set its limits; the turn ends with the transaction."""
    await conn.execute(
        text("select pg_advisory_xact_lock(hashtextextended(:launched, 0))"),
        {"launched": f"launch/{account_id}"},
    )


async def lock_active_session(conn: AsyncConnection, *, account_id: int, game_id: str) -> Session | None:
    """Locks the session that a new one of this account and game joins or replaces: there is at most one."""
    return await _find(
        conn,
        f"""
        select {_SESSION} from session
        where account_id = :account_id and game_id = :game_id and close_time is null
        order by session_id for no key update""",
        account_id=account_id,
        game_id=game_id,
    )


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
          code_expire_time, authorize_time_last, create_time, expire_time, token_hash, policy_version,
          policy_hash, loss_max_minor, check_interval_ms, lock_out_ms, idle_max_ms, features_forbidden,
          modes_allowed, counted, joins, keeps_open_rounds)
        select :session_id, :operator_id, :request_id, :fingerprint, :player_id, :account_id, :kind, :game_id,
          :currency_code, :language_code, :jurisdiction, :stake_max_minor, :cycle_min_ms, :code_hash,
          clock.now + least(make_interval(secs => :code_life_s), :session_life_ms * interval '1 ms'),
          (select max(s.authorize_time_last) from session s
           where s.account_id = :account_id and s.game_id = :game_id),
          clock.now, clock.now + :session_life_ms * interval '1 ms', :token_hash, :policy_version,
          :policy_hash, :loss_max_minor, :check_interval_ms, :lock_out_ms, :idle_max_ms, :features_forbidden,
          cast(:modes_allowed as text[]), :counted, :joins, :keeps_open_rounds
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
          and not joins
        returning {_SESSION}""",
        code_hash=code_hash,
        token_hash=token_hash,
    )


class Entry(NamedTuple):
    """A launch of a session that several may join; `token_hash` is None until its code is spent."""

    entry_id: UUID
    session_id: UUID
    operator_id: str
    request_id: UUID
    fingerprint: bytes
    code_hash: bytes
    code_expire_time: datetime | None
    token_hash: bytes | None


_ENTRY = "entry_id, session_id, operator_id, request_id, fingerprint, code_hash, code_expire_time, token_hash"


async def insert_entry(conn: AsyncConnection, new: Entry, *, code_life_s: int) -> Entry | None:
    """A launch that joins a session, or begins one that may be joined; None when its request id is known."""
    row = await conn.execute(
        text(f"""
        insert into session_entry ({_ENTRY})
        values (:entry_id, :session_id, :operator_id, :request_id, :fingerprint, :code_hash,
          clock_timestamp() + make_interval(secs => :code_life_s), null)
        on conflict do nothing returning {_ENTRY}"""),
        {**new._asdict(), "code_life_s": code_life_s},
    )
    found = row.one_or_none()
    return None if found is None else Entry._make(found)


async def find_entry(conn: AsyncConnection, *, operator_id: str, request_id: UUID) -> Entry | None:
    """The launch of a request, where it is one of several of its session."""
    row = await conn.execute(
        text(f"""
        select {_ENTRY} from session_entry where operator_id = :operator_id and request_id = :request_id"""),
        {"operator_id": operator_id, "request_id": request_id},
    )
    found = row.one_or_none()
    return None if found is None else Entry._make(found)


async def spend_entry(
    conn: AsyncConnection, *, code_hash: bytes, token_hash: bytes, once: bool = True
) -> Session | None:
    """As spend_code, for one of several launches of a session."""
    unspent = "and e.token_hash is null" if once else ""
    spent = await conn.execute(
        text(f"""
        update session_entry e set token_hash = :token_hash from session s
        where e.code_hash = :code_hash {unspent} and e.code_expire_time > clock_timestamp()
          and s.session_id = e.session_id and s.close_time is null and s.expire_time > clock_timestamp()
        returning e.session_id"""),
        {"code_hash": code_hash, "token_hash": token_hash},
    )
    session_id = spent.scalar_one_or_none()
    return None if session_id is None else await find_session(conn, session_id=session_id)


async def update_keep_alive(conn: AsyncConnection, *, session_id: UUID) -> bool:
    """Puts off the end for silence; False when the session has ended, for whatever reason."""
    result = await conn.execute(
        text(f"""
        update session set keep_alive_time = clock_timestamp()
        where session_id = :session_id and {_OPEN} returning 1"""),
        {"session_id": session_id},
    )
    return result.first() is not None


async def insert_outbox(
    conn: AsyncConnection,
    *,
    kind: str,
    session_id: UUID | str,
    traceparent: str,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Records what happened to a session; the relay reads the session by its id.

    `facts`: what else is told.
    """
    payload = {"session_ids": [str(session_id)], "traceparents": [traceparent], "facts": facts or {}}
    await conn.execute(
        text("insert into outbox (kind, payload) values (:kind, cast(:payload as json))"),
        {"kind": kind, "payload": json.dumps(payload)},
    )


class StoredSpin(NamedTuple):
    """A row of spin_authorization."""

    session_id: UUID
    stake_minor: int
    mode: str
    authorize_time: datetime


async def find_spin(conn: AsyncConnection, *, account_id: int, request_id: UUID) -> StoredSpin | None:
    """The stored authorisation of one spin; None when there is none."""
    row = (
        await conn.execute(
            text("""
            select session_id, stake_minor, mode, authorize_time from spin_authorization
            where account_id = :account_id and request_id = :request_id"""),
            {"account_id": account_id, "request_id": request_id},
        )
    ).one_or_none()
    return None if row is None else StoredSpin._make(row)


async def _find(conn: AsyncConnection, sql: str, **values: object) -> Session | None:
    row = (await conn.execute(text(sql), values)).one_or_none()
    return None if row is None else Session._make(row)
