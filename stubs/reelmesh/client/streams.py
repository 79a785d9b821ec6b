"""Around the streams of a stub: typed guard, credentials, typed errors. None has a deadline of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from reelmesh.client.credentials import Credentials, check_type
from reelmesh.client.errors import CallError


class Feeds(grpc.aio.UnaryStreamClientInterceptor):
    """Around calls that are answered by a stream, such as SubscribeEvents: signed where a secret is given."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        check_type(client_call_details.method, request)
        details = self._credentials.shown(client_call_details, request)
        return _read(await continuation(details, request))


class Dialogues(grpc.aio.StreamStreamClientInterceptor):
    """Around streams both ways, such as Play: a player's, so never signed."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def intercept_stream_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return _read(await continuation(self._credentials.shown(client_call_details), request_iterator))


async def _read(call: AsyncIterator[Any]) -> AsyncIterator[Any]:
    try:
        async for answer in call:
            yield answer
    except grpc.aio.AioRpcError as failure:
        raise CallError.of(failure) from None
