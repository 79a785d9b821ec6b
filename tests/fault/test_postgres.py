"""PostgreSQL stopped and started under load: UNAVAILABLE meanwhile, back by itself, nothing lost or doubled.

The services are told nothing; their readiness shows it.
"""

import asyncio

from deploy.local.mesh import Mesh
from deploy.local.postgres import Cluster
from tests.mesh.books import Books
from tests.mesh.load import STAKE_MINOR, open_players, play_until
from tests.mesh.players import Answer, Client, Player

PLAYERS = 6
BACK_SECONDS_MAX = 15.0


async def test_the_mesh_survives_a_database_that_goes_away(
    mesh: Mesh, cluster: Cluster, client: Client
) -> None:
    books = Books(mesh.database_urls)
    players = await open_players(client, PLAYERS, prefix="postgres")
    stop = asyncio.Event()
    load = asyncio.create_task(play_until(stop, players, seed=2))
    await _until_acknowledged(players, count=20)

    await asyncio.to_thread(cluster.stop, "immediate")
    answer = await _spin_once(players[0])
    assert (answer.status, answer.body["reason"]) in {(503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED")}
    assert answer.body["class"] == "RETRY_SAME_ID"
    assert not await asyncio.to_thread(mesh.serving, "wallet"), "ready without a database"
    assert await asyncio.to_thread(mesh.serving, "wallet", health="liveness"), "a restart would not help"

    await asyncio.to_thread(cluster.start)
    before = _acknowledged(players)
    await _until_acknowledged(players, count=before + 20)
    stop.set()
    await load
    await books.wait_quiet(seconds_max=30.0)
    await books.check(players)
    assert mesh.ended() == {}, "no process died of it"
    told = {answer.status for player in players for heard in player.spins for answer in heard.answers}
    assert told <= {0, 200, 409, 422, 503, 504}, "a database that is away is UNAVAILABLE and nothing else"


async def _spin_once(player: Player) -> Answer:
    """One attempt under an id that the load repeats until it is known."""
    heard = player.spins[-1]
    body = {"request_id": heard.request_id, "stake": {"currency_code": "USD", "amount_minor": STAKE_MINOR}}
    return await player.client.call("POST", "/v1/spins", credential=player.token, body=body)


def _acknowledged(players: list[Player]) -> int:
    return sum(
        answer.status == 200 for player in players for heard in player.spins for answer in heard.answers
    )


async def _until_acknowledged(players: list[Player], *, count: int) -> None:
    async with asyncio.timeout(BACK_SECONDS_MAX):
        while _acknowledged(players) < count:  # noqa: ASYNC110 - counted from outside the loaders
            await asyncio.sleep(0.05)
