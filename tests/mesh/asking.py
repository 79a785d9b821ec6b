"""Requests as a stranger sends them, raw, and what is told back: REST and gRPC in one shape."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
import httpx
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from deploy.local.mesh import Mesh
from services.common import identity
from services.common.errors import STATUS_DETAILS_KEY, from_rpc_error
from services.common.server import TRACE_ID_KEY

TIMEOUT_S = 15.0
STREAM_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Rest:
    """A call of the gateway's REST API. `body` is JSON, `content` bytes as they are."""

    method: str
    path: str
    credential: str = ""
    body: Any = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grpc:
    """A call of any service: `credential` as a client of the gateway, `token` as a service."""

    service: str
    method: str
    request: Message | bytes
    credential: str = ""
    token: str = ""
    metadata: tuple[tuple[str, str], ...] = ()


Request: TypeAlias = Rest | Grpc


@dataclass(frozen=True, slots=True)
class Told:
    """A refusal. `text` is all that was said, headers included; `details` counts the ErrorInfos (gRPC)."""

    reason: str
    message: str
    metadata: dict[str, str]
    trace_id: str
    text: str
    http_status: int = 0
    content_type: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    grpc_code: str = ""
    domain: str = ""
    details: int = 0


class Line:
    """The way to a running mesh, for one test."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        # verify: there is no TLS here, and its context would cost 30 ms per test.
        self._http = httpx.AsyncClient(base_url=mesh.rest_url(), timeout=TIMEOUT_S, verify=False)
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()
        for channel in self._channels.values():
            await channel.close()

    async def answer(self, request: Request) -> Any:
        """The answer, JSON or message. Errors: AssertionError when it was a refusal."""
        told = await self.send(request)
        assert not isinstance(told, Told), told
        return told

    async def refusal(self, request: Request) -> Told:
        """The refusal. Errors: AssertionError when it was an answer."""
        told = await self.send(request)
        assert isinstance(told, Told), told
        return told

    async def send(self, request: Request) -> Any:
        """The answer, JSON or message, or what was Told instead."""
        if isinstance(request, Rest):
            return await self._send_rest(request)
        return await self._send_grpc(request)

    async def _send_rest(self, request: Rest) -> Any:
        headers = dict(request.headers)
        if request.credential:
            headers["authorization"] = f"Bearer {request.credential}"
        response = await self._http.request(
            request.method, request.path, headers=headers, json=request.body, content=request.content
        )
        if response.is_success:
            return response.json()
        body = response.json()
        return Told(
            reason=body["reason"],
            message=body["detail"],
            metadata=body["metadata"],
            trace_id=response.headers[TRACE_ID_KEY],
            text=f"{dict(response.headers)} {response.text}",
            http_status=response.status_code,
            content_type=response.headers["content-type"],
            body=body,
            headers=dict(response.headers),
        )

    async def _send_grpc(self, request: Grpc) -> Any:
        service = identity.call_graph()[request.service].grpc_service
        method = descriptor_pool.Default().FindMethodByName(f"{service}.{request.method}")
        channel: Any = self._channel(request.service)
        kind = channel.unary_stream if method.server_streaming else channel.unary_unary
        call = kind(
            f"/{service}/{request.method}",
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        metadata = list(request.metadata)
        if request.credential:
            metadata.append(("authorization", f"Bearer {request.credential}"))
        if request.token:
            metadata.append((identity.METADATA_KEY, request.token))
        message = request.request
        payload = message if isinstance(message, bytes) else message.SerializeToString()
        try:
            # Of a stream its beginning: what is there is told at once, and nothing ends it.
            timeout_s = STREAM_TIMEOUT_S if method.server_streaming else TIMEOUT_S
            answer = call(payload, timeout=timeout_s, metadata=metadata)
            return await (anext(aiter(answer)) if method.server_streaming else answer)
        except grpc.aio.AioRpcError as error:
            return _told(error)

    def _channel(self, service: str) -> grpc.aio.Channel:
        if service not in self._channels:
            target = f"127.0.0.1:{self._mesh.ports(service).grpc}"
            self._channels[service] = grpc.aio.insecure_channel(
                target, options=[("grpc.enable_http_proxy", 0), ("grpc.max_send_message_length", -1)]
            )
        return self._channels[service]


def _told(error: grpc.aio.AioRpcError) -> Told:
    trailing = {str(key): value for key, value in error.trailing_metadata() or ()}
    status = status_pb2.Status()
    details = trailing.get(STATUS_DETAILS_KEY, b"")
    status.ParseFromString(details if isinstance(details, bytes) else details.encode())
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        detail.Unpack(info)
    # The client's own reading: what the transport itself refuses has no ErrorInfo.
    read = from_rpc_error(error)
    return Told(
        reason=read.reason,
        message=error.details() or "",
        metadata=dict(read.metadata),
        trace_id=str(trailing.get(TRACE_ID_KEY, "")),
        text=f"{error.details()} {status} {trailing}",
        grpc_code=error.code().name,
        domain=info.domain,
        details=len(status.details),
    )
