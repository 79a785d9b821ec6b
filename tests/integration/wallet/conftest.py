"""Fixtures of the wallet's tests."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests import invariants
from tests.databases import Databases
from tests.integration.wallet.harness import Wallet
from tests.integration.wallet.months import OLD, lay_months, month_at


@pytest.fixture(scope="module")
def wallet_url(databases: Databases) -> Iterator[str]:
    """A wallet database for one module: its tests open accounts of their own, so they need no more."""
    url = databases.create("wallet")
    yield url
    databases.drop(url)


@pytest.fixture
async def wallet(wallet_url: str) -> AsyncIterator[Wallet]:
    """A wallet on the module's database. At the end of every test all invariants hold."""
    async with Wallet(wallet_url) as wallet:
        yield wallet
        await wallet.check()


@pytest.fixture
async def old_wallet(database: Callable[[str], str]) -> AsyncIterator[Wallet]:
    """A wallet whose ledger began three months ago; the invariants hold when the test is over."""
    async with Wallet(database("wallet")) as wallet:
        await lay_months(wallet.engine, first=OLD, last=month_at(1))
        yield wallet
        async with wallet.engine.connect() as conn:
            await invariants.check_wallet(conn)
