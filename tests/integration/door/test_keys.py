"""API keys: made by the command, rotated, revoked, expired; what each may do; what is stored of them."""

import asyncio
import os
import re
import subprocess
import sys
import time
import uuid
from datetime import datetime, timedelta
from typing import Any

import grpc
import pytest
from reelmesh.gateway.v1 import operator_pb2
from reelmesh.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from typer.testing import CliRunner, Result
from websockets.asyncio.client import connect

from deploy.local.mesh import REPOSITORY, Mesh
from deploy.local.ports import free_ports
from services.common.errors import from_rpc_error
from services.gateway.operations import OPERATIONS, Credential
from services.gateway.operators import key_store, keys, signing
from services.gateway.operators.administer import app
from services.gateway.operators.keys import KeyRefused, NewKey
from services.gateway.operators.operators import Operators
from services.gateway.operators.scopes import SCOPES
from tests.integration.door.conftest import CACHE_MS
from tests.mesh.asking import Rest, Told
from tests.mesh.protocols import Socket
from tests.mesh.stage import Stage
from tests.waiting import until

PATIENCE_S = 10.0
WHO = {"operator_id": "dev", "signing_key": "k"}


@pytest.fixture
def engine(mesh: Mesh) -> AsyncEngine:
    """The gateway's database."""
    return create_async_engine(mesh.database_urls["gateway"], poolclass=NullPool)


async def new_key(engine: AsyncEngine, **changes: Any) -> tuple[str, NewKey]:
    """A key under a name of its own."""
    name = f"k-{uuid.uuid4().hex}"
    options: dict[str, Any] = {
        **WHO,
        "name": name,
        "scopes": ["wallet.read"],
        "expire_after": None,
        "signature_required": False,
    }
    return name, await keys.create_key(engine, **(options | changes))


async def works(mesh: Mesh, gateway: str, api_key: str) -> bool:
    """Whether this gateway takes the key. It is good for something else than what is asked."""
    client = Stage(mesh)._client
    try:
        which = [name for name in mesh.names if name.startswith("gateway")].index(gateway)
        answer = await client.call("POST", "/v1/sessions", credential=api_key, body={}, gateway=which)
        assert answer.status in (401, 403), answer
        return answer.status == 403
    finally:
        await client.close()


async def test_a_key_is_rotated_and_revoked_on_every_gateway(mesh: Mesh, engine: AsyncEngine) -> None:
    name, old = await new_key(engine)
    new = await keys.rotate_key(engine, name=name, expire_after=None, **WHO)
    # While an operator changes from one to the other both work, everywhere.
    for gateway in ("gateway", "gateway-2"):
        assert await works(mesh, gateway, old.api_key) and await works(mesh, gateway, new.api_key)
    with pytest.raises(KeyRefused, match="two keys"):
        await keys.rotate_key(engine, name=name, expire_after=None, **WHO)
    await keys.revoke_key(engine, key_id=old.key_id)
    revoked_s = time.monotonic()
    for gateway in ("gateway", "gateway-2"):
        while await works(mesh, gateway, old.api_key):
            assert time.monotonic() < revoked_s + PATIENCE_S
        assert await works(mesh, gateway, new.api_key)
    with pytest.raises(KeyRefused, match="not revoked"):
        await keys.revoke_key(engine, key_id=old.key_id)
    # The one that is left may do what the first might.
    async with engine.connect() as conn:
        [second, first] = await key_store.list_keys(conn, operator_id="dev", name=name)
    assert (second.key_id, second.live, second.scopes) == (new.key_id, True, ["wallet.read"])
    assert (first.key_id, first.live) == (old.key_id, False)


async def test_a_revoked_key_is_believed_no_longer_than_it_is_said(mesh: Mesh, engine: AsyncEngine) -> None:
    _, key = await new_key(engine)
    assert await works(mesh, "gateway", key.api_key)
    await keys.revoke_key(engine, key_id=key.key_id)
    await asyncio.sleep(CACHE_MS / 1000)
    assert not await works(mesh, "gateway", key.api_key)


