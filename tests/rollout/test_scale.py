"""More replicas, and fewer again, while players play: new ones get their share soon, and nobody notices."""

import pytest

from deploy.local.databases import SERVICES
from deploy.local.traces import TraceReceiver
from tests.rollout.fleet import Fleet
from tests.rollout.load import Load
from tests.rollout.steps import NOTICE_S, REPLICAS, TRAFFIC_WITHIN_S, add, conclude, start_all
from tests.rollout.tallies import Tally


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_gateways_one_three_one(fleet: Fleet, receiver: TraceReceiver) -> None:
    """REST and new sockets by the balancer's list, gRPC by connections that grow old."""
    tally = Tally()
    await start_all(fleet, replicas=1)
    async with Load(fleet, tally) as load:
        waited_s = [await add(fleet, receiver, tally, "gateway") for _ in range(2)]
        for old in fleet.of("gateway")[:2]:
            with tally.step(f"gateway: {old.name} leaves"):
                await fleet.stop(old, notice_s=NOTICE_S)
    await conclude(fleet, receiver, load, title="gateway 1 -> 3 -> 1")
    assert max(waited_s) <= TRAFFIC_WITHIN_S


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_third_replica_of_each_service_gets_traffic(fleet: Fleet, receiver: TraceReceiver) -> None:
    tally = Tally()
    await start_all(fleet)
    async with Load(fleet, tally) as load:
        waited_s = [
            await add(fleet, receiver, tally, service) for service in SERVICES if service != "gateway"
        ]
    await conclude(fleet, receiver, load, title=f"each service {REPLICAS} -> {REPLICAS + 1}")
    assert max(waited_s) <= TRAFFIC_WITHIN_S
