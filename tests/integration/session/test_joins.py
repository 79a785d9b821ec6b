"""Sessions that a second launch joins, and policies by version."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.db import transaction
from services.common.errors import DomainError, IdReused
from services.session import errors, sessions
from services.session.authorizations import SpinAuthorization
from services.session.policies import PolicyBook, VersionRefused
from services.session.policy import POLICIES_FILE, load_policies
from services.session.store import State
from tests.integration.session import accounts, players
from tests.integration.session.accounts import exchange_code, launch_held
from tests.integration.session.players import Player, launch, spin, spin_batch


async def tab(engine: AsyncEngine, *, game_id: str = "sunrise", **changes: Any) -> Player:
    """A launch of one player at one game, in a window of its own."""
    launched = await launch_held(engine, launch(game_id=game_id), joins=True, **changes)
    return Player(launched.session, await exchange_code(engine, launched.code))


def ask_of(player: Player, **ask: Any) -> Any:
    joined = player.token.startswith(sessions.JOINED_PREFIX)
    return player.ask(**ask)._replace(joined=joined)


async def test_two_tabs_of_one_session_are_both_live_and_keep_one_pace(engine: AsyncEngine) -> None:
    first, second = await tab(engine), await tab(engine)
    assert first.session.session_id == second.session.session_id and first.token != second.token
    spins = await spin_batch(engine, [ask_of(first), ask_of(second)])
    assert all(isinstance(one, SpinAuthorization) for one in spins)
    slow = [await tab(engine, game_id="moonset", cycle_min_ms=5000) for _ in range(2)]
    answers = await spin_batch(engine, [ask_of(one) for one in slow])
    assert [isinstance(one, errors.SpinTooEarly) for one in answers] == [False, True]


async def test_a_known_spin_is_found_by_the_other_tab(engine: AsyncEngine) -> None:
    first, second = await tab(engine), await tab(engine)
    ask = ask_of(first)
    assert await spin(engine, ask) == await spin(engine, ask_of(second, request_id=ask.request_id))


async def test_a_close_in_one_tab_ends_both(engine: AsyncEngine) -> None:
    first, second = await tab(engine), await tab(engine)
    await players.close(engine, second)
    for one in (first, second):
        with pytest.raises(errors.SessionClosed):
            await spin(engine, ask_of(one))
        async with engine.connect() as conn:
            assert (await sessions.get_session_by_token(conn, one.token)).state == State.CLOSED


async def launch_six(engine: AsyncEngine, second_engine: AsyncEngine, *, joins: bool) -> list[Player]:
    """Six launches that begin together, on two replicas; the codes that are good are spent."""
    barrier = asyncio.Barrier(6)

    async def one(number: int) -> sessions.Launched:
        await barrier.wait()
        return await launch_held((engine, second_engine)[number % 2], launch(), joins=joins)

    launched = await asyncio.gather(*(one(number) for number in range(6)))
    tabs = []
    for one_launched in launched:
        try:
            tabs.append(Player(one_launched.session, await exchange_code(engine, one_launched.code)))
        except errors.LaunchCodeInvalid:
            assert not joins
    return tabs


async def test_six_launches_at_once_join_one_session(engine: AsyncEngine, second_engine: AsyncEngine) -> None:
    tabs = await launch_six(engine, second_engine, joins=True)
    assert len({one.session.session_id for one in tabs}) == 1 and len({one.token for one in tabs}) == 6
    for one in tabs:
        assert (await spin(engine, ask_of(one))).mint


async def test_six_launches_at_once_that_replace_leave_one_code(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    tabs = await launch_six(engine, second_engine, joins=False)
    assert len(tabs) == 1 and (await spin(engine, ask_of(tabs[0]))).mint


@pytest.mark.parametrize("stricter", [{"stake_max_minor": 50}, {"loss_max_minor": 10}, {"cycle_min_ms": 9}])
async def test_a_launch_that_would_be_held_to_something_else_replaces(
    engine: AsyncEngine, stricter: dict[str, Any]
) -> None:
    first = await tab(engine)
    second = await tab(engine, **stricter)
    assert first.session.session_id != second.session.session_id
    with pytest.raises(errors.SessionReplaced):
        await spin(engine, ask_of(first))


async def test_a_replayed_launch_has_its_own_code_until_it_is_spent(engine: AsyncEngine) -> None:
    requests = [launch(), launch()]
    codes = [(await launch_held(engine, one, joins=True)).code for one in requests]
    assert [(await launch_held(engine, one, joins=True)).code for one in requests] == codes
    await exchange_code(engine, codes[0])
    assert [(await launch_held(engine, one, joins=True)).code for one in requests] == ["", codes[1]]
    with pytest.raises(errors.LaunchCodeInvalid):
        await exchange_code(engine, codes[0])
    await exchange_code(engine, codes[1])
    with pytest.raises(IdReused):
        await launch_held(engine, launch(request_id=requests[1].request_id, language_code="de"), joins=True)


async def test_a_handle_is_no_token(engine: AsyncEngine) -> None:
    """What a session that may be joined is known by is nobody's credential."""
    player = await tab(engine)
    handles = await players.rows(engine, "select token_hash from session")
    async with engine.connect() as conn:
        found = await sessions.get_session_by_token(conn, player.token)
        with pytest.raises(errors.TokenInvalid):
            await sessions.get_session_by_token(conn, sessions.TOKEN_PREFIX + player.token[3:])
    assert found.session_id == player.session.session_id and len(handles) == 1
    with pytest.raises(errors.TokenInvalid):
        await spin(engine, ask_of(player)._replace(joined=False))


