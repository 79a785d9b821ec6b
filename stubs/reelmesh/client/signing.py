"""Signed requests (docs/signing.md): what an operator's signing secret makes of a message."""

import hashlib
import hmac
import secrets
import time

_VERSION = "v1"


def signature(secret: str, method: str, target: str, timestamp: str, nonce: str, body: bytes) -> str:
    """The value of reelmesh-signature. `method`: "GRPC" or HTTP's; `target`: path and query as sent."""
    digest = hashlib.sha256(body).hexdigest()
    lines = "\n".join((f"reelmesh-{_VERSION}", method, target, timestamp, nonce, digest))
    return f"{_VERSION}={hmac.new(secret.encode(), lines.encode(), hashlib.sha256).hexdigest()}"


def metadata(secret: str, path: str, body: bytes) -> tuple[tuple[str, str], ...]:
    """For one attempt at an RPC, now: each attempt needs its own."""
    timestamp, nonce = str(int(time.time())), secrets.token_urlsafe(16)
    return (
        ("reelmesh-timestamp", timestamp),
        ("reelmesh-nonce", nonce),
        ("reelmesh-signature", signature(secret, "GRPC", path, timestamp, nonce, body)),
    )
