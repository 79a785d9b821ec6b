"""Wallet: takes the stake, gives the win, once per round, in double entry."""

import uuid

import uvloop
from reelmesh.type.v1 import money_pb2
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from bench.textbook.service import serve
from bench.textbook.tables import Account, Posting, Settlement


class WalletService(wallet_pb2_grpc.WalletServiceServicer):
    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def Settle(self, request, context):  # type: ignore[no-untyped-def]
        async with AsyncSession(self.engine) as db, db.begin():
            settlement = await db.get(Settlement, uuid.UUID(request.round_id))
            if settlement is None:
                settlement = await self._apply(db, request)
            status = f"SETTLEMENT_STATUS_{'APPLIED' if settlement.applied else 'REFUSED'}"
            balance_minor = settlement.balance_after_minor
        return wallet_pb2.SettleResponse(
            settlement=wallet_pb2.Settlement(
                round_id=request.round_id,
                status=wallet_pb2.SettlementStatus.Value(status),
                account_id=request.account_id,
                balance_after=money_pb2.Money(currency_code="EUR", amount_minor=balance_minor),
            )
        )

    async def _apply(self, db: AsyncSession, request: wallet_pb2.SettleRequest) -> Settlement:
        stake_minor, win_minor = request.stake.amount_minor, request.win.amount_minor
        account = await db.get_one(Account, request.account_id, with_for_update=True)
        applied = account.balance_minor >= stake_minor
        if applied:
            account.balance_minor += win_minor - stake_minor
        settlement = Settlement(
            round_id=uuid.UUID(request.round_id),
            account_id=account.account_id,
            applied=applied,
            stake_minor=stake_minor,
            win_minor=win_minor,
            balance_after_minor=account.balance_minor,
        )
        db.add(settlement)
        if applied:
            legs = [(account.account_id, -stake_minor), (0, stake_minor)]
            if win_minor:
                legs += [(account.account_id, win_minor), (0, -win_minor)]
            postings = [
                {"leg": leg, "account_id": account_id, "amount_minor": amount_minor}
                for leg, (account_id, amount_minor) in enumerate(legs)
            ]
            await db.execute(insert(Posting).values(round_id=settlement.round_id), postings)
        return settlement


if __name__ == "__main__":
    uvloop.run(serve(wallet_pb2_grpc.add_WalletServiceServicer_to_server, WalletService))
