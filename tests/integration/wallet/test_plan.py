"""The plan of the settle statement at 200 items: no nested loop that compares every item with every other."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.sql.elements import TextClause

from services.wallet import sql
from tests.integration.wallet.harness import Wallet, new_id
from tests.integration.wallet.mutants import WITH_ROW_NUMBER_ONE

ITEMS = 200


def prepared(statement: TextClause) -> tuple[str, list[str]]:
    """The statement with $1.. instead of names, as PREPARE wants it, and the names in order."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return re.sub(r"(?<!:):([a-z_]+)", number, statement.text), names


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes, the plan itself first."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def comparisons(wallet: Wallet, statement: TextClause) -> int:
    """Pairs of rows that joins of the generic plan looked at and threw away."""
    accounts = await wallet.open_many(ITEMS, balance=1000)
    columns: dict[str, list[Any]] = {
        "round_ids": [new_id() for _ in accounts],
        "steps": [1] * ITEMS,
        "account_ids": accounts,
        "currency_codes": ["EUR"] * ITEMS,
        "stakes_minor": [100] * ITEMS,
        "wins_minor": [30] * ITEMS,
        "game_ids": ["lucky-lines"] * ITEMS,
        "traceparents": ["-"] * ITEMS,
    }
    body, names = prepared(statement)
    # The bounds of payouts, of which there is none, stay null.
    arguments = ", ".join(
        "'{" + ",".join(map(str, columns[name])) + "}'" if name in columns else "null" for name in names
    )
    async with wallet.engine.connect() as conn:
        await conn.exec_driver_sql(f"prepare settle as {body}")
        result = await conn.exec_driver_sql(f"explain (analyze, format json) execute settle ({arguments})")
        [top] = result.scalar_one()
        # Rolled back: the statement ran, but the test leaves nothing behind.
        await conn.rollback()
    removed = ("Rows Removed by Join Filter", "Rows Removed by Filter")
    return sum(node.get(key, 0) * node["Actual Loops"] for node in nodes(top["Plan"]) for key in removed)


@pytest.mark.parametrize(
    ("statement", "squared"), [(sql.SETTLE, False), (WITH_ROW_NUMBER_ONE, True)], ids=["shipped", "rn = 1"]
)
async def test_joins_of_two_hundred_items_do_not_compare_all_with_all(
    wallet: Wallet, statement: TextClause, squared: bool
) -> None:
    assert (await comparisons(wallet, statement) >= ITEMS * (ITEMS - 1)) is squared


async def test_nor_do_they_when_the_planner_knows_the_tables(wallet: Wallet) -> None:
    await wallet.open_many(300, balance=1)
    async with wallet.engine.begin() as conn:
        await conn.exec_driver_sql("analyze account, settlement, posting")
    assert await comparisons(wallet, sql.SETTLE) < ITEMS * (ITEMS - 1)
