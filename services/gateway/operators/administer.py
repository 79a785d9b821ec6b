"""python -m services.gateway.operators.administer: operators, API keys, origins, in the gateway's database.

Needs REELMESH_GATEWAY_DATABASE_URL; REELMESH_GATEWAY_SIGNING_KEY where a key's signing secret is to be shown.
An operator's jurisdiction is one of the policies of session: REELMESH_SESSION_TARGET leads there, and
REELMESH_IDENTITY_KEY, or REELMESH_TLS_PATH, says who asks. Exit code 1: refused, 2: nobody answers.
"""

import asyncio
import os
import sys
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import NoReturn, TypeVar

import typer
from reelmesh.session.v1 import session_pb2, session_pb2_grpc
from rich.console import Console
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.client import GuardedChannel
from services.common.config import database_url
from services.common.errors import DomainError
from services.gateway.operators import key_store, keys
from services.gateway.operators.keys import KeyRefused, NewKey
from services.gateway.operators.scopes import EVERYTHING
from services.mtls.certificates import Certificates
from services.mtls.channel import Mtls

T = TypeVar("T")
SIGNING_KEY_VARIABLE = "REELMESH_GATEWAY_SIGNING_KEY"
# What stands in a database of keys is asked for by name, and defaults are the strict ones.
_JURISDICTION = "default"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
console = Console(highlight=False)


@app.command("list")
def list_command(operator: str = "") -> None:
    """Operators, or the keys of one: never a key itself."""

    async def read(engine: AsyncEngine) -> None:
        async with engine.connect() as conn:
            if operator:
                for key in await key_store.list_keys(conn, operator_id=operator):
                    _say(_line(key))
            else:
                for one in await key_store.list_operators(conn):
                    origins = ", ".join(one.allowed_origins) or "no origins"
                    _say(f"{one.operator_id}  {one.display_name}; jurisdiction {one.jurisdiction}; {origins}")

    _run(read)


@app.command("create")
def create_command(operator: str, display_name: str = "", jurisdiction: str = _JURISDICTION) -> None:
    """Add an operator; it has no keys yet. Exit code 1 when it is refused, 2 when nobody answers."""
    checked = _require_policy(jurisdiction)
    _run(
        lambda engine: keys.create_operator(
            engine,
            operator_id=operator,
            display_name=display_name or operator,
            jurisdiction=jurisdiction,
        )
    )
    _say(f"operator {operator}: created")
    if not checked:
        _say(
            f"whether session has a policy {jurisdiction} nobody looked: REELMESH_SESSION_TARGET is not set. "
            f"Without one its launches are held to {_JURISDICTION}, the strict one"
        )


@app.command("key")
def key_command(
    operator: str, name: str, scopes: str = "", expire_days: int = 0, signed: bool = False
) -> None:
    """Make the first API key of a name: --scopes wallet.write,session.write, or '*'; 0 days: no end."""
    new = _run(
        lambda engine: keys.create_key(
            engine,
            operator_id=operator,
            name=name,
            scopes=[scope for scope in scopes.split(",") if scope],
            expire_after=_after(expire_days),
            signature_required=signed,
            signing_key=_signing_key(),
        )
    )
    _show(new)


@app.command("rotate")
def rotate_command(operator: str, name: str, expire_days: int = 0) -> None:
    """Make a second key of a name; the old one works until it is revoked."""
    new = _run(
        lambda engine: keys.rotate_key(
            engine,
            operator_id=operator,
            name=name,
            expire_after=_after(expire_days),
            signing_key=_signing_key(),
        )
    )
    _show(new)


@app.command("revoke")
def revoke_command(key_id: str) -> None:
    """End a key for good; gateways that know it believe it for api_key_cache_ms (5 s) at most."""
    try:
        wanted = uuid.UUID(key_id)
    except ValueError:
        sys.exit(f"operators: {key_id!r} is no id of a key: see list")
    _run(lambda engine: keys.revoke_key(engine, key_id=wanted))
    _say(f"key {wanted}: revoked")


@app.command("origins")
def origins_command(operator: str, origins: str = "") -> None:
    """Replace the origins whose scripts may call: --origins https://a.example,https://b.example."""
    found = [origin for origin in origins.split(",") if origin]
    _run(lambda engine: keys.allow_origins(engine, operator_id=operator, origins=found))
    _say(f"operator {operator}: {', '.join(found) or 'no origins'}")


def _require_policy(jurisdiction: str) -> bool:
    """Whether it is known that session has it: a name that it does not have it would hold to `default`."""
    target = _setting("SESSION_TARGET")
    if jurisdiction == _JURISDICTION or not target:
        return jurisdiction == _JURISDICTION
    try:
        served = asyncio.run(_policies(target))
    except DomainError as error:
        _cannot_tell(f"session does not tell its policies ({error.reason}): nothing was created")
    if jurisdiction not in served:
        sys.exit(f"operators: there is no policy {jurisdiction}, but {', '.join(served)}")
    return True


async def _policies(target: str) -> list[str]:
    tls_path = _setting("TLS_PATH")
    channel = GuardedChannel(
        target,
        caller="gateway",
        identity_key=_setting("IDENTITY_KEY"),
        instance="operators",
        mtls=Mtls(Certificates(tls_path, service="gateway"), "session") if tls_path else None,
    )
    try:
        session = channel.stub(session_pb2_grpc.SessionServiceStub)
        answer = await session.ListPolicies(session_pb2.ListPoliciesRequest())
        return [one.name for one in answer.policies]
    finally:
        await channel.close()


def _setting(name: str) -> str:
    """As the gateway itself has it."""
    own, shared = f"REELMESH_GATEWAY_{name}", f"REELMESH_{name}"
    return os.environ.get(own, os.environ.get(shared, ""))


def _cannot_tell(why: str) -> NoReturn:
    print(f"operators: {why}", file=sys.stderr)
    sys.exit(2)


def _run(work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    async def run() -> T:
        engine = db.create_engine(database_url("gateway"), pool_size=1, application_name="operators")
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except KeyRefused as refused:
        sys.exit(f"operators: {refused}")
    except OperationalError as error:
        _cannot_tell(db.first_line(error))
    except DBAPIError as error:
        sys.exit(f"operators: {db.first_line(error)}")


def _signing_key() -> str:
    return os.environ.get(SIGNING_KEY_VARIABLE, "")


def _after(days: int) -> timedelta | None:
    return timedelta(days=days) if days else None


def _show(new: NewKey) -> None:
    _say(f"key {new.key_id}; what follows is shown only here:")
    _say(f"API key: {new.api_key}")
    if new.secret:
        _say(f"signing secret: {new.secret}")


def _line(key: key_store.ListedKey) -> str:
    state = "revoked" if key.revoke_time else "live" if key.live else "expired"
    scopes = "everything" if EVERYTHING in key.scopes else ", ".join(key.scopes)
    signed = "; signed requests only" if key.signature_required else ""
    until = f"; until {key.expire_time:%Y-%m-%d %H:%M}" if key.expire_time else ""
    used = f"{key.last_use_time:%Y-%m-%d %H:%M}" if key.last_use_time else "never"
    return f"{key.key_id}  {key.name}: {state}; {scopes}{signed}{until}; last used {used}"


def _say(line: str) -> None:
    # Not wrapped: what is to be copied must not be cut to the width of a terminal.
    console.print(line, soft_wrap=True, markup=False)


if __name__ == "__main__":
    app()
