"""Whatever is sent, nothing crashes, nothing inside is shown, and nothing is answered with 5xx."""

import asyncio
import json
import random
import re
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool

from deploy.local.mesh import Mesh
from services.common.errors import STATUS_DETAILS_KEY
from services.gateway.edge.envelope import INTERNAL
from tests.contract.test_reasons import INSIDE
from tests.integration.door import malformed, malformed_frames
from tests.integration.door.malformed import GATEWAY
from tests.mesh.stage import STAKE_MINOR, Stage

SEED = 20_261_130
AT_ONCE = 16
PATIENCE_S = 30.0

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_CODE = re.compile(r"Traceback|\.py\b|psycopg|sqlalchemy|postgres|127\.0\.0\.1|localhost|\binsert into\b")
_NOT_OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}


class Sent:
    """What was sent to one gateway, and what was wrong with the answers."""

    def __init__(self, stage: Stage, credentials: list[str]) -> None:
        self._ports = stage.mesh.ports("gateway")
        self._launch_url = f"{stage.mesh.rest_url()}/play"
        self._credentials = credentials
        self.statuses: dict[str, int] = {}
        self.wrong: list[str] = []
        methods = (
            descriptor_pool.Default().FindMethodByName(f"{GATEWAY.grpc_service}.{name}")
            for name in GATEWAY.methods
        )
        self._unary = sorted(one.name for one in methods if not one.server_streaming)

    async def http(self, rng: random.Random) -> None:
        """One request over a connection of its own."""
        data = malformed.http(rng, self._credentials).data
        answer = await self._exchange(self._ports.rest, data)
        found = _STATUS.findall(answer)
        for status in found:
            self._count(f"HTTP {status.decode()}")
        # A session that was opened after all says where the game's page is.
        text = answer.decode("latin-1").replace(self._launch_url, "")
        # What was answered after all may have numbers that look like a port.
        inside = _CODE if found and all(status == b"200" for status in found) else INSIDE
        if any(status >= b"500" for status in found) or inside.search(text):
            self.wrong.append(f"{data[:300]!r} -> {text[:600]}")

    async def socket(self, rng: random.Random) -> None:
        """One WebSocket."""
        said = malformed_frames.conversation(rng, self._credentials)
        head, _, rest = (await self._exchange(self._ports.rest, said.data, owed=said.owed)).partition(
            b"\r\n\r\n"
        )
        wrong = []
        if head.startswith(b"HTTP/1.1 101 "):
            found = malformed_frames.frames(rest)
            messages = [json.loads(one.data) for one in found if one.opcode == malformed_frames.TEXT]
            answers = [one for one in messages if "method" not in one]
            for answer in (one for some in answers for one in (some if isinstance(some, list) else [some])):
                code = answer["error"]["code"] if "error" in answer else 0
                self._count(f"JSON-RPC {code}")
                if code == INTERNAL or ("error" in answer and answer["error"]["data"]["status"] >= 500):
                    wrong.append(f"{answer}")
            codes = [int.from_bytes(one.data[:2], "big") for one in found if one.opcode == 8]
            for code in codes:
                self._count(f"closed {code}")
            if (said.owed is not None and (len(answers), codes) != (said.owed, [])) or 1011 in codes:
                wrong.append(f"{said.owed} answers owed, {len(answers)} came, closed with {codes}")
        else:
            found_statuses = _STATUS.findall(head + rest)
            self._count(f"no handshake {b' '.join(found_statuses).decode()}")
            wrong += [f"{status!r}" for status in found_statuses if status >= b"500"]
        text = (head + rest).decode("latin-1").replace(self._launch_url, "")
        if wrong or _CODE.search(text):
            self.wrong.append(f"{said.data[:900]!r} -> {wrong} {text[:600]}")

    async def rpc(self, rng: random.Random, channel: grpc.aio.Channel) -> None:
        """One call."""
        path, message, metadata = malformed.rpc(rng, self._credentials, self._unary)
        call: Any = channel.unary_unary(path)
        try:
            await call(message, metadata=metadata, timeout=PATIENCE_S)
            self._count("gRPC OK")
        except grpc.aio.AioRpcError as error:
            self._count(f"gRPC {error.code().name}")
            details = dict(error.trailing_metadata() or ()).get(STATUS_DETAILS_KEY, b"")
            text = f"{error.details()} {details!r}"
            if error.code() in _NOT_OURS or INSIDE.search(text):
                self.wrong.append(f"{path} {message[:100]!r} {metadata} -> {error.code().name} {text}")

    async def h2(self, rng: random.Random) -> None:
        """Bytes for the port of gRPC."""
        data = malformed.h2(rng)
        answer = (await self._exchange(self._ports.grpc, data)).decode("latin-1")
        self._count("h2")
        if _CODE.search(answer):
            self.wrong.append(f"{data[:100]!r} -> {answer[:300]}")

    async def _exchange(self, port: int, data: bytes, owed: int | None = None) -> bytes:
        """What comes until the server has said all, or so many messages. A reset is an answer too."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = b""
        try:
            with suppress(ConnectionError):
                writer.write(data)
                if owed is None:
                    writer.write_eof()
                async with asyncio.timeout(PATIENCE_S):
                    while chunk := await reader.read(65_536):
                        answer += chunk
                        if owed is not None and malformed_frames.messages(answer) >= owed:
                            break
        finally:
            writer.transport.abort()
        return answer

    def _count(self, what: str) -> None:
        self.statuses[what] = self.statuses.get(what, 0) + 1


async def send(stage: Stage, number: int) -> Sent:
    """So many, the same ones each time."""
    player = await stage.player()
    key = await stage.key()
    sent = Sent(stage, [player.token, key.api_key])
    target = f"127.0.0.1:{stage.mesh.ports('gateway').grpc}"
    numbers = iter(range(number))
    async with grpc.aio.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:

        async def work() -> None:
            for seed in numbers:
                rng = random.Random(SEED + seed)
                kind = seed % 10
                if kind < 5:
                    await sent.http(rng)
                elif kind == 5:
                    await sent.socket(rng)
                elif kind < 9:
                    await sent.rpc(rng, channel)
                else:
                    await sent.h2(rng)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return sent


async def holds(stage: Stage, number: int) -> None:
    """Nothing of it mattered."""
    mesh: Mesh = stage.mesh
    logs = {name: len(mesh.log(name)) for name in mesh.names}
    sent = await send(stage, number)
    assert not sent.wrong, "\n".join(sent.wrong[:10])
    assert all(mesh.running(name) for name in mesh.names)
    for name in mesh.names:
        bad = [
            line for line in mesh.log(name)[logs[name] :].splitlines() if re.search(r"ERROR|Traceback", line)
        ]
        assert not bad, bad[:5]
    # Not all were refused by the first look at them.
    for seen in (
        "HTTP 400",
        "HTTP 401",
        "HTTP 404",
        "HTTP 413",
        "gRPC INVALID_ARGUMENT",
        "gRPC UNIMPLEMENTED",
        *(f"JSON-RPC {code}" for code in (0, -32700, -32600, -32601, -32602, -32016)),
        *(f"closed {code}" for code in (1002, 1003, 1009)),
    ):
        assert sent.statuses.get(seen), sent.statuses
    player = await stage.player()
    assert (await player.spin(STAKE_MINOR)).status == 200


async def test_5_000_malformed_requests(stage: Stage) -> None:
    await holds(stage, 5_000)


@pytest.mark.long
@pytest.mark.timeout(3_600)
async def test_100_000_malformed_requests(stage: Stage) -> None:
    await holds(stage, 100_000)
