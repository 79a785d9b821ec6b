"""Answers of an operator's wallet that its contract does not allow: none of them decides anything."""

from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from reelmesh.external_wallet.v1 import external_wallet_pb2, external_wallet_pb2_grpc
from reelmesh.type.v1 import money_pb2

from services.wallet.external import operator_wallet
from services.wallet.records import Call, CallState, CallStep, Step, Unanswered


class Answering(external_wallet_pb2_grpc.ExternalWalletServiceServicer):
    """An operator's wallet that says the same to everything."""

    def __init__(self, outcome: int, currency_code: str, amount_minor: int) -> None:
        balance = money_pb2.Money(currency_code=currency_code, amount_minor=amount_minor)
        self._told: dict[str, Any] = {"outcome": outcome, "balance_after": balance}

    async def Stake(self, request: Any, context: Any) -> external_wallet_pb2.StakeResponse:
        return external_wallet_pb2.StakeResponse(**self._told)

    async def Payout(self, request: Any, context: Any) -> external_wallet_pb2.PayoutResponse:
        return external_wallet_pb2.PayoutResponse(**self._told)

    async def Void(self, request: Any, context: Any) -> external_wallet_pb2.VoidResponse:
        return external_wallet_pb2.VoidResponse(**self._told)

    async def Balance(self, request: Any, context: Any) -> external_wallet_pb2.BalanceResponse:
        return external_wallet_pb2.BalanceResponse(balance=self._told["balance_after"])


@pytest.mark.parametrize(
    ("outcome", "currency_code", "amount_minor", "problem"),
    [
        (0, "EUR", 5, "outcome 0"),
        (7, "EUR", 5, "outcome 7"),
        (1, "USD", 5, "'USD' instead of EUR"),
        (1, "", 0, "'' instead of EUR"),
        (1, "EUR", 2**63 - 1, "beyond 2^53"),
        (1, "EUR", -(2**63), "beyond 2^53"),
    ],
)
async def test_an_answer_that_the_contract_does_not_allow_is_none(
    outcome: int, currency_code: str, amount_minor: int, problem: str
) -> None:
    server = grpc.aio.server()
    answering = Answering(outcome, currency_code, amount_minor)
    external_wallet_pb2_grpc.add_ExternalWalletServiceServicer_to_server(answering, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = operator_wallet.OperatorWalletClient(f"127.0.0.1:{port}", token="t", insecure=True)
    call = Call(
        round_id="01a2286e-26b2-7354-a2f4-168e74c0bbb3",
        step=CallStep.STAKE,
        operator_id="acme",
        player_id="ann",
        account_id=6,
        currency_code="EUR",
        amount_minor=100,
        game_id="lucky-lines",
        settle_step=Step.FUSED,
        win_minor=0,
        traceparent="",
        actor="",
        reason="",
        state=CallState.SENT,
        outcome=None,
        balance_after_minor=None,
        attempts=1,
        last_error="",
        next_time=datetime.now(UTC),
        create_time=datetime.now(UTC),
    )
    try:
        for ask in (client.stake, client.payout, client.void):
            with pytest.raises(Unanswered) as told:
                await ask(call)
            assert problem in str(told.value)
    finally:
        await client.close()
        await server.stop(0)
