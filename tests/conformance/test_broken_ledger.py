"""The kit catches our own wallet, as a process on PostgreSQL, when one guard is taken out of it."""

from contextlib import AsyncExitStack

import psycopg
import pytest
from reelmesh.conformance import Hooks, Trial, run
from reelmesh.conformance.channels import Channels

from tests.conformance.broken_ledger import DEFECTS
from tests.conformance.processes import WalletProcess, served
from tests.databases import Databases

# The others in tests/conformance/test_broken.py's form only, unless `make test-long` runs.
SHORT = ("overdraft_under_a_race", "acks_before_commit")


@pytest.mark.parametrize(
    "name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in DEFECTS]
)
async def test_a_missing_guard_is_caught_by_the_case_that_names_it(databases: Databases, name: str) -> None:
    _, number, seen = DEFECTS[name]
    async with AsyncExitStack() as stack:
        url = databases.create("wallet")
        stack.callback(databases.drop, url)
        process = WalletProcess(url, "tests.conformance.broken_ledger", name)
        stack.callback(process.kill)
        channels = Channels(process.target)
        stack.push_async_callback(channels.close)

        async def freeze(action: str, account_id: str) -> None:
            async with await psycopg.AsyncConnection.connect(url.replace("+psycopg", "")) as conn:
                await conn.execute(
                    "update account set frozen = %s where account_id = %s", (action == "block", account_id)
                )

        hooks = Hooks(restart=process.restart, player=freeze)
        [result] = await run(Trial(await served(channels), hooks=hooks), numbers=frozenset({number}))
    assert result.status == "fail"
    assert seen in result.seen
