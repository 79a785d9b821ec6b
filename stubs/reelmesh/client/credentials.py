"""What a call shows of who asks, and what it may carry."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from reelmesh.client import signing

_AUTHORIZATION_KEY, _IDENTITY_KEY = "authorization", "x-reelmesh-identity"


def bearer(credential: str) -> tuple[tuple[str, str], ...]:
    """Another API key or session token for one call: `stub.Spin(request, metadata=bearer(token))`."""
    return ((_AUTHORIZATION_KEY, f"Bearer {credential}"),)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a connection has; a call's own metadata stand before it."""

    credential: str = ""
    signing_secret: str = ""
    identity: Callable[[], str] | None = None

    def shown(
        self,
        details: grpc.aio.ClientCallDetails,
        request: Message | None = None,
        *,
        timeout_s: float | None = None,
    ) -> grpc.aio.ClientCallDetails:
        """The call with what it shows; `request`: what is signed, where there is a secret."""
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        if self.credential and _AUTHORIZATION_KEY not in metadata.keys():
            metadata.add(*bearer(self.credential)[0])
        if self.identity is not None and _IDENTITY_KEY not in metadata.keys():
            metadata.add(_IDENTITY_KEY, self.identity())
        if self.signing_secret and request is not None:
            body = request.SerializeToString()
            for key, value in signing.metadata(self.signing_secret, path_of(details.method), body):
                metadata.add(key, value)
        left_s = details.timeout if timeout_s is None else timeout_s
        return grpc.aio.ClientCallDetails(
            details.method, left_s, metadata, details.credentials, details.wait_for_ready
        )


def path_of(method: str | bytes) -> str:
    """As text: gRPC has it either way."""
    return method.decode() if isinstance(method, bytes) else method


def check_type(method: str | bytes, request: object) -> None:
    """Errors: TypeError for another type of message than the method's.

    grpc.aio itself sends an empty message when it is given a dict or None, and the answer looks fine.
    """
    path = path_of(method)
    taken = _request_type(path)
    if not isinstance(request, taken):
        raise TypeError(f"{path} takes {taken.__name__}, not {type(request).__name__}")


@cache
def _request_type(path: str) -> type[Message]:
    method = descriptor_pool.Default().FindMethodByName(path.removeprefix("/").replace("/", "."))
    return message_factory.GetMessageClass(method.input_type)
