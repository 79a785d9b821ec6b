"""A wallet that says nothing: a round is its gateway's for twice the deadline, then the reconciler's (R7)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deploy.local.mesh import Mesh
from tests.mesh.stage import STAKE_MINOR, Stage, new_id, rest_spin

SPIN_DEADLINE_MS = 2_000


@pytest.fixture(scope="module")
def mesh_environment() -> dict[str, str]:
    return {
        "REELMESH_SPIN_DEADLINE_MS": str(SPIN_DEADLINE_MS),
        "REELMESH_GAME_RECONCILE_INTERVAL_MS": "100",
    }


@pytest.fixture
async def stage(mesh: Mesh) -> AsyncIterator[Stage]:
    """The mesh as a test uses it; what the test broke is put back."""
    stage = Stage(mesh)
    yield stage
    await stage.restore()
    await stage.close()


async def test_a_round_is_left_alone_for_two_deadlines_and_becomes_what_the_wallet_says(stage: Stage) -> None:
    # Two whose gateway died: before the settle, and before Finish; and one whose gateway hears nothing.
    players = {name: await stage.player() for name in ("drawn", "taken", "spun")}
    ids = {name: new_id() for name in players}
    await stage.play(players["drawn"], ids["drawn"])
    taken = await stage.play(players["taken"], ids["taken"])
    await stage.answer(stage.internal("wallet", "Settle", taken.settle))
    await stage.freeze("wallet")
    told = await stage.refusal(rest_spin(players["spun"], ids["spun"]))
    assert told.body["class"] == "RETRY_SAME_ID"

    silent = await rounds(stage, ids)
    while min(round_.age for round_ in silent.values()) < 1.5:
        await asyncio.sleep(0.05)
        silent = await rounds(stage, ids)
    assert {round_.state for round_ in silent.values()} == {"PENDING"}, silent
    await stage.restore()
    await stage.books.wait_quiet()

    ended = await rounds(stage, ids)
    assert (ended["drawn"].state, ended["taken"].state) == ("VOID", "SETTLED")
    # By the database's clock, which the reconciler goes by.
    assert all(round_.age_at_end >= 2 for round_ in ended.values()), ended
    # Whether a settle sent into the silence was heard in the end is the wallet's to say; and it is final.
    answers = {name: await player.spin(STAKE_MINOR, ids[name]) for name, player in players.items()}
    assert {name: "SETTLED" if answer.status == 200 else "VOID" for name, answer in answers.items()} == {
        name: round_.state for name, round_ in ended.items()
    }
    await stage.books.check(players.values())


async def rounds(stage: Stage, ids: dict[str, str]) -> dict[str, Any]:
    """The rounds of these request ids by name, with their ages in deadlines.

    From game's own database: a read through the API would ask the wallet, and record its answer.
    """
    query = """
        select state, extract(epoch from clock_timestamp() - create_time) * 1000 / :deadline_ms as age,
          extract(epoch from end_time - create_time) * 1000 / :deadline_ms as age_at_end
        from round_view where request_id = cast(:request_id as uuid)"""
    found = {}
    for name, request_id in ids.items():
        [found[name]] = await stage.books.rows(
            "game", query, request_id=request_id, deadline_ms=SPIN_DEADLINE_MS
        )
    return found
