"""What game's rounds wait for: gauges that a fault moves."""

import pytest
from sqlalchemy import text

from services.common import telemetry_names as names
from services.common.errors import DomainError
from services.game import watches
from tests.integration.game.harness import Game
from tests.integration.game.test_reviews import in_review
from tests.integration.wallet.harness import Wallet


@pytest.fixture
def game_url(own_game_url: str) -> str:
    """Of these tests alone: gauges count every row."""
    return own_game_url


Shown = dict[tuple[str, str], float]


async def shown(game: Game) -> Shown:
    """Values by metric and state."""
    readings = await watches.rounds(game.engine).read()
    return {(one.name, one.attributes.get(names.ROUND_STATE, "")): one.value for one in readings}


async def test_the_pending_age_grows_while_a_round_cannot_be_ended(game: Game, wallet: Wallet) -> None:
    # Nobody has looked yet.
    assert (names.ROUND_PENDING_AGE, "") not in await shown(game)
    await game.reconciler().run_once()
    await game.play(await wallet.open(balance=1000))
    async with game.engine.begin() as conn:  # as if it had been drawn so long ago
        for statement in ("update reconciler set create_time_low", "update round set create_time"):
            await conn.execute(text(f"{statement} = clock_timestamp() - interval '90 s'"))
    game.stub.silent = True
    with pytest.raises(DomainError):
        await game.reconciler().run_once()
    assert (await shown(game))[names.ROUND_PENDING_AGE, ""] >= 90
    game.stub.silent = False
    await game.reconciler().run_once()
    assert (await shown(game))[names.ROUND_PENDING_AGE, ""] < 60


async def test_rounds_that_wait_are_shown_by_what_they_wait_for(game: Game, wallet: Wallet) -> None:
    assert (await shown(game))[names.REVIEW_COUNT, ""] == 0
    await in_review(game, wallet, settled=False)
    account_id = await wallet.open(balance=1000)
    await game.open(account_id)
    now = await shown(game)
    assert now[names.REVIEW_COUNT, ""] == 1 and now[names.REVIEW_AGE, ""] > 0
    assert (now[names.ROUND_OPEN, "OPEN"], now[names.ROUND_OPEN, "SETTLING"]) == (1, 0)
    assert now[names.ROUND_OPEN_AGE, "OPEN"] > 0
