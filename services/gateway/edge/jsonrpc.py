"""JSON-RPC 2.0: what is said over one WebSocket. Calls are answered when they are done, under their ids."""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, NamedTuple, cast

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.gateway.v1 import operator_pb2
from reelmesh.session.v1 import session_pb2

from services.common.errors import BodyMalformed
from services.gateway import errors
from services.gateway.door import Door, bearer, is_api_key, player_token
from services.gateway.edge import envelope, mapping, messages, websocket
from services.gateway.edge.calls import Call, Calls
from services.gateway.edge.exchange import Request
from services.gateway.edge.subscriptions import Subscription
from services.gateway.edge.websocket import WebSocket
from services.gateway.notices import BalanceMoved, Notice, Notices, Watcher
from services.gateway.operations import BY_NAME, OPERATIONS, Credential, Operation
from services.gateway.protection.origins import Origins
from services.gateway.protection.rates import Addresses, Rates
from services.gateway.tracing import told, traced

SYSTEM = "jsonrpc"
# Calls of one socket that are under way; beyond it nothing is read from it.
CALLS_MAX = 32
BATCH_SIZE_MAX = 32
# Tokens of all sockets that session is asked for at once.
INTRODUCTIONS_MAX = 16
# Who has not said by then who they are is let go.
AUTHENTICATE_WITHIN_S = 30.0
# A session's end is announced so long before.
EXPIRING_BEFORE_S = 60.0
# Rounds of this socket whose own movements are no news to it.
_OWN_ROUNDS = 64

_NO_PATH: dict[str, str] = {}

Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode


class Served(NamedTuple):
    """An operation over JSON-RPC."""

    operation: Operation
    call: Call


class Shared:
    """What all conversations have in common."""

    def __init__(
        self, door: Door, notices: Notices, *, rates: Rates, addresses: Addresses, origins: Origins
    ) -> None:
        self.door, self.notices, self.rates = door, notices, rates
        self.addresses, self.origins = addresses, origins
        self.loop = asyncio.get_running_loop()
        # After a restart everybody is back at once: they wait here, and not until a call's deadline.
        self.introductions = asyncio.Semaphore(INTRODUCTIONS_MAX)
        calls = Calls(door)
        self.methods = {
            operation.method: Served(operation, calls.body_call(operation))
            for operation in OPERATIONS
            if operation.routes
        }

    def converse(self, socket: WebSocket) -> "Conversation":
        """A new conversation."""
        return Conversation(self, socket)


