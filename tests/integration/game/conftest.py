"""Fixtures of game's tests."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.databases import Databases
from tests.integration.game.harness import Game
from tests.integration.wallet.harness import Wallet


@pytest.fixture(scope="package")
def urls(databases: Databases) -> Iterator[dict[str, str]]:
    """Migrated databases for all tests here: each test plays with accounts of its own."""
    urls = {service: databases.create(service) for service in ("game", "wallet")}
    yield urls
    for url in urls.values():
        databases.drop(url)


@pytest.fixture
def game_url(urls: dict[str, str]) -> str:
    """The game database that the tests share."""
    return urls["game"]


@pytest.fixture
def own_game_url(database: Callable[[str], str]) -> str:
    """A game database for a test that changes its schema, or looks at all of its rows."""
    return database("game")


@pytest.fixture
async def wallet(urls: dict[str, str]) -> AsyncIterator[Wallet]:
    """A wallet. At the end of every test its invariants hold."""
    async with Wallet(urls["wallet"]) as wallet:
        yield wallet
        await wallet.check()


@pytest.fixture
async def game(game_url: str, wallet: Wallet) -> AsyncIterator[Game]:
    """One replica. At the end of every test no finished round blocks another one (R8)."""
    async with Game(game_url, wallet) as game:
        yield game
        stale = await game.rows("""
            select o.round_id from open_round o left join round_view v on v.round_id = o.round_id
            where v.state is null or v.state not in ('PENDING', 'OPEN', 'SETTLING')""")
        assert not stale
        missing = await game.rows("""
            select v.round_id from round_view v left join open_round o on o.round_id = v.round_id
            where v.offers_choice and v.state in ('PENDING', 'OPEN', 'SETTLING') and o.round_id is null""")
        assert not missing


@pytest.fixture
async def second_game(game_url: str, wallet: Wallet) -> AsyncIterator[Game]:
    """Another replica on the same database."""
    async with Game(game_url, wallet) as game:
        yield game
