"""Every access to the calls to operators' own wallets: a function per statement. No commit here."""

import uuid
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from services.wallet import store
from services.wallet.external import sql
from services.wallet.records import (
    Call,
    CallState,
    CallStep,
    Item,
    Outcome,
    Refusal,
    Status,
    Step,
)


class CallAction(IntEnum):
    """What a person does with a call that is not answered. SETTLE: what it asks for was done by hand."""

    FORCE = 1
    STOP = 2
    SETTLE = 3


async def settle(
    conn: AsyncConnection, item: Item, *, status: Status = Status.APPLIED, refusal: Refusal = Refusal.NONE
) -> bool:
    """Stores an item with the operator's verdict on its stake, and carries it out. False: key taken."""
    verdict = {"status": int(status), "refusal": int(refusal)}
    row = (await conn.execute(sql.SETTLE, store.settle_parameters([item]) | verdict)).one()
    return row[0] is not None


async def list_calls(conn: AsyncConnection, *, round_id: str) -> list[Call]:
    """The calls of a round: stake, payout, void."""
    rows = await conn.execute(sql.LIST_CALLS, {"round_id": uuid.UUID(round_id)})
    return [_call(row) for row in rows]


async def insert_call(
    conn: AsyncConnection,
    *,
    round_id: str,
    step: CallStep,
    operator_id: str,
    account_id: int,
    amount_minor: int,
    game_id: str,
    traceparent: str,
    wait_s: float,
    settle_step: Step | None = None,
    win_minor: int = 0,
    actor: str = "",
    reason: str = "",
) -> bool:
    """Writes a call that is about to be made, to be due again in `wait_s`. False: there is one."""
    result = await conn.execute(
        sql.INSERT_CALL,
        {
            "round_id": uuid.UUID(round_id),
            "step": int(step),
            "operator_id": operator_id,
            "account_id": account_id,
            "amount_minor": amount_minor,
            "game_id": game_id,
            "settle_step": None if settle_step is None else int(settle_step),
            "win_minor": win_minor,
            "traceparent": traceparent,
            "actor": actor,
            "reason": reason,
            "wait_s": wait_s,
        },
    )
    return result.rowcount == 1


async def send_again(conn: AsyncConnection, call: Call) -> None:
    """Counts one more attempt."""
    await conn.execute(sql.SEND_AGAIN, _key(call))


async def take_due(
    conn: AsyncConnection, *, operator_id: str, wait_s: float, wait_s_max: float, rows_max: int
) -> list[Call]:
    """Payouts and voids that are to be sent again now; each is due next after `wait_s` times 2^attempts."""
    rows = await conn.execute(
        sql.TAKE_DUE,
        {"operator_id": operator_id, "wait_s": wait_s, "wait_s_max": wait_s_max, "rows_max": rows_max},
    )
    return [_call(row) for row in rows]


async def record_error(conn: AsyncConnection, call: Call, *, last_error: str) -> None:
    """What the last attempt ended with."""
    await conn.execute(sql.RECORD_ERROR, {**_key(call), "last_error": last_error})


async def finish_call(
    conn: AsyncConnection,
    call: Call,
    *,
    outcome: Outcome,
    balance_after_minor: int | None,
    transfer_id: uuid.UUID | None = None,
) -> None:
    """The call was answered; without a balance by a person."""
    await conn.execute(
        sql.FINISH_CALL,
        {
            **_key(call),
            "outcome": int(outcome),
            "balance_after_minor": balance_after_minor,
            "transfer_id": transfer_id,
        },
    )


async def stop_call(conn: AsyncConnection, call: Call, *, last_error: str) -> bool:
    """The call is sent no more until a person forces it. False: it was answered, or stopped before."""
    result = await conn.execute(sql.STOP_CALL, {**_key(call), "last_error": last_error})
    return result.rowcount == 1


async def force_call(conn: AsyncConnection, call: Call, *, wait_s: float) -> bool:
    """The call is sent now, a stopped one too, and due again in `wait_s`. False: it was answered."""
    result = await conn.execute(sql.FORCE_CALL, {**_key(call), "wait_s": wait_s})
    return result.rowcount == 1


async def insert_action(
    conn: AsyncConnection, call: Call, *, action: CallAction, actor: str, reason: str
) -> None:
    """Who forced, stopped or settled a call, and why."""
    await conn.execute(
        sql.INSERT_ACTION, {**_key(call), "action": int(action), "actor": actor, "reason": reason}
    )


async def list_stuck(
    conn: AsyncConnection, *, operator_id: str, after: tuple[int, str, int] | None, rows_max: int
) -> Sequence[Call]:
    """Calls that are not done, most attempts first; `after` is (attempts, round_id, step) of the last one."""
    attempts, round_id, step = after or (None, None, None)
    rows = await conn.execute(
        sql.LIST_STUCK,
        {
            "operator_id": operator_id,
            "attempts": attempts,
            "round_id": None if round_id is None else uuid.UUID(round_id),
            "step": step,
            "rows_max": rows_max,
        },
    )
    return [_call(row) for row in rows]


async def count_stuck(conn: AsyncConnection) -> int:
    """Calls of all operators that stopped, or were tried before and are not answered."""
    calls: int = (await conn.execute(sql.COUNT_STUCK)).scalar_one()
    return calls


async def list_operators(conn: AsyncConnection) -> list[str]:
    """Operators that have accounts whose money their own wallet keeps."""
    return list((await conn.execute(sql.LIST_OPERATORS)).scalars())


def _key(call: Call) -> dict[str, object]:
    return {"round_id": uuid.UUID(call.round_id), "step": int(call.step)}


def _call(row: Row[Any]) -> Call:
    return Call(
        round_id=str(row.round_id),
        step=CallStep(row.step),
        operator_id=row.operator_id,
        player_id=row.player_id,
        account_id=row.account_id,
        currency_code=row.currency_code,
        amount_minor=row.amount_minor,
        game_id=row.game_id,
        settle_step=None if row.settle_step is None else Step(row.settle_step),
        win_minor=row.win_minor,
        traceparent=row.traceparent,
        actor=row.actor,
        reason=row.reason,
        state=CallState(row.state),
        outcome=None if row.outcome is None else Outcome(row.outcome),
        balance_after_minor=row.balance_after_minor,
        attempts=row.attempts,
        last_error=row.last_error,
        next_time=row.next_time,
        create_time=row.create_time,
    )
