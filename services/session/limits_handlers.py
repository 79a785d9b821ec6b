"""What belongs to the account over gRPC: its limits, its reality check, what its rounds returned."""

from typing import TYPE_CHECKING, Any

import grpc
from reelmesh.session.v1 import session_pb2, session_pb2_grpc
from reelmesh.type.v1 import account_kind_pb2
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common.db import hot_statements, transaction
from services.common.errors import DomainError
from services.common.fields import require_enum
from services.common.telemetry import traceparent
from services.session import counts_store, limits, limits_messages, limits_store, messages, sessions, store
from services.session.errors import TokenInvalid
from services.session.policies import PolicyBook
from services.session.store import Session

if TYPE_CHECKING:  # the name exists in the type stubs only
    from reelmesh.wallet.v1.wallet_pb2_grpc import WalletServiceAsyncStub

Context = grpc.aio.ServicerContext[Any, Any]


class LimitsHandlers(session_pb2_grpc.SessionServiceServicer):
    """Limits, reality check, returns."""

    _engine: AsyncEngine
    _wallet: "WalletServiceAsyncStub"
    _policies: PolicyBook

    async def KeepAlive(
        self, request: session_pb2.KeepAliveRequest, context: Context
    ) -> session_pb2.KeepAliveResponse:
        async with transaction(self._engine, "session.keep_alive") as conn:
            session = await _session_of(conn, request.token)
            await limits.keep_alive(conn, session)
            session = await _session_of(conn, request.token)
            play = await self.status(conn, session)
        return session_pb2.KeepAliveResponse(session=messages.write_session(session), play=play)

    async def AcknowledgeRealityCheck(
        self, request: session_pb2.AcknowledgeRealityCheckRequest, context: Context
    ) -> session_pb2.AcknowledgeRealityCheckResponse:
        choice = require_enum(request.choice, "choice", session_pb2.RealityCheckChoice)
        name = session_pb2.RealityCheckChoice.Name(session_pb2.RealityCheckChoice.ValueType(choice))
        async with transaction(self._engine, "session.reality_check") as conn:
            session = await _session_of(conn, request.token)
            await limits.acknowledge_check(
                conn,
                session,
                choice=name.removeprefix("REALITY_CHECK_CHOICE_"),
                traceparent=traceparent(),
            )
            session = await _session_of(conn, request.token)
            play = await self.status(conn, session)
        return session_pb2.AcknowledgeRealityCheckResponse(session=messages.write_session(session), play=play)

    async def SetPlayerLimits(
        self, request: session_pb2.SetPlayerLimitsRequest, context: Context
    ) -> session_pb2.SetPlayerLimitsResponse:
        change = limits_messages.parse_limits(request)
        account_id = await self._account_id(request)
        async with transaction(self._engine, "session.set_limits") as conn:
            play = await limits.set_limits(conn, change, account_id=account_id)
        return session_pb2.SetPlayerLimitsResponse(
            **limits_messages.limits_fields(play, request.currency_code)
        )

    async def GetPlayerLimits(
        self, request: session_pb2.GetPlayerLimitsRequest, context: Context
    ) -> session_pb2.GetPlayerLimitsResponse:
        limits_messages.require_player(request)
        account_id = await self._known_account_id(request)
        play = None
        if account_id is not None:
            async with self._engine.connect() as conn:
                play = await limits_store.find_play(conn, account_id=account_id)
        return session_pb2.GetPlayerLimitsResponse(
            **limits_messages.limits_fields(play, request.currency_code)
        )

    async def BatchCountReturns(
        self, request: session_pb2.BatchCountReturnsRequest, context: Context
    ) -> session_pb2.BatchCountReturnsResponse:
        returns = limits_messages.parse_returns(request)
        if returns:
            async with hot_statements(self._engine, "session.count_returns") as conn:
                await counts_store.count_returns(conn, returns)
        return session_pb2.BatchCountReturnsResponse()

    async def status(self, conn: AsyncConnection, session: Session) -> session_pb2.PlayStatus:
        """What is to be shown of a session, by the policy that it pins."""
        policy = await self._policies.find(conn, session.policy_hash)
        play = None
        if session.counted:
            play = await limits_store.find_play(conn, account_id=session.account_id)
        return limits_messages.write_play(session, play, policy, now=await store.read_clock(conn))

    async def _known_account_id(self, request: session_pb2.GetPlayerLimitsRequest) -> int | None:
        """The player's account; None without one, which has no limits: who may only read opens none."""
        try:
            found = await self._wallet.FindAccount(wallet_pb2.FindAccountRequest(**_whose(request)))
        except DomainError as error:
            if error.reason != "ACCOUNT_NOT_FOUND":
                raise
            return None
        return found.account.account_id

    async def _account_id(self, request: session_pb2.SetPlayerLimitsRequest) -> int:
        """The player's account, opened when it is new: limits may be there before the first session (R10)."""
        opened = await self._wallet.OpenAccount(wallet_pb2.OpenAccountRequest(**_whose(request)))
        return opened.account.account_id


async def _session_of(conn: AsyncConnection, token: str) -> Session:
    """Errors: TOKEN_INVALID."""
    if not token:
        raise TokenInvalid()
    return await sessions.get_session_by_token(conn, token)


def _whose(
    request: session_pb2.GetPlayerLimitsRequest | session_pb2.SetPlayerLimitsRequest,
) -> dict[str, Any]:
    """Fields that name the account, the same at the wallet."""
    return {
        "operator_id": request.operator_id,
        "player_id": request.player_id,
        "currency_code": request.currency_code,
        "kind": account_kind_pb2.AccountKind.ValueType(request.kind),
    }
