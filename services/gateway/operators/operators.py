"""Who may act for an operator: API keys, of which only hashes are stored; and the record of what they ask."""

import asyncio
import hashlib
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import DomainError, IdReused
from services.gateway import errors, store
from services.gateway.operators import key_store, scopes

API_KEY_PREFIX = "rk_"
# A flood of wrong keys must not grow the cache without bound.
_CACHE_SIZE_MAX = 10_000
# Last uses are written together, so at most once in this time per key and gateway.
USES_INTERVAL_S = 60.0


def new_api_key() -> str:
    """A fresh API key: 256 random bits, shown once and never stored."""
    return API_KEY_PREFIX + secrets.token_urlsafe(32)


def hash_api_key(api_key: str) -> bytes:
    """SHA-256: the key has 256 bits of entropy of its own, so a slow hash would buy nothing."""
    return hashlib.sha256(api_key.encode()).digest()


class Operators:
    """Finds operators by API key and records what they ask for."""

    def __init__(self, engine: AsyncEngine, *, cache_ms: int) -> None:
        self._engine = engine
        self._cache_s = cache_ms / 1000
        # Until when a key is believed, by the monotonic clock.
        self._found: dict[bytes, tuple[float, store.Operator]] = {}
        # When keys were used since that was last written down, in Unix seconds.
        self._used: dict[uuid.UUID, float] = {}

    async def authenticate(self, api_key: str, scope: str) -> store.Operator:
        """The operator behind a key that has the scope.

        Errors: UNAUTHENTICATED/API_KEY_INVALID, PERMISSION_DENIED/SCOPE_MISSING
        """
        operator = await self.find(api_key)
        scopes.require(operator.scopes, scope)
        return operator

    async def find(self, api_key: str) -> store.Operator:
        """The operator behind a key, whatever it may do. Errors: UNAUTHENTICATED/API_KEY_INVALID"""
        if not api_key.startswith(API_KEY_PREFIX):
            raise errors.ApiKeyInvalid()
        key_hash = hash_api_key(api_key)
        known = self._found.get(key_hash)
        if known is not None and time.monotonic() < known[0]:
            operator = known[1]
        else:
            operator = await self._read(key_hash)
        self._used[operator.key_id] = time.time()
        return operator

    async def _read(self, key_hash: bytes) -> store.Operator:
        async with self._engine.connect() as conn:
            found = await store.find_operator(conn, key_hash=key_hash)
        if found is None:
            self._found.pop(key_hash, None)
            raise errors.ApiKeyInvalid()
        if len(self._found) >= _CACHE_SIZE_MAX:
            self._found.clear()
        self._found[key_hash] = (time.monotonic() + min(self._cache_s, found.left_s), found)
        return found

    async def record_uses(self, stop: asyncio.Event) -> None:
        """Writes down when keys were last used, beside the requests, until stop is set; once more then."""
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), USES_INTERVAL_S)
            await self._write_uses()

    async def _write_uses(self) -> None:
        """What cannot be written now is kept for the next time. Errors: those of the database."""
        used, self._used = self._used, {}
        try:
            async with db.transaction(self._engine, "key_uses") as conn:
                if used:
                    await key_store.record_uses(conn, used)
                await key_store.delete_expired_nonces(conn)
        except BaseException:
            # Used meanwhile is used later.
            self._used = used | self._used
            raise

    @asynccontextmanager
    async def acting(
        self,
        operator_id: str,
        action: str,
        *,
        request_id: uuid.UUID,
        player_id: str,
        body: bytes,
        traceparent: str,
        round_id: str = "",
        about: Mapping[str, str] | None = None,
    ) -> AsyncIterator[None]:
        """Writes down what an operator asks for before the block does it: an audit that cannot miss one.

        `about`: more for the event, such as who decided and why.
        A block that refuses it, class NOT_YET, leaves the id to a better body.
        Errors: ALREADY_EXISTS/ID_REUSED when the id is another body's
        """
        fingerprint = hashlib.sha256(body).digest()
        async with db.transaction(self._engine, "operator_action") as conn:
            same = await store.insert_operator_action(
                conn,
                operator_id=operator_id,
                action=action,
                request_id=request_id,
                player_id=player_id,
                fingerprint=fingerprint,
                traceparent=traceparent,
                round_id=round_id,
                about=about or {},
            )
        if not same:
            raise IdReused(request_id=request_id)
        try:
            yield
        except DomainError as refusal:
            if refusal.error_class == "NOT_YET":
                async with db.transaction(self._engine, "operator_action_refused") as conn:
                    await store.refuse_operator_action(
                        conn,
                        operator_id=operator_id,
                        action=action,
                        request_id=request_id,
                        fingerprint=fingerprint,
                    )
            raise


async def seed_operator(
    engine: AsyncEngine, *, operator_id: str, display_name: str, jurisdiction: str, api_key: str
) -> None:
    """Makes sure that an operator and its API key exist."""
    async with db.transaction(engine, "seed_operator") as conn:
        await store.insert_operator(
            conn, operator_id=operator_id, display_name=display_name, jurisdiction=jurisdiction
        )
        await store.insert_api_key(conn, operator_id=operator_id, key_hash=hash_api_key(api_key))
