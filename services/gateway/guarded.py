"""Around the RPCs, what edge/guard.py is around HTTP: how often, and signed or not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias
from urllib.parse import unquote

import grpc
from google.protobuf.descriptor import MethodDescriptor
from reelmesh.gateway.v1 import gateway_pb2

from services.common.server import current_body
from services.gateway.door import bearer, is_api_key
from services.gateway.operators import signing
from services.gateway.operators.operators import Operators
from services.gateway.operators.signing import Signatures
from services.gateway.protection.rates import Addresses, Rates

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_SERVICE = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"]


class GrpcGuard:
    """Refuses before the handler is asked."""

    def __init__(
        self, *, operators: Operators, signatures: Signatures, rates: Rates, addresses: Addresses
    ) -> None:
        self._operators, self._signatures = operators, signatures
        self._rates, self._addresses = rates, addresses

    def around(self, servicer: Any) -> Any:
        """The servicer, every method of it guarded."""
        for method in _SERVICE.methods:
            handler = getattr(servicer, method.name)
            wrap = self._stream if method.server_streaming else self._unary
            setattr(servicer, method.name, wrap(method, handler))
        return servicer

    def _unary(self, method: MethodDescriptor, handler: Any) -> Any:
        async def answer(request: Any, context: Context) -> Any:
            await self._require(method, context)
            return await handler(request, context)

        return answer

    def _stream(self, method: MethodDescriptor, handler: Any) -> Any:
        async def answers(request: Any, context: Context) -> AsyncIterator[Any]:
            caller = await self._require(method, context)
            if method.client_streaming:
                request = self._slowed(request, *caller)
            async for answer in handler(request, context):
                yield answer

        return answers

    async def _require(self, method: MethodDescriptor, context: Context) -> tuple[str, str]:
        """Credential and address. Errors: RATE_LIMITED, API_KEY_INVALID, as Signatures.verify"""
        metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        credential = bearer(metadata.get("authorization"))
        address = self._addresses.of(_peer(context.peer()), metadata.get("x-forwarded-for", ""))
        self._rates.require(credential, address)
        if is_api_key(credential) and not method.client_streaming:
            operator = await self._operators.find(credential)
            if operator.signature_required or signing.SIGNATURE_HEADER in metadata:
                path = f"/{_SERVICE.full_name}/{method.name}"
                await self._signatures.verify(
                    operator.key_id,
                    required=operator.signature_required,
                    signed=signing.of_rpc(path, current_body(), metadata),
                )
        return credential, address

    async def _slowed(
        self, requests: AsyncIterator[Any], credential: str, address: str
    ) -> AsyncIterator[Any]:
        """Each message counts as a request; who sends too many is read more slowly."""
        async for request in requests:
            await asyncio.sleep(self._rates.take(credential, address)[1].refused_for_s)
            yield request


def _peer(peer: str) -> str:
    """The address of gRPC's "ipv4:127.0.0.1:50000" or "ipv6:%5B::1%5D:50000"."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")
