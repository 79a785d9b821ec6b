"""Calls to the wallet under test: bytes over several channels, as several clients would have them."""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import grpc
from reelmesh.client import CallError

LANES = 8
ATTEMPTS_MAX = 5
# Nothing is known of the call: it is sent again with the same id.
UNANSWERED = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"})
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
# ServerReflectionRequest{list_services: "*"}; by hand, since the wheel requires no reflection package.
_LIST_SERVICES = b"\x3a\x01*"

M = TypeVar("M", covariant=True)


class Parsed(Protocol[M]):
    """A message type."""

    def FromString(self, body: bytes) -> M:
        """Reads it."""


class Unreachable(Exception):
    """Nobody answers at the address."""


class Channels:
    """`target`: "host:port". With a CA file (PEM) over TLS, with a folder of callers over mutual TLS."""

    def __init__(
        self,
        target: str,
        *,
        tls_ca: Path | None = None,
        mtls: Path | None = None,
        callers: Sequence[str] = (),
        server: str = "",
    ) -> None:
        """`mtls` has a folder for each of `callers`, with tls.crt, tls.key and ca.crt; `server` is the DNS
        name that the wallet's certificate must have then.
        """
        self.target, self.mtls = target, mtls
        options: list[tuple[str, Any]] = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ]
        if _is_local(target):
            # The environment's HTTP proxy is not for this machine's own ports.
            options.append(("grpc.enable_http_proxy", 0))
        if mtls is not None:
            options.append(("grpc.ssl_target_name_override", server))
            self._lanes_of = {
                caller: _secure(target, _credentials(mtls / caller), options) for caller in callers
            }
        elif tls_ca is not None:
            credentials = grpc.ssl_channel_credentials(tls_ca.read_bytes())
            self._lanes_of = {"": _secure(target, credentials, options)}
        else:
            self._lanes_of = {"": [grpc.aio.insecure_channel(target, options=options) for _ in range(LANES)]}

    async def connect(self) -> None:
        """Opens all of them. Errors: Unreachable when it is refused, or not answered within 10 s."""
        await self._all(self._connect, 10.0)

    async def reconnect(self, *, timeout_s: float = 60.0) -> None:
        """Opens all of them, however often that is refused first. Errors: Unreachable."""
        await self._all(lambda lane: lane.channel_ready(), timeout_s)

    async def _connect(self, lane: grpc.aio.Channel) -> None:
        while (state := lane.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                raise Unreachable(f"nobody answers at {self.target}, or not with this TLS")
            await lane.wait_for_state_change(state)

    async def _all(self, opened: Callable[[grpc.aio.Channel], Awaitable[None]], timeout_s: float) -> None:
        try:
            await asyncio.wait_for(asyncio.gather(*map(opened, self._all_lanes())), timeout_s)
        except TimeoutError:
            raise Unreachable(f"nobody answers at {self.target} within {timeout_s:.0f} s") from None

    async def close(self) -> None:
        """Cuts what is in flight."""
        for lane in self._all_lanes():
            await lane.close()

    def _all_lanes(self) -> list[grpc.aio.Channel]:
        return [lane for lanes in self._lanes_of.values() for lane in lanes]

    async def call(
        self,
        path: str,
        body: bytes,
        answer: Parsed[M],
        *,
        metadata: tuple[tuple[str, str], ...],
        caller: str = "",
        lane: int = 0,
        timeout_s: float = 10.0,
        attempts: int = ATTEMPTS_MAX,
    ) -> M:
        """One call, sent again while it is not answered, up to so often in all. Errors: CallError.

        `caller`: with whose certificate, over mutual TLS.
        """
        lanes = self._lanes_of[caller if self.mtls else ""]
        method: Any = lanes[lane % LANES].unary_unary(path, None, answer.FromString)
        for attempt in range(1, attempts + 1):
            try:
                return cast(M, await method(body, metadata=metadata, timeout=timeout_s))
            except grpc.aio.AioRpcError as failure:
                if failure.code().name not in UNANSWERED or attempt == attempts:
                    raise CallError(
                        failure.code(),
                        failure.initial_metadata(),
                        failure.trailing_metadata(),
                        failure.details(),
                    ) from None
            await asyncio.sleep(0.1 * attempt)
        raise ValueError("attempts is above zero")

    async def services(self) -> str:
        """What server reflection lists, unparsed; empty where it is off."""
        method: Any = self._all_lanes()[0].stream_stream(_REFLECTION)
        try:
            async for answer in method(iter([_LIST_SERVICES]), timeout=5.0):
                return bytes(answer).decode("latin-1")
        except grpc.aio.AioRpcError:
            pass
        return ""


def text_of(error: CallError) -> str:
    """The code as it came, which a wallet that is not ours may give without a reason, and its text."""
    return f"{error.code().name} ({error.message})" if error.message else error.code().name


def _credentials(directory: Path) -> grpc.ChannelCredentials:
    ca, key, certificate = ((directory / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt"))
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _secure(
    target: str, credentials: grpc.ChannelCredentials, options: list[tuple[str, Any]]
) -> list[grpc.aio.Channel]:
    return [grpc.aio.secure_channel(target, credentials, options=options) for _ in range(LANES)]


def _is_local(target: str) -> bool:
    host = target.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
