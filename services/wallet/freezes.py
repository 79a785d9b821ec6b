"""The rule of freezes: they refuse stakes and withdrawals, never payouts, deposits, voids or rollbacks."""

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import TextClause

from services.wallet import sql, store
from services.wallet.errors import AccountNotFound
from services.wallet.records import Account, FreezeOrder


async def freeze(
    conn: AsyncConnection, order: FreezeOrder, *, statement: TextClause = sql.UPDATE_FROZEN
) -> Account:
    """Freezes an account, or ends its freeze; who and why is kept of the first to do so.

    Under the account's lock, like every verdict: a stake is judged before the freeze, or after it, and what
    was decided then is its answer for ever (R5). Errors: ACCOUNT_NOT_FOUND.
    """
    account = await store.lock_account(conn, account_id=order.account_id)
    if account is None or account.operator_id != order.operator_id:
        raise AccountNotFound()
    await store.update_frozen(conn, order, statement=statement)
    return replace(account, frozen=order.frozen)
