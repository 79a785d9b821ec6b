"""The rules of accounts, deposits, withdrawals and adjustments."""

from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import TextClause

from services.common.errors import CurrencyMismatch, DomainError, FieldInvalid, IdReused
from services.common.fields import AMOUNT_MINOR_MAX, uuid7
from services.wallet import currencies, sql, store
from services.wallet.errors import (
    AccountFrozen,
    AccountNotFound,
    BalanceTooLarge,
    DemoWithdrawal,
    InsufficientFunds,
    LedgerHalted,
    RoundNotFound,
)
from services.wallet.months import keeping
from services.wallet.records import Account, Kind, Transfer, TransferOrder, TransferType, Type


async def open_account(
    conn: AsyncConnection,
    *,
    operator_id: str,
    player_id: str,
    currency_code: str,
    kind: Kind,
    external: bool = False,
) -> Account:
    """Opens a player's account, and the counter-accounts it needs, or finds it.

    `external`: the operator's own wallet keeps real money; play money, and accounts opened before, are ours.
    Errors: ScaleChanged, found or not: nobody may play in a currency that is worth something else now.
    """
    await currencies.pin_scale(conn, currency_code=currency_code)
    found = await store.find_player_account(
        conn, operator_id=operator_id, player_id=player_id, currency_code=currency_code, kind=kind
    )
    if found is not None:
        return found
    # Always house before cashier before player, so that two callers cannot wait for each other.
    house, cashier = [
        await store.insert_account(
            conn,
            operator_id=operator_id,
            player_id="",
            currency_code=currency_code,
            kind=kind,
            account_type=account_type,
        )
        for account_type in (Type.HOUSE, Type.CASHIER)
    ]
    return await store.insert_account(
        conn,
        operator_id=operator_id,
        player_id=player_id,
        currency_code=currency_code,
        kind=kind,
        account_type=Type.PLAYER,
        house_account_id=house.account_id,
        cashier_account_id=cashier.account_id,
        external=external and kind is Kind.REAL,
    )


async def find_account(
    conn: AsyncConnection, *, operator_id: str, player_id: str, currency_code: str, kind: Kind
) -> Account:
    """A player's account by its names. Errors: ACCOUNT_NOT_FOUND."""
    found = await store.find_player_account(
        conn, operator_id=operator_id, player_id=player_id, currency_code=currency_code, kind=kind
    )
    if found is None:
        raise AccountNotFound()
    return found


async def get_account(conn: AsyncConnection, *, operator_id: str, account_id: int) -> Account:
    """An account of this operator. Errors: ACCOUNT_NOT_FOUND, for accounts of others too."""
    account = await store.find_account(conn, account_id=account_id)
    if account is None or account.operator_id != operator_id:
        raise AccountNotFound()
    return account


async def transfer(
    conn: AsyncConnection, order: TransferOrder, *, lock: TextClause = sql.LOCK_ACCOUNT
) -> Transfer:
    """Carries an order out once, or refuses it once; a replay finds what was stored.

    A refusal is returned, not raised: it has to be committed first. `refusal_of` makes the error.
    Errors, with nothing stored: ACCOUNT_NOT_FOUND, CURRENCY_MISMATCH, DEMO_WITHDRAWAL, ROUND_NOT_FOUND when
    an adjustment names a round that is not this account's, ID_EXPIRED when that is archived; ID_REUSED;
    FIELD_INVALID where the money is not ours to move; LEDGER_HALTED for a withdrawal: while the books are
    broken it may not be the player's.
    """
    account = await store.lock_account(conn, account_id=order.account_id, statement=lock)
    if account is None or account.operator_id != order.operator_id:
        raise AccountNotFound()
    if account.external:
        raise FieldInvalid(field="account_id", problem="the operator's own wallet keeps its money")
    # Under the account's lock: a concurrent retry waits above and then finds our row.
    found = await _find_transfer(conn, order, replayed=True)
    if found is not None:
        return _same_order(found, order)
    if order.currency_code != account.currency_code:
        raise CurrencyMismatch(
            currency_code=order.currency_code, currency_code_expected=account.currency_code
        )
    if order.type is TransferType.WITHDRAWAL and account.kind is Kind.DEMO:
        raise DemoWithdrawal()
    # Rounds never change hands: what is found here stays true.
    if order.round_id and not await store.has_round(
        conn, account_id=order.account_id, round_id=order.round_id
    ):
        await keeping.require_unexpired(conn, order.round_id, "round_id")
        raise RoundNotFound()
    if order.type is TransferType.WITHDRAWAL and await store.is_halted(conn):
        raise LedgerHalted()
    inserted = await store.insert_transfer(conn, order, transfer_id=uuid7(), refusal=_verdict(account, order))
    # Not inserted: the same id was used at the same time for another account, whose lock is not ours.
    found = await _find_transfer(conn, order, replayed=not inserted)
    assert found is not None, "the row was inserted, or stood in the way of the insert"
    return found if inserted else _same_order(found, order)


def refusal_of(stored: Transfer) -> DomainError | None:
    """The error of a refused transfer, the same at every replay."""
    if not stored.refusal:
        return None
    if stored.refusal == AccountFrozen.reason:
        return AccountFrozen()
    refusals = (InsufficientFunds, BalanceTooLarge)
    [refusal] = [refusal for refusal in refusals if refusal.reason == stored.refusal]
    return refusal(balance_minor=stored.balance_after_minor, currency_code=stored.currency_code)


def _verdict(account: Account, order: TransferOrder) -> str:
    if account.frozen and order.type is TransferType.WITHDRAWAL:
        return AccountFrozen.reason
    balance_minor = account.balance_minor + order.amount_minor
    if balance_minor < 0:
        return InsufficientFunds.reason
    if order.amount_minor > 0 and balance_minor > AMOUNT_MINOR_MAX:
        return BalanceTooLarge.reason
    return ""


async def _find_transfer(conn: AsyncConnection, order: TransferOrder, *, replayed: bool) -> Transfer | None:
    return await store.find_transfer(
        conn, operator_id=order.operator_id, request_id=order.request_id, replayed=replayed
    )


def _same_order(stored: Transfer, order: TransferOrder) -> Transfer:
    asked = (
        order.account_id,
        order.currency_code,
        order.type,
        order.amount_minor,
        order.actor,
        order.reason,
        order.round_id,
    )
    if asked != (
        stored.account_id,
        stored.currency_code,
        stored.type,
        stored.amount_minor,
        stored.actor,
        stored.reason,
        stored.round_id or "",
    ):
        raise IdReused(request_id=order.request_id)
    return stored
