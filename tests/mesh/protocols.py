"""The three protocols behind one way to ask: an operation and its fields as JSON in, the answer out."""

import asyncio
import itertools
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import msgspec
from google.protobuf import message_factory
from reelmesh.type.v1 import error_pb2
from websockets.asyncio.client import ClientConnection, connect

from services.common.errors import spec_of
from services.gateway.edge import mapping
from services.gateway.edge.calls import answer_json
from services.gateway.operations import BY_NAME, Credential, Operation
from tests.mesh.asking import _told

TIMEOUT_S = 15.0
Json = dict[str, Any]


class Refused(Exception):
    """What was told instead: reason, class and metadata."""

    def __init__(self, body: Json) -> None:
        super().__init__(body["reason"])
        self.told = {key: body[key] for key in ("reason", "class", "metadata")}


class OverGrpc:
    """gRPC, by the same JSON."""

    def __init__(self, target: str, *, ca_file: Path | None = None) -> None:
        """`ca_file`: over TLS."""
        options = [("grpc.enable_http_proxy", 0)]
        if ca_file is None:
            self._channel = grpc.aio.insecure_channel(target, options=options)
        else:
            credentials = grpc.ssl_channel_credentials(ca_file.read_bytes())
            self._channel = grpc.aio.secure_channel(target, credentials, options=options)

    async def ask(self, name: str, credential: str, fields: Json) -> Json:
        """The answer. Errors: Refused"""
        operation = BY_NAME[name]
        method = operation.descriptor
        request = message_factory.GetMessageClass(method.input_type)()
        # The client's own reading of its JSON; what that refuses is refused before it is sent.
        mapping.Shape(method.input_type).decode(json.dumps(fields).encode(), request)
        call: Any = self._channel.unary_unary(
            f"/{method.containing_service.full_name}/{name}",
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        metadata = [("authorization", f"Bearer {credential}")] if credential else []
        try:
            answer = await call(request.SerializeToString(), metadata=metadata, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            told = _told(error)
            error_class = error_pb2.ErrorClass.Name(getattr(spec_of(told.reason), "class"))
            body = {"class": error_class.removeprefix("ERROR_CLASS_"), "metadata": told.metadata}
            raise Refused({"reason": told.reason, **body}) from None
        as_json: Json = json.loads(msgspec.json.encode(answer_json(operation, answer)))
        return as_json

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()


class OverRest:
    """REST, by the table of operations."""

    def __init__(self, url: str, *, ca_file: Path | None = None) -> None:
        # Without TLS its context would cost 30 ms.
        verify = ssl.create_default_context(cafile=ca_file) if ca_file else False
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, verify=verify)

    async def ask(self, name: str, credential: str, fields: Json) -> Json:
        """The answer. Errors: Refused"""
        foreign = Credential.PLAYER if credential.startswith("rk_") else Credential.OPERATOR
        route = next(
            route
            for route in BY_NAME[name].routes
            if set(route.parameters) <= fields.keys() and route.credential is not foreign
        )
        left = {key: value for key, value in fields.items() if key not in route.parameters}
        path = route.path.format(**{key: quote(str(fields[key]), safe="") for key in route.parameters})
        headers = {"authorization": f"Bearer {credential}"} if credential else {}
        query = left if route.http_method == "GET" else None
        body = left if route.http_method == "POST" else None
        answer = await self._http.request(route.http_method, path, params=query, json=body, headers=headers)
        told: Json = answer.json()
        if not answer.is_success:
            raise Refused(told)
        return told

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()


class Socket:
    """A WebSocket that speaks JSON-RPC; what is not asked for is in `notices`."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.notices: asyncio.Queue[Json] = asyncio.Queue()
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Json]] = {}
        self._reading = asyncio.create_task(self._read())

    async def ask(self, method: str, fields: Json | None = None) -> Json:
        """The result. Errors: Refused"""
        call_id = next(self._ids)
        answered = self._asked[call_id] = asyncio.get_running_loop().create_future()
        call = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": fields or {}}
        await self.connection.send(json.dumps(call))
        async with asyncio.timeout(TIMEOUT_S):
            answer: Json = await answered
        if "error" in answer:
            raise Refused(answer["error"]["data"])
        result: Json = answer["result"]
        return result

    async def notice(self, wanted: Callable[[Json], bool]) -> Json:
        """The next notice that is wanted; those before it are passed over."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                notice = await self.notices.get()
                if wanted(notice):
                    return notice

    async def _read(self) -> None:
        async for text in self.connection:
            message = json.loads(text)
            if message.get("id") in self._asked:
                self._asked.pop(message["id"]).set_result(message)
            else:
                self.notices.put_nowait(message)

    async def close(self) -> None:
        """Closes it."""
        await self.connection.close()
        await self._reading


class OverWebSocket:
    """JSON-RPC, a socket per credential."""

    def __init__(self, url: str, *, ca_file: Path | None = None) -> None:
        self.url = url.replace("http", "ws", 1) + "/v1/ws"
        self._ssl = ssl.create_default_context(cafile=ca_file) if ca_file else None
        self._sockets: dict[str, Socket] = {}

    async def socket(self, credential: str) -> Socket:
        """The socket of this credential."""
        if credential not in self._sockets:
            socket = Socket(await connect(self.url, ssl=self._ssl, proxy=None, compression=None))
            try:
                if credential:
                    await socket.ask("authenticate", {"credential": credential})
            except Refused:
                await socket.close()
                raise
            self._sockets[credential] = socket
        return self._sockets[credential]

    async def ask(self, name: str, credential: str, fields: Json) -> Json:
        """The answer. Errors: Refused"""
        operation: Operation = BY_NAME[name]
        return await (await self.socket(credential)).ask(operation.method, fields)

    async def close(self) -> None:
        """Closes the sockets."""
        for socket in self._sockets.values():
            await socket.close()


Protocol = OverGrpc | OverRest | OverWebSocket
