"""kill -9 at every named point, with requests in flight: nothing is lost, doubled or left open."""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploy.local.mesh import Mesh
from tests.mesh.books import Books
from tests.mesh.load import open_players, play_until
from tests.mesh.players import Client, Player

PLAYERS = 6
# Short, so that the reconciler's age (twice of it) does not make the suite wait.
SPIN_DEADLINE_MS = 1_000


class Case(NamedTuple):
    """One failpoint: which process is armed, where, and at which reach it dies."""

    service: str
    point: str
    name: str
    reach: int = 1

    @property
    def process(self) -> str:
        """mid_append is in the events service, while it stores what the service's relay sent."""
        return "events" if self.point == "mid_append" else self.service


CASES = [
    Case("gateway", "before_send", "BatchSettle", 9),
    Case("gateway", "after_send", "BatchSettle", 9),
    Case("gateway", "before_commit", "operator_action", 2),
    Case("gateway", "after_commit", "operator_action", 2),
    Case("gateway", "after_reply", "Spin", 9),
    Case("session", "before_send", "OpenAccount", 3),
    Case("session", "after_send", "OpenAccount", 3),
    Case("session", "before_commit", "session.authorize", 9),
    Case("session", "after_commit", "session.authorize", 9),
    Case("session", "after_reply", "BatchAuthorize", 9),
    Case("game", "before_send", "BatchVoid"),
    Case("game", "after_send", "BatchVoid"),
    Case("game", "before_commit", "game.play", 9),
    Case("game", "after_commit", "game.play", 9),
    Case("game", "after_reply", "BatchPlay", 9),
    Case("wallet", "before_send", "Append", 3),
    Case("wallet", "after_send", "Append", 3),
    Case("wallet", "before_commit", "wallet.settle", 9),
    Case("wallet", "after_commit", "wallet.settle", 9),
    Case("wallet", "after_reply", "BatchSettle", 9),
    *(Case(source, "mid_relay", source, 3) for source in ("gateway", "session", "game", "wallet")),
    *(Case(source, "mid_append", source, 3) for source in ("gateway", "session", "game", "wallet")),
]


@pytest.fixture(scope="module")
def mesh_environment() -> dict[str, str]:
    return {"REELMESH_SPIN_DEADLINE_MS": str(SPIN_DEADLINE_MS)}


@pytest.fixture
async def books(mesh: Mesh) -> Books:
    return Books(mesh.database_urls)


def test_there_are_seven_points_in_each_of_four_services() -> None:
    assert len({(case.service, case.point) for case in CASES}) == len(CASES) == 28


@pytest.mark.parametrize("point", sorted({case.point for case in CASES}))
async def test_four_kills_at_one_point_lose_and_double_nothing(
    mesh: Mesh, books: Books, client: Client, tmp_path: Path, point: str
) -> None:
    cases = [case for case in CASES if case.point == point]
    await kill_at_each(mesh, books, client, tmp_path, cases, prefix=point)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.service}-{case.point}")
async def test_a_kill_alone_loses_and_doubles_nothing(
    mesh: Mesh, books: Books, client: Client, tmp_path: Path, case: Case
) -> None:
    prefix = f"{case.service}-{case.point}"
    await kill_at_each(mesh, books, client, tmp_path, [case], prefix=prefix)


async def kill_at_each(
    mesh: Mesh, books: Books, client: Client, directory: Path, cases: list[Case], *, prefix: str
) -> None:
    """Arms each process, plays until it has died at its point, restarts it; then the books must agree."""
    stop, playing = asyncio.Event(), asyncio.Event()
    load = asyncio.create_task(_live(client, prefix, playing, stop))
    try:
        # A relay runs in one of two gateways: only one may be there when it is to be hit.
        if any(case.name == "gateway" for case in cases):
            await asyncio.to_thread(mesh.stop, "gateway-2")
        silent = [case for case in cases if case.name == "BatchVoid"]
        by_process: dict[str, list[Case]] = {}
        for case in cases:
            if case not in silent:
                by_process.setdefault(case.process, []).append(case)
        await _while_playing(
            load, *(_kill_one_by_one(mesh, directory, armed) for armed in by_process.values())
        )
        for case in silent:
            # Rounds stay PENDING, and grow old, only while the wallet says nothing.
            await playing.wait()
            mesh.signal("wallet", signal.SIGSTOP)
            await _while_playing(load, _kill_one_by_one(mesh, directory, [case]))
            mesh.signal("wallet", signal.SIGCONT)
        stop.set()
        players = await load
    finally:
        load.cancel()
        await asyncio.to_thread(_restore, mesh)
    await books.wait_quiet()
    await books.check(players)


async def _while_playing(load: asyncio.Task[Any], *kills: Coroutine[Any, Any, None]) -> None:
    """All kills; fails at once when the players stop, since no point would be reached any more."""
    killing = asyncio.gather(*kills)
    await asyncio.wait({load, killing}, return_when=asyncio.FIRST_COMPLETED)
    if load.done():
        load.result()
    await killing


async def _kill_one_by_one(mesh: Mesh, directory: Path, cases: list[Case]) -> None:
    """One process: armed, dead at the point, armed with the next, in the end started unarmed."""
    for case in cases:
        mark = directory / f"{case.service}-{case.point}"
        armed = {
            "REELMESH_FAIL": f"{case.point}@{case.name}:{case.reach}",
            "REELMESH_FAIL_MARK": str(mark),
        }
        await asyncio.to_thread(mesh.stop, case.process)
        # Not until it is ready: the load may bring it to its point before that is seen.
        await asyncio.to_thread(mesh.spawn, case.process, environment=armed)
        code = await asyncio.to_thread(mesh.wait_ended, case.process, timeout_s=60.0)
        assert code == -signal.SIGKILL
        assert mark.read_text().startswith(f"{case.point}@{case.name} "), "another point was reached"
    await asyncio.to_thread(mesh.start, cases[0].process)


def _restore(mesh: Mesh) -> None:
    """Everything runs unarmed again, whatever became of the test."""
    if mesh.running("wallet"):
        mesh.signal("wallet", signal.SIGCONT)
    for name in mesh.names:
        if not mesh.running(name):
            mesh.start(name)


async def _live(client: Client, prefix: str, playing: asyncio.Event, stop: asyncio.Event) -> list[Player]:
    players = await open_players(client, PLAYERS, prefix=prefix)
    playing.set()
    await play_until(stop, players, seed=1)
    return players
