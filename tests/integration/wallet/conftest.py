"""Fixtures of the wallet's tests."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.databases import Databases
from tests.integration.wallet.harness import Wallet


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
