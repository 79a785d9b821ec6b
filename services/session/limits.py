"""Limits that belong to the account (R13), and its reality check. The connection is the caller's transaction.

Stricter is in force at once, laxer after RELAX_DELAY; by the database's clock.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.errors import IdReused
from services.session import limits_store, store
from services.session.errors import SessionClosed, SessionExpired, SessionReplaced
from services.session.limits_store import Play, PlayerLimits
from services.session.policy import stricter
from services.session.spins_store import REST_MS
from services.session.store import Session, State

RELAX_DELAY: Final = timedelta(hours=24)
"""Before a laxer limit is in force (GLI-19, appendix A, 3.8)."""
_REST = timedelta(milliseconds=REST_MS)
_ENDED = {State.CLOSED: SessionClosed, State.EXPIRED: SessionExpired, State.REPLACED: SessionReplaced}


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """All limits that a player wants from now on. `cool_off_ms`: no stake is taken for so long; 0: none."""

    operator_id: str
    request_id: UUID
    limits: PlayerLimits
    cool_off_ms: int


def in_force(play: Play) -> PlayerLimits:
    """The limits now."""
    return play.next_limits if play.next_time is not None and play.next_time <= play.now else play.limits


def changed(play: Play, wanted: PlayerLimits) -> tuple[PlayerLimits, PlayerLimits, datetime | None]:
    """The limits from now on, those after, and when those: of each the stricter at once, the rest later.

    What waits already waits no longer for being asked for again. Anything else laxer begins to wait now.
    """
    current = in_force(play)
    now = PlayerLimits._make(stricter(*pair) for pair in zip(current, wanted, strict=True))
    if now == wanted:
        return now, now, None
    waits = play.next_time is not None and play.next_time > play.now
    # The same, or stricter than what waits in every limit: nothing becomes laxer earlier than it would have.
    no_laxer = all(stricter(*pair) == pair[1] for pair in zip(play.next_limits, wanted, strict=True))
    return now, wanted, play.next_time if waits and no_laxer else play.now + RELAX_DELAY


async def set_limits(conn: AsyncConnection, change: LimitChange, *, account_id: int) -> Play:
    """Sets all limits of an account; a replay changes nothing. Errors: ID_REUSED for another body."""
    # With the account's launches, one after the other: a session that begins now is held to them, too.
    await store.lock_launch(conn, account_id=account_id)
    body = {**change.limits._asdict(), "cool_off_ms": change.cool_off_ms}
    fresh = await limits_store.insert_limit_change(
        conn,
        operator_id=change.operator_id,
        request_id=change.request_id,
        account_id=account_id,
        change=body,
    )
    if not fresh:
        known = await limits_store.find_limit_change(
            conn, operator_id=change.operator_id, request_id=change.request_id
        )
        if known != (account_id, body):
            raise IdReused(request_id=change.request_id)
        return await _play(conn, account_id)
    await limits_store.lock_sessions(conn, account_id=account_id)
    await limits_store.insert_play(conn, account_id=account_id)
    play = await _play(conn, account_id, lock=True)
    limits, next_limits, next_time = changed(play, change.limits)
    lock_end_time = play.lock_end_time
    if change.cool_off_ms:
        lock_end_time = later(lock_end_time, play.now + timedelta(milliseconds=change.cool_off_ms))
    await limits_store.update_limits(
        conn,
        account_id=account_id,
        limits=limits,
        next_limits=next_limits,
        next_time=next_time,
        lock_end_time=lock_end_time,
    )
    await limits_store.count_sessions_of(conn, account_id=account_id, session_max_ms=limits.session_max_ms)
    return await _play(conn, account_id)


async def _play(conn: AsyncConnection, account_id: int, *, lock: bool = False) -> Play:
    play = await limits_store.find_play(conn, account_id=account_id, lock=lock)
    assert play is not None, "inserted before"
    return play


def later(first: datetime | None, second: datetime) -> datetime:
    """The later of two, of which the first may be none."""
    return second if first is None else max(first, second)


# The reality check


def check_interval_ms(session: Session, play: Play) -> int | None:
    """The stricter of the session's and the player's, ms."""
    return stricter(session.check_interval_ms, in_force(play).check_interval_ms)


def check_due_time(session: Session, play: Play) -> datetime | None:
    """When the next stake is refused for the check; None: not before another stake, or never."""
    interval_ms = check_interval_ms(session, play)
    if interval_ms is None or play.check_time is None or rested(play):
        return None
    return play.check_time + timedelta(milliseconds=interval_ms)


def rested(play: Play) -> bool:
    """Whether the next stake begins a new stay, with a new wait for the check."""
    return play.stake_time is None or play.stake_time < play.now - _REST


async def acknowledge_check(
    conn: AsyncConnection, session: Session, *, choice: str, traceparent: str
) -> None:
    """The player has seen the check that is due; nothing when none is.

    The rest that the policy wants began when the check was due; with the last stake where one was taken
    since, in a session whose check is later, or before the interval was made shorter.
    """
    await keep_alive(conn, session)
    play = await limits_store.find_play(conn, account_id=session.account_id, lock=True)
    due_time = None if play is None else check_due_time(session, play)
    if play is None or due_time is None or due_time > play.now:
        return
    lock_end_time = play.lock_end_time
    if session.lock_out_ms:
        rest_time = later(play.stake_time, due_time)
        lock_end_time = later(lock_end_time, rest_time + timedelta(milliseconds=session.lock_out_ms))
    check_time = later(lock_end_time, play.now)
    await limits_store.update_check(
        conn, account_id=session.account_id, check_time=check_time, lock_end_time=lock_end_time
    )
    facts = {"choice": choice, "net_position_minor": session.returned_minor - session.staked_minor}
    await store.insert_outbox(
        conn,
        kind="session.reality_check",
        session_id=session.session_id,
        traceparent=traceparent,
        facts=facts,
    )


async def keep_alive(conn: AsyncConnection, session: Session) -> None:
    """Puts off the end for silence. Errors: why the session has ended."""
    session_id = UUID(session.session_id)
    await store.lock_session(conn, session_id=session_id)
    if not await store.update_keep_alive(conn, session_id=session_id):
        found = await store.find_session(conn, session_id=session_id)
        state = State.EXPIRED if found is None else State(found.state)
        raise _ENDED.get(state, SessionExpired)()


# What is to be shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a session has come to. Times are None where there is nothing to wait for."""

    elapsed: timedelta
    loss_room_minor: int | None
    check_interval_ms: int | None
    check_in_ms: int | None
    lock_end_time: datetime | None


