"""The plans of the hot statements at 200 items: no nested loop that compares every item with every other."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import TextClause

from services.game import rounds, store
from services.game.records import Settlement, SettleStep, Status
from services.game.settlements import judge
from tests.integration.game.harness import GAMBLE, SPIN, Game, authorization
from tests.integration.wallet.harness import Wallet
from tests.integration.wallet.test_plan import nodes, prepared

ITEMS = 200


class Recorder:
    """A connection that only notes the one statement it is given."""

    statement: TextClause
    values: dict[str, object]

    async def execute(self, statement: TextClause, values: dict[str, object]) -> list[Any]:
        self.statement, self.values = statement, values
        return []


async def comparisons(game: Game, run: Callable[[AsyncConnection], Awaitable[object]]) -> int:
    """Pairs of rows that joins of the generic plan looked at and threw away."""
    recorder = Recorder()
    await run(cast(AsyncConnection, recorder))
    body, names = prepared(recorder.statement)
    arguments = ", ".join("'" + str(recorder.values[name]).replace("'", "''") + "'" for name in names)
    async with game.engine.connect() as conn:
        await conn.exec_driver_sql(f"prepare hot as {body.replace('%', '%%')}")
        result = await conn.exec_driver_sql(f"explain (analyze, format json) execute hot ({arguments})")
        [top] = result.scalar_one()
        await conn.rollback()
    removed = "Rows Removed by Join Filter"
    return int(sum(node.get(removed, 0) * node["Actual Loops"] for node in nodes(top["Plan"])))


@pytest.mark.parametrize("analyzed", [False, True], ids=["new tables", "known tables"])
@pytest.mark.parametrize("game_id", [SPIN, GAMBLE])
async def test_two_hundred_items_are_not_compared_all_with_all(
    own_game_url: str, wallet: Wallet, game_id: str, analyzed: bool
) -> None:
    async with Game(own_game_url, wallet) as game:
        items = [authorization(2 * n + 1, game_id=game_id) for n in range(ITEMS)]
        drafts = [rounds.draft_round(game.catalogue, item) for item in items]
        stored = [answer for answer in await rounds.play_batch(game.engine, game.catalogue, items)]
        played = [answer.round for answer in stored if isinstance(answer, rounds.Played)]
        if analyzed:
            async with game.engine.begin() as conn:
                await conn.exec_driver_sql("analyze round, round_end, round_step, open_round")
        changes = []
        for round_ in played:
            fused = game_id == SPIN
            settlement = Settlement(
                round_id=round_.round_id,
                step=SettleStep.FUSED if fused else SettleStep.STAKE,
                status=Status.APPLIED,
                account_id=round_.account_id,
                currency_code="EUR",
                stake_minor=100,
                win_minor=round_.win_minor if fused else 0,
                balance_after_minor=1,
                account_version=1,
            )
            ruling = judge(round_, settlement)
            assert ruling is not None
            changes.append((round_, settlement, ruling))
        hot: dict[str, Callable[[AsyncConnection], Awaitable[object]]] = {
            "play": lambda conn: store.append_rounds(conn, [d for d in drafts if d is not None]),
            "find": lambda conn: store.find_rounds(conn, [(r.account_id, r.request_id) for r in played]),
            "read": lambda conn: store.list_rounds_by_id(conn, [r.round_id for r in played]),
            "finish": lambda conn: store.append_rulings(conn, changes),
        }
        found = {name: await comparisons(game, run) for name, run in hot.items()}
        assert {name: n for name, n in found.items() if n >= ITEMS * (ITEMS - 1)} == {}
