"""Signed requests: HMAC-SHA256 over what was received, byte for byte (docs/signing.md).

The secret of a key is derived from the installation's key and the key's id: nothing secret is stored, and
every gateway can verify.
"""

import base64
import hashlib
import hmac
import re
import time
import uuid
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.gateway import errors
from services.gateway.operators import key_store

VERSION = "v1"
SIGNATURE_HEADER = "reelmesh-signature"
TIMESTAMP_HEADER = "reelmesh-timestamp"
NONCE_HEADER = "reelmesh-nonce"
SECRET_PREFIX = "rs_"
# How far a signer's clock may be from ours, either way.
WINDOW_S = 300
# A nonce is kept longer than its timestamp is taken, by as much as gateways and database may disagree.
_CLOCKS_APART_S = 60
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_GRPC_METHOD = "GRPC"


class Signed(NamedTuple):
    """A request as it was received, and what it is signed with."""

    method: str
    """The HTTP method; GRPC for an RPC."""
    target: str
    """Path and query as they were sent; the path of an RPC."""
    body: bytes
    signature: str
    timestamp: str
    nonce: str


def secret_of(signing_key: str, key_id: uuid.UUID) -> str:
    """The secret of an API key, as its holder has it."""
    derived = HKDF(SHA256(), 32, salt=None, info=b"reelmesh signing v1 " + key_id.bytes)
    raw = derived.derive(signing_key.encode())
    return SECRET_PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def to_sign(signed: Signed) -> bytes:
    """The bytes under the signature: six lines, the last without an end."""
    digest = hashlib.sha256(signed.body).hexdigest()
    lines = ("reelmesh-" + VERSION, signed.method, signed.target, signed.timestamp, signed.nonce, digest)
    return "\n".join(lines).encode("latin-1")


def sign(secret: str, signed: Signed) -> str:
    """The value of the signature's header."""
    return f"{VERSION}={hmac.new(secret.encode(), to_sign(signed), hashlib.sha256).hexdigest()}"


class Signatures:
    """Verifies signed requests, each once, whichever gateway it reaches."""

    def __init__(self, engine: AsyncEngine, *, signing_key: str) -> None:
        self._engine, self._signing_key = engine, signing_key

    async def verify(self, key_id: uuid.UUID, *, required: bool, signed: Signed) -> None:
        """A request that shows a signature must show a right one, required or not.

        Errors: UNAUTHENTICATED/SIGNATURE_MISSING, UNAUTHENTICATED/SIGNATURE_INVALID,
        ALREADY_EXISTS/REQUEST_REPLAYED
        """
        if not signed.signature:
            if required:
                raise errors.SignatureMissing()
            return
        if not _TIMESTAMP.fullmatch(signed.timestamp):
            raise errors.SignatureInvalid(problem="the timestamp is not in Unix seconds")
        if not _NONCE.fullmatch(signed.nonce):
            raise errors.SignatureInvalid(problem="the nonce is not 16 to 64 letters, digits, - or _")
        if abs(time.time() - int(signed.timestamp)) > WINDOW_S:
            raise errors.SignatureInvalid(problem=f"the timestamp is more than {WINDOW_S} s from our clock")
        right = sign(secret_of(self._signing_key, key_id), signed)
        if not hmac.compare_digest(right.encode(), signed.signature.encode("latin-1", "replace")):
            raise errors.SignatureInvalid(problem="the signature is not that of these bytes")
        # Only of who has the secret is anything kept.
        expire_s = int(signed.timestamp) + WINDOW_S + _CLOCKS_APART_S
        async with db.transaction(self._engine, "request_nonce") as conn:
            fresh = await key_store.insert_nonce(conn, key_id=key_id, nonce=signed.nonce, expire_s=expire_s)
        if not fresh:
            raise errors.RequestReplayed()


def of_rpc(path: str, body: bytes, metadata: dict[str, str]) -> Signed:
    """An RPC, by its metadata."""
    return Signed(
        _GRPC_METHOD,
        path,
        body,
        metadata.get(SIGNATURE_HEADER, ""),
        metadata.get(TIMESTAMP_HEADER, ""),
        metadata.get(NONCE_HEADER, ""),
    )
