"""One operator's wallet process; a player of its own per test."""

import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.databases import Server
from tests.databases import Databases
from tests.integration.wallet.external.stage import OLD, Line, Stage
from tests.integration.wallet.harness import OPERATOR, Wallet, new_id
from tests.integration.wallet.months import lay_months, month_at
from tests.operators import Operator


@pytest.fixture(scope="package")
def operator(server: Server) -> Iterator[Operator]:
    with tempfile.TemporaryDirectory(prefix="reelmesh-operator-") as directory:
        operator = Operator(server, Path(directory), operator_id=OPERATOR)
        operator.start()
        yield operator
        operator.close()


@pytest.fixture(scope="package")
def external_url(databases: Databases) -> Iterator[str]:
    url = databases.create("wallet")
    yield url
    databases.drop(url)


@pytest.fixture
async def stage(external_url: str, operator: Operator) -> AsyncIterator[Stage]:
    """At the end every invariant of our books holds, external rounds included."""
    client = operator.client()
    line = Line(client)
    async with Wallet(external_url, wallets={OPERATOR: line}) as wallet:
        player_id = str(uuid.uuid4())
        await operator.open(player_id, balance=1000)
        stage = Stage(wallet, operator, line, player_id, await wallet.open(player_id=player_id))
        yield stage
        await stage.quiet()
        await wallet.check()
    await client.close()


@pytest.fixture
async def old_stage(database: Callable[[str], str], operator: Operator) -> AsyncIterator[Stage]:
    """A ledger that began two months ago."""
    client = operator.client()
    line, player_id = Line(client), new_id()
    async with Wallet(database("wallet"), wallets={OPERATOR: line}) as wallet:
        await lay_months(wallet.engine, first=OLD, last=month_at(1))
        await operator.open(player_id, balance=1000)
        yield Stage(wallet, operator, line, player_id, await wallet.open(player_id=player_id))
        await wallet.external.drain()
        await wallet.check()
    await client.close()
