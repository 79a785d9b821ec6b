"""A stranger's program, run where the wheel is installed: calls.py <function> <JSON of its arguments>.

It prints what the function returns, as JSON.
"""

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from reelmesh.client import CallError, Options, Tls, bearer, connect
from reelmesh.gateway.v1 import gateway_pb2, operator_pb2
from reelmesh.type.v1.account_kind_pb2 import ACCOUNT_KIND_REAL
from reelmesh.type.v1.money_pb2 import Money
from reelmesh.wallet.v1 import wallet_pb2
from reelmesh.wallet.v1.wallet_pb2_grpc import WalletServiceStub

# Requests for GetAccount, right and wrong.
REQUESTS: dict[str, Any] = {
    "right": wallet_pb2.GetAccountRequest(account_id=7, operator_id="dev"),
    "dict": {"account_id": 7},
    "nothing": None,
    "other": wallet_pb2.OpenAccountRequest(operator_id="dev"),
}


async def get_account(
    target: str,
    *,
    request: str = "right",
    account_id: int = 0,
    timeout: float | None = None,  # noqa: ASYNC109 - named by grpc
    identity: str = "",
    signing_secret: str = "",
    tls: dict[str, str] | None = None,
) -> Any:
    """One call through connect()."""
    options: Options = {"identity": lambda: identity} if identity else {}
    if signing_secret:
        options["signing_secret"] = signing_secret
    if tls is not None:
        options["tls"] = Tls(**tls)
    message = wallet_pb2.GetAccountRequest(account_id=account_id, operator_id="dev")
    async with connect("wallet", target, **options) as wallet:
        return await _told(wallet.GetAccount(message if account_id else REQUESTS[request], timeout=timeout))


async def get_account_unguarded(target: str, *, request: str = "right") -> Any:
    """The same through the generated stub alone."""
    async with grpc.aio.insecure_channel(target) as channel:
        return await _told(WalletServiceStub(channel).GetAccount(REQUESTS[request]))


async def cancel(target: str) -> Any:
    """A call that is cancelled once a line comes in."""
    async with connect("wallet", target) as wallet:
        call = asyncio.ensure_future(_told(wallet.GetAccount(REQUESTS["right"], timeout=60)))
        await asyncio.to_thread(sys.stdin.readline)
        call.cancel()
        try:
            return await call
        except asyncio.CancelledError:
            return "cancelled"


async def open_account(target: str, *, identity: str) -> Any:
    """The id of a new account."""
    request = wallet_pb2.OpenAccountRequest(
        operator_id="dev", player_id=uuid.uuid4().hex, currency_code="EUR", kind=ACCOUNT_KIND_REAL
    )
    async with connect("wallet", target, identity=lambda: identity) as wallet:
        return (await wallet.OpenAccount(request)).account.account_id


async def overdraw(
    target: str, *, credential: str, own_credential: str = "", signing_secret: str = ""
) -> Any:
    """A deposit of 1.00 and a withdrawal of 2.00; the latter with a credential of its own, if given."""
    options: Options = {"credential": credential, "signing_secret": signing_secret}
    async with connect("gateway", target, **options) as gateway:
        player_id = uuid.uuid4().hex
        deposit = gateway_pb2.FundPlayerRequest(
            request_id=str(uuid.uuid4()),
            player_id=player_id,
            amount=Money(currency_code="EUR", amount_minor=100),
        )
        withdrawal = gateway_pb2.WithdrawPlayerRequest(
            request_id=str(uuid.uuid4()),
            player_id=player_id,
            amount=Money(currency_code="EUR", amount_minor=200),
        )
        await gateway.FundPlayer(deposit)
        own = bearer(own_credential) if own_credential else None
        return await _told(gateway.WithdrawPlayer(withdrawal, metadata=own))


async def follow(target: str, *, credential: str, signing_secret: str = "", request: str = "right") -> Any:
    """A deposit, found in the operator's feed; or what the feed's error tells."""
    options: Options = {"credential": credential, "signing_secret": signing_secret}
    subscribe: Any = operator_pb2.SubscribeEventsRequest(event_types=["transfer.applied"])
    async with connect("gateway", target, **options) as gateway:

        async def read() -> str:
            async for answer in gateway.SubscribeEvents(subscribe if request == "right" else {}, timeout=30):
                for event in answer.events:
                    return event.event_type
            return "ended"

        return await _told(read())


async def launch(target: str, *, credential: str) -> Any:
    """A new player's session token."""
    player_id = uuid.uuid4().hex
    async with connect("gateway", target, credential=credential) as gateway:
        amount = Money(currency_code="EUR", amount_minor=100)
        await gateway.FundPlayer(
            gateway_pb2.FundPlayerRequest(request_id=str(uuid.uuid4()), player_id=player_id, amount=amount)
        )
        session = await gateway.CreateSession(
            gateway_pb2.CreateSessionRequest(
                request_id=str(uuid.uuid4()),
                player_id=player_id,
                game_id="harbour-lights",
                currency_code="EUR",
            )
        )
        code = gateway_pb2.ExchangeCodeRequest(launch_code=session.launch_code)
        return (await gateway.ExchangeCode(code)).token


async def play(target: str, *, credential: str) -> Any:
    """A spin on the Play stream with that credential, or what its error tells."""

    async def spins() -> AsyncIterator[gateway_pb2.PlayRequest]:
        stake = Money(currency_code="EUR", amount_minor=100)
        yield gateway_pb2.PlayRequest(
            call_id="1", spin=gateway_pb2.SpinRequest(request_id=str(uuid.uuid4()), stake=stake)
        )

    async with connect("gateway", target, credential=credential) as gateway:

        async def read() -> str:
            async for answer in gateway.Play(spins(), timeout=30):
                return f"{answer.call_id} {answer.WhichOneof('result')}"
            return "ended"

        return await _told(read())


async def failures(cases: list[tuple[str, str, str]]) -> Any:
    """What CallError makes of a gRPC code, its text, and the reason that a service told, if any."""
    found = []
    for code, text, reason in cases:
        status = status_pb2.Status()
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="reelmesh"))
        told = [("grpc-status-details-bin", status.SerializeToString())] if reason else []
        error = CallError(grpc.StatusCode[code], trailing_metadata=grpc.aio.Metadata(*told), details=text)
        found.append([error.reason, error.error_class, error.metadata])
    return found


async def _told(answer: Awaitable[Any]) -> Any:
    """The answer's text, or what its error tells."""
    try:
        return {"answer": str(await answer)}
    except TypeError as error:
        return {"type_error": str(error)}
    except CallError as error:
        return {
            "reason": error.reason,
            "class": error.error_class,
            "metadata": error.metadata,
            "message": error.message,
            "trace_id": error.trace_id,
            "code": error.code().name,
            "text": str(error),
        }
    except grpc.aio.AioRpcError as error:
        return {"code": error.code().name}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(globals()[sys.argv[1]](**json.loads(sys.argv[2])))))
