"""What an idle WebSocket costs the gateway in memory: the edge as it is, with an empty mesh behind it."""

import asyncio
import os
import resource
import sys
from typing import cast

import pytest

from bench.load import Load, Plan, SocketPlayer
from deploy.local.mesh import REPOSITORY
from deploy.local.ports import free_ports

SOCKETS, SOCKETS_LONG = 500, 5_000
SOCKET_SIZE_KIB_MAX = 50
# Of the process itself, and of whoever runs the test.
_OTHER_FILES = 200


async def test_an_idle_socket_is_small() -> None:
    await measure(SOCKETS)


@pytest.mark.long
async def test_five_thousand_idle_sockets_are_small() -> None:
    await measure(SOCKETS_LONG)


class Idle(SocketPlayer):
    """Authenticates, then says nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.authenticated = asyncio.Event()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._transport is not None:
            self.authenticated.set()

    def connection_lost(self, error: Exception | None) -> None:
        """At the end."""

    def close(self) -> None:
        """Is gone."""
        assert self._wire is not None
        self._wire.abort()


class Nobody:
    """No load."""

    def __init__(self, port: int) -> None:
        self.plan = Plan(port=port, tokens=[])


async def measure(count: int) -> None:
    """Connects so many and looks at the server's memory before and after."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[0] < count + _OTHER_FILES:
        pytest.skip(f"ulimit -n is {limit[0]}: {count} sockets need {count + _OTHER_FILES}")
    [port] = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.edge",
        str(port),
        "0.1",
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'gen'}"},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        warm = await connected(port, 50)
        before_kib = resident_kib(process.pid)
        idle = await connected(port, count)
        each_kib = (resident_kib(process.pid) - before_kib) / count
        print(f"{count} idle sockets: {each_kib:.1f} KiB each")
        assert each_kib <= SOCKET_SIZE_KIB_MAX
        for player in warm + idle:
            player.close()
    finally:
        process.kill()
        await process.wait()


async def connected(port: int, count: int) -> list[Idle]:
    """So many clients, authenticated."""
    loop = asyncio.get_running_loop()
    players: list[Idle] = []
    load = cast(Load, Nobody(port))
    async with asyncio.timeout(120):
        while len(players) < count:
            try:
                _, player = await loop.create_connection(lambda: Idle(load, "none"), "127.0.0.1", port)
            except ConnectionRefusedError:  # it does not listen yet
                await asyncio.sleep(0.05)
                continue
            players.append(player)
        for player in players:
            await player.authenticated.wait()
    return players


def resident_kib(pid: int) -> int:
    """What the process holds."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
