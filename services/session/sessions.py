"""Opening, entering and ending a session. The connection is the caller's transaction."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.errors import IdReused, Unavailable
from services.common.fields import uuid7
from services.session import limits_store, store
from services.session.errors import LaunchCodeInvalid, SessionNotFound, TokenInvalid
from services.session.limits import in_force
from services.session.policy import SESSION_MS_MAX, Limits, stricter
from services.session.store import Entry, Session, State

CODE_LIFE_S = 60
"""Life of a launch code, s; shorter when the session itself ends before."""
SESSION_LIFE_MS_DEFAULT = 4 * 3600 * 1000
SESSION_LIFE_MS_MAX = SESSION_MS_MAX
# Who holds a token of one kind needs no other; the prefix tells both from an API key at the gateway's door.
TOKEN_PREFIX, JOINED_PREFIX = "st_", "sj_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What an operator asks for; times in ms, the stake in minor units."""

    operator_id: str
    request_id: UUID
    player_id: str
    game_id: str
    currency_code: str
    kind: int
    language_code: str
    jurisdiction: str
    stake_max_minor: int | None
    cycle_min_ms: int
    session_life_ms: int | None  # None: the default
    loss_max_minor: int | None = None
    check_interval_ms: int | None = None
    player_tier: str = ""

    def fingerprint(self) -> bytes:
        """Equal for equal bodies: a replay is told from a reuse of its id by it."""
        facts = msgspec.to_builtins(self)
        facts["session_life_ms"] = self.session_life_ms or SESSION_LIFE_MS_DEFAULT
        # What came later is left out where it says nothing: bodies of before keep their fingerprint.
        for name in ("loss_max_minor", "check_interval_ms", "player_tier"):
            if not facts[name]:
                del facts[name]
        return hashlib.sha256(msgspec.json.encode(facts)).digest()


def secret_hash(secret: str) -> bytes:
    """What is stored of a token or launch code: 256 bits that nobody guesses need no salt."""
    return hashlib.sha256(secret.encode()).digest()


def launch_code(code_key: str, launch_id: str) -> str:
    """A launch's code: derived, so that a replay can return it although only its hash is stored.

    `launch_id`: the session's id, or the entry's where several launches share a session.
    """
    code = hmac.digest(code_key.encode(), f"launch|{launch_id}".encode(), "sha256")
    return base64.urlsafe_b64encode(code).decode().rstrip("=")


class Launched(NamedTuple):
    """A session and the way in; the code is empty when it was spent."""

    session: Session
    code: str
    code_expire_time: datetime


async def find_launched(conn: AsyncConnection, launch: Launch, *, code_key: str) -> Launched | None:
    """What this request opened already.

    Errors: ID_REUSED when the id came with another body.
    """
    operator_id, request_id = launch.operator_id, launch.request_id
    session = await store.find_session_by_request(conn, operator_id=operator_id, request_id=request_id)
    if session is not None and not session.joins:
        if session.fingerprint != launch.fingerprint():
            raise IdReused(request_id=request_id)
        code = "" if session.code_spent else launch_code(code_key, session.session_id)
        return Launched(session, code, session.code_expire_time)
    entry = await store.find_entry(conn, operator_id=operator_id, request_id=request_id)
    if entry is None:
        return None
    if entry.fingerprint != launch.fingerprint():
        raise IdReused(request_id=request_id)
    joined = await get_session(conn, entry.session_id)
    return _entered(entry, joined, code_key)


def _entered(entry: Entry, session: Session, code_key: str) -> Launched:
    assert entry.code_expire_time is not None
    code = "" if entry.token_hash is not None else launch_code(code_key, str(entry.entry_id))
    return Launched(session, code, entry.code_expire_time)


async def open_session(
    conn: AsyncConnection,
    launch: Launch,
    *,
    account_id: int,
    limits: Limits,
    code_key: str,
    traceparent: str,
    take_turns: bool = True,
) -> Launched:
    """Opens a session and ends as REPLACED the one it takes over from, in one transaction (R9).

    Where the policy says so it joins that one instead, if it would be held to the same: the launch is then
    one more way into it. Errors: ID_REUSED. `take_turns=False` is for the test that shows what the turns
    prevent.
    """
    if take_turns:
        # Launches of one player, one after the other: else a second one could not see the session that it
        # must replace, and a replay could replace its own; or limits set meanwhile would not hold for it.
        await store.lock_launch(conn, account_id=account_id)
    launched = await find_launched(conn, launch, code_key=code_key)
    if launched is not None:
        return launched
    active = await store.lock_active_session(conn, account_id=account_id, game_id=launch.game_id)
    if active is not None and _may_join(active, limits):
        return await _join(conn, launch, active, code_key)
    if active is not None:
        await store.update_end(conn, session_id=UUID(active.session_id), state=State.REPLACED)
        await store.insert_outbox(
            conn, kind="session.replaced", session_id=active.session_id, traceparent=traceparent
        )
    if limits.counted:
        await limits_store.insert_play(conn, account_id=account_id)
    play = await limits_store.find_play(conn, account_id=account_id)
    if play is not None:
        life_ms = stricter(limits.session_life_ms, in_force(play).session_max_ms)
        limits = replace(limits, counted=True, session_life_ms=life_ms or limits.session_life_ms)
    session = await store.insert_session(conn, _new(launch, account_id, limits, code_key))
    if session is None:
        # Since the look-up a launch with this id but for another player or game has committed.
        await find_launched(conn, launch, code_key=code_key)
        raise Unavailable()
    await store.insert_outbox(
        conn, kind="session.created", session_id=session.session_id, traceparent=traceparent
    )
    if limits.joins:
        return await _join(conn, launch, session, code_key)
    return Launched(session, launch_code(code_key, session.session_id), session.code_expire_time)


