"""A wallet to test: real handlers on a real database, called without the network; sealed requests."""

import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, cast

from reelmesh.type.v1 import account_kind_pb2, money_pb2
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.fields import uuid7
from services.wallet import seal, transfers
from services.wallet.external.rounds import ExternalRounds
from services.wallet.handlers import Context, Handlers
from services.wallet.records import Item, Kind, OperatorWallet, Step, TransferOrder, TransferType
from tests import invariants

SEAL_KEY = "seal-key-of-the-tests"
OPERATOR = "acme"
REAL = account_kind_pb2.ACCOUNT_KIND_REAL
DEMO = account_kind_pb2.ACCOUNT_KIND_DEMO
FUSED, STAKE = wallet_pb2.SETTLE_STEP_FUSED, wallet_pb2.SETTLE_STEP_STAKE
PAYOUT = wallet_pb2.SETTLE_STEP_PAYOUT
APPLIED, REFUSED = wallet_pb2.SETTLEMENT_STATUS_APPLIED, wallet_pb2.SETTLEMENT_STATUS_REFUSED
VOID, REVERSED = wallet_pb2.SETTLEMENT_STATUS_VOID, wallet_pb2.SETTLEMENT_STATUS_REVERSED
NEEDS_REVIEW = wallet_pb2.SETTLEMENT_STATUS_NEEDS_REVIEW
KEEP, GIVE_BACK = wallet_pb2.REVIEW_VERDICT_SETTLED, wallet_pb2.REVIEW_VERDICT_REVERSED

# Handlers of this service never ask the context for anything.
CONTEXT = cast(Context, None)


def new_id() -> str:
    """A fresh round or request id."""
    return str(uuid7())


def money(amount_minor: int, currency_code: str = "EUR") -> money_pb2.Money:
    """An amount."""
    return money_pb2.Money(currency_code=currency_code, amount_minor=amount_minor)


def settle_request(
    account_id: int,
    *,
    round_id: str = "",
    step: wallet_pb2.SettleStep.ValueType = FUSED,
    stake: int = 0,
    win: int = 0,
    currency_code: str = "EUR",
    game_id: str = "lucky-lines",
) -> wallet_pb2.SettleRequest:
    """A settle that carries game's seal."""
    round_id = round_id or new_id()
    item = Item(round_id, Step(step), account_id, currency_code, stake, win, game_id)
    return wallet_pb2.SettleRequest(
        round_id=round_id,
        step=step,
        account_id=account_id,
        stake=money(stake, currency_code),
        win=money(win, currency_code),
        game_id=game_id,
        seal=seal.seal_of(item, key=SEAL_KEY),
    )


