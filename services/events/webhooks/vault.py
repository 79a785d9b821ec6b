"""Secrets as they are stored: AES-256-GCM under a key that the database does not have."""

import os
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class Vault:
    """Seals and opens. A sealed secret opens for the webhook only that it was sealed for."""

    def __init__(self, key: str) -> None:
        """`key`: any text of enough randomness, the same in every replica."""
        self._cipher = AESGCM(sha256(key.encode()).digest())

    def seal(self, secret: bytes, *, webhook_id: str) -> bytes:
        """The nonce, and the secret encrypted."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, webhook_id.encode())

    def open(self, sealed: bytes, *, webhook_id: str) -> bytes:
        """The secret. Errors: ValueError when it was sealed under another key or for another webhook."""
        nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, rest, webhook_id.encode())
        except InvalidTag:
            raise ValueError("the secret does not open: was webhook_key changed?") from None