class Conversation:
    """One client's calls, and what it is told without asking."""

    __slots__ = (
        "_address",
        "_calls",
        "_credential",
        "_host",
        "_introduced",
        "_origin",
        "_own_rounds",
        "_shared",
        "_socket",
        "_subscription",
        "_timer",
        "_version",
        "_watcher",
    )

    def __init__(self, shared: Shared, socket: WebSocket) -> None:
        self._shared, self._socket = shared, socket
        self._credential = self._address = ""
        # Of the page that opened it; no origin: no browser.
        self._origin: str | None = None
        self._host = ""
        self._calls: set[asyncio.Task[None]] = set()
        # While the handshake's credential is looked at; what was sent behind it waits.
        self._introduced: asyncio.Event | None = None
        self._watcher: Watcher | None = None
        self._subscription: Subscription | None = None
        self._own_rounds: deque[str] | None = None
        # The newest movement that was told.
        self._version = 0
        self._timer: asyncio.TimerHandle | None = None

    # Called by the socket

    def opened(self, handshake: Request) -> None:
        forwarded_for = handshake.header(b"x-forwarded-for")
        self._address = self._shared.addresses.of(self._socket.address, forwarded_for)
        if b"origin" in handshake.headers:
            self._origin, self._host = handshake.header(b"origin"), handshake.header(b"host")
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(AUTHENTICATE_WITHIN_S, self._unknown)
        shown = bearer(handshake.header(b"authorization"))
        if shown:
            self._introduced = asyncio.Event()
            self._start(self._introduce(shown))

    def told(self, message: bytes) -> None:
        wait_s = self._wait_s()
        self._start(self._answer_later(message, wait_s) if wait_s else self._answer(message))
        if len(self._calls) >= CALLS_MAX:
            self._socket.mind_reading()

    def closed(self) -> None:
        self._forget()
        if self._subscription is not None:
            self._subscription.cancel()

    @property
    def busy(self) -> bool:
        return bool(self._calls)

    @property
    def full(self) -> bool:
        return len(self._calls) >= CALLS_MAX

    # Calls

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._calls.add(self._shared.loop.create_task(work))

    async def _answer_later(self, message: bytes, wait_s: float) -> None:
        """Who sends too many is answered more slowly, and soon not read any more."""
        await asyncio.sleep(wait_s)
        await self._turn()
        await self._answer(message)

    async def _turn(self) -> None:
        """Returns when one more call was counted."""
        wait_s = self._wait_s()
        while wait_s:
            await asyncio.sleep(wait_s)
            wait_s = self._wait_s()

    def _wait_s(self) -> float:
        """How long until there may be another call; 0: this one was counted."""
        return self._shared.rates.take(self._credential, self._address)[1].refused_for_s

    def _done(self) -> None:
        """At the end of each call, by itself: a task's callback would cost a turn of the loop."""
        self._calls.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        if len(self._calls) == CALLS_MAX - 1:
            self._socket.mind_reading()
        self._socket.answered()

    async def _introduce(self, shown: str) -> None:
        """With what the handshake showed."""
        try:
            await self._authenticate(_encode({"credential": shown}))
        except Exception as error:
            refusal = told(error)
            self._socket.close(websocket.UNAUTHENTICATED, refusal.reason)
        finally:
            assert self._introduced is not None
            self._introduced.set()
            self._introduced = None
            self._done()

    async def _answer(self, message: bytes) -> None:
        try:
            if self._introduced is not None:
                await self._introduced.wait()
            batch = message.lstrip()[:1] == b"["
            answer = await (self._answer_batch(message) if batch else self._answer_one(message))
            if answer is not None:
                self._socket.send(answer)
        finally:
            self._done()

    async def _answer_batch(self, message: bytes) -> bytes | None:
        try:
            items = envelope.decode_batch(message)
        except envelope.NO_JSON as error:
            return envelope.failed(None, envelope.PARSE_ERROR, BodyMalformed(problem=str(error)[:200]))
        if not 0 < len(items) <= BATCH_SIZE_MAX:
            return envelope.failed(
                None,
                envelope.INVALID_REQUEST,
                BodyMalformed(problem=f"a batch is of 1 to {BATCH_SIZE_MAX} calls"),
            )
        owed = []
        # One after the other, each in its turn: else a batch would pass both limits, of rates and of calls.
        for number, item in enumerate(items):
            if number:
                await self._turn()
            answer = await self._answer_one(bytes(item))
            if answer is not None:
                owed.append(answer)
        return b"[" + b",".join(owed) + b"]" if owed else None

    async def _answer_one(self, message: bytes) -> bytes | None:
        try:
            asked = envelope.decode(message)
        except envelope.NO_JSON as error:
            valid = isinstance(error, msgspec.ValidationError)
            code = envelope.INVALID_REQUEST if valid else envelope.PARSE_ERROR
            return envelope.failed(
                envelope.id_of(message) if valid else None, code, BodyMalformed(problem=str(error)[:200])
            )
        call_id = asked.id
        if asked.jsonrpc != "2.0":
            return envelope.failed(
                None if call_id is msgspec.UNSET else call_id,
                envelope.INVALID_REQUEST,
                BodyMalformed(problem='jsonrpc must be "2.0"'),
            )
        answer = await self._carry_out(asked)
        return None if call_id is msgspec.UNSET else answer

    async def _carry_out(self, asked: envelope.Envelope) -> bytes:
        """Result or error. Cancelled when the process ends, and never before."""
        params = bytes(asked.params)
        call_id = None if asked.id is msgspec.UNSET else asked.id
        served = self._shared.methods.get(asked.method)
        try:
            if served is None:
                result = await self._own_method(asked.method, params)
            else:
                with traced(served.operation, system=SYSTEM, parent=asked.traceparent) as call:
                    try:
                        result = await served.call(self._credential, params, _NO_PATH)
                    except Exception as error:
                        # Within the span, whose trace the answer names.
                        refusal = told(error)
                        call.refused(refusal)
                        return envelope.refused(call_id, refusal)
        except errors.RouteNotFound as error:
            return envelope.failed(call_id, envelope.METHOD_NOT_FOUND, error)
        except Exception as error:
            return envelope.refused(call_id, told(error))
        if served is not None and served.operation.hot:
            self._remember(result["round"]["round_id"])
        return _encode({"jsonrpc": "2.0", "id": call_id, "result": result})

    async def _own_method(self, method: str, params: bytes) -> Json:
        """What only a socket has."""
        match method:
            case "ping":
                messages.decode_as(params, envelope.Nothing)
                return {"time": _now()}
            case "authenticate":
                return await self._authenticate(params)
            case "events":
                return await self._subscribe(params)
        raise errors.RouteNotFound(path=method)

    # Who it is

    async def _authenticate(self, params: bytes) -> Json:
        shown = messages.decode_as(params, envelope.Credentials).credential
        if is_api_key(shown):
            operator = await self._shared.door.operators.find(shown)
            if operator.signature_required:
                # Nothing that is said over a socket is signed.
                raise errors.SignatureMissing()
            await self._require_origin(operator.operator_id)
            self._forget()
            self._credential = shown
            return {"operator_id": operator.operator_id}
        async with self._shared.introductions:
            session = await self._shared.door.session(player_token(shown))
        await self._require_origin(session.operator_id)
        self._forget()
        self._credential = shown
        # Of a session that has ended nothing more is told: its token reads no balance either.
        if self._socket.is_open and session.state == session_pb2.SESSION_STATE_OPEN:
            watcher = Watcher(session.operator_id, session.account_id, session.session_id, self._tell)
            self._watcher = watcher
            self._shared.notices.watch(watcher)
            self._expire_at(session.expire_time)
        return {
            "session_id": session.session_id,
            "state": mapping.enum_name(session, "state"),
            "game_id": session.game_id,
            "currency_code": session.currency_code,
            "expire_time": messages.time_json(session.expire_time),
        }

    async def _require_origin(self, operator_id: str) -> None:
        """The handshake was for any operator's page. Errors: PERMISSION_DENIED/ORIGIN_FORBIDDEN"""
        if self._origin is not None:
            await self._shared.origins.require_of(operator_id, self._origin, self._host)

    def _forget(self) -> None:
        if self._watcher is not None:
            self._shared.notices.forget(self._watcher)
            self._watcher = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _unknown(self) -> None:
        self._socket.close(websocket.UNAUTHENTICATED, "nobody was authenticated in time")

    # What it is told without asking

    def _notify(self, method: str, params: Json) -> None:
        self._socket.send(_encode({"jsonrpc": "2.0", "method": method, "params": params}))

    def _remember(self, round_id: str) -> None:
        if self._own_rounds is None:
            self._own_rounds = deque(maxlen=_OWN_ROUNDS)
        self._own_rounds.append(round_id)

    def _tell(self, notice: Notice) -> None:
        if isinstance(notice, BalanceMoved):
            own = self._own_rounds is not None and notice.round_id in self._own_rounds
            if notice.account_version > self._version:
                self._version = notice.account_version
                if not own:
                    params = {
                        "balance": messages.amount_json(notice.balance),
                        "account_version": notice.account_version,
                        "round_id": notice.round_id or None,
                    }
                    self._notify("balance", params)
        elif self._watcher is not None and notice.session_id == self._watcher.session_id:
            self._notify("session", {"session_id": notice.session_id, "state": notice.state})
            self._forget()

    def _expire_at(self, expire_time: Timestamp) -> None:
        """Announces the session's end, then tells it."""
        loop = asyncio.get_running_loop()
        left_s = expire_time.ToNanoseconds() / 1e9 - _now().timestamp()
        session_id = self._watcher.session_id if self._watcher is not None else ""

        def announce() -> None:
            params = {"session_id": session_id, "expire_time": messages.time_json(expire_time)}
            if left_s > 0:
                self._notify("session", {**params, "state": "EXPIRING"})
                self._timer = loop.call_later(min(left_s, EXPIRING_BEFORE_S), expired)

        def expired() -> None:
            self._notify("session", {"session_id": session_id, "state": "EXPIRED"})
            self._forget()

        self._timer = loop.call_later(max(0.0, left_s - EXPIRING_BEFORE_S), announce)

    async def _subscribe(self, params: bytes) -> Json:
        """The operator's events as notifications; one subscription at a time, a new one takes its place."""
        operation = BY_NAME["SubscribeEvents"]
        # Before it is said that it began.
        await self._shared.door.admit(Credential.OPERATOR, self._credential, operation.scope)
        request = operator_pb2.SubscribeEventsRequest()
        mapping.shape(operation.descriptor.input_type).decode(params, request)
        if self._subscription is not None:
            self._subscription.cancel()
        answers = self._shared.door.subscribe(self._credential, request)
        self._subscription = Subscription(self._socket, answers, self._notify)
        return {"subscribed": True}


def _now() -> Any:
    now = Timestamp()
    now.GetCurrentTime()
    return messages.time_json(now)
