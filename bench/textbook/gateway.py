"""Gateway: POST /v1/spins over three unary calls."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import uvicorn
from opentelemetry import trace
from reelmesh.game.v1 import game_pb2, game_pb2_grpc
from reelmesh.session.v1 import session_pb2, session_pb2_grpc
from reelmesh.type.v1 import money_pb2
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.textbook.service import channel, start_tracing

TIMEOUT_S = 10


async def spin(request: Request) -> Response:
    state, tracer = request.app.state, trace.get_tracer("textbook")
    with tracer.start_as_current_span("POST /v1/spins", kind=trace.SpanKind.SERVER):
        token, body = request.headers["authorization"].removeprefix("Bearer "), await request.json()
        stake = money_pb2.Money(**body["stake"])
        ask = session_pb2.AuthorizeRequest(token=token, request_id=body["request_id"], stake=stake)
        try:
            authorized = await state.session.Authorize(ask, timeout=TIMEOUT_S)
            play = game_pb2.PlayRequest(authorization=authorized.authorization)
            played = await state.game.Play(play, timeout=TIMEOUT_S)
            settled = await state.wallet.Settle(played.settle, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            return JSONResponse({"reason": error.code().name, "class": "RETRY_SAME_ID"}, 503)
        if settled.settlement.status != wallet_pb2.SETTLEMENT_STATUS_APPLIED:
            return JSONResponse({"reason": "INSUFFICIENT_FUNDS", "class": "FINAL"}, 409)
        balance = money_json(settled.settlement.balance_after)
        round_ = {
            "round_id": played.round.round_id,
            "request_id": played.round.request_id,
            "game_id": authorized.authorization.game_id,
            "state": "SETTLED",
            "stake": body["stake"],
            "win": money_json(played.settle.win),
            "outcome": json.loads(played.hidden_outcome_json),
            "balance_after": balance,
            "trace_id": format(trace.get_current_span().get_span_context().trace_id, "032x"),
        }
        return JSONResponse({"round": round_, "current_balance": balance})


def money_json(money: money_pb2.Money) -> dict[str, object]:
    return {"currency_code": money.currency_code, "amount_minor": money.amount_minor}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.session = session_pb2_grpc.SessionServiceStub(channel("session"))
    app.state.game = game_pb2_grpc.GameServiceStub(channel("game"))
    app.state.wallet = wallet_pb2_grpc.WalletServiceStub(channel("wallet"))
    yield


if __name__ == "__main__":
    start_tracing()
    app = Starlette(routes=[Route("/v1/spins", spin, methods=["POST"])], lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["TEXTBOOK_PORT"]), access_log=False)
