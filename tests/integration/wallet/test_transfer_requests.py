"""A caller's id of a transfer is one, whichever account it names: transfer_request arbitrates."""

import asyncio
import uuid

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import TextClause

from services.common.errors import IdReused
from services.wallet import sql, transfers
from services.wallet.records import TransferOrder, TransferType
from tests.integration.wallet.harness import OPERATOR, Wallet
from tests.integration.wallet.mutants import mutant

WITHOUT_ARBITER = mutant(
    ("on conflict (operator_id, request_id) do nothing returning", "returning"), of=sql.INSERT_TRANSFER
)


@pytest.mark.parametrize(
    ("statement", "error"), [(sql.INSERT_TRANSFER, IdReused), (WITHOUT_ARBITER, IntegrityError)]
)
async def test_one_id_for_two_accounts_at_once_is_one_transfer(
    wallet: Wallet, monkeypatch: pytest.MonkeyPatch, statement: TextClause, error: type[Exception]
) -> None:
    monkeypatch.setattr(sql, "INSERT_TRANSFER", statement)
    request_id, accounts = uuid.uuid4(), [await wallet.open(), await wallet.open()]

    def order(account_id: int) -> TransferOrder:
        return TransferOrder(
            operator_id=OPERATOR,
            request_id=request_id,
            account_id=account_id,
            currency_code="EUR",
            type=TransferType.DEPOSIT,
            amount_minor=100,
            traceparent="",
        )

    async def second() -> None:
        async with wallet.engine.begin() as conn:
            await transfers.transfer(conn, order(accounts[1]))

    async with wallet.engine.connect() as conn:
        await transfers.transfer(conn, order(accounts[0]))
        task = asyncio.create_task(second())
        # Locks on different accounts: it waits for the id alone.
        async with asyncio.timeout(5):
            while not await wallet.scalar("select count(*) from pg_locks where not granted"):
                assert not task.done()
        await conn.commit()
    with pytest.raises(error):
        await task
    assert [await wallet.balance(account_id) for account_id in accounts] == [100, 0]
