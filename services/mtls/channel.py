"""A channel that outlives its certificate: a new one is made with the renewed one, and takes over."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, cast

import grpc

from services.mtls.certificates import Certificates

# A stream ends with its connection's age, two minutes and a half; nothing else takes as long.
FINISH_TIMEOUT_S = 180.0


class _Made:
    """One of gRPC's channels, and how many calls it carries."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def carry(self, call: Any) -> Any:
        """Counts the call until it has ended, whether or not anybody waits for that."""
        self._calls += 1
        self._idle.clear()
        call.add_done_callback(self._ended)
        return call

    def _ended(self, _: object) -> None:
        self._calls -= 1
        if not self._calls:
            self._idle.set()

    async def finish(self) -> None:
        """Closes it after its calls."""
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), FINISH_TIMEOUT_S)
        finally:
            await self.channel.close()


class Mtls(NamedTuple):
    """How to call a service over mutual TLS: with our certificate, if its own has the DNS name `server`."""

    certificates: Certificates
    server: str

    def channel(self, target: str, options: Sequence[tuple[str, Any]]) -> "grpc.aio.Channel":
        """A channel that follows the certificate."""
        made = RenewedChannel(target, options=options, certificates=self.certificates, server=self.server)
        # What is called of it is there.
        return cast(grpc.aio.Channel, made)


class RenewedChannel:
    """As grpc.aio's channel, for unary calls and streams of answers."""

    def __init__(
        self,
        target: str,
        *,
        options: Sequence[tuple[str, Any]],
        certificates: Certificates,
        server: str,
    ) -> None:
        """`server`: the service that must answer; its certificate has that DNS name, whatever the address."""
        self._target, self._certificates = target, certificates
        self._options = [*options, ("grpc.ssl_target_name_override", server)]
        self.made = self._make()
        self._next: asyncio.Task[None] | None = None
        self._finishing: set[asyncio.Task[None]] = set()
        certificates.follow(self._renew)

    def unary_unary(self, path: str, *arguments: Any, **options: Any) -> "_Method":
        """As the channel's."""
        return _Method(self, "unary_unary", path, arguments, options)

    def unary_stream(self, path: str, *arguments: Any, **options: Any) -> "_Method":
        """As the channel's."""
        return _Method(self, "unary_stream", path, arguments, options)

    async def close(self, grace: float | None = None) -> None:
        """Closes what there is; calls in flight get `grace` seconds."""
        self._certificates.unfollow(self._renew)
        tasks = [*self._finishing, *([self._next] if self._next else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.made.channel.close(grace)

    def _make(self) -> _Made:
        credentials = self._certificates.channel_credentials()
        return _Made(grpc.aio.secure_channel(self._target, credentials, options=self._options))

    def _renew(self) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = asyncio.create_task(self._replace())

    async def _replace(self) -> None:
        """Make before break: peers that do not know the new certificate yet are called with the old one."""
        made = self._make()
        try:
            await made.channel.channel_ready()
        except BaseException:
            await made.channel.close()
            raise
        before, self.made = self.made, made
        finishing = asyncio.create_task(before.finish())
        self._finishing.add(finishing)
        finishing.add_done_callback(self._finishing.discard)


class _Method:
    """One method of whichever channel is in use."""

    def __init__(
        self, channel: RenewedChannel, kind: str, path: str, arguments: tuple[Any, ...], options: Any
    ) -> None:
        self._channel, self._kind = channel, kind
        self._arguments, self._options = (path, *arguments), options
        self._bind()

    def _bind(self) -> None:
        self._made = self._channel.made
        make: Any = getattr(self._made.channel, self._kind)
        self._start: Any = make(*self._arguments, **self._options)

    def __call__(self, *request: Any, **options: Any) -> Any:
        if self._made is not self._channel.made:
            self._bind()
        return self._made.carry(self._start(*request, **options))