def _may_join(active: Session, limits: Limits) -> bool:
    """Whether a launch under these limits would be held to the very same in the session that is open."""
    modes = None if active.modes_allowed is None else tuple(active.modes_allowed)
    return (
        active.joins
        and limits.joins
        and active.state == State.OPEN
        and (active.policy_hash, active.stake_max_minor, active.cycle_min_ms, active.loss_max_minor)
        == (limits.policy_hash, limits.stake_max_minor, limits.cycle_min_ms, limits.loss_max_minor)
        and (active.check_interval_ms, modes) == (limits.check_interval_ms, limits.modes_allowed)
    )


async def _join(conn: AsyncConnection, launch: Launch, session: Session, code_key: str) -> Launched:
    entry_id = uuid7()
    entry = Entry(
        entry_id=entry_id,
        session_id=UUID(session.session_id),
        operator_id=launch.operator_id,
        request_id=launch.request_id,
        fingerprint=launch.fingerprint(),
        code_hash=secret_hash(launch_code(code_key, str(entry_id))),
        code_expire_time=None,
        token_hash=None,
    )
    entered = await store.insert_entry(conn, entry, code_life_s=CODE_LIFE_S)
    if entered is None:
        await find_launched(conn, launch, code_key=code_key)
        raise Unavailable()
    return _entered(entered, session, code_key)


def _new(launch: Launch, account_id: int, limits: Limits, code_key: str) -> store.NewSession:
    session_id = uuid7()
    return store.NewSession(
        session_id=session_id,
        operator_id=launch.operator_id,
        request_id=launch.request_id,
        fingerprint=launch.fingerprint(),
        player_id=launch.player_id,
        account_id=account_id,
        kind=launch.kind,
        game_id=launch.game_id,
        currency_code=launch.currency_code,
        language_code=launch.language_code,
        jurisdiction=limits.jurisdiction,
        stake_max_minor=limits.stake_max_minor,
        cycle_min_ms=limits.cycle_min_ms,
        code_hash=secret_hash(launch_code(code_key, str(session_id))),
        code_life_s=CODE_LIFE_S,
        session_life_ms=min(launch.session_life_ms or SESSION_LIFE_MS_DEFAULT, limits.session_life_ms),
        # Who joins has a token of its own, of which this session's statements know by this handle.
        token_hash=secrets.token_bytes(32) if limits.joins else None,
        policy_version=limits.policy_version,
        policy_hash=limits.policy_hash,
        loss_max_minor=limits.loss_max_minor,
        check_interval_ms=limits.check_interval_ms,
        lock_out_ms=limits.lock_out_ms,
        idle_max_ms=limits.idle_max_ms,
        features_forbidden=int(limits.features_forbidden),
        modes_allowed=None if limits.modes_allowed is None else list(limits.modes_allowed),
        counted=limits.counted,
        joins=limits.joins,
        keeps_open_rounds=limits.keeps_open_rounds,
    )


async def exchange_code(conn: AsyncConnection, code: str, *, once: bool = True) -> tuple[str, Session]:
    """Spends a launch code; returns the session's token, which is stored nowhere, and the session.

    Errors: LAUNCH_CODE_INVALID, whether the code never was, was spent, is too old or its session ended.
    """
    code_hash, secret = secret_hash(code), secrets.token_urlsafe(32)
    for prefix, spend in ((TOKEN_PREFIX, store.spend_code), (JOINED_PREFIX, store.spend_entry)):
        token = prefix + secret
        session = await spend(conn, code_hash=code_hash, token_hash=secret_hash(token), once=once)
        if session is not None:
            return token, session
    raise LaunchCodeInvalid()


async def get_session_by_token(conn: AsyncConnection, token: str) -> Session:
    """The session of a token, ended or not. Errors: TOKEN_INVALID."""
    session = await store.find_session_by_token(
        conn, token_hash=secret_hash(token), joined=token.startswith(JOINED_PREFIX)
    )
    if session is None:
        raise TokenInvalid()
    return session


async def get_session(conn: AsyncConnection, session_id: UUID) -> Session:
    """The session of an id, ended or not. Errors: SESSION_NOT_FOUND."""
    session = await store.find_session(conn, session_id=session_id)
    if session is None:
        raise SessionNotFound()
    return session


async def close_session(conn: AsyncConnection, session: Session, *, traceparent: str) -> Session:
    """Closes a session; one closed or replaced before stays as it is. An expired one becomes closed."""
    session_id = UUID(session.session_id)
    # First the lock, then the clock: update_end reads it when no spin can be authorised any more.
    await store.lock_session(conn, session_id=session_id)
    if await store.update_end(conn, session_id=session_id, state=State.CLOSED):
        await store.insert_outbox(conn, kind="session.closed", session_id=session_id, traceparent=traceparent)
    return await get_session(conn, session_id)
