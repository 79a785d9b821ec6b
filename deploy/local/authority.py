"""A certificate authority of this machine: its key stays in memory, and ends with the process."""

import datetime as dt
import ipaddress
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.mtls.checking import TRUST_DOMAIN

VALID_FOR = dt.timedelta(hours=24)
RENEW_BEFORE = dt.timedelta(hours=8)
_AUTHORITY_VALID_FOR = dt.timedelta(days=365)
# Clocks of other machines, whose browsers may look at the page.
_EARLIER = dt.timedelta(minutes=5)
_HERE = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


class Authority:
    """Issues certificates as cert-manager does on Kubernetes."""

    def __init__(self, name: str = "Reelmesh on this machine") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        builder = _builder(self._name, self._name, self._key.public_key(), _AUTHORITY_VALID_FOR)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs=True), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self._certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        common_name: str,
        names: Iterable[x509.GeneralName],
        *,
        valid_for: dt.timedelta = VALID_FOR,
    ) -> tuple[bytes, bytes]:
        """A new certificate and its key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(common_name), self._name, key.public_key(), valid_for)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=False), critical=True)
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if held := list(names):
            builder = builder.add_extension(x509.SubjectAlternativeName(held), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), secret

    def issue_for(self, service: str, *, valid_for: dt.timedelta = VALID_FOR) -> tuple[bytes, bytes]:
        """A service's certificate and key: what it is called, who it is, and this machine."""
        return self.issue(service, names_of(service), valid_for=valid_for)


def names_of(service: str) -> list[x509.GeneralName]:
    """The DNS name that callers ask for, the identity, and this machine's names."""
    identity = x509.UniformResourceIdentifier(f"{TRUST_DOMAIN}{service}")
    return [x509.DNSName(service), identity, *_HERE]


class Folder:
    """A directory per service with tls.crt, tls.key and ca.crt; for the user who made it only."""

    def __init__(self, path: Path, services: Sequence[str]) -> None:
        self.path, self._services = path, services
        self._due_time = dt.datetime.max.replace(tzinfo=dt.UTC)

    def of(self, service: str) -> Path:
        """The service's own directory."""
        return self.path / service

    @property
    def ca_file(self) -> Path:
        """Whom a client of the gateway trusts."""
        return self.path / "ca.crt"

    def renew(self, authority: Authority) -> None:
        """A new certificate for every service."""
        for service in self._services:
            certificate, key = authority.issue_for(service)
            self.write(service, {"tls.key": key, "tls.crt": certificate})
        self._due_time = dt.datetime.now(dt.UTC) + VALID_FOR - RENEW_BEFORE

    def renew_when_due(self, authority: Authority) -> None:
        """The same, long before those there are expire."""
        if dt.datetime.now(dt.UTC) >= self._due_time:
            self.renew(authority)

    def trust(self, *authorities: Authority) -> None:
        """Whom every service trusts from now on."""
        roots = b"".join(authority.pem for authority in authorities)
        for service in self._services:
            self.write(service, {"ca.crt": roots})
        self._replace(self.ca_file, roots)

    def write(self, service: str, files: dict[str, bytes]) -> None:
        """Replaces these files of a service, each as a whole."""
        directory = self.of(service)
        for made in (self.path, directory):
            made.mkdir(mode=0o700, exist_ok=True)
        for name, content in files.items():
            self._replace(directory / name, content)

    def _replace(self, path: Path, content: bytes) -> None:
        new = path.with_name(f"{path.name}.new")
        # Private from its first byte on; what a killed run left is taken away first.
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        new.replace(path)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid_for: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    start, end = now - _EARLIER, now + valid_for
    return builder.not_valid_before(min(start, end - _EARLIER)).not_valid_after(end)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
