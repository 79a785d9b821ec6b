"""Which spins are authorised, which are found again, which are refused (R4, R5, the pace of play)."""

import uuid
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.errors import CurrencyMismatch, DomainError, IdReused
from services.session import errors
from services.session.authorizations import SpinAuthorization
from tests.integration.session import players
from tests.integration.session.players import AGE_MS, STAKE_MINOR, Player, close, enter, expire, spin


async def authorizations(engine: AsyncEngine) -> int:
    return int((await players.rows(engine, "select count(*) from spin_authorization"))[0][0])


async def replace(engine: AsyncEngine, player: Player) -> None:
    await enter(engine)


ENDINGS = {"closed": close, "expired": expire, "replaced": replace}


async def test_a_spin_is_authorised_with_the_facts_of_its_session(engine: AsyncEngine) -> None:
    player = await enter(engine, account_id=42, kind=2, player_id="bob")
    request_id = uuid.uuid4()
    answer = await spin(engine, player.ask(request_id))
    assert answer._replace(authorize_time=player.session.create_time) == SpinAuthorization(
        request_id=str(request_id),
        account_id=42,
        session_id=player.session.session_id,
        operator_id="acme",
        player_id="bob",
        kind=2,
        game_id="sunrise",
        currency_code="USD",
        stake_minor=STAKE_MINOR,
        mint=True,
        authorize_time=player.session.create_time,
        mode="base",
    )
    stored = await players.rows(
        engine,
        "select authorize_time, authorize_time_last from spin_authorization join session using (session_id)",
    )
    assert stored == [(answer.authorize_time, answer.authorize_time)]


async def test_an_unknown_token_is_refused_and_tells_nothing_of_the_id(engine: AsyncEngine) -> None:
    player = await enter(engine)
    known = player.ask()
    await spin(engine, known)
    with pytest.raises(errors.TokenInvalid):
        await spin(engine, known._replace(token_hash=bytes(32)))


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ("closed", errors.SessionClosed),
        ("expired", errors.SessionExpired),
        ("replaced", errors.SessionReplaced),
    ],
)
async def test_an_ended_session_authorises_no_new_spin(
    engine: AsyncEngine, ending: str, error: type[DomainError]
) -> None:
    player = await enter(engine)
    await ENDINGS[ending](engine, player)
    with pytest.raises(error):
        await spin(engine, player.ask())
    assert await authorizations(engine) == 0


@pytest.mark.parametrize(
    ("session", "ask", "error", "metadata"),
    [
        (
            {},
            {"currency_code": "EUR"},
            CurrencyMismatch,
            {"currency_code": "EUR", "currency_code_expected": "USD"},
        ),
        (
            {"stake_max_minor": 500},
            {"stake_minor": 501},
            errors.StakeAboveLimit,
            {"amount_minor_max": "500"},
        ),
    ],
)
async def test_a_refused_spin_stores_nothing_and_its_id_may_still_be_played(
    engine: AsyncEngine,
    session: dict[str, Any],
    ask: dict[str, Any],
    error: type[DomainError],
    metadata: dict[str, str],
) -> None:
    player = await enter(engine, **session)
    request_id = uuid.uuid4()
    with pytest.raises(error) as refusal:
        await spin(engine, player.ask(request_id, **ask))
    assert refusal.value.metadata == metadata
    assert refusal.value.error_class == "NOT_YET"
    assert await authorizations(engine) == 0
    assert (await spin(engine, player.ask(request_id))).mint


async def test_the_limit_itself_is_an_allowed_stake(engine: AsyncEngine) -> None:
    player = await enter(engine, stake_max_minor=500)
    assert (await spin(engine, player.ask(stake_minor=500))).stake_minor == 500


async def test_a_second_spin_waits_for_the_end_of_the_cycle(engine: AsyncEngine) -> None:
    player = await enter(engine, cycle_min_ms=2500)
    await spin(engine, player.ask())
    early = player.ask()
    with pytest.raises(errors.SpinTooEarly) as refusal:
        await spin(engine, early)
    assert 2000 < int(refusal.value.metadata["retry_after_ms"]) <= 2500
    await players.sql(
        engine, "update session set authorize_time_last = authorize_time_last - interval '2500 ms'"
    )
    assert (await spin(engine, early)).mint


async def test_a_refusal_does_not_lengthen_the_cycle(engine: AsyncEngine) -> None:
    player = await enter(engine, cycle_min_ms=5000)
    first = await spin(engine, player.ask())
    with pytest.raises(errors.SpinTooEarly):
        await spin(engine, player.ask())
    last = await players.rows(engine, "select authorize_time_last from session")
    assert last == [(first.authorize_time,)]


async def test_a_relaunch_goes_on_with_the_running_cycle(engine: AsyncEngine) -> None:
    player = await enter(engine, cycle_min_ms=5000)
    await spin(engine, player.ask())
    await close(engine, player)
    for _ in range(2):
        player = await enter(engine, cycle_min_ms=5000)
    with pytest.raises(errors.SpinTooEarly):
        await spin(engine, player.ask())


