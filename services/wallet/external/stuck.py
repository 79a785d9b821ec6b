"""Calls to operators' own wallets that were not answered, and what a person decides about one."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from services.wallet.errors import RoundNotFound
from services.wallet.external import books, store
from services.wallet.external.store import CallAction
from services.wallet.records import Call, CallStep


async def list_stuck(
    conn: AsyncConnection, *, operator_id: str, after: tuple[int, str, int] | None, rows_max: int
) -> Sequence[Call]:
    """An operator's calls that are not answered; `after`: attempts, round_id and step of the last one."""
    return await store.list_stuck(conn, operator_id=operator_id, after=after, rows_max=rows_max)


async def get_call(conn: AsyncConnection, *, operator_id: str, round_id: str, step: CallStep) -> Call:
    """A call of this operator. Errors: ROUND_NOT_FOUND."""
    for call in await store.list_calls(conn, round_id=round_id):
        if (call.operator_id, call.step) == (operator_id, step):
            return call
    raise RoundNotFound(round_id=round_id)


async def resolve(
    conn: AsyncConnection,
    *,
    operator_id: str,
    round_id: str,
    step: CallStep,
    action: CallAction,
    actor: str,
    reason: str,
) -> Call:
    """Carries out what a person decided, once and with who and why; nothing changes where it was answered.

    Errors: ROUND_NOT_FOUND; FIELD_INVALID to settle what is not stopped.
    """
    call = await get_call(conn, operator_id=operator_id, round_id=round_id, step=step)
    # The call's answer, recorded at the same time, wins: nothing here touches one that is done.
    match action:
        case CallAction.FORCE:
            changed = await store.force_call(conn, call, wait_s=books.WAIT_S)
        case CallAction.STOP:
            changed = await store.stop_call(conn, call, last_error=call.last_error)
        case CallAction.SETTLE:
            changed = await books.settle_by_hand(conn, call)
    if changed:
        await store.insert_action(conn, call, action=action, actor=actor, reason=reason)
    return await get_call(conn, operator_id=operator_id, round_id=round_id, step=step)
