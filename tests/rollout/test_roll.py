"""Every service is replaced, replica by replica, while players play: nobody notices."""

import pytest

from deploy.local.databases import SERVICES
from deploy.local.traces import TraceReceiver
from tests.rollout.fleet import Fleet
from tests.rollout.load import Load
from tests.rollout.steps import conclude, roll, start_all
from tests.rollout.tallies import Tally


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("order", ["names-first", "sigterm-first"])
async def test_each_service_is_rolled_under_load(fleet: Fleet, receiver: TraceReceiver, order: str) -> None:
    tally = Tally()
    await start_all(fleet)
    async with Load(fleet, tally) as load:
        for service in SERVICES:
            await roll(fleet, tally, service, blind=order == "sigterm-first")
    await conclude(fleet, receiver, load, title=f"roll, {order}")


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_replica_alone_is_rolled_under_load(fleet: Fleet, receiver: TraceReceiver) -> None:
    """In the hard order. Its successor is ready first: whoever knew no other finds that one at once."""
    tally = Tally()
    await start_all(fleet, replicas=1)
    async with Load(fleet, tally) as load:
        for service in SERVICES:
            await roll(fleet, tally, service, blind=True, replicas=1)
    await conclude(fleet, receiver, load, title="a replica alone")


async def test_a_replica_alone_is_rolled_in_short(fleet: Fleet, receiver: TraceReceiver) -> None:
    """The short form: the services by whose end most could be lost, few players."""
    tally = Tally()
    await start_all(fleet, replicas=1)
    async with Load(fleet, tally, players=4) as load:
        await roll(fleet, tally, "wallet", replicas=1)
        await roll(fleet, tally, "session", replicas=1)
        await roll(fleet, tally, "gateway", blind=True, replicas=1)
    await conclude(fleet, receiver, load, title="roll in short")
