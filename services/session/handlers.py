"""gRPC <-> the rules of the session service, and its outbox rows <-> events."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import grpc
import msgspec
from reelmesh.events.v1 import events_pb2
from reelmesh.session.v1 import session_pb2, session_pb2_grpc
from reelmesh.type.v1 import account_kind_pb2
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import items
from services.common.batching import Batcher
from services.common.db import Connection, hot_statements, transaction
from services.common.errors import FieldInvalid, FieldMissing
from services.common.fields import require_text, require_uuid
from services.common.outbox import OutboxRow
from services.common.telemetry import traceparent
from services.session import sessions, store
from services.session.authorizations import Answer, SpinAuthorization, authorize_spins
from services.session.config import Config
from services.session.errors import LaunchCodeInvalid, SessionNotFound, TokenInvalid
from services.session.messages import (
    authorization_fields,
    parse_launch,
    parse_spin,
    write_created,
    write_session,
)
from services.session.policy import Policy, limits_for
from services.session.store import Session, SpinAsk

if TYPE_CHECKING:  # the name exists in the type stubs only
    from reelmesh.wallet.v1.wallet_pb2_grpc import WalletServiceAsyncStub

Context = grpc.aio.ServicerContext[Any, Any]
BATCH_SIZE_MAX = 200


class Handlers(session_pb2_grpc.SessionServiceServicer):
    """SessionService."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        wallet: "WalletServiceAsyncStub",
        policies: Mapping[str, Policy],
        config: Config,
    ) -> None:
        self._engine = engine
        self._wallet = wallet
        self._policies = policies
        self._config = config
        # Key: the token's hash, so the session. Of the account only the statement knows, and keeps to it too.
        self.spins: Batcher[SpinAsk, SpinAuthorization] = Batcher(
            "session.authorize",
            self._authorize_batch,
            key=lambda ask: ask.token_hash,
            size_max=BATCH_SIZE_MAX,
        )

    async def CreateSession(
        self, request: session_pb2.CreateSessionRequest, context: Context
    ) -> session_pb2.CreateSessionResponse:
        launch = parse_launch(request)
        limits = limits_for(
            self._policies,
            jurisdiction=launch.jurisdiction,
            real=request.kind == account_kind_pb2.ACCOUNT_KIND_REAL,
            env=self._config.env,
            currency_code=launch.currency_code,
            cycle_min_ms=launch.cycle_min_ms,
            stake_max_minor=launch.stake_max_minor,
        )
        async with transaction(self._engine, "session.find_launched") as conn:
            session = await sessions.find_launched(conn, launch)
        if session is None:
            # Before the transaction, never inside: a slow wallet must hold no lock.
            opened = await self._wallet.OpenAccount(
                wallet_pb2.OpenAccountRequest(
                    operator_id=launch.operator_id,
                    player_id=launch.player_id,
                    currency_code=launch.currency_code,
                    kind=request.kind,
                )
            )
            async with transaction(self._engine, "session.create") as conn:
                session = await sessions.open_session(
                    conn,
                    launch,
                    account_id=opened.account.account_id,
                    limits=limits,
                    code_key=self._config.code_key,
                    traceparent=traceparent(),
                )
        code = "" if session.code_spent else sessions.launch_code(self._config.code_key, session.session_id)
        return write_created(session, code)

    async def ExchangeCode(
        self, request: session_pb2.ExchangeCodeRequest, context: Context
    ) -> session_pb2.ExchangeCodeResponse:
        if not request.launch_code:
            raise LaunchCodeInvalid()
        async with transaction(self._engine, "session.exchange") as conn:
            token, session = await sessions.exchange_code(conn, request.launch_code)
        return session_pb2.ExchangeCodeResponse(token=token, session=write_session(session))

    async def Authorize(
        self, request: session_pb2.AuthorizeRequest, context: Context
    ) -> session_pb2.AuthorizeResponse:
        spin = await self.spins.submit(parse_spin(request))
        return session_pb2.AuthorizeResponse(
            authorization=session_pb2.Authorization(**authorization_fields(spin))
        )

    async def BatchAuthorize(
        self, request: session_pb2.BatchAuthorizeRequest, context: Context
    ) -> session_pb2.BatchAuthorizeResponse:
        if len(request.requests) > BATCH_SIZE_MAX:
            raise FieldInvalid(field="requests", problem=f"more than {BATCH_SIZE_MAX}")
        # As single items into the batcher that every gateway's items share.
        results = await items.answer(
            "session.authorize_item",
            request.requests,
            self.spins,
            parse=lambda item, _: parse_spin(item),
            reply=lambda spin, *_: {"authorization": authorization_fields(spin)},
        )
        return session_pb2.BatchAuthorizeResponse(results=results)

    async def GetSession(
        self, request: session_pb2.GetSessionRequest, context: Context
    ) -> session_pb2.GetSessionResponse:
        async with transaction(self._engine, "session.get") as conn:
            session = await _named_session(conn, request)
        return session_pb2.GetSessionResponse(session=write_session(session))

    async def CloseSession(
        self, request: session_pb2.CloseSessionRequest, context: Context
    ) -> session_pb2.CloseSessionResponse:
        async with transaction(self._engine, "session.close") as conn:
            session = await _named_session(conn, request)
            session = await sessions.close_session(conn, session, traceparent=traceparent())
        return session_pb2.CloseSessionResponse(session=write_session(session))

    async def _authorize_batch(self, asks: Sequence[SpinAsk]) -> Sequence[Answer]:
        async with hot_statements(self._engine, "session.authorize") as conn:
            return await authorize_spins(conn, asks, mint_age_ms=self._config.spin_deadline_ms)


