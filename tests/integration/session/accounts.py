"""What a test of limits needs: a player who is counted, limits, returns, time that has passed."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from services.common.db import transaction
from services.common.errors import DomainError
from services.session import counts_store, limits, limits_store, sessions
from services.session.counts_store import Return
from services.session.limits import LimitChange
from services.session.limits_store import Play, PlayerLimits
from services.session.policy import Limits
from services.session.store import Session
from tests.integration.session import players
from tests.integration.session.players import CODE_KEY, Player, launch, spin

# A Wednesday; its week and its month have days before and after it.
WEDNESDAY = datetime(2031, 5, 14, 10, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HOUR_MS = 3_600_000


def held(**changes: Any) -> Limits:
    """The limits of a session that counts, and of nothing else unless it is named."""
    facts: dict[str, Any] = {"cycle_min_ms": 0, "stake_max_minor": None, "counted": True}
    # The launch says how long.
    facts["session_life_ms"] = 2**40
    return Limits("none", **(facts | changes))


async def enter(
    engine: AsyncEngine, *, account_id: int = 7, session_life_ms: int = 3_600_000, **changes: Any
) -> Player:
    """A player with a session under these limits; `game_id` and `player_id` are the launch's."""
    named = {key: changes.pop(key) for key in ("game_id", "player_id") if key in changes}
    request = launch(session_life_ms=session_life_ms, **named)
    session = await open_held(engine, request, account_id=account_id, **changes)
    return Player(session, await exchange(engine, session))


async def open_held(
    engine: AsyncEngine, request: sessions.Launch, *, account_id: int = 7, **changes: Any
) -> Session:
    """The session of a launch under these limits."""
    return (await launch_held(engine, request, account_id=account_id, **changes)).session


async def launch_held(
    engine: AsyncEngine,
    request: sessions.Launch,
    *,
    account_id: int = 7,
    take_turns: bool = True,
    **changes: Any,
) -> sessions.Launched:
    """The same, with the way in."""
    async with transaction(engine, "test.open") as conn:
        return await sessions.open_session(
            conn,
            request,
            account_id=account_id,
            limits=held(**changes),
            code_key=CODE_KEY,
            traceparent="",
            take_turns=take_turns,
        )


async def exchange(engine: AsyncEngine, session: Session) -> str:
    """The session's token."""
    return await exchange_code(engine, sessions.launch_code(CODE_KEY, session.session_id))


async def exchange_code(engine: AsyncEngine, code: str) -> str:
    """The token of a code."""
    async with transaction(engine, "test.exchange") as conn:
        token, _ = await sessions.exchange_code(conn, code)
    return token


async def set_limits(
    engine: AsyncEngine,
    *,
    account_id: int = 7,
    request_id: uuid.UUID | None = None,
    cool_off_ms: int = 0,
    **wanted: int | None,
) -> Play:
    """All limits of an account."""
    change = LimitChange(
        operator_id="acme",
        request_id=request_id or uuid.uuid4(),
        limits=PlayerLimits(**wanted),
        cool_off_ms=cool_off_ms,
    )
    async with transaction(engine, "test.limits") as conn:
        return await limits.set_limits(conn, change, account_id=account_id)


async def play_of(engine: AsyncEngine, account_id: int = 7) -> Play:
    """The account's row."""
    async with engine.connect() as conn:
        play = await limits_store.find_play(conn, account_id=account_id)
    assert play is not None
    return play


async def give_back(
    engine: AsyncEngine,
    request_id: str,
    returned_minor: int,
    *,
    account_id: int = 7,
    round_id: str = "",
    once: bool = True,
    reversed_: bool = False,
) -> int:
    """Counts what a spin's round returned; how many that changed."""
    one = Return(account_id, request_id, round_id or str(uuid.uuid4()), returned_minor, reversed_)
    async with transaction(engine, "test.count") as conn:
        return await counts_store.count_returns(conn, [one], once=once)


async def acknowledge(engine: AsyncEngine, player: Player) -> None:
    """The player has seen the reality check."""
    async with transaction(engine, "test.check") as conn:
        await limits.acknowledge_check(
            conn, await players.find(engine, player), choice="CONTINUE", traceparent=""
        )


async def keep_alive(engine: AsyncEngine, player: Player) -> None:
    """The player is there. Errors: why the session has ended."""
    async with transaction(engine, "test.keep_alive") as conn:
        await limits.keep_alive(conn, await players.find(engine, player))


async def refusal(engine: AsyncEngine, player: Player, **ask: Any) -> DomainError:
    """Why a spin is refused; its id may be used again."""
    with pytest.raises(DomainError) as refused:
        await spin(engine, player.ask(**ask))
    assert refused.value.error_class == "NOT_YET"
    return refused.value


class Clock:
    """The database's clock, which a test moves: statements find this function before PostgreSQL's."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def install(self) -> None:
        """For every connection that is opened from now on."""
        name = make_url(self._url).database
        for statement in (
            "create schema test_clock",
            "create table test_clock.ahead (ahead interval not null)",
            "insert into test_clock.ahead values ('0')",
            """create function test_clock.clock_timestamp() returns timestamptz language sql volatile as
               'select pg_catalog.clock_timestamp() + (select ahead from test_clock.ahead)'""",
            f'alter database "{name}" set search_path = test_clock, public, pg_catalog',
        ):
            await self._run(statement)

    async def set(self, time: datetime) -> None:
        """It is this time now."""
        await self._run("update test_clock.ahead set ahead = :time - pg_catalog.clock_timestamp()", time=time)

    async def advance(self, time: timedelta) -> None:
        """So much time passes."""
        await self._run("update test_clock.ahead set ahead = ahead + :time", time=time)

    async def _run(self, statement: str, **values: Any) -> None:
        engine = create_async_engine(self._url, poolclass=NullPool)
        async with engine.begin() as conn:
            await conn.execute(text(statement), values)
