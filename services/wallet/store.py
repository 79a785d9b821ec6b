"""Every access of the wallet to its database: a function per statement of sql.py. No commit here."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import TextClause

from services.common import arrays
from services.common.db import Connection
from services.wallet import sql
from services.wallet.errors import IdExpired
from services.wallet.records import (
    Account,
    AccountNames,
    FreezeOrder,
    Item,
    Kind,
    Known,
    Refusal,
    Settlement,
    Status,
    Step,
    Transfer,
    TransferOrder,
    Type,
)

# The enum's look-up by value, without its call.
_STATUSES = {status.value: status for status in Status}
_REFUSALS = {refusal.value: refusal for refusal in Refusal}


async def settle(
    conn: Connection, items: Sequence[Item], *, statement: TextClause = sql.SETTLE
) -> list[Settlement | None]:
    """Decides, stores and carries out a batch. None: a duplicate, deferred, or a row it needs is absent.

    Errors: psycopg's CheckViolation, nothing done, when an id's month has no partition.
    """
    rows = await conn.execute(statement, settle_parameters(items))
    return [
        None if row[0] is None else _settled(item, *row) for item, row in zip(items, list(rows), strict=True)
    ]


def settle_parameters(items: Sequence[Item]) -> dict[str, Any]:
    """A batch as sql.SETTLE takes it: in columns."""
    payouts = [item.round_id for item in items if item.step is Step.PAYOUT]
    return {
        "round_ids": arrays.plain(item.round_id for item in items),
        "steps": arrays.plain(int(item.step) for item in items),
        "account_ids": arrays.plain(item.account_id for item in items),
        "currency_codes": arrays.plain(item.currency_code or '""' for item in items),
        "stakes_minor": arrays.plain(item.stake_minor for item in items),
        "wins_minor": arrays.plain(item.win_minor for item in items),
        "game_ids": arrays.texts(item.game_id for item in items),
        "traceparents": arrays.texts(item.traceparent for item in items),
        "payout_id_min": min(payouts, default=None),
        "payout_id_max": max(payouts, default=None),
    }


async def find_known(conn: AsyncConnection, items: Sequence[Item]) -> list[Known]:
    """What is stored about items that were not settled, in their order."""
    rows = await conn.execute(
        sql.FIND_KNOWN,
        {
            "round_ids": arrays.plain(item.round_id for item in items),
            "step_keys": arrays.plain(int(item.step is Step.PAYOUT) for item in items),
            "account_ids": arrays.plain(item.account_id for item in items),
            "round_id_min": min(item.round_id for item in items),
            "round_id_max": max(item.round_id for item in items),
        },
    )
    return [
        Known(
            settlement=None if row.round_id is None else _stored(row),
            account_currency_code=row.account_currency_code,
            stake_step=None if row.stake_step is None else Step(row.stake_step),
            stake_account_id=row.stake_account_id,
            halted=row.halted,
            called_elsewhere=row.called_elsewhere,
            expired=row.expired,
            external=bool(row.external),
        )
        for row in rows
    ]


async def list_settlements(conn: AsyncConnection, *, round_id: str) -> list[Settlement]:
    """What is stored of a round: nothing, one row, or the stake's and then the payout's."""
    rows = await conn.execute(sql.LIST_SETTLEMENTS, {"round_id": uuid.UUID(round_id)})
    return [_stored(row) for row in rows]


async def insert_reversal(
    conn: AsyncConnection, *, stake: Settlement, win_minor: int, actor: str, reason: str, traceparent: str
) -> tuple[int, int] | None:
    """Gives a round back under the account's lock. Balance and version after it; None when done before."""
    row = (
        await conn.execute(
            sql.INSERT_REVERSAL,
            {
                "round_id": uuid.UUID(stake.round_id),
                "step": int(stake.step),
                "account_id": stake.account_id,
                "stake_minor": stake.stake_minor,
                "win_minor": win_minor,
                "actor": actor,
                "reason": reason,
                "traceparent": traceparent,
            },
        )
    ).one_or_none()
    return None if row is None else (row.balance_after_minor, row.account_version)


async def insert_account(
    conn: AsyncConnection,
    *,
    operator_id: str,
    player_id: str,
    currency_code: str,
    kind: Kind,
    account_type: Type,
    house_account_id: int | None = None,
    cashier_account_id: int | None = None,
    external: bool = False,
) -> Account:
    """Adds an account, or finds it."""
    key = {
        "operator_id": operator_id,
        "player_id": player_id,
        "currency_code": currency_code,
        "kind": int(kind),
        "type": int(account_type),
    }
    counters = {"house_account_id": house_account_id, "cashier_account_id": cashier_account_id}
    await conn.execute(sql.INSERT_ACCOUNT, {**key, **counters, "external": external})
    return _account((await conn.execute(sql.FIND_ACCOUNT_BY_PLAYER, key)).one())


async def find_player_account(
    conn: AsyncConnection, *, operator_id: str, player_id: str, currency_code: str, kind: Kind
) -> Account | None:
    """A player's account by its four names."""
    key = {
        "operator_id": operator_id,
        "player_id": player_id,
        "currency_code": currency_code,
        "kind": int(kind),
        "type": int(Type.PLAYER),
    }
    row = (await conn.execute(sql.FIND_ACCOUNT_BY_PLAYER, key)).one_or_none()
    return None if row is None else _account(row)


async def find_account(conn: AsyncConnection, *, account_id: int) -> Account | None:
    """Any account, with its balance as it stands."""
    row = (await conn.execute(sql.FIND_ACCOUNT, {"account_id": account_id})).one_or_none()
    return None if row is None else _account(row)


