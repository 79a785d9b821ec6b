"""The version before and this one, side by side on this one's schema, as in every upgrade and rollback."""

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from deploy.local.mesh import REPOSITORY
from deploy.local.traces import TraceReceiver
from services.gateway.edge.websocket import PATH
from tests.rollout.fleet import Fleet
from tests.rollout.fronts import GrpcFront, RestFront, SocketFront
from tests.rollout.load import Load
from tests.rollout.steps import conclude, roll, start_all
from tests.rollout.tallies import Tally
from tests.rollout.versions import version_before
from tests.waiting import until

# Played where each service has one replica of either version, and after the way back.
TURN_SPINS = 150
# Who is called before who calls, as docs/kubernetes/upgrade.md has it; back it is the other way round.
UPGRADE_ORDER = ("events", "wallet", "game", "session", "gateway")
ROLLBACK_ORDER = UPGRADE_ORDER[::-1]
# An events service of before this migration cannot append behind it, as it says itself.
CHAINED = "services/events/migrations/versions/0002_chained_days.py"


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_the_version_before_works_on_this_schema_beside_this_version(
    fleet: Fleet, receiver: TraceReceiver, tmp_path: Path
) -> None:
    """The databases are migrated, the old version runs. Each service gets one new replica, then the other.
    And back in the same way, where the old version goes on with what the new one wrote.

    By turns, since the version before may look for names too seldom for both at once (docs/traps.md, 17).
    Over the protocols that it has. Not over streams: it may end them otherwise.
    """
    commit, tree = version_before(tmp_path)
    tally = Tally()
    await start_all(fleet, tree=tree)
    async with Load(fleet, tally, fronts=await spoken(fleet), feed=False) as load:
        for order, source in ((UPGRADE_ORDER, REPOSITORY), (ROLLBACK_ORDER, tree)):
            await replace_one_of_each(fleet, tally, order, source)
            await play_on(tally, "both versions of each service")
            await replace_one_of_each(fleet, tally, order, source)
        await play_on(tally, f"{commit[:7]} again")
        if not (tree / CHAINED).exists():
            # Its relays wait, and lose nothing: it is for the next version to carry.
            await roll(fleet, tally, "events")
    await conclude(fleet, receiver, load, title=f"{commit[:7]} -> now -> {commit[:7]}, on this schema")


async def spoken(fleet: Fleet) -> list[type[RestFront]]:
    """How players come where the version before runs alone; it may be older than WebSocket."""
    url = f"http://{fleet.names.ready('gateway')[0]}:{fleet.ports['gateway'].rest}"
    async with httpx.AsyncClient(base_url=url, verify=False) as client:
        unknown = (await client.get(PATH)).status_code == HTTPStatus.NOT_FOUND
    return [RestFront, GrpcFront] if unknown else [RestFront, GrpcFront, SocketFront]


async def replace_one_of_each(fleet: Fleet, tally: Tally, order: Sequence[str], source: Path) -> None:
    """The oldest replica of each service, by one of that source."""
    for service in order:
        await roll(fleet, tally, service, replicas=1, tree=source)


async def play_on(tally: Tally, what: str) -> None:
    """Goes on until so many more spins are played."""
    with tally.step(f"{what}, {TURN_SPINS} spins"):
        end = tally.spins + TURN_SPINS
        await until(lambda: tally.spins >= end, seconds_max=120)
