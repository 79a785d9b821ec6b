"""Clients of a mesh whose gateways come and go: REST and WebSocket behind a load balancer, gRPC by name.

The balancer opens connections to ready gateways in turn, and keeps what is open. It repeats a request only
where nobody can have begun it: the connection was refused, or the socket was closed with 1001 before an
answer, which says the same (docs/api.md). Whatever else is no answer counts as a failure.
"""

import asyncio
import itertools
import json
from typing import Any, ClassVar

import grpc
import httpx
import msgspec
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from services.common.client import SERVICE_CONFIG
from services.gateway.edge.calls import answer_json
from services.gateway.edge.websocket import GOING_AWAY, PATH
from services.gateway.operations import BY_NAME
from tests.mesh.players import Answer, Client
from tests.mesh.stage import money
from tests.rollout.fleet import Fleet
from tests.rollout.tallies import Tally

TIMEOUT_S = 10.0
SPIN_PATH = "/v1/spins"
# A player leaves and another comes: the socket of a page lives so many spins.
SPINS_PER_SOCKET = 8


class RestFront(Client):
    """REST through the balancer."""

    pause_s: ClassVar = 0.3
    """Between a player's spins, on average: fast fingers."""

    def __init__(self, fleet: Fleet, tally: Tally) -> None:
        super().__init__([])
        self._fleet, self._tally = fleet, tally
        self._turn = itertools.count()
        self._connections: dict[str, httpx.AsyncClient] = {}
        self.last_answer_s: dict[str, float] = {}
        """When a gateway last answered, by its address and the loop's clock."""

    async def call(
        self, method: str, path: str, *, credential: str = "", body: Any = None, gateway: int | None = None
    ) -> Answer:
        """One attempt, at the gateway whose turn it is."""
        address = self._next()
        if address not in self._connections:
            url = f"http://{address}:{self._fleet.ports['gateway'].rest}"
            self._connections[address] = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, verify=False)
        headers = {"authorization": f"Bearer {credential}"} if credential else {}
        try:
            response = await self._connections[address].request(method, path, headers=headers, json=body)
            answer = Answer(response.status_code, response.json() if response.content else {})
        except httpx.ConnectError:
            return self._retry("refused")
        except (httpx.TransportError, ValueError) as error:
            return self._failed(f"{address} {path}: {error!r}")
        return self._answered(address, path, answer)

    async def close(self) -> None:
        """Closes the connections."""
        for client in self._connections.values():
            await client.aclose()

    def _next(self) -> str:
        ready = self._fleet.names.ready("gateway")
        return ready[next(self._turn) % len(ready)]

    def _retry(self, cause: str) -> Answer:
        self._tally.retries[cause] += 1
        return Answer(0, {})

    def _failed(self, line: str) -> Answer:
        self._tally.failures.append(line)
        return Answer(0, {})

    def _answered(self, address: str, path: str, answer: Answer) -> Answer:
        if answer.status == 200:
            self.last_answer_s[address] = asyncio.get_running_loop().time()
        else:
            self._tally.failures.append(f"{address} {path}: {answer.status} {answer.body}")
        return answer


class SocketFront(RestFront):
    """Spins over WebSocket, a socket per player; the rest over REST."""

    def __init__(self, fleet: Fleet, tally: Tally) -> None:
        super().__init__(fleet, tally)
        self._sockets: dict[str, tuple[str, ClientConnection]] = {}
        self._spins, self._call_ids = itertools.count(1), itertools.count(1)

    async def call(
        self, method: str, path: str, *, credential: str = "", body: Any = None, gateway: int | None = None
    ) -> Answer:
        """One attempt, on the player's socket if it is a spin."""
        if path != SPIN_PATH:
            return await super().call(method, path, credential=credential, body=body)
        address = ""
        try:
            address, socket = await self._socket(credential)
            told = await self._ask(socket, BY_NAME["Spin"].method, body)
        except ConnectionRefusedError:
            return self._retry("refused")
        except ConnectionClosed as closed:
            self._sockets.pop(credential, None)
            if closed.rcvd is not None and closed.rcvd.code == GOING_AWAY:
                return self._retry("moved")
            return self._failed(f"{address} socket: {closed!r}")
        except (OSError, EOFError, WebSocketException) as error:
            self._sockets.pop(credential, None)
            return self._failed(f"{address or 'a gateway'} handshake or answer: {error!r}")
        if next(self._spins) % SPINS_PER_SOCKET == 0:
            await self._sockets.pop(credential)[1].close()
        answer = Answer(400, told["error"]["data"]) if "error" in told else Answer(200, told["result"])
        return self._answered(address, path, answer)

    async def close(self) -> None:
        """Closes the sockets, too."""
        for _, socket in self._sockets.values():
            await socket.close()
        await super().close()

    async def _socket(self, credential: str) -> tuple[str, ClientConnection]:
        if credential not in self._sockets:
            address = self._next()
            url = f"ws://{address}:{self._fleet.ports['gateway'].rest}{PATH}"
            socket = await connect(url, proxy=None, compression=None)
            # Written down first: what breaks from here on breaks this socket.
            self._sockets[credential] = address, socket
            await self._ask(socket, "authenticate", {"credential": credential})
        return self._sockets[credential]

    async def _ask(self, socket: ClientConnection, method: str, params: Any) -> dict[str, Any]:
        """The answer as it came. Errors: ConnectionClosed, TimeoutError"""
        call_id = next(self._call_ids)
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}))
        async with asyncio.timeout(TIMEOUT_S):
            told: dict[str, Any] = {}
            # Notices come between.
            while told.get("id") != call_id:
                told = json.loads(await socket.recv())
        return told


class GrpcFront(RestFront):
    """Spins over the public gRPC port, by name and in turn, with our own client's retries; else REST."""

    def __init__(self, fleet: Fleet, tally: Tally) -> None:
        super().__init__(fleet, tally)
        options = [
            ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
            ("grpc.enable_http_proxy", 0),
            ("grpc.dns_min_time_between_resolutions_ms", 50),
        ]
        self._channel = grpc.aio.insecure_channel(fleet.target("gateway"), options=options)
        self._stub: Any = GatewayServiceStub(self._channel)

    async def call(
        self, method: str, path: str, *, credential: str = "", body: Any = None, gateway: int | None = None
    ) -> Answer:
        """One call; gRPC repeats what was not begun by itself, and what was UNAVAILABLE."""
        if path != SPIN_PATH:
            return await super().call(method, path, credential=credential, body=body)
        request = gateway_pb2.SpinRequest(
            request_id=body["request_id"], stake=money(body["stake"]["amount_minor"])
        )
        metadata = [("authorization", f"Bearer {credential}")]
        try:
            played = await self._stub.Spin(request, metadata=metadata, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            return self._failed(f"Spin: {error.code().name} {error.details()}")
        told = json.loads(msgspec.json.encode(answer_json(BY_NAME["Spin"], played)))
        return Answer(200, told)

    async def close(self) -> None:
        """Closes the channel, too."""
        await self._channel.close()
        await super().close()