async def find_scale(conn: AsyncConnection, *, currency_code: str) -> int | None:
    """The scale that accounts in a currency have; None: there are none yet."""
    found: int | None = (
        await conn.execute(sql.FIND_SCALE, {"currency_code": currency_code})
    ).scalar_one_or_none()
    return found


async def insert_scale(conn: AsyncConnection, *, currency_code: str, scale: int) -> None:
    """Pins a currency's scale unless it has one."""
    await conn.execute(sql.INSERT_SCALE, {"currency_code": currency_code, "scale": scale})


async def list_scales(conn: AsyncConnection) -> dict[str, int]:
    """The pinned scale of every currency that has accounts."""
    return {row.currency_code: row.scale for row in await conn.execute(sql.LIST_SCALES)}


async def lock_account(
    conn: AsyncConnection, *, account_id: int, statement: TextClause = sql.LOCK_ACCOUNT
) -> Account | None:
    """A player's account, locked until the transaction ends; nobody else can move its balance meanwhile."""
    row = (await conn.execute(statement, {"account_id": account_id})).one_or_none()
    return None if row is None else _account(row)


async def update_frozen(
    conn: AsyncConnection, order: FreezeOrder, *, statement: TextClause = sql.UPDATE_FROZEN
) -> None:
    """Freezes an account or ends its freeze, and tells it, unless it is so already."""
    await conn.execute(
        statement,
        {
            "account_id": order.account_id,
            "frozen": order.frozen,
            "actor": order.actor,
            "reason": order.reason,
            "traceparent": order.traceparent,
        },
    )


async def has_round(conn: AsyncConnection, *, account_id: int, round_id: str) -> bool:
    """Whether the account has this round, whatever became of it."""
    asked = {"account_id": account_id, "round_id": uuid.UUID(round_id)}
    return bool((await conn.execute(sql.HAS_ROUND, asked)).scalar_one())


async def is_halted(conn: AsyncConnection) -> bool:
    """Whether the auditor found the books broken, and nobody has resolved it."""
    return bool((await conn.execute(sql.IS_HALTED)).scalar_one())


async def find_transfer(
    conn: AsyncConnection, *, operator_id: str, request_id: uuid.UUID, replayed: bool
) -> Transfer | None:
    """A transfer by the operator's id. Errors: ID_EXPIRED when it was archived."""
    row = (
        await conn.execute(sql.FIND_TRANSFER, {"operator_id": operator_id, "request_id": request_id})
    ).one_or_none()
    if row is None:
        return None
    if row.transfer_id is None:
        raise IdExpired(field="request_id")
    return Transfer(**row._asdict(), replayed=replayed)


async def insert_transfer(
    conn: AsyncConnection, order: TransferOrder, *, transfer_id: uuid.UUID, refusal: str
) -> bool:
    """Stores a transfer under the account's lock and, unless refused, carries it out. False: id taken."""
    result = await conn.execute(
        sql.INSERT_TRANSFER,
        {
            "transfer_id": transfer_id,
            "operator_id": order.operator_id,
            "request_id": order.request_id,
            "account_id": order.account_id,
            "type": int(order.type),
            "amount_minor": order.amount_minor,
            "actor": order.actor,
            "reason": order.reason,
            "round_id": order.round_id,
            "refusal": refusal,
            "traceparent": order.traceparent,
        },
    )
    return result.first() is not None


async def roll_up_counters(conn: AsyncConnection, *, rows_max: int = 10_000) -> int:
    """Moves tails of the counter-accounts into their checkpoints; the number of rows moved."""
    return int((await conn.execute(sql.ROLL_UP, {"rows_max": rows_max})).scalar_one())


async def list_account_names(conn: Connection, *, account_ids: Sequence[int]) -> dict[int, AccountNames]:
    """Operator, currency, kind and player of accounts, for their events."""
    rows = await conn.execute(sql.LIST_ACCOUNT_NAMES, {"account_ids": arrays.plain(account_ids)})
    return {
        account_id: AccountNames(operator_id, currency_code, Kind(kind), player_id)
        for account_id, operator_id, currency_code, kind, player_id in rows
    }


def _settled(
    item: Item, status: int, balance_after_minor: int, account_version: int, refusal: int, currency_code: str
) -> Settlement:
    return Settlement(
        round_id=item.round_id,
        step=item.step,
        status=_STATUSES[status],
        account_id=item.account_id,
        currency_code=currency_code,
        stake_minor=item.stake_minor,
        win_minor=item.win_minor,
        game_id=item.game_id,
        balance_after_minor=balance_after_minor,
        account_version=account_version,
        current_balance_minor=balance_after_minor,
        replayed=False,
        refusal=_REFUSALS[refusal],
    )


def _stored(row: Row[Any]) -> Settlement:
    # An applied step of a round that was given back reads REVERSED; what was decided stays in the row.
    given_back = row.reversed and row.status == Status.APPLIED
    return Settlement(
        round_id=str(row.round_id),
        step=Step(row.step),
        status=Status.REVERSED if given_back else Status(row.status),
        account_id=row.account_id,
        currency_code=row.currency_code,
        stake_minor=row.stake_minor,
        win_minor=row.win_minor,
        game_id=row.game_id,
        balance_after_minor=row.balance_after_minor,
        account_version=row.account_version,
        current_balance_minor=row.balance_minor,
        replayed=True,
        refusal=Refusal(row.refusal),
    )


def _account(row: Row[Any]) -> Account:
    return Account(
        account_id=row.account_id,
        operator_id=row.operator_id,
        player_id=row.player_id,
        currency_code=row.currency_code,
        kind=Kind(row.kind),
        type=Type(row.type),
        balance_minor=row.balance_minor,
        version=row.version,
        frozen=row.frozen,
        external=row.external,
    )
