"""While the wallet's books are broken no stake is taken: rounds end VOID, and what is owed is paid."""

import asyncio
from collections.abc import Iterator

import pytest

from deploy.local.mesh import Mesh
from tests.databases import Databases
from tests.mesh.asking import Told
from tests.mesh.stage import Stage, new_id, rest_act, rest_spin
from tests.meshes import running_mesh


@pytest.fixture(scope="module")
def mesh(databases: Databases) -> Iterator[Mesh]:
    # The reconciler ends rounds that are older than two deadlines.
    with running_mesh(databases, environment={"REELMESH_SPIN_DEADLINE_MS": "500"}) as mesh:
        yield mesh


async def test_on_broken_books_rounds_end_void_and_payouts_are_made(stage: Stage) -> None:
    player, request_id = await stage.player(), new_id()
    gambler, round_ = await stage.open_round()
    await stage.break_books()

    told = await stage.send(rest_spin(player, request_id))
    assert isinstance(told, Told)
    assert (told.reason, told.http_status, told.body["class"]) == ("LEDGER_HALTED", 503, "RETRY_SAME_ID")
    ended = await stage.answer(rest_act(gambler, round_, "COLLECT"))
    assert ended["round"]["state"] == "SETTLED"
    query = "select state from round_view where request_id = cast(:request_id as uuid)"
    states: list[str] = []
    async with asyncio.timeout(15):
        while states != ["VOID"]:
            states = [row.state for row in await stage.books.rows("game", query, request_id=request_id)]
            await asyncio.sleep(0.05)

    await stage.restore()
    void = await stage.send(rest_spin(player, request_id))
    assert isinstance(void, Told)
    assert (void.reason, void.body["class"]) == ("ROUND_VOID", "FINAL")
    answer = await stage.answer(rest_spin(player, new_id()))
    assert answer["round"]["state"] == "SETTLED"
    await stage.books.wait_quiet()
    await stage.books.check([player, gambler])
