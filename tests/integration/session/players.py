"""What a test of the session rules needs: a player with a session and its token, a spin, a later clock."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common.db import transaction
from services.common.errors import DomainError
from services.session import sessions
from services.session.authorizations import Answer, SpinAuthorization, authorize_spins
from services.session.policy import Limits
from services.session.sessions import Launch
from services.session.spins_store import SpinAsk
from services.session.store import Session

CODE_KEY = "code key of the tests"
STAKE_MINOR = 100
AGE_MS = 3000


def launch(**changes: Any) -> Launch:
    """An operator's request with a new id."""
    facts: dict[str, Any] = {
        "operator_id": "acme",
        "request_id": uuid.uuid4(),
        "player_id": "alice",
        "game_id": "sunrise",
        "currency_code": "USD",
        "kind": 1,
        "language_code": "en",
        "jurisdiction": "none",
        "stake_max_minor": None,
        "cycle_min_ms": 0,
        "session_life_ms": 3_600_000,
    }
    return Launch(**(facts | changes))


async def open_session(
    engine: AsyncEngine, request: Launch, *, account_id: int = 7, take_turns: bool = True
) -> Session:
    """The session of a request, with the request's own limits."""
    async with transaction(engine, "test.open") as conn:
        return await open_session_in(conn, request, account_id=account_id, take_turns=take_turns)


async def open_session_in(
    conn: AsyncConnection, request: Launch, *, account_id: int = 7, take_turns: bool = True
) -> Session:
    """The same within a transaction that is still to be committed."""
    launched = await sessions.open_session(
        conn,
        request,
        account_id=account_id,
        limits=Limits(request.jurisdiction, request.cycle_min_ms, request.stake_max_minor),
        code_key=CODE_KEY,
        traceparent="",
        take_turns=take_turns,
    )
    return launched.session


async def exchange(engine: AsyncEngine, session: Session, *, once: bool = True) -> str:
    """The session's token."""
    code = sessions.launch_code(CODE_KEY, session.session_id)
    async with transaction(engine, "test.exchange") as conn:
        token, _ = await sessions.exchange_code(conn, code, once=once)
    return token


class Player(NamedTuple):
    """A player at one game."""

    session: Session
    token: str

    def ask(
        self,
        request_id: uuid.UUID | str | None = None,
        *,
        stake_minor: int = STAKE_MINOR,
        currency_code: str = "USD",
        mode: str = "base",
    ) -> SpinAsk:
        """A spin; of a new id unless one is given."""
        token_hash = sessions.secret_hash(self.token)
        return SpinAsk(token_hash, str(request_id or uuid.uuid4()), currency_code, stake_minor, mode)


async def enter(engine: AsyncEngine, *, account_id: int = 7, **changes: Any) -> Player:
    """A player with a new session; it replaces the account's session in the same game."""
    session = await open_session(engine, launch(**changes), account_id=account_id)
    return Player(session, await exchange(engine, session))


async def spin(
    engine: AsyncEngine, ask: SpinAsk, *, mint_age_ms: int = AGE_MS, **guards: bool
) -> SpinAuthorization:
    """The authorisation. Errors: the refusal."""
    (answer,) = await spin_batch(engine, [ask], mint_age_ms=mint_age_ms, **guards)
    if isinstance(answer, DomainError):
        raise answer
    return answer


async def spin_batch(
    engine: AsyncEngine, asks: Sequence[SpinAsk], *, mint_age_ms: int = AGE_MS, **guards: bool
) -> list[Answer]:
    """The answers of one batch."""
    async with transaction(engine, "test.authorize") as conn:
        return await authorize_spins(conn, asks, mint_age_ms=mint_age_ms, known_counted=set(), **guards)


async def close(engine: AsyncEngine, player: Player) -> Session:
    """The closed session."""
    async with transaction(engine, "test.close") as conn:
        return await sessions.close_session(conn, player.session, traceparent="")


async def find(engine: AsyncEngine, player: Player) -> Session:
    """The session as it stands."""
    async with transaction(engine, "test.find") as conn:
        return await sessions.get_session(conn, uuid.UUID(player.session.session_id))


async def expire(engine: AsyncEngine, player: Player) -> None:
    """Moves the session an hour and more into the past, its end just passed."""
    await sql(
        engine,
        "update session set create_time = create_time - interval '2 h', expire_time = clock_timestamp() "
        "where session_id = :session_id",
        session_id=player.session.session_id,
    )


async def sql(engine: AsyncEngine, statement: str, **values: Any) -> None:
    """One committed statement."""
    async with engine.begin() as conn:
        await conn.execute(text(statement), values)


async def rows(engine: AsyncEngine, query: str, **values: Any) -> list[Any]:
    """What a query finds."""
    async with engine.connect() as conn:
        return list((await conn.execute(text(query), values)).all())


async def until_waiting_for_a_lock(engine: AsyncEngine, application_name: str) -> None:
    """Returns when a statement of that engine waits for a row that another transaction holds."""
    waiting = (
        "select 1 from pg_stat_activity "
        "where application_name = :name and wait_event_type = 'Lock' and datname = current_database()"
    )
    async with asyncio.timeout(3):
        while not await rows(engine, waiting, name=application_name):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
