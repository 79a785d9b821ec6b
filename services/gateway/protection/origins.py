"""Which pages may call: each operator has a list of origins (CORS)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway import errors
from services.gateway.operators import key_store

# Sessions of browsers at once, and some; the operator of one that was forgotten is asked for again.
_SESSIONS_MAX = 50_000


class Origins:
    """Decides about requests that a browser sent for another origin's page.

    A preflight shows no credential: it is enough that some operator has the origin. The request itself is its
    operator's, whose own list counts. Operations without a credential are everybody's.
    """

    def __init__(
        self, engine: AsyncEngine, *, cache_ms: int, operator_of: Callable[[str], Awaitable[str]]
    ) -> None:
        """`operator_of`: the operator behind an API key or a session token. Errors: DomainError"""
        self._engine, self._cache_s = engine, cache_ms / 1000
        self._operator_of = operator_of
        self._allowed: dict[str, frozenset[str]] = {}
        self._read_s = float("-inf")
        self._operators: dict[str, str] = {}

    async def watch(self, stop: asyncio.Event) -> None:
        """Keeps the lists known for handshakes, which cannot wait for them, until stop is set."""
        while not stop.is_set():
            # While the database is away they stay as they were: a handshake does nothing yet.
            with suppress(SQLAlchemyError, OSError):
                await self._lists()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._cache_s)

    def listed(self, origin: str, host: str) -> bool:
        """Whether some operator has the origin, as far as is known, or the request's own host."""
        return _is_own(origin, host) or any(origin in origins for origins in self._allowed.values())

    async def require(self, origin: str, host: str, credential: str) -> None:
        """`host`: the request's own, whose page is always allowed.

        Errors: PERMISSION_DENIED/ORIGIN_FORBIDDEN; UNAVAILABLE while the lists cannot be read
        """
        if _is_own(origin, host):
            return
        allowed = await self._lists()
        if not any(origin in origins for origins in allowed.values()):
            raise errors.OriginForbidden()
        if credential:
            await self.require_of(await self._operator(credential), origin, host)

    async def require_of(self, operator_id: str, origin: str, host: str) -> None:
        """Requires that this operator has the origin. Errors: as require"""
        if _is_own(origin, host):
            return
        if origin not in (await self._lists()).get(operator_id, frozenset()):
            raise errors.OriginForbidden()

    async def _lists(self) -> dict[str, frozenset[str]]:
        if time.monotonic() - self._read_s >= self._cache_s:
            async with self._engine.connect() as conn:
                self._allowed = await key_store.read_allowed_origins(conn)
            self._read_s = time.monotonic()
        return self._allowed

    async def _operator(self, credential: str) -> str:
        operator_id = self._operators.get(credential)
        if operator_id is None:
            operator_id = await self._operator_of(credential)
            if len(self._operators) >= _SESSIONS_MAX:
                self._operators.clear()
            self._operators[credential] = operator_id
        return operator_id


def _is_own(origin: str, host: str) -> bool:
    return bool(host) and origin.partition("://")[2] == host
