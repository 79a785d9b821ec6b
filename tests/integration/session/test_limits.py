"""Limits of the account: the net loss to the cent, by a clock that the test moves (R13)."""

import asyncio
import uuid
from datetime import date
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.db import transaction
from services.common.errors import DomainError, IdReused
from services.session import errors, limits
from services.session.authorizations import authorize_spins
from services.session.limits_store import PlayerLimits
from tests.integration.session import accounts, players
from tests.integration.session.accounts import (
    DAY,
    HOUR,
    HOUR_MS,
    MINUTE,
    WEDNESDAY,
    Clock,
    enter,
    give_back,
    play_of,
    refusal,
    set_limits,
)
from tests.integration.session.players import AGE_MS, spin, spin_batch

pytestmark = pytest.mark.usefixtures("clock")


# The net loss, to the cent


class Spun(NamedTuple):
    day: date
    game: int
    stake_minor: int
    returned_minor: int = 0


WINDOWS = {
    "day": lambda day: day,
    "week": lambda day: day.isocalendar()[:2],
    "month": lambda day: (day.year, day.month),
}
ACTS = st.one_of(
    st.tuples(st.just("spin"), st.integers(0, 1), st.integers(1, 60)),
    st.tuples(st.just("spin"), st.integers(0, 1), st.just(0)),  # exactly what is left
    st.tuples(st.just("win"), st.integers(0, 9), st.integers(0, 90)),
    st.tuples(st.just("refuse"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("again"), st.integers(0, 9), st.integers(0, 90)),
    st.tuples(st.just("days"), st.integers(1, 9), st.just(0)),
)
LIMIT = st.one_of(st.none(), st.integers(1, 200))
REPEATABLE = settings(
    deadline=None,
    derandomize=True,
    # A failing example costs its database calls again for each step that would make it smaller.
    phases=[Phase.explicit, Phase.generate],
    # The database is shared on purpose: every example has an account of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Model:
    """What the rule book says of one account: two sessions, each with the same limit, and three windows."""

    def __init__(self, session_max: int | None, maxima: dict[str, int | None]) -> None:
        self.session_max, self.maxima = session_max, maxima
        self.spun: dict[str, Spun] = {}

    def room_minor(self, game: int, today: date) -> int | None:
        rooms = [
            limit - self._loss(lambda one, key=key: key(one.day) == key(today))
            for name, key in WINDOWS.items()
            if (limit := self.maxima[name]) is not None
        ]
        if self.session_max is not None:
            rooms.append(self.session_max - self._loss(lambda one: one.game == game))
        return min(rooms, default=None)

    def _loss(self, within: Any) -> int:
        return sum(one.stake_minor - one.returned_minor for one in self.spun.values() if within(one))


@settings(REPEATABLE, max_examples=30)
@given(session_max=LIMIT, day=LIMIT, week=LIMIT, month=LIMIT, acts=st.lists(ACTS, min_size=4, max_size=24))
async def test_a_stake_is_taken_if_and_only_if_every_limit_has_room_for_it(
    engine: AsyncEngine,
    clock: Clock,
    session_max: int | None,
    day: int | None,
    week: int | None,
    month: int | None,
    acts: list[tuple[str, int, int]],
) -> None:
    """Whatever was lost, won, refused, told twice or never told before, over days, weeks and months."""
    await clock.set(WEDNESDAY)
    account_id, today = uuid.uuid4().int % 2**60, WEDNESDAY
    await set_limits(
        engine,
        account_id=account_id,
        loss_day_max_minor=day,
        loss_week_max_minor=week,
        loss_month_max_minor=month,
    )
    model = Model(session_max, {"day": day, "week": week, "month": month})
    seats = [
        await enter(
            engine,
            account_id=account_id,
            game_id=f"game-{game}",
            loss_max_minor=session_max,
            session_life_ms=400 * 24 * HOUR_MS,
        )
        for game in range(2)
    ]
    uncounted: list[str] = []
    counted: list[tuple[str, str]] = []
    for what, number, value in acts:
        if what == "spin":
            room = model.room_minor(number, today.date())
            stake_minor = value or (max(room, 1) if room is not None else 1)
            ask = seats[number].ask(stake_minor=stake_minor)
            if room is None or stake_minor <= room:
                answer = await spin(engine, ask)
                assert answer.counted
                model.spun[ask.request_id] = Spun(today.date(), number, stake_minor)
                uncounted.append(ask.request_id)
            else:
                with pytest.raises(errors.LossLimitReached) as refused:
                    await spin(engine, ask)
                assert refused.value.metadata["amount_minor_max"] == str(max(room, 0))
        elif what in ("win", "refuse") and uncounted:
            request_id = uncounted.pop(number % len(uncounted))
            returned = value if what == "win" else model.spun[request_id].stake_minor
            round_id = str(uuid.uuid4())
            assert (
                await give_back(engine, request_id, returned, account_id=account_id, round_id=round_id) == 1
            )
            model.spun[request_id] = model.spun[request_id]._replace(returned_minor=returned)
            counted.append((request_id, round_id))
        elif what == "again" and counted:
            request_id, round_id = counted[number % len(counted)]
            assert await give_back(engine, request_id, value, account_id=account_id, round_id=round_id) == 0
        elif what == "days":
            today += number * DAY
            await clock.advance(number * DAY)
    for game, seat in enumerate(seats):
        found, play = await players.find(engine, seat), await play_of(engine, account_id)
        room = model.room_minor(game, today.date())
        assert limits.loss_room_minor(found, play) == (None if room is None else max(room, 0))


async def room_after_two_reports(engine: AsyncEngine, *, once: bool) -> str:
    """What is left of 100 when a round of 80 was said to have returned 40, and then 70."""
    player = await enter(engine, loss_max_minor=100)
    ask, round_id = player.ask(stake_minor=80), str(uuid.uuid4())
    await spin(engine, ask)
    for returned_minor in (40, 70):
        await give_back(engine, ask.request_id, returned_minor, round_id=round_id, once=once)
    return (await refusal(engine, player, stake_minor=1000)).metadata["amount_minor_max"]


async def test_the_first_report_of_a_return_stands(engine: AsyncEngine) -> None:
    assert await room_after_two_reports(engine, once=True) == "60"


async def test_without_the_guard_a_second_report_counts(engine: AsyncEngine) -> None:
    assert await room_after_two_reports(engine, once=False) == "90"


async def test_ten_reports_of_one_return_at_once_count_once(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    player = await enter(engine, loss_max_minor=100)
    ask, round_id = player.ask(stake_minor=100), str(uuid.uuid4())
    await spin(engine, ask)
    counted = await asyncio.gather(
        *(
            give_back((engine, second_engine)[turn % 2], ask.request_id, 70, round_id=round_id)
            for turn in range(10)
        )
    )
    assert sum(counted) == 1
    assert (await refusal(engine, player)).metadata["amount_minor_max"] == "70"


async def test_a_return_goes_to_the_window_in_which_its_stake_counted(
    engine: AsyncEngine, clock: Clock
) -> None:
    player = await enter(engine, session_life_ms=24 * HOUR_MS)
    await set_limits(engine, loss_day_max_minor=100, loss_week_max_minor=150)
    yesterday = player.ask(stake_minor=100)
    await spin(engine, yesterday)
    await clock.advance(DAY - HOUR)
    today = player.ask(stake_minor=50)
    await spin(engine, today)
    assert (await refusal(engine, player)).metadata == {"window": "week", "amount_minor_max": "0"}
    await give_back(engine, yesterday.request_id, 100)
    # The week has it, this day has not.
    assert (await refusal(engine, player, stake_minor=51)).metadata == {
        "window": "day",
        "amount_minor_max": "50",
    }
    assert (await spin(engine, player.ask(stake_minor=50))).mint


async def test_a_round_that_is_given_back_later_counts_as_if_it_had_not_been_played(
    engine: AsyncEngine,
) -> None:
    player = await enter(engine, loss_max_minor=100)
    ask, round_id = player.ask(stake_minor=100), str(uuid.uuid4())
    await spin(engine, ask)
    await give_back(engine, ask.request_id, 900, round_id=round_id)
    assert await give_back(engine, ask.request_id, 100, round_id=round_id, reversed_=True) == 1
    assert await give_back(engine, ask.request_id, 100, round_id=round_id, reversed_=True) == 0
    assert (await refusal(engine, player, stake_minor=101)).metadata["amount_minor_max"] == "100"


async def test_a_return_under_another_round_is_not_counted(engine: AsyncEngine) -> None:
    player = await enter(engine, loss_max_minor=100)
    ask = player.ask(stake_minor=100)
    await spin(engine, ask)
    await give_back(engine, ask.request_id, 10)
    assert await give_back(engine, ask.request_id, 50, reversed_=True) == 0


async def both_games_at_once(
    engine: AsyncEngine, second_engine: AsyncEngine, *, play_lock: bool
) -> list[str]:
    """Two sessions of one account spin at once: the first is about to commit while the second is judged."""
    seats = [await enter(engine, game_id=f"game-{game}") for game in range(2)]
    await set_limits(engine, loss_day_max_minor=100)
    async with transaction(engine, "test.first") as conn:
        (first,) = await authorize_spins(conn, [seats[0].ask(stake_minor=100)], mint_age_ms=AGE_MS)
        second = asyncio.create_task(
            spin_batch(second_engine, [seats[1].ask(stake_minor=100)], play_lock=play_lock)
        )
        await players.until_waiting_for_a_lock(engine, "session-2")
    (late,) = await second
    return [one.reason if isinstance(one, DomainError) else "ALLOWED" for one in (first, late)]


async def test_two_games_at_once_do_not_share_a_limit_twice(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    answers = await both_games_at_once(engine, second_engine, play_lock=True)
    assert answers == ["ALLOWED", "LOSS_LIMIT_REACHED"]


async def test_without_the_account_s_lock_two_games_lose_twice_the_limit(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    assert await both_games_at_once(engine, second_engine, play_lock=False) == ["ALLOWED", "ALLOWED"]


async def test_an_account_without_limits_has_no_row_anywhere(engine: AsyncEngine) -> None:
    player = await players.enter(engine)
    assert not (await spin(engine, player.ask())).counted
    for table in ("account_play", "spin_count"):
        assert await players.rows(engine, f"select count(*) from {table}") == [(0,)]


# A player's own limits


async def test_stricter_holds_at_once_and_laxer_after_a_day(engine: AsyncEngine, clock: Clock) -> None:
    player = await enter(engine, session_life_ms=48 * HOUR_MS)
    await set_limits(engine, stake_max_minor=500, loss_day_max_minor=1000)
    play = await set_limits(engine, stake_max_minor=200, loss_day_max_minor=None)
    # Of one request: the one half is in force, the other waits.
    assert (play.limits.stake_max_minor, play.limits.loss_day_max_minor) == (200, 1000)
    assert play.next_time is not None and play.next_time - play.now > DAY - MINUTE
    assert (await refusal(engine, player, stake_minor=201)).metadata == {"amount_minor_max": "200"}
    await clock.advance(DAY - MINUTE)
    assert limits.in_force(await play_of(engine)).loss_day_max_minor == 1000
    await clock.advance(2 * MINUTE)
    assert limits.in_force(await play_of(engine)) == PlayerLimits(stake_max_minor=200)
    assert (await refusal(engine, player, stake_minor=201)).reason == "STAKE_ABOVE_LIMIT"
    for _ in range(6):
        await spin(engine, player.ask(stake_minor=200))


async def test_what_waits_is_not_hastened_and_ends_when_the_player_is_content(
    engine: AsyncEngine, clock: Clock
) -> None:
    await set_limits(engine, loss_day_max_minor=100)
    first = (await set_limits(engine, loss_day_max_minor=500)).next_time
    assert first is not None
    await clock.advance(12 * HOUR)
    assert (await set_limits(engine, loss_day_max_minor=500)).next_time == first
    assert (await set_limits(engine, loss_day_max_minor=300)).next_time == first
    later = (await set_limits(engine, loss_day_max_minor=501)).next_time
    assert later is not None and later - first > 11 * HOUR
    assert (await set_limits(engine, loss_day_max_minor=100)).next_time is None
    await clock.advance(2 * DAY)
    assert limits.in_force(await play_of(engine)).loss_day_max_minor == 100


async def test_a_replayed_change_does_not_undo_the_one_after_it(engine: AsyncEngine) -> None:
    request_id = uuid.uuid4()
    await set_limits(engine, request_id=request_id, stake_max_minor=500)
    await set_limits(engine, stake_max_minor=100)
    play = await set_limits(engine, request_id=request_id, stake_max_minor=500)
    assert (play.limits.stake_max_minor, play.next_time) == (100, None)
    with pytest.raises(IdReused):
        await set_limits(engine, request_id=request_id, stake_max_minor=600)


async def test_limits_hold_for_the_session_that_is_open(engine: AsyncEngine, clock: Clock) -> None:
    player = await players.enter(engine)
    await spin(engine, player.ask())
    play = await set_limits(engine, session_max_ms=HOUR_MS // 2, loss_day_max_minor=150)
    assert play.limits.session_max_ms == HOUR_MS // 2
    await spin(engine, player.ask(stake_minor=100))
    assert (await refusal(engine, player, stake_minor=100)).reason == "LOSS_LIMIT_REACHED"
    await clock.advance(31 * MINUTE)
    assert (await refusal(engine, player, stake_minor=1)).reason == "SESSION_EXPIRED"
    again = await players.enter(engine)
    assert again.session.expire_time - again.session.create_time == HOUR / 2
    assert (await refusal(engine, again, stake_minor=100)).reason == "LOSS_LIMIT_REACHED"


async def launch_while_limits_are_about_to_hold(
    engine: AsyncEngine, second_engine: AsyncEngine, *, take_turns: bool
) -> bool:
    """Whether a session that is opened meanwhile is held to them."""
    change = limits.LimitChange(
        operator_id="acme", request_id=uuid.uuid4(), limits=PlayerLimits(stake_max_minor=1), cool_off_ms=0
    )
    async with transaction(engine, "test.limits") as conn:
        await limits.set_limits(conn, change, account_id=7)
        opening = asyncio.create_task(
            accounts.open_held(second_engine, players.launch(), counted=False, take_turns=take_turns)
        )
        if take_turns:
            await players.until_waiting_for_a_lock(engine, "session-2")
        else:
            await opening
    return (await opening).counted


async def test_a_session_that_is_opened_meanwhile_is_held_to_new_limits(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    assert await launch_while_limits_are_about_to_hold(engine, second_engine, take_turns=True)


async def test_without_turns_a_session_slips_past_new_limits(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    assert not await launch_while_limits_are_about_to_hold(engine, second_engine, take_turns=False)


async def test_a_cool_off_takes_no_stake_and_cannot_be_taken_back(engine: AsyncEngine, clock: Clock) -> None:
    player = await enter(engine, session_life_ms=48 * HOUR_MS)
    await set_limits(engine, cool_off_ms=24 * HOUR_MS)
    await set_limits(engine, cool_off_ms=60_000)
    refused = await refusal(engine, player)
    assert refused.reason == "LOCKED_OUT"
    assert abs(int(refused.metadata["retry_after_ms"]) - 24 * HOUR_MS) < 60_000
    await clock.advance(DAY)
    assert (await spin(engine, player.ask())).mint
