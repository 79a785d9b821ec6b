"""Deliveries over HTTP: no redirects, no proxies, and outside development no address that is not public."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import certifi
import httpcore

from services.events.webhooks import addresses

TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0
CONNECTIONS_MAX = 100
IDLE_S = 30.0
# An answer is its status; more of its body than this is not read, and its connection not used again.
ANSWER_BYTES_MAX = 64 * 1024


class Undelivered(Exception):
    """Why a delivery was not taken, in a few words that name neither address nor secret."""


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only: what a name leads to is looked at when the connection is made."""

    def __init__(self, *, development: bool) -> None:
        self._development = development
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - named by httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address of the host that takes one. Errors: Undelivered, httpcore's."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror:
            raise Undelivered("its host has no address") from None
        hosts = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        # All of them: a name that leads inside once is not to be trusted.
        if not self._development and not all(
            addresses.is_public(ipaddress.ip_address(host.partition("%")[0])) for host in hosts
        ):
            raise Undelivered("its host has an address that is not public")
        for number, address in enumerate(hosts):
            try:
                return await self._network.connect_tcp(
                    address, port, timeout, local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(hosts) - 1:
                    raise
        raise Undelivered("its host has no address")

    async def sleep(self, seconds: float) -> None:
        """As asked."""
        await asyncio.sleep(seconds)


class Sender:
    """Posts. One per process."""

    def __init__(self, *, development: bool, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(cafile=certifi.where()),
            max_connections=CONNECTIONS_MAX,
            keepalive_expiry=IDLE_S,
            network_backend=PublicNetwork(development=development),
        )

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> None:
        """Delivers; returns when the answer is 2xx. Errors: Undelivered."""
        timeouts = {"connect": CONNECT_TIMEOUT_S, "pool": self._timeout_s}
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._pool.stream(
                    "POST",
                    url,
                    headers=[("content-type", "application/json"), *headers.items()],
                    content=body,
                    extensions={"timeout": timeouts},
                ) as response:
                    await _skip(response)
        except TimeoutError:
            raise Undelivered(f"no answer within {self._timeout_s:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise Undelivered(f"no connection ({type(error).__name__})") from None
        if not 200 <= response.status < 300:
            raise Undelivered(f"answered {response.status}")

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.aclose()


async def _skip(response: httpcore.Response) -> None:
    size_bytes = 0
    async for part in response.aiter_stream():
        size_bytes += len(part)
        if size_bytes > ANSWER_BYTES_MAX:
            return
