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


async def test_gateway_and_wallet_are_rolled_in_short(fleet: Fleet, receiver: TraceReceiver) -> None:
    """The short form: the two services by whose end most could be lost, one process of each, few players."""
    tally = Tally()
    await start_all(fleet, replicas=1)
    # A caller's channel that knew the one which ends, and no other, would have a moment without any.
    await fleet.start("gateway")
    async with Load(fleet, tally, players=4) as load:
        await roll(fleet, tally, "wallet")
        await roll(fleet, tally, "gateway", blind=True, replicas=1)
    await conclude(fleet, receiver, load, title="roll in short")
