"""Requests that an operator signs, over REST and gRPC."""

import json
import secrets
import time
from dataclasses import replace

from google.protobuf.message import Message

from services.gateway.operators import signing
from services.gateway.operators.keys import NewKey
from services.gateway.operators.signing import Signed
from tests.mesh.asking import Grpc, Rest

GATEWAY = "/reelmesh.gateway.v1.GatewayService/"


def headers_of(
    secret: str, method: str, target: str, body: bytes, *, timestamp: int | None = None, nonce: str = ""
) -> dict[str, str]:
    """The three headers, or metadata, of a request."""
    sent_at = str(int(time.time()) if timestamp is None else timestamp)
    nonce = nonce or secrets.token_urlsafe(16)
    signature = signing.sign(secret, Signed(method, target, body, "", sent_at, nonce))
    return {
        signing.SIGNATURE_HEADER: signature,
        signing.TIMESTAMP_HEADER: sent_at,
        signing.NONCE_HEADER: nonce,
    }


def signed_rest(key: NewKey, request: Rest, *, timestamp: int | None = None, nonce: str = "") -> Rest:
    """The request with the key's own credential and signature."""
    content = request.content if request.content is not None else b""
    if request.body is not None:
        content = json.dumps(request.body).encode()
    headers = headers_of(key.secret, request.method, request.path, content, timestamp=timestamp, nonce=nonce)
    return replace(request, credential=key.api_key, body=None, content=content, headers=headers)


def signed_grpc(key: NewKey, method: str, message: Message) -> Grpc:
    """An RPC of the gateway with the key's own credential and signature."""
    body = message.SerializeToString()
    headers = headers_of(key.secret, "GRPC", GATEWAY + method, body)
    return Grpc("gateway", method, body, key.api_key, metadata=tuple(headers.items()))
