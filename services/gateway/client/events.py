"""What a game's client reports from the player's screen: stored as its word, beside what the services know.

Whose it is the session tells: no field names an operator, a player or an account. Nothing about money, and
nothing in a check, ever follows from what is stored here.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable

import msgspec
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import client_event_pb2
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, fields, telemetry
from services.common import telemetry_names as names
from services.common.errors import IdReused
from services.common.times import timestamp
from services.gateway.client import store
from services.gateway.client.messages import TYPE_NAMES, parse_events
from services.gateway.players import Players
from services.gateway.protection.rates import Limit, refusal
from services.gateway.stubs import Stubs

# Requests of one session: 20 events a second for as long as it likes. A game tells a few per spin.
REQUESTS_PER_S, REQUESTS_BURST = 1, 10


class ClientEvents:
    """Takes in what clients report."""

    def __init__(self, engine: AsyncEngine, stubs: Stubs, *, players: Players) -> None:
        self._engine, self._stubs, self._players = engine, stubs, players
        self._limit = Limit("client_events", per_s=REQUESTS_PER_S, burst=REQUESTS_BURST)
        self._stored = Counter[str]()

    async def send(
        self, token: str, request: client_event_pb2.SendClientEventsRequest
    ) -> client_event_pb2.SendClientEventsResponse:
        """Stores a batch once. Errors: as GatewayService.SendClientEvents"""
        request_id = fields.require_uuid(request.request_id, "request_id")
        events = parse_events(request.events)
        session = await self._players.open_session(token)
        taken = self._limit.take(session.session_id)
        if taken.refused_for_s:
            raise refusal(self._limit, taken)
        await self._require_rounds({event.round_id for event in events} - {""}, session.account_id)
        told = msgspec.json.encode([event._asdict() for event in events], order="sorted")
        payload = {
            "operator_id": session.operator_id,
            "account_id": session.account_id,
            "player_id": session.player_id,
            "session_id": session.session_id,
            "game_id": session.game_id,
            "request_id": str(request_id),
            "traceparent": telemetry.traceparent(),
            "events": msgspec.Raw(told),
        }
        async with db.transaction(self._engine, "client_events") as conn:
            report = await store.insert_report(
                conn,
                session_id=session.session_id,
                request_id=request_id,
                fingerprint=hashlib.sha256(told).digest(),
                payload=msgspec.json.encode(payload).decode(),
            )
        if not report.same:
            raise IdReused(request_id=request_id)
        if report.new:
            self._stored.update(event.name for event in events)
        return client_event_pb2.SendClientEventsResponse(receive_time=timestamp(report.create_time))

    async def _require_rounds(self, round_ids: Iterable[str], account_id: int) -> None:
        """Errors: NOT_FOUND/ROUND_NOT_FOUND for one that is not the account's"""
        asks = [game_pb2.GetRoundRequest(account_id=account_id, round_id=round_id) for round_id in round_ids]
        await asyncio.gather(*(self._stubs.game.GetRound(ask) for ask in asks))

    def observe_with(self, meter: Meter) -> None:
        """Registers the counter of stored events, which the exporter reads when it wants to."""

        def observe(options: CallbackOptions) -> Iterable[Observation]:
            # Those that never came, too: a rate begins at 0.
            for name in TYPE_NAMES.values():
                yield Observation(self._stored[name], {names.CLIENT_EVENT_TYPE: name})

        meter.create_observable_counter(names.CLIENT_EVENT_COUNT, [observe], unit="{event}")
