"""Calls over TLS with whatever certificate a test makes, and what a port shows."""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from google.protobuf import descriptor_pool

from deploy.local.mesh import Mesh
from services.common import identity
from services.common.errors import from_rpc_error

# Certificate and key, PEM; None: no certificate.
Pair = tuple[bytes, bytes] | None
TIMEOUT_S = 10.0


class Stranger:
    """Whoever has this certificate, at the port of one service."""

    def __init__(self, mesh: Mesh, service: str, pair: Pair, *, plaintext: bool = False) -> None:
        assert mesh.tls is not None
        self.service = service
        target = f"127.0.0.1:{mesh.ports(service).grpc}"
        # A channel of its own: what another certificate opened is not used again.
        options: list[tuple[str, Any]] = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
        ]
        if plaintext:
            self._channel = grpc.aio.insecure_channel(target, options=options)
            return
        certificate, key = pair or (None, None)
        credentials = grpc.ssl_channel_credentials(mesh.tls.ca_file.read_bytes(), key, certificate)
        self._channel = grpc.aio.secure_channel(target, credentials, options=options)

    async def reason(self, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> str:
        """Why an empty request is refused; empty when it is answered."""
        service = identity.call_graph()[self.service].grpc_service
        streams = descriptor_pool.Default().FindMethodByName(f"{service}.{method}").server_streaming
        channel: Any = self._channel
        kind = channel.unary_stream if streams else channel.unary_unary
        call = kind(f"/{service}/{method}")(b"", metadata=tuple(metadata), timeout=TIMEOUT_S)
        try:
            await (anext(aiter(call)) if streams else call)
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error).reason
        return ""

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()


async def reason(
    mesh: Mesh,
    pair: Pair,
    *,
    service: str = "wallet",
    method: str = "GetAccount",
    metadata: Sequence[tuple[str, str]] = (),
    plaintext: bool = False,
) -> str:
    """Why one call is refused."""
    stranger = Stranger(mesh, service, pair, plaintext=plaintext)
    try:
        return await stranger.reason(method, metadata=metadata)
    finally:
        await stranger.close()


def self_signed(common_name: str, names: Sequence[x509.GeneralName]) -> tuple[bytes, bytes]:
    """A certificate by nobody but its own key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
    builder = builder.not_valid_after(now + timedelta(hours=1))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return certificate, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def serial(port: int, ca_file: Path, directory: Path) -> int:
    """The serial number of the certificate that a new connection is shown; ours is in the directory."""
    context = ssl.create_default_context(cafile=ca_file)
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown: Any = writer.get_extra_info("ssl_object")
    certificate = x509.load_der_x509_certificate(shown.getpeercert(binary_form=True))
    writer.close()
    return certificate.serial_number


def serial_of(directory: Path) -> int:
    """Of the certificate in a directory."""
    return x509.load_pem_x509_certificate((directory / "tls.crt").read_bytes()).serial_number