async def test_a_revoked_key_is_told_no_more_events(stage: Stage, engine: AsyncEngine) -> None:
    """A stream that it opened before ends, over both protocols that have one."""
    mesh = stage.mesh
    _, key = await new_key(engine, scopes=["event.read"])
    target, options = f"127.0.0.1:{mesh.ports('gateway').grpc}", [("grpc.enable_http_proxy", 0)]
    url = mesh.rest_url().replace("http://", "ws://") + "/v1/ws"
    async with (
        grpc.aio.insecure_channel(target, options=options) as channel,
        connect(url, proxy=None) as connection,
    ):
        socket = Socket(connection)
        await socket.ask("authenticate", {"credential": key.api_key})
        await socket.ask("events")
        stub: Any = GatewayServiceStub(channel)
        metadata = (("authorization", f"Bearer {key.api_key}"),)
        stream = stub.SubscribeEvents(operator_pb2.SubscribeEventsRequest(), metadata=metadata)
        told = aiter(stream)
        await stage.player()
        await anext(told)
        await socket.notice(lambda notice: bool(notice["params"].get("events")))
        await keys.revoke_key(engine, key_id=key.key_id)
        async with asyncio.timeout(PATIENCE_S):
            while await works(mesh, "gateway", key.api_key):
                pass
        since_position = time.time_ns() // 1000
        # Something is to be told: a deposit, a session.
        await stage.player()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async with asyncio.timeout(PATIENCE_S):
                async for answer in told:
                    assert all(event.position < since_position for event in answer.events)
        assert from_rpc_error(refused.value).reason == "API_KEY_INVALID"
        ended = await socket.notice(lambda notice: notice["method"] == "events_ended")
        assert ended["params"]["reason"] == "API_KEY_INVALID"
        await socket.close()


async def test_every_change_is_an_event_of_the_operator_s(stage: Stage, engine: AsyncEngine) -> None:
    who = {"operator_id": f"op-{uuid.uuid4().hex[:12]}", "signing_key": "k"}
    await keys.create_operator(
        engine, operator_id=who["operator_id"], display_name="Casino", jurisdiction="none"
    )
    name, first = await new_key(engine, scopes=["event.read", "*"], signature_required=False, **who)
    second = await keys.rotate_key(engine, name=name, expire_after=timedelta(days=1), **who)
    await keys.revoke_key(engine, key_id=first.key_id)
    with pytest.raises(KeyRefused):
        await keys.revoke_key(engine, key_id=first.key_id)
    await keys.allow_origins(engine, operator_id=who["operator_id"], origins=["https://a.example"])
    made = {"name": name, "scopes": ["*", "event.read"], "signature_required": False}
    expected = [
        ("operator.created", {"display_name": "Casino", "jurisdiction": "none"}),
        ("key.created", {"key_id": str(first.key_id), **made, "expire_after_s": None}),
        ("key.created", {"key_id": str(second.key_id), **made, "expire_after_s": 86_400}),
        ("key.revoked", {"key_id": str(first.key_id), "name": name}),
        ("origins.replaced", {"origins": ["https://a.example"]}),
    ]
    found: list[Any] = []

    async def told() -> bool:
        found[:] = (await stage.answer(Rest("GET", "/v1/events", second.api_key)))["events"]
        return len(found) >= len(expected)

    await until(told)
    assert [(one["event_type"], one["payload"]) for one in found] == expected
    assert {one["operator_id"] for one in found} == {who["operator_id"]}


async def test_a_key_that_has_to_sign_is_never_made_without_its_secret(engine: AsyncEngine) -> None:
    with pytest.raises(KeyRefused, match="SIGNING_KEY"):
        await new_key(engine, signature_required=True, signing_key="")
    name, _ = await new_key(engine, signature_required=True)
    with pytest.raises(KeyRefused, match="SIGNING_KEY"):
        await keys.rotate_key(engine, name=name, expire_after=None, operator_id="dev", signing_key="")


async def test_of_many_rotations_at_once_one_is_made(engine: AsyncEngine) -> None:
    name, _ = await new_key(engine)
    rotated = await asyncio.gather(
        *(keys.rotate_key(engine, name=name, expire_after=None, **WHO) for _ in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, NewKey) for one in rotated) == 1
    assert sum(isinstance(one, KeyRefused) for one in rotated) == 7


async def test_a_key_ends_by_itself(mesh: Mesh, engine: AsyncEngine) -> None:
    name, key = await new_key(engine, expire_after=timedelta(days=1))
    assert await works(mesh, "gateway", key.api_key)
    async with engine.begin() as conn:
        past = text("update api_key set expire_time = clock_timestamp() where key_id = :key_id")
        await conn.execute(past, {"key_id": key.key_id})
    expired_s = time.monotonic()
    while await works(mesh, "gateway", key.api_key):
        assert time.monotonic() < expired_s + PATIENCE_S
    # Expired it is in nobody's way.
    await new_key(engine, name=name)


