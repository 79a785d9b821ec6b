"""The steps of a proof: a fleet started, a service rolled, a replica added, the end of it all."""

import asyncio
import time
from pathlib import Path

from deploy.local.databases import SERVICES
from deploy.local.mesh import REPOSITORY
from deploy.local.traces import Span, TraceReceiver
from services.common import telemetry_names as names
from tests.rollout.books import check_books, check_traces
from tests.rollout.fleet import Fleet, Replica
from tests.rollout.load import Load
from tests.rollout.tallies import Tally

REPLICAS = 2
# preStop sleeps 8 s for a cluster's news to travel; here they travel at once.
NOTICE_S = 0.5
# As long as endpoints lag behind in a cluster where nothing sleeps.
BLIND_S = 1.0
# A new replica's first call, where connections grow as old as conftest.py says.
TRAFFIC_WITHIN_S = 10.0
# A call is seen when its process has sent the span, which waits 5 s for others.
SEEN_SECONDS_MAX = 60.0
# How a spin reaches a gateway.
_WAYS = {"REST", "WebSocket", "gRPC"}


async def start_all(fleet: Fleet, *, replicas: int = REPLICAS, tree: Path = REPOSITORY) -> None:
    """All services: first those that others call."""
    for service in reversed(SERVICES):
        for _ in range(replicas):
            await fleet.start(service, tree=tree)


async def roll(
    fleet: Fleet,
    tally: Tally,
    service: str,
    *,
    blind: bool = False,
    replicas: int = REPLICAS,
    tree: Path = REPOSITORY,
) -> None:
    """As a Deployment with maxSurge 1 and maxUnavailable 0. `blind`: SIGTERM comes before the names know.

    `replicas`: how many are replaced, oldest first; the next one starts while the one before still leaves, as
    a Deployment does not count what leaves. Not in the hard order, where callers might know nobody meanwhile:
    no spin failed of that, but the Finish behind an answer found nobody. `tree`: the source of the new ones.
    """
    notice_s, blind_s = (0.0, BLIND_S) if blind else (NOTICE_S, 0.0)
    old = fleet.of(service)[:replicas]
    with tally.step(f"{service}: {', '.join(one.name for one in old)} replaced"):
        async with asyncio.TaskGroup() as leaving:
            for one in old:
                await fleet.start(service, tree=tree)
                gone = leaving.create_task(fleet.stop(one, notice_s=notice_s, blind_s=blind_s))
                if blind:
                    await gone


async def add(fleet: Fleet, receiver: TraceReceiver, tally: Tally, service: str) -> float:
    """One more replica; how many seconds after it was found it got its first call, in every way there is."""
    wanted = _WAYS if service == "gateway" else {"gRPC"}
    with tally.step(f"{service} {len(fleet.of(service))} -> {len(fleet.of(service)) + 1}"):
        replica = await fleet.start(service)
        found_unix_ns = time.time_ns()
        spans = await asyncio.to_thread(
            receiver.wait_for,
            lambda spans: first_calls(spans, replica).keys() >= wanted,
            timeout_s=SEEN_SECONDS_MAX,
        )
    firsts = first_calls(spans, replica)
    waited_s = {way: (firsts[way] - found_unix_ns) / 1e9 for way in sorted(wanted)}
    told = ", ".join(f"{way} after {seconds:.1f} s" for way, seconds in waited_s.items())
    print(f"    {replica.name}: {told}", flush=True)
    return max(waited_s.values())


async def conclude(fleet: Fleet, receiver: TraceReceiver, load: Load, *, title: str) -> None:
    """Says how it went; then nothing may have failed, and books, feed and traces must be whole."""
    print(load.tally.summary(title), flush=True)
    assert not load.tally.failures, load.tally.summary(title)
    await check_books(fleet, load.players)
    if load.feed is not None:
        await load.feed.check()
        print(f"  {len(load.feed.positions)} events in order", flush=True)
        assert not load.tally.failures, load.tally.summary(title)
    await check_traces(receiver, load.players)


def first_calls(spans: list[Span], replica: Replica) -> dict[str, int]:
    """When it began to serve its first call, by the way that took, in ns since 1970."""
    firsts: dict[str, int] = {}
    for span in spans:
        if span.instance == replica.name and span.kind == "SERVER":
            way = _way(span)
            firsts[way] = min(firsts.get(way, span.start_unix_ns), span.start_unix_ns)
    return firsts


def _way(span: Span) -> str:
    if names.HTTP_REQUEST_METHOD in span.attributes:
        return "REST"
    return "gRPC" if span.attributes[names.RPC_SYSTEM_NAME] == "grpc" else "WebSocket"
