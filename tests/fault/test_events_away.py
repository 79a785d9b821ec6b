"""The events service away for an hour: spins do not notice, and everything is told when it is back."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from deploy.local.mesh import Mesh
from tests.mesh.load import open_players, play_until
from tests.mesh.players import Client, Player
from tests.mesh.stage import STAKE_MINOR, Stage

PLAYERS, SPINS = 8, 20


@pytest.fixture
async def stage(mesh: Mesh) -> AsyncIterator[Stage]:
    """The mesh as a test uses it; what the test broke is put back."""
    stage = Stage(mesh)
    yield stage
    await stage.restore()
    await stage.close()


async def spin_all(players: list[Player]) -> None:
    """Every spin is answered, and at the first time of asking."""

    async def spin(player: Player) -> None:
        for _ in range(SPINS):
            answer = await player.spin(STAKE_MINOR)
            assert answer.status == 200, answer
            if answer.body["round"]["state"] == "OPEN":
                await player.act(answer.body["round"]["round_id"], 1, "COLLECT")

    await asyncio.gather(*map(spin, players))


async def test_an_hour_without_the_events_service_delays_nobody_and_loses_nothing(
    stage: Stage, client: Client
) -> None:
    players = await open_players(client, PLAYERS, prefix="away")
    await stage.books.wait_quiet()
    await stage.kill("events")
    await spin_all(players)
    waiting = {service: await stage.books.unsent(service) for service in ("game", "wallet")}
    assert min(waiting.values()) > 0, waiting
    assert all(len(heard.answers) == 1 for player in players for heard in player.spins)
    # As if it had been an hour. Not the wallet's: its auditor holds these rows against the ledger's times.
    for service in ("session", "game", "gateway"):
        await stage.sql(service, "update outbox set create_time = create_time - interval '1 hour'")

    stop = asyncio.Event()
    playing = asyncio.create_task(play_until(stop, players, seed=6))
    await stage.restore()
    while min(len(player.spins) for player in players) < SPINS + 3:  # noqa: ASYNC110 - others play
        await asyncio.sleep(0.02)
    stop.set()
    await playing
    await stage.books.wait_quiet()
    await stage.books.check(players)
    [late] = await stage.books.rows(
        "events",
        """select count(*) as n from event
           where to_timestamp(position / 1000000.0) - event_time > interval '1 hour'""",
    )
    assert late.n >= PLAYERS * SPINS, "an event tells when it happened, however late it is stored"
