"""What one client may take of the HTTP server, by raw sockets: slowness, connections, addresses."""

import asyncio
import contextlib

from services.gateway.edge.reading import Limits
from tests.integration.gateway.harness import HOST, Wire, happened, serving

GET = b"GET /a HTTP/1.1\r\n\r\n"
HOLD = b"GET /hold HTTP/1.1\r\n\r\n"
SHORT_S, LONG_S = 0.05, 60.0
HEAD = b"POST /b HTTP/1.1\r\ncontent-length: 3\r\n\r\n"


async def test_a_head_has_less_time_than_a_body() -> None:
    async with serving(head_timeout_s=SHORT_S, request_timeout_s=LONG_S, idle_timeout_s=LONG_S) as served:
        slow_head, slow_body = await served.wire(), await served.wire()
        slow_head.send(HEAD[:-2])
        slow_body.send(HEAD + b"x")
        assert await slow_head.rest() == b""
        # Its head came in time.
        slow_body.send(b"yz")
        assert (await slow_body.answer()).body == b"POST /b xyz"


async def test_a_body_has_its_own_time() -> None:
    async with serving(head_timeout_s=LONG_S, request_timeout_s=SHORT_S, idle_timeout_s=LONG_S) as served:
        wire = await served.wire()
        wire.send(HEAD + b"x")
        assert await wire.rest() == b""
        assert not served.app.asked


async def test_a_byte_now_and_then_buys_no_time() -> None:
    """Slow loris: every byte comes well before any time-out, and the request does not end."""
    async with serving(head_timeout_s=4 * SHORT_S, idle_timeout_s=LONG_S) as served:
        wire = await served.wire()
        wire.send(b"GET /")
        ended = asyncio.create_task(wire.rest())
        while not ended.done():
            wire.send(b"x")
            await asyncio.wait([ended], timeout=SHORT_S / 2)
        # A byte that is still on its way when the server ends is answered with a reset.
        with contextlib.suppress(ConnectionResetError):
            assert await ended == b""
        assert not served.app.asked


async def test_an_address_has_so_many_connections() -> None:
    async with serving(connections_max=2) as served:
        wires = [await served.wire() for _ in range(2)]
        for wire in wires:
            wire.send(GET)
            assert (await wire.answer()).status == 200
        one_more = await served.wire()
        assert await one_more.rest() == b""
        # Another address is not in its way, and a connection that ends makes room.
        other = Wire(*await asyncio.open_connection(HOST, served.port, local_addr=("127.0.0.2", 0)))
        other.send(GET)
        assert (await other.answer()).status == 200
        other.writer.transport.abort()
        wires[0].end()
        assert await wires[0].rest() == b""
        room = await served.wire()
        room.send(GET)
        assert (await room.answer()).status == 200


async def test_who_is_gone_while_its_answer_is_made_leaves_room() -> None:
    async with serving(connections_max=1) as served:
        wire = await served.wire()
        wire.send(HOLD)
        await happened(served.app.begun)
        wire.cut()
        while True:
            another = await served.wire()
            another.send(GET)
            try:
                assert (await another.answer()).status == 200
                return
            except (asyncio.IncompleteReadError, ConnectionError):
                continue


async def test_every_line_of_x_forwarded_for_is_kept_and_of_others_the_first() -> None:
    async with serving() as served:
        wire = await served.wire()
        wire.send(
            b"GET /a HTTP/1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Other: a\r\n"
            b"x-forwarded-for: 2.2.2.2, 3.3.3.3\r\nx-other: b\r\n\r\n"
        )
        assert (await wire.answer()).status == 200
        [asked] = served.app.asked
        assert asked.headers == {b"x-forwarded-for": b"1.1.1.1,2.2.2.2, 3.3.3.3", b"x-other": b"a"}
        assert asked.address == HOST


def test_nothing_is_without_a_limit() -> None:
    limits = Limits(body_size_bytes_max=1)
    assert all(getattr(limits, name) > 0 for name in Limits.__slots__)