# Policies


async def test_a_policy_stays_what_it_was_under_its_version(engine: AsyncEngine, tmp_path: Path) -> None:
    first = PolicyBook(load_policies())
    await first.record(engine)
    await PolicyBook(load_policies()).record(engine)
    path = tmp_path / "policies.yaml"
    changed = POLICIES_FILE.read_text().replace("cycle_min_ms: 2500", "cycle_min_ms: 2400", 1)
    path.write_text(changed)
    with pytest.raises(VersionRefused, match=r"policy GB: version 1 .* raise version"):
        await PolicyBook(load_policies(path)).record(engine)
    path.write_text(changed.replace("GB:\n  version: 1", "GB:\n  version: 2"))
    second = PolicyBook(load_policies(path))
    await second.record(engine)
    # A session of before is still held to the first, which the file no longer has.
    old, new = first.served["GB"], second.served["GB"]
    async with engine.connect() as conn:
        assert await second.find(conn, old.policy_hash) == old
        assert await first.find(conn, new.policy_hash) == new
        assert await first.find(conn, "") is None
        assert await first.find(conn, "0" * 64) is None


async def test_a_session_pins_its_policy(engine: AsyncEngine) -> None:
    gb = load_policies()["GB"]
    player = await accounts.enter(engine, policy_version=gb.policy.version, policy_hash=gb.policy_hash)
    found = await players.find(engine, player)
    assert (found.policy_version, found.policy_hash) == (1, gb.policy_hash)


async def test_two_replicas_that_start_at_once_record_the_same(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    await asyncio.gather(
        *(PolicyBook(load_policies()).record(one) for one in (engine, second_engine) for _ in range(5))
    )
    stored = await players.rows(engine, "select count(*) from policy_definition")
    assert stored == [(len(load_policies()),)]


async def test_a_launch_that_waits_for_its_turn_is_answered_by_the_database(engine: AsyncEngine) -> None:
    """Its request id is the arbiter: of two bodies under one, one is refused."""
    request_id = uuid.uuid4()

    async def one(account_id: int, player_id: str) -> object:
        try:
            request = launch(request_id=request_id, player_id=player_id)
            return await launch_held(engine, request, joins=True, account_id=account_id)
        except DomainError as error:
            return error.reason

    answers = await asyncio.gather(one(1, "ann"), one(2, "bob"))
    assert sorted(isinstance(answer, sessions.Launched) for answer in answers) == [False, True]
    async with transaction(engine, "test.entries") as conn:
        assert await sessions.find_launched(conn, launch(), code_key=players.CODE_KEY) is None
