"""How a connection ends, by time, by its client or by a drain, and what goes on nevertheless."""

import asyncio
import os
import socket

import pytest

from services.gateway.edge.http import Connection
from tests.integration.gateway.harness import HOST, App, Wire, happened, http_server, serving

GET = b"GET /a HTTP/1.1\r\n\r\n"
HOLD = b"GET /hold HTTP/1.1\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\n\r\n"
# More than sockets hold.
MANY = 64
SHORT_S, LONG_S = 0.05, 60.0


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when the server knows that a client is gone."""
    event, connection_lost = asyncio.Event(), Connection.connection_lost

    def known(self: Connection, error: Exception | None) -> None:
        connection_lost(self, error)
        event.set()

    monkeypatch.setattr(Connection, "connection_lost", known)
    return event


@pytest.mark.parametrize(
    "begun",
    [b"G", GET[:-2], b"POST /b HTTP/1.1\r\ncontent-length: 3\r\n\r\nx"],
    ids=["a byte", "half a head", "half a body"],
)
async def test_a_request_that_does_not_end_is_not_waited_for(begun: bytes) -> None:
    async with serving(request_timeout_s=SHORT_S, idle_timeout_s=LONG_S) as served:
        wire = await served.wire()
        wire.send(GET + begun)
        assert (await wire.answer()).body == b"GET /a "
        assert await wire.rest() == b""
        assert len(served.app.asked) == 1


@pytest.mark.parametrize("sent", [b"", GET], ids=["new", "kept alive"])
async def test_an_idle_connection_is_closed(sent: bytes) -> None:
    async with serving(request_timeout_s=LONG_S, idle_timeout_s=SHORT_S) as served:
        wire = await served.wire()
        wire.send(sent)
        if sent:
            assert "connection" not in (await wire.answer()).headers
        assert await wire.rest() == b""


async def test_nobody_is_idle_while_a_request_is_under_way() -> None:
    async with serving(request_timeout_s=SHORT_S, idle_timeout_s=SHORT_S) as served:
        wire = await served.wire()
        wire.send(HOLD)
        await happened(served.app.begun)
        # This one came later and its time is over.
        assert await (await served.wire()).rest() == b""
        served.app.release.set()
        answer = await wire.answer()
        assert (answer.body, answer.headers.get("connection")) == (b"GET /hold ", None)


async def test_the_request_before_one_that_does_not_end_is_answered() -> None:
    async with serving(request_timeout_s=SHORT_S, idle_timeout_s=SHORT_S) as served:
        wire = await served.wire()
        wire.send(HOLD + b"GET /a")
        await happened(served.app.begun)
        assert await (await served.wire()).rest() == b""
        served.app.release.set()
        answer = await wire.answer()
        assert (answer.body, answer.headers["connection"]) == (b"GET /hold ", "close")
        assert await wire.rest() == b""


async def test_answers_that_nobody_takes_are_not_kept_for_ever(lost: asyncio.Event) -> None:
    async with serving(idle_timeout_s=SHORT_S, request_timeout_s=LONG_S) as served:
        wire = await served.wire()
        wire.send(LARGE * MANY)
        await happened(lost)
        assert len(served.app.ended) < MANY


async def test_a_client_that_leaves_does_not_cut_what_it_asked_for(lost: asyncio.Event) -> None:
    async with serving() as served:
        wire = await served.wire()
        wire.send(HOLD + GET)
        await happened(served.app.begun)
        wire.cut()
        await happened(lost)
        served.stop.set()
        asyncio.get_running_loop().call_later(SHORT_S, served.app.release.set)
        await served.stopped()
        # The drain waited for it, and what had not begun does not begin.
        assert served.app.ended == ["/hold"]


async def test_a_client_that_says_goodbye_does_not_either() -> None:
    async with serving() as served:
        wire = await served.wire()
        wire.send(HOLD)
        await happened(served.app.begun)
        wire.writer.close()
        await wire.writer.wait_closed()
        served.app.release.set()
        await happened(served.app.held)
        served.stop.set()
        await served.stopped()
        assert served.app.ended == ["/hold"]


async def test_a_drain_does_not_serve_whoever_goes_on_asking() -> None:
    async with serving() as served:
        wire = await served.wire()
        wire.send(HOLD + GET * 400_000)
        await happened(served.app.begun)
        served.stop.set()
        served.app.release.set()
        await served.stopped()
        assert len(served.app.asked) < 1_000


async def test_a_client_that_ended_its_side_is_answered() -> None:
    async with serving() as served:
        wire = await served.wire()
        wire.send(HOLD + GET)
        wire.end()
        await happened(served.app.begun)
        served.app.release.set()
        assert (await wire.answer()).body == b"GET /hold "
        answer = await wire.answer()
        assert (answer.body, answer.headers["connection"]) == (b"GET /a ", "close")
        assert await wire.rest() == b""


async def test_before_a_drain_each_answer_sends_its_client_elsewhere() -> None:
    async with serving() as served:
        kept, pipelined = await served.wire(), await served.wire()
        kept.send(GET)
        assert "connection" not in (await kept.answer()).headers
        served.leaving.set()
        kept.send(GET)
        pipelined.send(GET + GET)
        # Still answered, new connections too: who balances may not know yet.
        assert (await kept.answer()).headers["connection"] == "close"
        assert await kept.rest() == b""
        assert "connection" not in (await pipelined.answer()).headers
        assert (await pipelined.answer()).headers["connection"] == "close"


async def test_a_drain_waits_for_what_clients_just_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    unmet, dup = list[socket.socket](), os.dup

    def dup_late(listener: int) -> int:
        # Connected when the server has no turn any more to know of it by itself.
        unmet.append(socket.create_connection((HOST, served.port)))
        return dup(listener)

    monkeypatch.setattr(os, "dup", dup_late)
    async with serving(linger_ms=10_000) as served:
        kept, new = await served.wire(), await served.wire()
        kept.send(GET)
        await kept.answer()
        served.stop.set()
        with pytest.raises(ConnectionRefusedError):
            while True:
                (await served.wire()).writer.transport.abort()
        served.wires.append(Wire(*await asyncio.open_connection(sock=unmet[0])))
        for wire in (kept, new, served.wires[-1]):
            wire.send(GET)
            assert (await wire.answer()).headers["connection"] == "close"
            assert await wire.rest() == b""
            wire.end()
        await served.stopped()


async def test_a_drain_answers_what_is_in_flight_and_nothing_new() -> None:
    async with serving() as served:
        idle, busy, half = [await served.wire() for _ in range(3)]
        for wire in (idle, half):
            wire.send(GET)
            await wire.answer()
        half.send(b"GET /late HT")
        busy.send(HOLD + GET)
        await happened(served.app.begun)
        served.stop.set()
        assert await idle.rest() == b"", "an idle connection is closed at once"
        with pytest.raises(ConnectionRefusedError):
            await served.wire()
        half.send(b"TP/1.1\r\n\r\n" + GET)
        answer = await half.answer()
        assert (answer.body, answer.headers["connection"]) == (b"GET /late ", "close")
        assert await half.rest() == b""
        assert not served.running.done()
        served.app.release.set()
        assert "connection" not in (await busy.answer()).headers
        answer = await busy.answer()
        assert (answer.body, answer.headers["connection"]) == (b"GET /a ", "close")
        assert await busy.rest() == b""
        await served.stopped()


async def test_a_drain_ends_with_its_grace() -> None:
    async with serving(drain_grace_ms=50) as served:
        wire = await served.wire()
        wire.send(HOLD)
        await happened(served.app.begun)
        served.stop.set()
        await served.stopped()
        assert await wire.rest() == b""
        served.app.release.set()
        await happened(served.app.held)


async def test_what_comes_after_the_reply_holds_nobody() -> None:
    async with serving() as served:
        reached, hold = asyncio.Event(), asyncio.Event()

        async def after_reply() -> None:
            reached.set()
            await hold.wait()

        served.app.after_reply = after_reply
        wire = await served.wire()
        for _ in range(2):
            reached.clear()
            wire.send(GET)
            assert (await wire.answer()).body == b"GET /a "
            await happened(reached)
        hold.set()


async def test_a_taken_port_is_told_in_one_line() -> None:
    async with serving() as served:
        with pytest.raises(
            OSError, match=rf"^cannot listen on 127.0.0.1:{served.port}; is the port taken\?$"
        ):
            await http_server(App(), port=served.port).listen()