async def _named_session(
    conn: AsyncConnection, request: session_pb2.GetSessionRequest | session_pb2.CloseSessionRequest
) -> Session:
    """The session a request names by token, or by id and operator; another operator's is not found."""
    match request.WhichOneof("key"):
        case "token":
            if not request.token:
                raise TokenInvalid()
            session = await sessions.get_session_by_token(conn, request.token)
        case "session_id":
            session_id = require_uuid(request.session_id, "session_id")
            require_text(request.operator_id, "operator_id")
            session = await sessions.get_session(conn, session_id)
        case _:
            raise FieldMissing(field="key")
    if request.operator_id and request.operator_id != session.operator_id:
        raise SessionNotFound()
    return session


async def to_events(conn: Connection, rows: Sequence[OutboxRow]) -> Sequence[Sequence[events_pb2.Event]]:
    """The events of each outbox row, with the facts of a session that no longer change."""
    session_ids = {session_id for row in rows for session_id in row.payload["session_ids"]}
    found = {
        session.session_id: session for session in await store.list_sessions(conn, session_ids=session_ids)
    }
    return [
        [
            _event(row, found[session_id], parent)
            for session_id, parent in zip(
                row.payload["session_ids"], row.payload["traceparents"], strict=True
            )
        ]
        for row in rows
    ]


def _event(row: OutboxRow, session: Session, parent: str) -> events_pb2.Event:
    facts: dict[str, object] = {"game_id": session.game_id}
    if row.kind == "session.created":
        facts |= {
            "player_id": session.player_id,
            "kind": account_kind_pb2.AccountKind.Name(account_kind_pb2.AccountKind.ValueType(session.kind)),
            "currency_code": session.currency_code,
            "language_code": session.language_code,
            "jurisdiction": session.jurisdiction,
            "stake_max_minor": session.stake_max_minor,
            "cycle_min_ms": session.cycle_min_ms,
            "expire_time": session.expire_time,
        }
    else:
        facts["close_time"] = session.close_time
    return events_pb2.Event(
        event_type=row.kind,
        operator_id=session.operator_id,
        account_id=session.account_id,
        session_id=session.session_id,
        payload_json=msgspec.json.encode(facts),
        traceparent=parent,
    )
