"""The reality check, rests, silence, and what a policy forbids: by a clock that the test moves."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.session import errors
from services.session.authorizations import SpinAuthorization
from services.session.policy import Feature
from tests.integration.session import accounts, players
from tests.integration.session.accounts import HOUR_MS, MINUTE, Clock, enter, give_back, refusal, set_limits
from tests.integration.session.players import spin

pytestmark = pytest.mark.usefixtures("clock")


async def test_the_check_blocks_the_next_stake_until_it_is_acknowledged(
    engine: AsyncEngine, clock: Clock
) -> None:
    player = await enter(engine, check_interval_ms=HOUR_MS, game_id="sunrise", session_life_ms=5 * HOUR_MS)
    first = player.ask(stake_minor=100)
    await spin(engine, first)
    for _ in range(2):
        await clock.advance(29 * MINUTE)
        await spin(engine, player.ask(stake_minor=100))
    await give_back(engine, first.request_id, 250)
    await clock.advance(2 * MINUTE)
    # Another game of the account is no way round it, and nor is a new session.
    other = await enter(engine, check_interval_ms=HOUR_MS, game_id="moonset")
    player = await enter(engine, check_interval_ms=HOUR_MS, game_id="sunrise", session_life_ms=5 * HOUR_MS)
    refused = await refusal(engine, player)
    assert (refused.reason, refused.metadata["interval_ms"]) == ("REALITY_CHECK_DUE", str(HOUR_MS))
    assert HOUR_MS <= int(refused.metadata["elapsed_ms"]) < HOUR_MS + 60_000
    assert (await refusal(engine, other)).reason == "REALITY_CHECK_DUE"
    await accounts.acknowledge(engine, player)
    await accounts.acknowledge(engine, player)
    assert (await spin(engine, player.ask())).mint and (await spin(engine, other.ask())).mint
    told = await players.rows(engine, "select payload from outbox where kind = 'session.reality_check'")
    assert [row.payload["facts"] for row in told] == [{"choice": "CONTINUE", "net_position_minor": 0}]
    await clock.advance(29 * MINUTE)
    await spin(engine, player.ask())
    await clock.advance(29 * MINUTE)
    await spin(engine, player.ask())
    await clock.advance(3 * MINUTE)
    assert (await refusal(engine, player)).reason == "REALITY_CHECK_DUE"


async def test_the_check_tells_the_net_position_of_what_is_known(engine: AsyncEngine, clock: Clock) -> None:
    player = await enter(engine, check_interval_ms=60_000)
    won, open_ = player.ask(stake_minor=100), player.ask(stake_minor=30)
    await spin(engine, won)
    await spin(engine, open_)
    await give_back(engine, won.request_id, 450)
    await clock.advance(MINUTE)
    assert (await refusal(engine, player)).metadata["net_position_minor"] == str(450 - 100 - 30)


async def test_after_the_check_follows_a_rest_where_the_policy_wants_one(
    engine: AsyncEngine, clock: Clock
) -> None:
    player = await enter(engine, check_interval_ms=10 * 60_000, lock_out_ms=300_000)
    await spin(engine, player.ask())
    await clock.advance(11 * MINUTE)
    await accounts.acknowledge(engine, player)
    refused = await refusal(engine, player)
    # It began when the check was due, a minute ago.
    assert refused.reason == "LOCKED_OUT"
    assert 3.9 * 60_000 < int(refused.metadata["retry_after_ms"]) <= 4 * 60_000
    await clock.advance(4 * MINUTE)
    await spin(engine, player.ask())
    await clock.advance(9 * MINUTE)
    await spin(engine, player.ask())
    await clock.advance(MINUTE)
    assert (await refusal(engine, player)).reason == "REALITY_CHECK_DUE"


async def test_an_interval_that_is_made_shorter_takes_nothing_off_the_rest(
    engine: AsyncEngine, clock: Clock
) -> None:
    player = await enter(engine, check_interval_ms=HOUR_MS, lock_out_ms=300_000)
    for _ in range(3):
        await spin(engine, player.ask())
        await clock.advance(19 * MINUTE)
    await spin(engine, player.ask())
    # Due since 56 minutes, and yet no stake was refused before now.
    await set_limits(engine, check_interval_ms=60_000)
    assert (await refusal(engine, player)).reason == "REALITY_CHECK_DUE"
    await accounts.acknowledge(engine, player)
    refused = await refusal(engine, player)
    assert refused.reason == "LOCKED_OUT"
    assert 4.9 * 60_000 < int(refused.metadata["retry_after_ms"]) <= 5 * 60_000


async def test_a_stake_in_a_session_with_a_later_check_takes_nothing_off_the_rest(
    engine: AsyncEngine, clock: Clock
) -> None:
    rests = {"lock_out_ms": 300_000, "session_life_ms": 5 * HOUR_MS}
    early = await enter(engine, check_interval_ms=60_000, game_id="sunrise", **rests)
    late = await enter(engine, check_interval_ms=HOUR_MS, game_id="moonset", **rests)
    await spin(engine, early.ask())
    for _ in range(3):
        await clock.advance(19 * MINUTE)
        await spin(engine, late.ask())
    await accounts.acknowledge(engine, early)
    assert (await refusal(engine, late)).reason == "LOCKED_OUT"


async def test_a_long_rest_of_the_player_s_own_begins_anew(engine: AsyncEngine, clock: Clock) -> None:
    player = await enter(engine, check_interval_ms=HOUR_MS, session_life_ms=5 * HOUR_MS)
    await spin(engine, player.ask())
    await clock.advance(61 * MINUTE)
    assert (await spin(engine, player.ask())).mint


async def test_the_player_s_own_shorter_check_counts(engine: AsyncEngine, clock: Clock) -> None:
    player = await enter(engine, check_interval_ms=HOUR_MS)
    await set_limits(engine, check_interval_ms=15 * 60_000)
    await spin(engine, player.ask())
    await clock.advance(15 * MINUTE)
    assert (await refusal(engine, player)).metadata["interval_ms"] == str(15 * 60_000)


# Silence, features, modes


async def test_silence_ends_a_session_and_keep_alive_puts_that_off_but_not_its_end(
    engine: AsyncEngine, clock: Clock
) -> None:
    player = await enter(engine, idle_max_ms=20 * 60_000, session_life_ms=HOUR_MS)
    await spin(engine, player.ask())
    for _ in range(3):
        await clock.advance(19 * MINUTE)
        await accounts.keep_alive(engine, player)
    await clock.advance(4 * MINUTE)
    # An hour has passed: that is the session's own end.
    with pytest.raises(errors.SessionExpired):
        await accounts.keep_alive(engine, player)
    player = await enter(engine, idle_max_ms=20 * 60_000, session_life_ms=HOUR_MS)
    await clock.advance(21 * MINUTE)
    assert (await refusal(engine, player)).reason == "SESSION_EXPIRED"
    with pytest.raises(errors.SessionExpired):
        await accounts.keep_alive(engine, player)
    assert (await refusal(engine, player)).reason == "SESSION_EXPIRED"


async def test_a_known_spin_is_found_after_silence_and_mints_no_more(
    engine: AsyncEngine, clock: Clock
) -> None:
    player = await enter(engine, idle_max_ms=60_000)
    ask = player.ask()
    first = await spin(engine, ask)
    await clock.advance(2 * MINUTE)
    assert await spin(engine, ask, mint_age_ms=HOUR_MS) == first._replace(mint=False)


async def test_what_a_policy_forbids_is_refused_by_the_session_that_pins_it(engine: AsyncEngine) -> None:
    player = await enter(
        engine, features_forbidden=Feature.AUTOPLAY | Feature.TURBO, modes_allowed=("base", "ante")
    )
    for feature in (Feature.AUTOPLAY, Feature.TURBO):
        with pytest.raises(errors.FeatureForbidden) as refused:
            await spin(engine, player.ask()._replace(features=int(feature)))
        assert refused.value.metadata == {"feature": str(feature.name).lower(), "jurisdiction": "none"}
    refused_mode = await refusal(engine, player, mode="buy")
    assert refused_mode.metadata == {"mode": "buy", "jurisdiction": "none"}
    assert isinstance(await spin(engine, player.ask(mode="ante")), SpinAuthorization)
    free = await players.enter(engine, game_id="moonset")
    assert (await spin(engine, free.ask(mode="buy")._replace(features=3))).mint
