"""Whether three PEM files make an identity: whole, of one piece, ours, and valid now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

TRUST_DOMAIN = "spiffe://reelmesh/"
_BEGIN = b"-----BEGIN CERTIFICATE-----"


class Refused(ValueError):
    """Why files are not taken. Its text shows nothing of a key."""


class Files(NamedTuple):
    """What cert-manager writes: tls.crt (leaf first), tls.key, ca.crt (who is trusted), PEM."""

    chain: bytes
    key: bytes
    roots: bytes


def check(files: Files, *, service: str) -> x509.Certificate:
    """The leaf. Errors: Refused."""
    chain, roots = _certificates(files.chain, "tls.crt"), _certificates(files.roots, "ca.crt")
    leaf = chain[0]
    try:
        key = load_pem_private_key(files.key, password=None)
    except (ValueError, TypeError):
        raise Refused("tls.key is no PEM private key, or not all of one") from None
    if key.public_key() != leaf.public_key():
        raise Refused("tls.key is not the key of tls.crt")
    if not _leads(chain, roots):
        raise Refused("tls.crt does not lead to a certificate of ca.crt")
    _check_names(leaf, service)
    now = datetime.now(UTC)
    if now < leaf.not_valid_before_utc:
        raise Refused(f"tls.crt is not valid before {leaf.not_valid_before_utc:%F %T} UTC")
    if now >= leaf.not_valid_after_utc:
        raise Refused(f"tls.crt has expired at {leaf.not_valid_after_utc:%F %T} UTC")
    return leaf


def service_of(uris: Sequence[bytes]) -> str:
    """The service that the URI names of a verified certificate say; empty unless there is one, of ours."""
    if len(uris) != 1:
        return ""
    uri = uris[0].decode(errors="replace")
    return uri.removeprefix(TRUST_DOMAIN) if uri.startswith(TRUST_DOMAIN) else ""


def _certificates(pem: bytes, name: str) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        found = []
    # The reader passes over a last one that is cut off.
    if not found or len(found) != pem.count(_BEGIN):
        raise Refused(f"{name} holds no certificates in PEM, or not all of one")
    return found


def _leads(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> bool:
    return all(_issued(*pair) for pair in pairwise(chain)) and (
        chain[-1] in roots or any(_issued(chain[-1], root) for root in roots)
    )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _check_names(leaf: x509.Certificate, service: str) -> None:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise Refused("tls.crt has no subject alternative names") from None
    uris = [uri.encode() for uri in names.get_values_for_type(x509.UniformResourceIdentifier)]
    if service_of(uris) != service:
        raise Refused(f"the one URI name of tls.crt must be {TRUST_DOMAIN}{service}")
    # What its callers ask the certificate for, whatever address they reach it at.
    if service not in names.get_values_for_type(x509.DNSName):
        raise Refused(f"tls.crt must have the DNS name {service}")
