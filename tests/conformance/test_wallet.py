"""Our wallet, as processes on PostgreSQL, passes every case that is one for it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from reelmesh.conformance import Hooks, Trial, run
from reelmesh.conformance.catalogue import ROWS, WALLET
from reelmesh.conformance.channels import Channels
from reelmesh.conformance.wallet_service import service_of

from services.common import db
from tests import invariants
from tests.conformance.processes import WalletProcess, served
from tests.databases import Databases

# What stands on a method of its own.
NEEDS = {"FreezeAccount": {"24", "28", "41"}, "RollbackBet": {"43"}, "ListTransactions": {"63"}}


@pytest.fixture
async def trial(databases: Databases) -> AsyncIterator[Trial]:
    """Two replicas on one database; the first can be restarted. At the end all invariants hold."""
    url = databases.create("wallet")
    first, second = WalletProcess(url), WalletProcess(url)
    async with AsyncExitStack() as stack:
        stack.callback(databases.drop, url)
        for process in (first, second):
            stack.callback(process.kill)
        wallets = []
        for process in (first, second):
            channels = Channels(process.target)
            stack.push_async_callback(channels.close)
            wallets.append(await served(channels))
        yield Trial(wallets[0], hooks=Hooks(restart=first.restart), other=wallets[1])
        engine = db.create_engine(url, pool_size=1, application_name="test")
        stack.push_async_callback(engine.dispose)
        async with engine.connect() as conn:
            await invariants.check_wallet(conn)


@pytest.mark.long
async def test_our_wallet_passes_a_thousand_races_of_bet_and_rollback(trial: Trial) -> None:
    [result] = await run(replace(trial, races=1_000), numbers=frozenset({"45"}))
    assert result.status == "ok", result.seen


async def test_our_wallet_passes_every_applicable_case(trial: Trial) -> None:
    results = await run(trial)
    assert [result for result in results if result.status == "fail"] == []
    skipped = {result.row.number for result in results if result.status == "skip"}
    expected = {row.number for row in ROWS if WALLET in row.skipped}
    for method, numbers in NEEDS.items():
        if not await service_of(trial).serves(method):
            expected |= numbers
    assert skipped == expected
    told = {result.row.number: result.seen for result in results}
    assert told["34"].endswith("restart, other replica")
    assert told["F6"] == "8 of 64 applied"
