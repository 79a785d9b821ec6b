"""Who may act for an operator: API keys, of which only hashes are stored; and the record of what they ask."""

import hashlib
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import DomainError, IdReused
from services.gateway import errors, store

# A flood of wrong keys must not grow the cache without bound.
_CACHE_SIZE_MAX = 10_000


def new_api_key() -> str:
    """A fresh API key: 256 random bits, shown once and never stored."""
    return f"rk_{secrets.token_urlsafe(32)}"


def hash_api_key(api_key: str) -> bytes:
    """SHA-256: the key has 256 bits of entropy of its own, so a slow hash would buy nothing."""
    return hashlib.sha256(api_key.encode()).digest()


class Operators:
    """Finds operators by API key and records what they ask for."""

    def __init__(self, engine: AsyncEngine, *, cache_ms: int) -> None:
        self._engine = engine
        self._cache_s = cache_ms / 1000
        self._found: dict[bytes, tuple[float, store.Operator]] = {}

    async def authenticate(self, api_key: str) -> store.Operator:
        """The operator behind a key.

        Errors: UNAUTHENTICATED/API_KEY_INVALID
        """
        if not api_key.startswith("rk_"):
            raise errors.ApiKeyInvalid()
        key_hash = hash_api_key(api_key)
        now = time.monotonic()
        known = self._found.get(key_hash)
        if known is not None and now - known[0] < self._cache_s:
            return known[1]
        async with self._engine.connect() as conn:
            operator = await store.find_operator(conn, key_hash=key_hash)
        if operator is None:
            self._found.pop(key_hash, None)
            raise errors.ApiKeyInvalid()
        if len(self._found) >= _CACHE_SIZE_MAX:
            self._found.clear()
        self._found[key_hash] = (now, operator)
        return operator

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
    ) -> AsyncIterator[None]:
        """Writes down what an operator asks for before the block does it: an audit that cannot miss one.

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
