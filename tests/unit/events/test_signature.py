"""Signatures against the vectors that are published with them; secrets sealed and opened."""

import json
from pathlib import Path

import pytest

from services.events.webhooks.signature import headers_of, parse_secret
from services.events.webhooks.vault import Vault

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/webhook.json").read_text())


@pytest.mark.parametrize("vector", VECTORS)
def test_a_delivery_is_signed_as_standard_webhooks_says(vector: dict[str, str]) -> None:
    headers = headers_of(
        parse_secret(vector["secret"]),
        delivery_id=vector["webhook-id"],
        timestamp_s=int(vector["webhook-timestamp"]),
        body=vector["body"].encode(),
    )
    assert headers == {name: value for name, value in vector.items() if name.startswith("webhook-")}


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_???", "whsec_MfKQ9r8G", f"whsec_{'A' * 88}"],
)
def test_another_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_secret(text)


def test_a_sealed_secret_opens_for_its_webhook_and_under_its_key_only() -> None:
    vault = Vault("a key")
    sealed = vault.seal(b"a secret", webhook_id="a")
    assert b"secret" not in sealed
    assert vault.seal(b"a secret", webhook_id="a") != sealed
    assert Vault("a key").open(sealed, webhook_id="a") == b"a secret"
    for other, webhook_id, text in (
        (vault, "b", sealed),
        (Vault("another key"), "a", sealed),
        (vault, "a", sealed[:-1] + bytes([sealed[-1] ^ 1])),
    ):
        with pytest.raises(ValueError, match="does not open"):
            other.open(text, webhook_id=webhook_id)