async def test_what_is_stored_is_no_key_and_no_secret(engine: AsyncEngine) -> None:
    _, key = await new_key(engine, signature_required=True)
    assert key.secret == signing.secret_of("k", key.key_id)
    async with engine.connect() as conn:
        row = (await conn.exec_driver_sql("select string_agg(k::text, ' ') from api_key k")).scalar_one()
        dump = (await conn.exec_driver_sql("select string_agg(o::text, ' ') from outbox o")).scalar_one()
    for secret in (key.api_key, key.api_key.removeprefix("rk_"), key.secret, key.secret.removeprefix("rs_")):
        assert secret not in row and secret not in (dump or "")


def test_every_scope_is_some_operation_s() -> None:
    assert {operation.scope for operation in OPERATIONS if operation.scope} == SCOPES.keys()
    assert not [one.name for one in OPERATIONS if (one.credential in _BY_KEY) != bool(one.scope)]


_BY_KEY = (Credential.OPERATOR, Credential.EITHER)


async def test_a_key_with_all_other_scopes_is_told_which_it_lacks(stage: Stage) -> None:
    """Every operation of an operator, over REST; over gRPC and a WebSocket the same door asks."""
    lacking = {scope: (await stage.key(*(SCOPES.keys() - {scope}))).api_key for scope in SCOPES}
    having = {scope: (await stage.key(scope)).api_key for scope in SCOPES}
    asked = 0
    for operation in OPERATIONS:
        for route in operation.routes:
            if not operation.scope or route.credential not in _BY_KEY:
                continue
            path = re.sub(r"{\w+}", str(uuid.uuid4()), route.path)
            body: Any = None if route.http_method == "GET" else {}
            told = await stage.refusal(Rest(route.http_method, path, lacking[operation.scope], body))
            assert (told.reason, told.metadata) == ("SCOPE_MISSING", {"scope": operation.scope}), operation
            told = await stage.send(Rest(route.http_method, path, having[operation.scope], body))
            assert not isinstance(told, Told) or told.reason != "SCOPE_MISSING", operation
            asked += 1
    assert asked > 25


async def test_the_last_use_is_written_down(mesh: Mesh, engine: AsyncEngine) -> None:
    name, key = await new_key(engine)
    assert await works(mesh, "gateway", key.api_key)
    # At the latest when it ends; else once a minute.
    await asyncio.to_thread(mesh.restart, "gateway")
    async with engine.connect() as conn:
        [listed] = await key_store.list_keys(conn, operator_id="dev", name=name)
    assert listed.last_use_time is not None


async def test_a_last_use_waits_for_the_database(stage: Stage, engine: AsyncEngine) -> None:
    operators = Operators(engine, cache_ms=0)
    name, key = await new_key(engine)

    async def write() -> None:
        stop = asyncio.Event()
        writing = asyncio.create_task(operators.record_uses(stop))
        await asyncio.sleep(0)
        stop.set()
        await writing

    async def last_use() -> datetime | None:
        async with engine.connect() as conn:
            [listed] = await key_store.list_keys(conn, operator_id="dev", name=name)
        return listed.last_use_time

    await operators.find(key.api_key)
    await stage.lose_table("gateway", "request_nonce")
    with pytest.raises(ProgrammingError):
        await write()
    assert await last_use() is None
    await stage.restore()
    await write()
    assert await last_use() is not None


def environment_of(mesh: Mesh) -> dict[str, str]:
    """What the command is told."""
    return {
        "REELMESH_GATEWAY_DATABASE_URL": mesh.database_urls["gateway"],
        "REELMESH_GATEWAY_SIGNING_KEY": mesh.key("signing_key"),
    }


def administer(mesh: Mesh, *arguments: str, **changes: str) -> Result:
    """The command, in this process: a new one would cost a second each time."""
    return CliRunner().invoke(app, arguments, env=environment_of(mesh) | changes)


def shown(done: Result) -> dict[str, str]:
    """What follows "API key:" and "signing secret:", and the key's id."""
    assert done.exit_code == 0, done.output
    first, *lines = done.output.splitlines()
    return {"key_id": first.split()[1].rstrip(";"), **dict(line.split(": ") for line in lines)}


def test_the_command_is_a_module(mesh: Mesh) -> None:
    path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "gen")))
    environment = {**os.environ, **environment_of(mesh), "PYTHONPATH": path}
    command = [sys.executable, "-m", "services.gateway.operators.administer", "list"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "") and "dev  Operator dev; " in done.stdout