def status_of(session: Session, play: Play | None, now: datetime) -> Status:
    """The status. `now`: by the database's clock."""
    elapsed = now - session.create_time
    if play is None:
        return Status(
            elapsed=elapsed,
            loss_room_minor=None,
            check_interval_ms=None,
            check_in_ms=None,
            lock_end_time=None,
        )
    interval_ms, due_time = check_interval_ms(session, play), check_due_time(session, play)
    check_in_ms = interval_ms
    if due_time is not None:
        check_in_ms = max(0, int((due_time - play.now).total_seconds() * 1000))
    locked = play.lock_end_time is not None and play.lock_end_time > play.now
    return Status(
        elapsed=elapsed,
        loss_room_minor=loss_room_minor(session, play),
        check_interval_ms=interval_ms,
        check_in_ms=check_in_ms,
        lock_end_time=play.lock_end_time if locked else None,
    )


def loss_room_minor(session: Session, play: Play) -> int | None:
    """The largest stake that every loss limit allows, minor units, 0 or more; None without a limit."""
    limits, today = in_force(play), play.now.astimezone(UTC).date()
    day = play.count_day
    this_day = day == today
    this_week = day is not None and day.isocalendar()[:2] == today.isocalendar()[:2]
    this_month = day is not None and (day.year, day.month) == (today.year, today.month)
    windows = (
        (session.loss_max_minor, session.staked_minor - session.returned_minor),
        (limits.loss_day_max_minor, play.loss_day_minor if this_day else 0),
        (limits.loss_week_max_minor, play.loss_week_minor if this_week else 0),
        (limits.loss_month_max_minor, play.loss_month_minor if this_month else 0),
    )
    room = stricter(*(limit - loss for limit, loss in windows if limit is not None))
    return None if room is None else max(room, 0)
