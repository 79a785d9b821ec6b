"""gRPC <-> the rules of the session service, and its outbox rows <-> events."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import grpc
import msgspec
from reelmesh.events.v1 import events_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import account_kind_pb2
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import items
from services.common.batching import Batcher
from services.common.db import Connection, hot_statements, transaction
from services.common.errors import FieldInvalid, FieldMissing, Unavailable
from services.common.fields import require_text, require_uuid
from services.common.outbox import OutboxRow
from services.common.telemetry import traceparent
from services.session import sessions, store
from services.session.authorizations import Answer, SpinAuthorization, authorize_spins
from services.session.config import Config
from services.session.errors import LaunchCodeInvalid, SessionNotFound, TokenInvalid
from services.session.limits_handlers import LimitsHandlers
from services.session.messages import (
    authorization_fields,
    parse_launch,
    parse_modes,
    parse_spin,
    write_created,
    write_session,
    write_spin,
)
from services.session.policies import PolicyBook
from services.session.policy import Limits, limits_for
from services.session.sessions import Launch
from services.session.spins_store import SpinAsk
from services.session.store import Session

if TYPE_CHECKING:  # the name exists in the type stubs only
    from reelmesh.wallet.v1.wallet_pb2_grpc import WalletServiceAsyncStub

Context = grpc.aio.ServicerContext[Any, Any]
BATCH_SIZE_MAX = 200
KNOWN_COUNTED_MAX = 100_000


class Handlers(LimitsHandlers):
    """SessionService: sessions and spins here, the rest in its base."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        wallet: "WalletServiceAsyncStub",
        policies: PolicyBook,
        config: Config,
    ) -> None:
        self._engine = engine
        self._wallet = wallet
        self._policies = policies
        self._config = config
        # A session that is counted stays so. Bounded: forgetting costs a statement.
        self._known_counted: set[bytes] = set()
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
        limits = self._limits(launch, request)
        if not self._policies.recorded:
            raise Unavailable()
        code_key = self._config.code_key
        async with transaction(self._engine, "session.find_launched") as conn:
            launched = await sessions.find_launched(conn, launch, code_key=code_key)
        if launched is None:
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
                launched = await sessions.open_session(
                    conn,
                    launch,
                    account_id=opened.account.account_id,
                    limits=limits,
                    code_key=code_key,
                    traceparent=traceparent(),
                )
        return write_created(launched)

    def _limits(self, launch: Launch, request: session_pb2.CreateSessionRequest) -> Limits:
        return limits_for(
            self._policies.served,
            jurisdiction=launch.jurisdiction,
            real=request.kind == account_kind_pb2.ACCOUNT_KIND_REAL,
            env=self._config.env,
            currency_code=launch.currency_code,
            cycle_min_ms=launch.cycle_min_ms,
            stake_max_minor=launch.stake_max_minor,
            loss_max_minor=launch.loss_max_minor,
            check_interval_ms=launch.check_interval_ms,
            session_life_ms=launch.session_life_ms,
            player_tier=launch.player_tier,
            modes=parse_modes(request),
        )

    async def ExchangeCode(
        self, request: session_pb2.ExchangeCodeRequest, context: Context
    ) -> session_pb2.ExchangeCodeResponse:
        if not request.launch_code:
            raise LaunchCodeInvalid()
        async with transaction(self._engine, "session.exchange") as conn:
            token, session = await sessions.exchange_code(conn, request.launch_code)
            play = await self.status(conn, session)
        return session_pb2.ExchangeCodeResponse(token=token, session=write_session(session), play=play)

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
            play = await self.status(conn, session) if request.play_wanted else None
        return session_pb2.GetSessionResponse(session=write_session(session), play=play)

    async def ExplainSpin(
        self, request: session_pb2.ExplainSpinRequest, context: Context
    ) -> session_pb2.ExplainSpinResponse:
        """One spin's authorisation, for people."""
        operator_id = require_text(request.operator_id, "operator_id")
        request_id = require_uuid(request.request_id, "request_id")
        if request.account_id <= 0:
            raise FieldMissing(field="account_id")
        response = session_pb2.ExplainSpinResponse()
        async with transaction(self._engine, "session.explain_spin") as conn:
            spin = await store.find_spin(conn, account_id=request.account_id, request_id=request_id)
            session = spin and await store.find_session(conn, session_id=spin.session_id)
        if spin and session and session.operator_id == operator_id:
            response.record.CopyFrom(write_spin(str(request_id), spin, session))
        return response

    async def ListPolicies(
        self, request: session_pb2.ListPoliciesRequest, context: Context
    ) -> session_pb2.ListPoliciesResponse:
        """What is served, by name."""
        return session_pb2.ListPoliciesResponse(
            policies=[
                session_pb2.Policy(name=name, version=one.policy.version)
                for name, one in sorted(self._policies.served.items())
            ]
        )

    async def CloseSession(
        self, request: session_pb2.CloseSessionRequest, context: Context
    ) -> session_pb2.CloseSessionResponse:
        async with transaction(self._engine, "session.close") as conn:
            session = await _named_session(conn, request)
            session = await sessions.close_session(conn, session, traceparent=traceparent())
        return session_pb2.CloseSessionResponse(session=write_session(session))

    async def _authorize_batch(self, asks: Sequence[SpinAsk]) -> Sequence[Answer]:
        if len(self._known_counted) > KNOWN_COUNTED_MAX:
            self._known_counted.clear()
        async with hot_statements(self._engine, "session.authorize") as conn:
            return await authorize_spins(
                conn,
                asks,
                mint_age_ms=self._config.spin_deadline_ms,
                known_counted=self._known_counted,
            )


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
            "policy_version": session.policy_version,
            "policy_hash": session.policy_hash,
            "expire_time": session.expire_time,
        }
    elif row.kind == "session.reality_check":
        facts |= row.payload["facts"]
    else:
        facts["close_time"] = session.close_time
    return events_pb2.Event(
        event_type=row.kind,
        operator_id=session.operator_id,
        account_id=session.account_id,
        player_id=session.player_id,
        session_id=session.session_id,
        payload_json=msgspec.json.encode(facts),
        traceparent=parent,
    )