def test_the_command_manages_an_operator(mesh: Mesh) -> None:
    operator = f"op-{uuid.uuid4().hex[:12]}"
    assert administer(mesh, "create", operator, "--display-name", "Casino").exit_code == 0
    again = administer(mesh, "create", operator)
    assert again.exit_code == 1 and "already" in again.output
    made = shown(administer(mesh, "key", operator, "main", "--scopes", "wallet.write,round.read", "--signed"))
    assert made["signing secret"].startswith("rs_")
    second = shown(administer(mesh, "rotate", operator, "main", "--expire-days", "30"))
    assert administer(mesh, "rotate", operator, "main").exit_code == 1
    assert administer(mesh, "revoke", made["key_id"]).exit_code == 0
    assert not asyncio.run(works(mesh, "gateway", made["API key"]))
    origins = administer(mesh, "origins", operator, "--origins", "https://casino.example")
    assert origins.exit_code == 0
    listed = administer(mesh, "list").output
    assert f"{operator}  Casino; jurisdiction default; https://casino.example" in listed
    lines = administer(mesh, "list", "--operator", operator).output.splitlines()
    assert len(lines) == 2 and "main: live; round.read, wallet.write; signed requests only; until" in lines[0]
    assert "main: revoked" in lines[1] and second["key_id"] in lines[0]
    for secret in (made["API key"], made["signing secret"], second["API key"]):
        assert secret not in listed + "".join(lines)


@pytest.mark.parametrize(
    "arguments, problem",
    [
        (["key", "nobody", "main", "--scopes", "wallet.read"], "no operator nobody"),
        (["key", "dev", "x", "--scopes", "walet.read"], "no such scope: walet.read"),
        (["key", "dev", "x"], "needs scopes"),
        (["key", "dev", "Big Name", "--scopes", "*"], "not a key's name"),
        (["create", "../etc"], "not an operator's id"),
        (["revoke", "x"], "no id of a key"),
        (["origins", "dev", "--origins", "https://a.example/path"], "not an origin"),
        (["rotate", "dev", "never-made"], "no live key"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_command_refuses_is_one_line(mesh: Mesh, arguments: list[str], problem: str) -> None:
    done = administer(mesh, *arguments)
    assert done.exit_code == 1 and problem in done.output and len(done.output.splitlines()) == 1


def session_of(mesh: Mesh) -> dict[str, str]:
    """Where session is, and who asks."""
    return {
        "REELMESH_SESSION_TARGET": f"dns:///127.0.0.1:{mesh.ports('session').grpc}",
        "REELMESH_IDENTITY_KEY": mesh.key("identity_key"),
    }


def test_an_operator_s_jurisdiction_is_one_that_session_has(mesh: Mesh) -> None:
    operator = f"op-{uuid.uuid4().hex[:12]}"
    typo = administer(mesh, "create", operator, "--jurisdiction", "CA_ON", **session_of(mesh))
    assert typo.exit_code == 1 and len(typo.output.splitlines()) == 1
    assert "no policy CA_ON, but CA-ON, DE, ES, GB, IT, MT, NL, SE, default, none" in typo.output
    away = session_of(mesh) | {"REELMESH_SESSION_TARGET": f"dns:///127.0.0.1:{free_ports(1)[0]}"}
    silent = administer(mesh, "create", operator, "--jurisdiction", "CA-ON", **away)
    assert silent.exit_code == 2 and "UNAVAILABLE" in silent.output
    assert operator not in administer(mesh, "list").output
    made = administer(mesh, "create", operator, "--jurisdiction", "CA-ON", **session_of(mesh))
    assert (made.exit_code, made.output) == (0, f"operator {operator}: created\n")


def test_where_nobody_can_look_for_a_policy_it_is_said_what_holds(mesh: Mesh) -> None:
    operator = f"op-{uuid.uuid4().hex[:12]}"
    made = administer(mesh, "create", operator, "--jurisdiction", "CA_ON")
    assert made.exit_code == 0 and "REELMESH_SESSION_TARGET" in made.output
    assert "a policy CA_ON" in made.output and "held to default" in made.output


def test_no_key_for_signed_requests_without_the_installation_s_key(mesh: Mesh) -> None:
    none = {"REELMESH_GATEWAY_SIGNING_KEY": ""}
    done = administer(mesh, "key", "dev", "signs", "--scopes", "*", "--signed", **none)
    assert done.exit_code == 1 and "REELMESH_GATEWAY_SIGNING_KEY" in done.output
