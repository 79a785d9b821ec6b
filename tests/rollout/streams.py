"""Clients whose streams end when a gateway leaves: a player's Play, an operator's feed; over our own stubs.

A stream may end only by the gateway's own word, UNAVAILABLE with a trace (docs/api.md). Then another one is
opened: a spin goes again with the same id, the feed behind its last cursor. Any other end is a failure.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import grpc
import msgspec
from reelmesh.client import CallError, bearer, connect
from reelmesh.gateway.v1 import gateway_pb2, operator_pb2

from services.gateway.edge.calls import answer_json
from services.gateway.operations import BY_NAME
from tests.mesh.books import Books
from tests.mesh.players import Answer
from tests.mesh.stage import money
from tests.rollout.fleet import Fleet
from tests.rollout.fronts import SPIN_PATH, TIMEOUT_S, RestFront
from tests.rollout.tallies import Tally
from tests.waiting import until

if TYPE_CHECKING:
    from reelmesh.gateway.v1.gateway_pb2_grpc import GatewayServiceAsyncStub

# The reader is behind the log's end by a look of the feed's, on a busy machine a few.
CAUGHT_UP_SECONDS_MAX = 30.0
REOPEN_PAUSE_S = 0.1
_POSITIONS = "select position from event where operator_id = :operator_id order by position"


def by_word(end: CallError) -> bool:
    """Whether a gateway said it: what is cut has no trace."""
    return end.reason == "UNAVAILABLE" and bool(end.trace_id)


class _Stream:
    """One Play stream: what is asked on it waits for its answer or for the stream's end."""

    def __init__(self, stub: "GatewayServiceAsyncStub", token: str) -> None:
        self._requests: asyncio.Queue[gateway_pb2.PlayRequest | None] = asyncio.Queue()
        self._asked: dict[str, asyncio.Future[gateway_pb2.PlayResponse]] = {}
        self._call = stub.Play(self._told(), metadata=bearer(token))
        self._reading = asyncio.create_task(self._read())

    async def ask(self, request: gateway_pb2.PlayRequest) -> gateway_pb2.PlayResponse:
        """The answer. Errors: CallError when the stream ended without it, TimeoutError"""
        if self._reading.done():
            # It ended while nobody asked.
            await self._reading
        answered: asyncio.Future[gateway_pb2.PlayResponse] = asyncio.get_running_loop().create_future()
        self._asked[request.call_id] = answered
        self._requests.put_nowait(request)
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.wait((answered, self._reading), return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            await self._reading
        return answered.result()

    async def close(self) -> None:
        """Asks nothing more; the gateway ends the stream then. Errors: CallError"""
        self._requests.put_nowait(None)
        async with asyncio.timeout(TIMEOUT_S):
            await self._reading

    async def _told(self) -> AsyncIterator[gateway_pb2.PlayRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _read(self) -> None:
        try:
            async for answer in self._call:
                self._asked.pop(answer.call_id).set_result(answer)
        finally:
            self._requests.put_nowait(None)


class PlayFront(RestFront):
    """Spins over a Play stream per player, opened again whenever the gateway ends it; the rest over REST."""

    # So fast that something is under way when a stream ends, one time in two or three.
    pause_s: ClassVar = 0.05

    def __init__(self, fleet: Fleet, tally: Tally) -> None:
        super().__init__(fleet, tally)
        self._target = fleet.target("gateway")
        self._stack = AsyncExitStack()
        self._stub: GatewayServiceAsyncStub | None = None
        self._streams: dict[str, _Stream] = {}
        self._call_ids = itertools.count(1)

    async def call(
        self, method: str, path: str, *, credential: str = "", body: Any = None, gateway: int | None = None
    ) -> Answer:
        """One attempt, on the player's stream if it is a spin."""
        if path != SPIN_PATH:
            return await super().call(method, path, credential=credential, body=body)
        spin = gateway_pb2.SpinRequest(
            request_id=body["request_id"], stake=money(body["stake"]["amount_minor"])
        )
        request = gateway_pb2.PlayRequest(call_id=str(next(self._call_ids)), spin=spin)
        try:
            told = await (await self._stream(credential)).ask(request)
        except CallError as end:
            del self._streams[credential]
            return self._ended(end)
        except TimeoutError:
            return self._failed(f"Play: no answer to {spin.request_id} within {TIMEOUT_S} s")
        if told.WhichOneof("result") != "spin":
            return self._failed(f"Play: {told.error}")
        if told.trace_id != told.spin.round.trace_id:
            self._tally.failures.append(f"{spin.request_id} was begun by a stream that did not answer it")
        return Answer(200, json.loads(msgspec.json.encode(answer_json(BY_NAME["Spin"], told.spin))))

    async def close(self) -> None:
        """Closes the streams, too."""
        for stream in self._streams.values():
            try:
                await stream.close()
            except CallError as end:
                self._ended(end)
        await self._stack.aclose()
        await super().close()

    async def _stream(self, credential: str) -> _Stream:
        if self._stub is None:
            self._stub = await self._stack.enter_async_context(connect("gateway", self._target))
        if credential not in self._streams:
            self._streams[credential] = _Stream(self._stub, credential)
        return self._streams[credential]

    def _ended(self, end: CallError) -> Answer:
        if by_word(end):
            return self._retry("Play ended")
        # What a grpc.aio client that is just writing makes of it (docs/api.md).
        if end.code() is grpc.StatusCode.INTERNAL:
            return self._retry("Play ended while writing")
        return self._failed(f"Play ended with {end.code().name}: {end}")


class FeedReader:
    """An operator that reads its events, from cursor to cursor, until told to stop."""

    def __init__(self, fleet: Fleet, tally: Tally, *, api_key: str, operator_id: str) -> None:
        self._target, self._database_urls = fleet.target("gateway"), fleet.database_urls
        self._tally, self._api_key, self._operator_id = tally, api_key, operator_id
        self.positions: list[int] = []
        """As they were told."""
        self._reading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Reads from the log's beginning on."""
        self._reading = asyncio.create_task(self._read())

    async def check(self) -> None:
        """Reads to the log's end. What was told is what is stored: each once, none missing, in its order."""
        books = Books(self._database_urls)
        rows = await books.rows("events", _POSITIONS, operator_id=self._operator_id)
        stored = [row.position for row in rows]
        assert self._reading is not None
        with suppress(TimeoutError):
            await until(lambda: len(self.positions) >= len(stored), seconds_max=CAUGHT_UP_SECONDS_MAX)
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        assert self.positions == stored, f"{len(self.positions)} events told, {len(stored)} stored"

    async def _read(self) -> None:
        cursor = ""
        async with connect("gateway", self._target, credential=self._api_key) as stub:
            while True:
                request = operator_pb2.SubscribeEventsRequest(cursor=cursor)
                try:
                    async for answer in stub.SubscribeEvents(request):
                        self.positions += [event.position for event in answer.events]
                        cursor = answer.cursor
                    self._tally.failures.append("the feed ended without a word")
                except CallError as end:
                    if by_word(end):
                        self._tally.retries["feed ended"] += 1
                    else:
                        self._tally.failures.append(f"the feed ended with {end.code().name}: {end}")
                await asyncio.sleep(REOPEN_PAUSE_S)
