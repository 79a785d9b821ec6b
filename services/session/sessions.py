"""Opening, entering and ending a session. The connection is the caller's transaction."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.errors import IdReused, Unavailable
from services.common.fields import uuid7
from services.session import store
from services.session.errors import LaunchCodeInvalid, SessionNotFound, TokenInvalid
from services.session.policy import Limits
from services.session.store import Session, State

CODE_LIFE_S = 60
"""Life of a launch code, s; shorter when the session itself ends before."""
SESSION_LIFE_MS_DEFAULT = 4 * 3600 * 1000
SESSION_LIFE_MS_MAX = 24 * 3600 * 1000


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
    session_life_ms: int

    def fingerprint(self) -> bytes:
        """Equal for equal bodies: a replay is told from a reuse of its id by it."""
        return hashlib.sha256(msgspec.json.encode(self)).digest()


def secret_hash(secret: str) -> bytes:
    """What is stored of a token or launch code: 256 bits that nobody guesses need no salt."""
    return hashlib.sha256(secret.encode()).digest()


def launch_code(code_key: str, session_id: str) -> str:
    """The session's launch code: derived, so that a replay can return it although only its hash is stored."""
    code = hmac.digest(code_key.encode(), f"launch|{session_id}".encode(), "sha256")
    return base64.urlsafe_b64encode(code).decode().rstrip("=")


async def find_launched(conn: AsyncConnection, launch: Launch) -> Session | None:
    """The session this request already opened.

    Errors: ID_REUSED when the id came with another body.
    """
    session = await store.find_session_by_request(
        conn, operator_id=launch.operator_id, request_id=launch.request_id
    )
    if session is not None and session.fingerprint != launch.fingerprint():
        raise IdReused(request_id=launch.request_id)
    return session


async def open_session(
    conn: AsyncConnection,
    launch: Launch,
    *,
    account_id: int,
    limits: Limits,
    code_key: str,
    traceparent: str,
    take_turns: bool = True,
) -> Session:
    """Opens a session and ends as REPLACED the one it takes over from, in one transaction (R9).

    Errors: ID_REUSED. `take_turns=False` is for the test that shows what the turns prevent.
    """
    if take_turns:
        # Launches of one player at one game, one after the other: else a second one could not see the session
        # that it must replace, and a replay could replace its own.
        await store.lock_launch(conn, account_id=account_id, game_id=launch.game_id)
    launched = await find_launched(conn, launch)
    if launched is not None:
        return launched
    replaced_id = await store.lock_active_session(conn, account_id=account_id, game_id=launch.game_id)
    if replaced_id is not None:
        await store.update_end(conn, session_id=replaced_id, state=State.REPLACED)
        await store.insert_outbox(
            conn, kind="session.replaced", session_id=replaced_id, traceparent=traceparent
        )
    session = await store.insert_session(conn, _new(launch, account_id, limits, code_key))
    if session is None:
        # Since the look-up a launch with this id but for another player or game has committed.
        await find_launched(conn, launch)
        raise Unavailable()
    await store.insert_outbox(
        conn, kind="session.created", session_id=session.session_id, traceparent=traceparent
    )
    return session


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
        session_life_ms=launch.session_life_ms,
    )


async def exchange_code(conn: AsyncConnection, code: str, *, once: bool = True) -> tuple[str, Session]:
    """Spends a launch code; returns the session's token, which is stored nowhere, and the session.

    Errors: LAUNCH_CODE_INVALID, whether the code never was, was spent, is too old or its session ended.
    """
    # The prefix tells it from an API key at the gateway's door.
    token = f"st_{secrets.token_urlsafe(32)}"
    session = await store.spend_code(
        conn, code_hash=secret_hash(code), token_hash=secret_hash(token), once=once
    )
    if session is None:
        raise LaunchCodeInvalid()
    return token, session


async def get_session_by_token(conn: AsyncConnection, token: str) -> Session:
    """The session of a token, ended or not. Errors: TOKEN_INVALID."""
    session = await store.find_session_by_token(conn, token_hash=secret_hash(token))
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
