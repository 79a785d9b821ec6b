"""The version before and this one, side by side on this one's schema, as in every upgrade of a cluster."""

from pathlib import Path

import pytest

from deploy.local.databases import SERVICES
from deploy.local.traces import TraceReceiver
from tests.rollout.fleet import Fleet
from tests.rollout.load import Load
from tests.rollout.steps import NOTICE_S, conclude, start_all
from tests.rollout.tallies import Tally
from tests.rollout.versions import version_before
from tests.waiting import until

# Played while each service has one replica of either version.
MIXED_SPINS = 300


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_the_version_before_works_on_this_schema_beside_this_version(
    fleet: Fleet, receiver: TraceReceiver, tmp_path: Path
) -> None:
    """The databases are migrated, the old version runs; each service gets one new replica, then the other."""
    commit, tree = version_before(tmp_path)
    tally = Tally()
    await start_all(fleet, tree=tree)
    old = list(fleet.replicas)
    async with Load(fleet, tally) as load:
        for turn in range(2):
            # Callers last, as a migration's Job comes first: what is called knows the new fields already.
            for service in reversed(SERVICES):
                leaving = next(replica for replica in old if replica.service == service)
                old.remove(leaving)
                with tally.step(f"{service}: {leaving.name} of {commit[:7]} is replaced"):
                    await fleet.start(service)
                    await fleet.stop(leaving, notice_s=NOTICE_S)
            if turn == 0:
                with tally.step(f"both versions of each service, {MIXED_SPINS} spins"):
                    spins = tally.spins + MIXED_SPINS
                    await until(lambda spins=spins: tally.spins >= spins, seconds_max=120)
    await conclude(fleet, receiver, load, title=f"{commit[:7]} -> now, on this schema")
