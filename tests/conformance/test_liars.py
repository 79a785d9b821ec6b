"""No case passes both for a wallet that says yes to everything and for one that says no."""

from typing import Any

import grpc
import pytest
from reelmesh.conformance import Hooks, Trial, Wallet, run
from reelmesh.conformance.catalogue import EXTERNAL, WALLET
from reelmesh.conformance.channels import Channels
from reelmesh.conformance.external_wallet import ExternalWallet
from reelmesh.conformance.wallet_service import WalletService
from reelmesh.external_wallet.v1 import external_wallet_pb2 as external
from reelmesh.type.v1.money_pb2 import Money
from reelmesh.wallet.v1 import wallet_pb2 as wallet

from tests.conformance.processes import KEYS

BALANCE = Money(currency_code="EUR", amount_minor=1_000)
ACCOUNT = wallet.Account(account_id=2, balance=BALANCE)
SETTLEMENT = wallet.Settlement(status=wallet.SETTLEMENT_STATUS_APPLIED, balance_after=BALANCE)
RESULT = wallet.SettlementResult(settlement=SETTLEMENT)
# What a case needs to begin at all: true in both.
PLAYERS: dict[str, Any] = {
    "OpenAccount": wallet.OpenAccountResponse(account=ACCOUNT),
    "GetAccount": wallet.GetAccountResponse(account=ACCOUNT),
    "Balance": external.BalanceResponse(balance=BALANCE),
}
YES: dict[str, Any] = {
    **{
        name: getattr(external, f"{name}Response")(outcome=external.OUTCOME_APPLIED, balance_after=BALANCE)
        for name in ("Stake", "Payout", "Void")
    },
    "Settle": wallet.SettleResponse(settlement=SETTLEMENT),
    "RollbackRound": wallet.RollbackRoundResponse(settlement=SETTLEMENT),
    "RollbackBet": wallet.RollbackBetResponse(settlement=SETTLEMENT),
    "BatchSettle": wallet.BatchSettleResponse(results=[RESULT, RESULT]),
    "FreezeAccount": wallet.FreezeAccountResponse(),
    "UnfreezeAccount": wallet.UnfreezeAccountResponse(),
    "ListTransactions": wallet.ListTransactionsResponse(),
}


class Liar(grpc.GenericRpcHandler):
    """Answers by the method's name alone, whatever it is asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    def service(self, handler_call_details: Any) -> Any:
        name = handler_call_details.method.rpartition("/")[2]
        known = PLAYERS.get(name) or self.answers.get(name)
        if name == "Deposit":
            known = wallet.DepositResponse()

        async def answer(body: bytes, context: Any) -> Any:
            if known is None:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
            else:
                return known.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


async def passed(dialect: str, answers: dict[str, Any]) -> set[str]:
    """The cases that a liar passes."""

    async def nothing(*arguments: str) -> None:
        """There is nothing to restart, and nobody to block."""

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers([Liar(answers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channels = Channels(f"127.0.0.1:{port}")
    liar: Wallet = WalletService(channels, KEYS, operator_id="liar", kind="real", currency_code="EUR")
    if dialect == EXTERNAL:
        liar = ExternalWallet(channels, player_id="pat", currency_code="EUR", token="token")
    try:
        await channels.connect()
        results = await run(Trial(liar, hooks=Hooks(restart=nothing, player=nothing), races=2))
    finally:
        await channels.close()
        await server.stop(None)
    return {result.row.number for result in results if result.status == "ok"}


@pytest.mark.parametrize("dialect", [WALLET, EXTERNAL])
async def test_no_case_passes_for_yes_and_for_no(dialect: str) -> None:
    assert await passed(dialect, YES) & await passed(dialect, {}) == {"1"}
