"""Operations of responsible play: the state of a session, its reality check, a player's own limits."""

import copy
import logging
from typing import Any

from google.protobuf.message import Message
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import account_kind_pb2

from services.common import fields, telemetry
from services.common.errors import DomainError
from services.gateway.operators.operators import Operators
from services.gateway.players import Players
from services.gateway.rounds import played_round
from services.gateway.store import Operator
from services.gateway.stubs import Stubs

log = logging.getLogger(__name__)

# What an operator who says nothing means.
_REAL = account_kind_pb2.ACCOUNT_KIND_REAL


class PlayLimits:
    """What players and operators say and ask about limits; session decides."""

    def __init__(self, stubs: Stubs, *, operators: Operators, players: Players) -> None:
        self._stubs, self._operators, self._players = stubs, operators, players

    async def session(self, token: str) -> gateway_pb2.GetSessionResponse:
        """The session as it stands, with the round to go on with."""
        found = await self._stubs.session.GetSession(
            session_pb2.GetSessionRequest(token=token, play_wanted=True)
        )
        response = gateway_pb2.GetSessionResponse(
            session_id=found.session.session_id,
            state=found.session.state,
            expire_time=found.session.expire_time,
            play=found.play,
        )
        try:
            last = await self._players.last_round(found.session)
            if last is not None:
                response.round.CopyFrom(played_round(last))
        except DomainError as error:
            log.warning("a session was read without its round: %s", error.reason)
        return response

    async def keep_alive(self, token: str) -> gateway_pb2.KeepAliveResponse:
        """The player is there."""
        kept = await self._stubs.session.KeepAlive(session_pb2.KeepAliveRequest(token=token))
        return gateway_pb2.KeepAliveResponse(expire_time=kept.session.expire_time, play=kept.play)

    async def acknowledge(
        self, token: str, request: gateway_pb2.AcknowledgeRealityCheckRequest
    ) -> gateway_pb2.AcknowledgeRealityCheckResponse:
        """The reality check is answered. QUIT asks for a close, also of a session that has ended."""
        response = gateway_pb2.AcknowledgeRealityCheckResponse()
        quits = request.choice == session_pb2.REALITY_CHECK_CHOICE_QUIT
        try:
            seen = await self._stubs.session.AcknowledgeRealityCheck(
                session_pb2.AcknowledgeRealityCheckRequest(token=token, choice=request.choice)
            )
            response.play.CopyFrom(seen.play)
        except DomainError as error:
            if not quits or not error.reason.startswith("SESSION_"):
                raise
        if quits:
            close = gateway_pb2.CloseSessionRequest()
            response.closed.CopyFrom(
                await self._players.close_session(token=token, operator=None, request=close)
            )
        return response

    async def set_limits(
        self, operator: Operator, request: gateway_pb2.SetPlayerLimitsRequest
    ) -> gateway_pb2.SetPlayerLimitsResponse:
        """All of a player's own limits; recorded before it is done, as everything an operator asks for."""
        canonical = copy.deepcopy(request)
        request_id = fields.require_uuid(request.request_id, "request_id")
        canonical.request_id, canonical.kind = str(request_id), request.kind or _REAL
        change = session_pb2.SetPlayerLimitsRequest(
            operator_id=operator.operator_id,
            request_id=canonical.request_id,
            player_id=request.player_id,
            currency_code=request.currency_code,
            kind=canonical.kind,
            limits=request.limits,
        )
        if request.HasField("cool_off_duration"):
            change.cool_off_duration.CopyFrom(request.cool_off_duration)
        async with self._operators.acting(
            operator.operator_id,
            "SetPlayerLimits",
            request_id=request_id,
            player_id=fields.require_text(request.player_id, "player_id"),
            body=canonical.SerializeToString(deterministic=True),
            traceparent=telemetry.traceparent(),
        ):
            answer = await self._stubs.session.SetPlayerLimits(change)
        return gateway_pb2.SetPlayerLimitsResponse(**_present(answer))

    async def get_limits(
        self, operator: Operator, request: gateway_pb2.GetPlayerLimitsRequest
    ) -> gateway_pb2.GetPlayerLimitsResponse:
        """A player's own limits."""
        answer = await self._stubs.session.GetPlayerLimits(
            session_pb2.GetPlayerLimitsRequest(
                operator_id=operator.operator_id,
                player_id=fields.require_text(request.player_id, "player_id"),
                currency_code=request.currency_code,
                kind=request.kind or _REAL,
            )
        )
        return gateway_pb2.GetPlayerLimitsResponse(**_present(answer))


def _present(answer: Message) -> dict[str, Any]:
    """The fields of session's answer, which have the same names here."""
    return {field.name: value for field, value in answer.ListFields()}