async def test_a_known_id_is_found_within_its_own_cycle(engine: AsyncEngine) -> None:
    player = await enter(engine, cycle_min_ms=5000)
    ask = player.ask()
    first = await spin(engine, ask)
    assert await spin(engine, ask) == first


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_known_id_is_found_after_the_end_and_mints_no_more(engine: AsyncEngine, ending: str) -> None:
    player = await enter(engine)
    ask = player.ask()
    first = await spin(engine, ask)
    await ENDINGS[ending](engine, player)
    assert await spin(engine, ask) == first._replace(mint=False)


async def test_a_known_id_is_found_through_a_newer_session(engine: AsyncEngine) -> None:
    player = await enter(engine)
    ask = player.ask()
    first = await spin(engine, ask)
    newer = await enter(engine)
    found = await spin(engine, newer.ask(ask.request_id))
    assert found == first._replace(mint=False)
    assert found.session_id == player.session.session_id
    assert await authorizations(engine) == 1


async def test_a_known_id_is_found_through_a_newer_session_that_was_closed(engine: AsyncEngine) -> None:
    player = await enter(engine)
    ask = player.ask()
    first = await spin(engine, ask)
    newer = await enter(engine)
    await close(engine, newer)
    assert await spin(engine, newer.ask(ask.request_id)) == first._replace(mint=False)


async def test_an_id_of_the_newer_session_does_not_mint_through_the_replaced_one(engine: AsyncEngine) -> None:
    older = await enter(engine)
    newer = await enter(engine)
    ask = newer.ask()
    first = await spin(engine, ask)
    assert await spin(engine, older.ask(ask.request_id)) == first._replace(mint=False)
    assert await spin(engine, ask) == first


async def test_a_known_id_mints_only_while_it_is_young(engine: AsyncEngine) -> None:
    player = await enter(engine)
    ask = player.ask()
    first = await spin(engine, ask)
    assert first.mint
    assert not (await spin(engine, ask, mint_age_ms=0)).mint
    assert (await spin(engine, ask, mint_age_ms=60_000)).mint
    await players.sql(
        engine,
        "update spin_authorization set authorize_time = authorize_time - :age_ms * interval '1 ms'",
        age_ms=AGE_MS,
    )
    assert not (await spin(engine, ask)).mint


@pytest.mark.parametrize("ending", [None, *ENDINGS])
@pytest.mark.parametrize(
    "change", [{"stake_minor": STAKE_MINOR + 1}, {"currency_code": "EUR"}, {"mode": "bonus"}]
)
async def test_another_body_under_a_known_id_is_refused_and_changes_nothing(
    engine: AsyncEngine, ending: str | None, change: dict[str, Any]
) -> None:
    player = await enter(engine)
    ask = player.ask()
    first = await spin(engine, ask)
    if ending:
        await ENDINGS[ending](engine, player)
    with pytest.raises(IdReused) as refusal:
        await spin(engine, player.ask(ask.request_id, **change))
    assert refusal.value.metadata == {"request_id": str(ask.request_id)}
    assert (await spin(engine, ask))._replace(mint=True) == first


async def test_the_mode_is_authorised_and_found_again(engine: AsyncEngine) -> None:
    player = await enter(engine)
    ask = player.ask(mode="bonus")
    first = await spin(engine, ask)
    assert first.mode == "bonus"
    assert await spin(engine, ask) == first


async def test_the_same_id_at_another_game_of_the_account_is_refused(engine: AsyncEngine) -> None:
    ask = (await enter(engine)).ask()
    await spin(engine, ask)
    other = await enter(engine, game_id="moonset")
    with pytest.raises(IdReused):
        await spin(engine, other.ask(ask.request_id))


async def test_the_same_id_under_another_account_is_another_spin(engine: AsyncEngine) -> None:
    request_id = uuid.uuid4()
    first = await spin(engine, (await enter(engine, account_id=1)).ask(request_id))
    second = await spin(engine, (await enter(engine, account_id=2)).ask(request_id))
    assert (first.mint, first.account_id) == (True, 1)
    assert (second.mint, second.account_id) == (True, 2)
    assert await authorizations(engine) == 2


async def test_a_batch_answers_every_item_by_itself_and_in_order(engine: AsyncEngine) -> None:
    seats = [await enter(engine, account_id=account_id) for account_id in range(1, 6)]
    known = seats[1].ask()
    await spin(engine, known)
    await close(engine, seats[2])
    asks = [
        seats[4].ask(),
        known,
        seats[2].ask(),
        seats[3].ask(currency_code="EUR"),
        seats[0].ask()._replace(token_hash=bytes(32)),
        seats[0].ask(),
    ]
    answers = await players.spin_batch(engine, asks)
    assert [
        answer.reason if isinstance(answer, DomainError) else answer.account_id for answer in answers
    ] == [
        5,
        2,
        "SESSION_CLOSED",
        "CURRENCY_MISMATCH",
        "TOKEN_INVALID",
        1,
    ]