class Wallet:
    """One replica of the wallet: own engine, own batcher. Several may share a database."""

    def __init__(self, url: str, *, wallets: Mapping[str, OperatorWallet] | None = None) -> None:
        """`wallets`: of operators who keep the money themselves."""
        self.engine: AsyncEngine = db.create_engine(url, pool_size=5, application_name="test")
        self.external = ExternalRounds(self.engine, wallets or {})
        self.handlers = Handlers(self.engine, seal_key=SEAL_KEY, external=self.external)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.handlers.drain()
        await self.external.drain()
        await self.engine.dispose()

    async def open(
        self,
        *,
        balance: int = 0,
        player_id: str = "",
        operator_id: str = OPERATOR,
        currency_code: str = "EUR",
        kind: account_kind_pb2.AccountKind.ValueType = REAL,
    ) -> int:
        """The id of a player's account, a new player's by default, with money on it."""
        request = wallet_pb2.OpenAccountRequest(
            operator_id=operator_id,
            player_id=player_id or str(uuid.uuid4()),
            currency_code=currency_code,
            kind=kind,
        )
        account_id = (await self.handlers.OpenAccount(request, CONTEXT)).account.account_id
        if balance:
            await self.deposit(account_id, balance, operator_id=operator_id, currency_code=currency_code)
        return account_id

    async def open_many(self, count: int, *, balance: int) -> list[int]:
        """As `open`, all in one transaction: many are wanted only as a background."""
        accounts = []
        async with db.transaction(self.engine, "open_many") as conn:
            for _ in range(count):
                account = await transfers.open_account(
                    conn, operator_id=OPERATOR, player_id=new_id(), currency_code="EUR", kind=Kind.REAL
                )
                order = TransferOrder(
                    operator_id=OPERATOR,
                    request_id=uuid7(),
                    account_id=account.account_id,
                    currency_code="EUR",
                    type=TransferType.DEPOSIT,
                    amount_minor=balance,
                    traceparent="",
                )
                await transfers.transfer(conn, order)
                accounts.append(account.account_id)
        return accounts

    async def account(self, account_id: int, *, operator_id: str = OPERATOR) -> wallet_pb2.Account:
        """An account as it stands."""
        request = wallet_pb2.GetAccountRequest(account_id=account_id, operator_id=operator_id)
        return (await self.handlers.GetAccount(request, CONTEXT)).account

    async def balance(self, account_id: int) -> int:
        """A balance in minor units."""
        return (await self.account(account_id)).balance.amount_minor

    async def deposit(
        self,
        account_id: int,
        amount: int,
        *,
        request_id: str = "",
        operator_id: str = OPERATOR,
        currency_code: str = "EUR",
    ) -> wallet_pb2.DepositResponse:
        """Money in."""
        request = wallet_pb2.DepositRequest(
            operator_id=operator_id,
            request_id=request_id or new_id(),
            account_id=account_id,
            amount=money(amount, currency_code),
        )
        return await self.handlers.Deposit(request, CONTEXT)

    async def withdraw(
        self,
        account_id: int,
        amount: int,
        *,
        request_id: str = "",
        operator_id: str = OPERATOR,
        currency_code: str = "EUR",
    ) -> wallet_pb2.WithdrawResponse:
        """Money out."""
        request = wallet_pb2.WithdrawRequest(
            operator_id=operator_id,
            request_id=request_id or new_id(),
            account_id=account_id,
            amount=money(amount, currency_code),
        )
        return await self.handlers.Withdraw(request, CONTEXT)

    async def adjust(
        self,
        account_id: int,
        amount: int,
        *,
        request_id: str = "",
        operator_id: str = OPERATOR,
        currency_code: str = "EUR",
        actor: str = "ann",
        reason: str = "correction",
        round_id: str = "",
    ) -> wallet_pb2.AdjustResponse:
        """An operator's correction, up or down."""
        request = wallet_pb2.AdjustRequest(
            operator_id=operator_id,
            request_id=request_id or new_id(),
            account_id=account_id,
            amount=money(amount, currency_code),
            actor=actor,
            reason=reason,
            round_id=round_id,
        )
        return await self.handlers.Adjust(request, CONTEXT)

    async def freeze(self, account_id: int, *, actor: str = "ann", reason: str = "stolen card") -> None:
        """Refuses stakes and withdrawals from now on."""
        request = wallet_pb2.FreezeAccountRequest(
            operator_id=OPERATOR, account_id=account_id, actor=actor, reason=reason
        )
        assert (await self.handlers.FreezeAccount(request, CONTEXT)).account.frozen

    async def unfreeze(self, account_id: int, *, actor: str = "ben", reason: str = "it was not") -> None:
        """Ends a freeze."""
        request = wallet_pb2.UnfreezeAccountRequest(
            operator_id=OPERATOR, account_id=account_id, actor=actor, reason=reason
        )
        assert not (await self.handlers.UnfreezeAccount(request, CONTEXT)).account.frozen

    async def settle(self, account_id: int, **fields: Any) -> wallet_pb2.Settlement:
        """The verdict of a sealed settle; the fields of `settle_request`."""
        return await self.send(settle_request(account_id, **fields))

    async def send(self, request: wallet_pb2.SettleRequest) -> wallet_pb2.Settlement:
        """The verdict of this very request."""
        return (await self.handlers.Settle(request, CONTEXT)).settlement

    async def void(self, account_id: int, round_id: str) -> wallet_pb2.Settlement:
        """What stands there after a void."""
        request = wallet_pb2.VoidRequest(round_id=round_id, account_id=account_id)
        return (await self.handlers.Void(request, CONTEXT)).settlement

    async def roll_back(
        self, account_id: int, round_id: str, *, actor: str = "tester"
    ) -> wallet_pb2.Settlement:
        """What stands there after a rollback."""
        request = wallet_pb2.RollbackRoundRequest(
            round_id=round_id, account_id=account_id, actor=actor, reason="test"
        )
        return (await self.handlers.RollbackRound(request, CONTEXT)).settlement

    async def roll_back_bet(
        self, account_id: int, round_id: str, *, actor: str = "tester"
    ) -> wallet_pb2.RollbackBetResponse:
        """What stands there after a rollback of the stake, and why it was left as it is."""
        request = wallet_pb2.RollbackBetRequest(
            round_id=round_id, account_id=account_id, actor=actor, reason="test"
        )
        return await self.handlers.RollbackBet(request, CONTEXT)

    async def resolve(
        self,
        round_id: str,
        verdict: wallet_pb2.ReviewVerdict.ValueType,
        *,
        operator_id: str = OPERATOR,
        actor: str = "anna",
    ) -> wallet_pb2.Settlement:
        """What stands there after an operator's verdict."""
        request = wallet_pb2.ResolveReviewRequest(
            operator_id=operator_id, round_id=round_id, verdict=verdict, actor=actor, reason="looked at it"
        )
        return (await self.handlers.ResolveReview(request, CONTEXT)).settlement

    async def reviews(self, *, operator_id: str = OPERATOR) -> list[wallet_pb2.Review]:
        """The first page of an operator's open reviews."""
        request = wallet_pb2.ListReviewsRequest(operator_id=operator_id, page_size=200)
        return list((await self.handlers.ListReviews(request, CONTEXT)).reviews)

    async def known(self, round_id: str) -> list[wallet_pb2.Settlement]:
        """What the wallet knows of a round."""
        request = wallet_pb2.GetSettlementsRequest(round_id=round_id)
        return list((await self.handlers.GetSettlements(request, CONTEXT)).settlements)

    async def scalar(self, query: str, **values: Any) -> Any:
        """One value from the database."""
        async with self.engine.connect() as conn:
            return (await conn.execute(text(query), values)).scalar_one()

    async def check(self) -> None:
        """Every invariant, the outbox included: no relay runs here."""
        async with self.engine.connect() as conn:
            await invariants.check_wallet(conn)
            await invariants.outbox_tells_everything_once(conn)
