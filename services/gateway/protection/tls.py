"""TLS of the gateway's own listeners: a certificate that may be replaced while it serves."""

import asyncio
import logging
import ssl
from contextlib import suppress
from pathlib import Path

import grpc

from services.mtls.certificates import renewed_credentials

log = logging.getLogger(__name__)

# A renewed certificate is used for new connections after this time; those that are open keep theirs.
RELOAD_INTERVAL_S = 5.0


class Certificate:
    """Two PEM files, certificate chain and private key, read again when they change."""

    def __init__(self, cert_path: str, key_path: str) -> None:
        """Errors: OSError when they cannot be read or do not fit each other."""
        self._cert_path, self._key_path = Path(cert_path), Path(key_path)
        self.context = _context(self._cert_path, self._key_path)
        self._take(self._bytes())

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """The same for gRPC, which asks at each handshake; its core takes TLS 1.2 and 1.3 only."""
        return renewed_credentials(lambda: self._configuration)

    async def watch(self, stop: asyncio.Event) -> None:
        """Looks at the files until stop is set; of a pair that does not fit only the log hears."""
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RELOAD_INTERVAL_S)
            self.reload()

    def reload(self) -> None:
        """Takes a changed pair."""
        try:
            found = self._bytes()
            if found == self._read:
                return
            # Into a context of its own first: half a renewal must not break the one that serves.
            _context(self._cert_path, self._key_path)
            self.context.load_cert_chain(self._cert_path, self._key_path)
        except OSError as error:
            log.warning("the TLS certificate was not renewed: %s", type(error).__name__)
        else:
            self._take(found)
            log.info("the TLS certificate was renewed")

    def _take(self, found: tuple[bytes, bytes]) -> None:
        self._read = found
        self._configuration = grpc.ssl_server_certificate_configuration([found])

    def _bytes(self) -> tuple[bytes, bytes]:
        """Key and chain, as gRPC takes them."""
        return self._key_path.read_bytes(), self._cert_path.read_bytes()


def _context(cert_path: Path, key_path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(cert_path, key_path)
    return context
