"""More than the mesh can take: the rest is refused at once, with a time to come back, and nothing is lost."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from reelmesh.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from reelmesh.type.v1 import money_pb2

from deploy.local.mesh import Mesh
from tests.databases import Databases
from tests.mesh.books import Books
from tests.mesh.load import STAKE_MINOR, open_players
from tests.mesh.players import CURRENCY, Answer, Client, Player, amount
from tests.meshes import running_mesh

IN_FLIGHT_MAX = 4
_PENDING = "select round_id from round_view where state = 'PENDING'"
PLAYERS = 10


@pytest.fixture(scope="module")
def mesh(fault_databases: Databases) -> Iterator[Mesh]:
    """A gateway that takes four spins at a time."""
    environment = {"REELMESH_GATEWAY_SPINS_IN_FLIGHT_MAX": str(IN_FLIGHT_MAX)}
    with running_mesh(fault_databases, environment=environment) as mesh:
        yield mesh


def _refusals(player: Player) -> list[Answer]:
    """The answers to the player's spins that say OVERLOADED."""
    heard = [answer for spin in player.spins for answer in spin.answers]
    return [answer for answer in heard if answer.body.get("reason") == "OVERLOADED"]


async def _spin_once(player: Player) -> Answer:
    body = {"request_id": str(uuid.uuid4()), "stake": amount(STAKE_MINOR)}
    return await player.client.call("POST", "/v1/spins", credential=player.token, body=body)


def _refused_players(players: list[Player]) -> int:
    return sum(bool(_refusals(player)) for player in players)


async def test_a_spin_whose_caller_went_away_still_counts(mesh: Mesh, client: Client, tmp_path: Path) -> None:
    """Else callers that hang up could have any number of rounds in flight."""
    players = await open_players(client, IN_FLIGHT_MAX + 1, prefix="gone")
    books, mark = Books(mesh.database_urls), tmp_path / "held"
    held = {"REELMESH_FAIL": "before_commit@wallet.settle:1:hold", "REELMESH_FAIL_MARK": str(mark)}
    await asyncio.to_thread(mesh.restart, "wallet", environment=held)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{mesh.ports('gateway').grpc}") as channel:
        stub: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
        stake = money_pb2.Money(currency_code=CURRENCY, amount_minor=STAKE_MINOR)
        calls = [
            stub.Spin(
                gateway_pb2.SpinRequest(request_id=str(uuid.uuid4()), stake=stake),
                metadata=[("authorization", f"Bearer {player.token}")],
            )
            for player in players[:IN_FLIGHT_MAX]
        ]
        async with asyncio.timeout(30):
            while len(await books.rows("game", _PENDING)) < IN_FLIGHT_MAX:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        for call in calls:
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
    # Nothing tells when the gateway has heard of it: for a while nobody else gets in.
    for _ in range(20):
        answer = await _spin_once(players[-1])
        assert (answer.status, answer.body["reason"]) == (503, "OVERLOADED")
        await asyncio.sleep(0.02)
    mark.unlink()
    await books.wait_quiet()


async def test_what_is_too_much_is_refused_at_once_and_may_come_again(
    mesh: Mesh, client: Client, tmp_path: Path
) -> None:
    players = await open_players(client, PLAYERS, prefix="overload")
    mark = tmp_path / "held"
    held = {"REELMESH_FAIL": "before_commit@wallet.settle:1:hold", "REELMESH_FAIL_MARK": str(mark)}
    await asyncio.to_thread(mesh.restart, "wallet", environment=held)

    spins = [asyncio.create_task(player.spin(STAKE_MINOR)) for player in players]
    # All but those in flight hear the refusal while the wallet still holds the others.
    async with asyncio.timeout(30):
        while not mark.exists() or _refused_players(players) < PLAYERS - IN_FLIGHT_MAX:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    refused = [answer for player in players for answer in _refusals(player)]
    assert {(answer.status, answer.body["class"]) for answer in refused} == {(503, "RETRY_SAME_ID")}
    assert all(int(answer.body["metadata"]["retry_after_ms"]) > 0 for answer in refused)

    mark.unlink()
    answers = await asyncio.gather(*spins)
    # A round that was held for longer than the reconciler waits is void: an answer too.
    assert {answer.body.get("reason", "SETTLED") for answer in answers} <= {"SETTLED", "ROUND_VOID"}
    books = Books(mesh.database_urls)
    await books.wait_quiet()
    await books.check(players)
