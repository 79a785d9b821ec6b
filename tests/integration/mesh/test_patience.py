"""R6: once a round is drawn its gateway brings it home, whoever went away and whoever is silent meanwhile.

The deadline is long: within it no reconciler ends a round, so what ends was ended by the gateway.
"""

import asyncio
import time
from collections.abc import Iterator

import pytest
from reelmesh.gateway.v1 import gateway_pb2

from deploy.local.mesh import Mesh
from deploy.local.traces import Span, TraceReceiver
from tests.databases import Databases
from tests.integration.mesh.held import held_table
from tests.mesh.asking import Grpc
from tests.mesh.stage import STAKE_MINOR, Stage, money, new_id, rest_spin
from tests.meshes import running_mesh

SPIN_DEADLINE_MS = 60_000


@pytest.fixture(scope="module")
def mesh(databases: Databases, trace_receiver: TraceReceiver) -> Iterator[Mesh]:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": trace_receiver.endpoint,
        "REELMESH_TRACE_RATIO": "1.0",
        "REELMESH_SPIN_DEADLINE_MS": str(SPIN_DEADLINE_MS),
    }
    with running_mesh(databases, environment=environment) as mesh:
        yield mesh


async def test_a_spin_sent_once_outlives_the_wallet(
    mesh: Mesh, stage: Stage, trace_receiver: TraceReceiver
) -> None:
    player, request_id = await stage.player(), new_id()
    await asyncio.to_thread(mesh.kill, "wallet")
    killed_unix_ns = time.time_ns()

    def failed(spans: list[Span]) -> bool:
        return any(
            span.name.endswith("/BatchSettle") and span.status == "ERROR"
            for span in spans
            if span.start_unix_ns > killed_unix_ns
        )

    spin = asyncio.create_task(stage.answer(rest_spin(player, request_id)))
    try:
        await asyncio.to_thread(trace_receiver.wait_for, failed)
    finally:
        await asyncio.to_thread(mesh.start, "wallet")
    answer = await spin
    assert (answer["round"]["request_id"], answer["round"]["state"]) == (request_id, "SETTLED")
    await stage.books.wait_quiet()
    await stage.books.check([player])


@pytest.mark.parametrize(
    ("service", "table", "mode"), [("game", "round", "share"), ("wallet", "account", "exclusive")]
)
async def test_a_spin_whose_caller_went_away_is_settled(
    stage: Stage, service: str, table: str, mode: str
) -> None:
    """While it is drawn, and while it is settled."""
    player, request_id = await stage.player(), new_id()
    spin = gateway_pb2.SpinRequest(request_id=request_id, stake=money(STAKE_MINOR))
    async with held_table(stage, service, table, mode) as held:
        asked = asyncio.create_task(stage.send(Grpc("gateway", "Spin", spin, player.token)))
        await held.waited_for(1)
        await go_away(stage, asked)
    await until_settled(stage, request_id)
    await stage.books.wait_quiet()
    await stage.books.check([player])


async def test_a_choice_whose_caller_went_away_is_paid(stage: Stage) -> None:
    player, round_ = await stage.open_round()
    act = gateway_pb2.ActRequest(round_id=round_["round_id"], step=1, choice="COLLECT")
    async with held_table(stage, "wallet", "account", "exclusive") as held:
        asked = asyncio.create_task(stage.send(Grpc("gateway", "Act", act, player.token)))
        await held.waited_for(1)
        await go_away(stage, asked)
    await until_settled(stage, round_["request_id"])
    await stage.books.wait_quiet()
    await stage.books.check([player])


# What the tests are told with


async def go_away(stage: Stage, asked: asyncio.Task[object]) -> None:
    """Cancels a gRPC call; returns when the gateway has heard of it."""
    asked.cancel()
    await asyncio.wait([asked])
    # On the same connection, and so behind the cancel.
    await stage.answer(Grpc("gateway", "ListGames", gateway_pb2.ListGamesRequest()))


async def until_settled(stage: Stage, request_id: str) -> None:
    """Looks into game's own database: a read through the API would ask the wallet, and record its answer."""
    query = "select state from round_view where request_id = cast(:request_id as uuid)"
    states: list[str] = []
    try:
        async with asyncio.timeout(10):
            while states != ["SETTLED"]:
                states = [row.state for row in await stage.books.rows("game", query, request_id=request_id)]
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"nobody brought it home: {states}") from None
