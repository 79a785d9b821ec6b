"""gRPC <-> the gateway's operations, and its outbox rows <-> events."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias, cast

import grpc
import msgspec
from reelmesh.events.v1 import events_pb2
from reelmesh.gateway.v1 import gateway_pb2, operator_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.errors import Unavailable
from services.common.outbox import OutboxRow
from services.gateway.door import Door, bearer
from services.gateway.operations import OPERATIONS, Credential, Operation
from services.gateway.play_stream import play

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Handlers:
    """GatewayService: the operations of the table that have one answer are all put to the door alike."""

    def __init__(
        self, door: Door, *, draining: asyncio.Event, drain_wait_ms: int, stream_age_ms: int
    ) -> None:
        """`draining`: set `drain_wait_ms` before clients are told to connect elsewhere; then streams end.

        `stream_age_ms`: so old a stream ends, too, by our word: its connection would be cut without one.
        """
        self._door, self._draining, self._drain_wait_s = door, draining, drain_wait_ms / 1000
        self._stream_age_s = stream_age_ms / 1000
        for operation in OPERATIONS:
            if not operation.descriptor.server_streaming:
                setattr(self, operation.name, self._unary(operation))

    def _unary(self, operation: Operation) -> Any:
        async def answer(request: Any, context: Context) -> Any:
            caller = await self._door.admit(operation.credential, _credential(context), operation.scope)
            return await self._door.call(operation, caller, request)

        return answer

    async def SubscribeEvents(
        self, request: operator_pb2.SubscribeEventsRequest, context: Context
    ) -> AsyncIterator[operator_pb2.SubscribeEventsResponse]:
        """The operator's events, as long as the caller listens."""
        end_s = time.monotonic() + self._stream_age_s
        async for answer in self._door.subscribe(_credential(context), request):
            yield answer
            # There is one every few seconds, if only to say that there are no events.
            if self._draining.is_set() or time.monotonic() >= end_s:
                raise Unavailable()

    async def Play(
        self, requests: AsyncIterator[gateway_pb2.PlayRequest], context: Context
    ) -> AsyncIterator[gateway_pb2.PlayResponse]:
        """One player's spins and choices, many at once; who has no session's token keeps no stream open."""
        caller = await self._door.admit(Credential.PLAYER, _credential(context), "")
        await self._door.session(cast(str, caller.token))
        async for answer in play(self._door, caller, requests, self._leaving):
            yield answer

    async def _leaving(self) -> None:
        try:
            await asyncio.wait_for(self._draining.wait(), self._stream_age_s)
        except TimeoutError:
            return
        # Whoever asked again at once would come back on the same connection.
        await asyncio.sleep(self._drain_wait_s)


def _credential(context: Context) -> str:
    metadata = {str(key): value for key, value in context.invocation_metadata() or ()}
    value = metadata.get("authorization")
    return bearer(value if isinstance(value, str) else None)


async def to_events(
    _conn: AsyncConnection, rows: Sequence[OutboxRow]
) -> Sequence[Sequence[events_pb2.Event]]:
    """What an operator asked for, and a change to it, is one event; what a client reported one for each that
    it names."""
    return [_events(row) for row in rows]


def _events(row: OutboxRow) -> list[events_pb2.Event]:
    match row.kind:
        case "client_report":
            return _reported(row)
        case "operator.requested":
            return [_requested(row)]
    # By the installation's command, which is no call and has no trace.
    facts = msgspec.json.encode(row.payload["facts"])
    return [events_pb2.Event(event_type=row.kind, operator_id=row.payload["operator_id"], payload_json=facts)]


def _requested(row: OutboxRow) -> events_pb2.Event:
    facts = {key: row.payload[key] for key in ("action", "request_id", "player_id")}
    # Rows of before these keys may still wait.
    facts |= row.payload.get("about", {})
    return events_pb2.Event(
        event_type=row.kind,
        operator_id=row.payload["operator_id"],
        player_id=facts["player_id"],
        round_id=row.payload.get("round_id", ""),
        payload_json=msgspec.json.encode(facts),
        traceparent=row.payload["traceparent"],
    )


def _reported(row: OutboxRow) -> list[events_pb2.Event]:
    report = row.payload
    return [
        events_pb2.Event(
            event_type=f"client.{event['name']}",
            operator_id=report["operator_id"],
            account_id=report["account_id"],
            player_id=report["player_id"],
            session_id=report["session_id"],
            round_id=event["round_id"],
            payload_json=msgspec.json.encode(
                {
                    "request_id": report["request_id"],
                    "game_id": report["game_id"],
                    "client_time": event["client_time"],
                    "data": event["data"],
                }
            ),
            traceparent=report["traceparent"],
        )
        for event in report["events"]
    ]
