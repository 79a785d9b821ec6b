"""Operators and their API keys as an installation manages them: made, rotated, revoked, listed.

A key is shown once, when it is made; what is stored is its hash.
"""

import re
import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import db
from services.common.fields import uuid7
from services.gateway.operators import key_store, signing
from services.gateway.operators.operators import hash_api_key, new_api_key
from services.gateway.operators.scopes import EVERYTHING, SCOPES

# While an operator's back end changes from one key to the next, both work.
LIVE_KEYS_PER_NAME_MAX = 2
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# As a browser sends it: no path, no slash at the end.
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")


class KeyRefused(Exception):
    """A change to operators or keys that cannot be made; the text says why."""


class NewKey(NamedTuple):
    """A key as it is shown, once."""

    key_id: uuid.UUID
    api_key: str
    secret: str
    """What requests are signed with; empty where no installation key is known."""


async def create_operator(
    engine: AsyncEngine, *, operator_id: str, display_name: str, jurisdiction: str
) -> None:
    """Adds an operator without keys. Errors: KeyRefused"""
    _require(ID, operator_id, "an operator's id")
    async with db.transaction(engine, "create_operator") as conn:
        if not await key_store.insert_new_operator(
            conn, operator_id=operator_id, display_name=display_name, jurisdiction=jurisdiction
        ):
            raise KeyRefused(f"there is an operator {operator_id} already")
        await key_store.insert_change(
            conn,
            event_type="operator.created",
            operator_id=operator_id,
            facts={"display_name": display_name, "jurisdiction": jurisdiction},
        )


async def allow_origins(engine: AsyncEngine, *, operator_id: str, origins: Sequence[str]) -> None:
    """Replaces the list of pages whose scripts may call in this operator's name. Errors: KeyRefused"""
    for origin in origins:
        _require(ORIGIN, origin, "an origin, like https://casino.example")
    async with db.transaction(engine, "allow_origins") as conn:
        if not await key_store.set_allowed_origins(conn, operator_id=operator_id, origins=origins):
            raise KeyRefused(f"there is no operator {operator_id}")
        await key_store.insert_change(
            conn, event_type="origins.replaced", operator_id=operator_id, facts={"origins": list(origins)}
        )


async def create_key(
    engine: AsyncEngine,
    *,
    operator_id: str,
    name: str,
    scopes: Collection[str],
    expire_after: timedelta | None,
    signature_required: bool,
    signing_key: str,
) -> NewKey:
    """The first live key of this name. Errors: KeyRefused"""
    _require(ID, name, "a key's name")
    if unknown := sorted(set(scopes) - {*SCOPES, EVERYTHING}):
        raise KeyRefused(f"no such scope: {', '.join(unknown)}; there are {', '.join(SCOPES)}, {EVERYTHING}")
    if not scopes:
        raise KeyRefused(f"a key needs scopes: {', '.join(SCOPES)}, or {EVERYTHING} for all")
    async with db.transaction(engine, "create_key") as conn:
        if not await key_store.lock_operator(conn, operator_id=operator_id):
            raise KeyRefused(f"there is no operator {operator_id}")
        keys = await key_store.list_keys(conn, operator_id=operator_id, name=name)
        if any(key.live for key in keys):
            raise KeyRefused(f"there is a live key {name} of {operator_id}: rotate it, or revoke it first")
        return await _add(
            conn,
            operator_id=operator_id,
            name=name,
            scopes=scopes,
            signature_required=signature_required,
            expire_after=expire_after,
            signing_key=signing_key,
        )


async def rotate_key(
    engine: AsyncEngine,
    *,
    operator_id: str,
    name: str,
    expire_after: timedelta | None,
    signing_key: str,
) -> NewKey:
    """A second live key of this name, that may do what the newest may; the old one works until it is revoked.

    Errors: KeyRefused, also when two are live
    """
    async with db.transaction(engine, "rotate_key") as conn:
        if not await key_store.lock_operator(conn, operator_id=operator_id):
            raise KeyRefused(f"there is no operator {operator_id}")
        keys = await key_store.list_keys(conn, operator_id=operator_id, name=name)
        live = [key for key in keys if key.live]
        if not live:
            raise KeyRefused(f"there is no live key {name} of {operator_id}: create one")
        if len(live) >= LIVE_KEYS_PER_NAME_MAX:
            raise KeyRefused(f"two keys {name} of {operator_id} are live: revoke {live[-1].key_id} first")
        return await _add(
            conn,
            operator_id=operator_id,
            name=name,
            scopes=live[0].scopes,
            signature_required=live[0].signature_required,
            expire_after=expire_after,
            signing_key=signing_key,
        )


async def revoke_key(engine: AsyncEngine, *, key_id: uuid.UUID) -> None:
    """Ends a key, for good; gateways that know it believe it for api_key_cache_ms. Errors: KeyRefused"""
    async with db.transaction(engine, "revoke_key") as conn:
        revoked = await key_store.revoke_key(conn, key_id=key_id)
        if revoked is None:
            raise KeyRefused(f"there is no key {key_id} that is not revoked")
        operator_id, name = revoked
        await key_store.insert_change(
            conn,
            event_type="key.revoked",
            operator_id=operator_id,
            facts={"key_id": str(key_id), "name": name},
        )


async def _add(
    conn: AsyncConnection,
    *,
    operator_id: str,
    name: str,
    scopes: Collection[str],
    signature_required: bool,
    expire_after: timedelta | None,
    signing_key: str,
) -> NewKey:
    """One more key of this name. Errors: KeyRefused when it has to sign, and no secret can be derived."""
    if signature_required and not signing_key:
        raise KeyRefused("signed requests need REELMESH_GATEWAY_SIGNING_KEY, the same as the gateway's")
    new = _new(signing_key)
    await key_store.insert_key(
        conn,
        key_id=new.key_id,
        key_hash=hash_api_key(new.api_key),
        operator_id=operator_id,
        name=name,
        scopes=scopes,
        signature_required=signature_required,
        expire_after=expire_after,
    )
    # Never the key, nor its hash.
    facts = {
        "key_id": str(new.key_id),
        "name": name,
        "scopes": sorted(scopes),
        "signature_required": signature_required,
        "expire_after_s": None if expire_after is None else int(expire_after.total_seconds()),
    }
    await key_store.insert_change(conn, event_type="key.created", operator_id=operator_id, facts=facts)
    return new


def _new(signing_key: str) -> NewKey:
    key_id = uuid7()
    secret = signing.secret_of(signing_key, key_id) if signing_key else ""
    return NewKey(key_id, new_api_key(), secret)


def _require(pattern: re.Pattern[str], text: str, what: str) -> None:
    if not pattern.fullmatch(text):
        raise KeyRefused(f"{text!r} is not {what}")
