"""A service's own certificate and whom it trusts: a directory of three files, read again when they change."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from services.mtls.checking import Files, Refused, check

log = logging.getLogger(__name__)

RELOAD_INTERVAL_S = 1.0
# Declared in services/telemetry.yaml.
VALIDITY = "reelmesh.tls.certificate.validity"


class Certificates:
    """tls.crt, tls.key and ca.crt. What is changed is used for new connections; open ones go on."""

    def __init__(self, directory: str | Path, *, service: str) -> None:
        """`service`: whose they must be. Errors: OSError when they cannot be used."""
        self._directory, self._service = Path(directory), service
        try:
            self._files = self._read()
            self._leaf = check(self._files, service=service)
        except Refused as problem:
            raise OSError(f"the certificate in {directory} cannot be used: {problem}") from None
        self._configuration = self._server_configuration()
        # What was refused last, and whether that was said.
        self._refused: tuple[object, bool] = (None, False)
        self._expiry_said = False
        self._followers: list[Callable[[], None]] = []

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate in use."""
        return self._leaf

    def expires_in_s(self) -> float:
        """Negative: it has expired, and no new connection will be made with it."""
        return (self._leaf.not_valid_after_utc - datetime.now(UTC)).total_seconds()

    def follow(self, renewed: Callable[[], None]) -> None:
        """Calls `renewed()`, on the loop, after each change."""
        self._followers.append(renewed)

    def unfollow(self, renewed: Callable[[], None]) -> None:
        """Not any more."""
        self._followers.remove(renewed)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For one channel: Python's gRPC cannot renew those of a channel that is made (grpc#41779)."""
        return grpc.ssl_channel_credentials(self._files.roots, self._files.key, self._files.chain)

    def server_credentials(self, *, require_client: bool) -> grpc.ServerCredentials:
        """For one port; gRPC asks at each handshake, in a thread of its own.

        `require_client`: callers need a certificate of those in ca.crt; else they are not asked for one.
        """
        return renewed_credentials(lambda: self._configuration, require_client=require_client)

    async def watch(self, stop: asyncio.Event) -> None:
        """Looks at the files until `stop` is set."""
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RELOAD_INTERVAL_S)
            self.reload()

    def reload(self) -> bool:
        """Takes changed files; whether it did. What cannot be used is not taken, and said once."""
        self._say_expiry()
        found: object = None
        try:
            found = files = self._read()
            if files == self._files:
                self._refused = (None, False)
                return False
            leaf = check(files, service=self._service)
        except (OSError, Refused) as problem:
            self._refuse(found, problem)
            return False
        self._files, self._leaf, self._expiry_said = files, leaf, False
        self._configuration = self._server_configuration()
        self._refused = (None, False)
        log.info("TLS: certificate %x in use, until %s", leaf.serial_number, _time(leaf))
        for renewed in self._followers:
            renewed()
        return True

    def observe_with(self, meter: Meter) -> None:
        """One gauge: it falls until the certificate is renewed."""

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(self.expires_in_s())]

        meter.create_observable_gauge(VALIDITY, [observe], unit="s")

    def _refuse(self, found: object, problem: Exception) -> None:
        """Said when it is found a second time: the first may be in the middle of being written."""
        before, said = self._refused
        again = before == (found, str(problem))
        if again and not said:
            kept = f"{self._leaf.serial_number:x} stays in use, until {_time(self._leaf)}"
            log.error("TLS: what is in %s cannot be used: %s; certificate %s", self._directory, problem, kept)
        self._refused = ((found, str(problem)), again)

    def _say_expiry(self) -> None:
        if self.expires_in_s() <= 0 and not self._expiry_said:
            self._expiry_said = True
            log.error("TLS: the certificate has expired at %s: new connections fail", _time(self._leaf))

    def _read(self) -> Files:
        return Files(*((self._directory / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")))

    def _server_configuration(self) -> grpc.ServerCertificateConfiguration:
        pair = (self._files.key, self._files.chain)
        return grpc.ssl_server_certificate_configuration([pair], self._files.roots)


def renewed_credentials(
    current: Callable[[], grpc.ServerCertificateConfiguration], *, require_client: bool = False
) -> grpc.ServerCredentials:
    """Credentials of one port, which show at each handshake what `current()` gives."""
    given = current()

    # None, which its stub does not know: as before.
    def renewed() -> Any:
        nonlocal given
        if (now := current()) is given:
            return None
        given = now
        return given

    return grpc.dynamic_ssl_server_credentials(given, renewed, require_client)


def _time(leaf: x509.Certificate) -> str:
    return f"{leaf.not_valid_after_utc:%F %T} UTC"
