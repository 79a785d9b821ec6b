"""Signatures of deliveries, as Standard Webhooks has them: HMAC-SHA256 over id, timestamp and raw body."""

import base64
import binascii
import hashlib
import hmac

SECRET_PREFIX = "whsec_"
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64


def parse_secret(text: str) -> bytes:
    """The key of "whsec_<base64>". Errors: ValueError."""
    if not text.startswith(SECRET_PREFIX):
        raise ValueError("does not begin with whsec_")
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("not base64 behind whsec_") from None
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise ValueError(f"not {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
    return secret


def headers_of(secret: bytes, *, delivery_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a delivery."""
    signed = f"{delivery_id}.{timestamp_s}.".encode() + body
    mac = hmac.new(secret, signed, hashlib.sha256).digest()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }
