"""What a connection does with what it is sent: order, framing, limits, refusals."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import NamedTuple

import pytest

from services.gateway.edge.http import Connection
from tests.integration.gateway.harness import BODY_SIZE_BYTES_MAX, HOST, Wire, happened, serving
from tests.integration.wheel.authority import Authority
from tests.tools import require_tool

HEAD_SIZE_BYTES_MAX = 16 * 1024
GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
AFTER = b"GET /after HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = b"POST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"


def post(body: bytes, target: bytes = b"/b", *lines: bytes) -> bytes:
    """A POST with a content-length and these further header lines."""
    head = b"".join(line + b"\r\n" for line in (b"host: x", b"content-length: %d" % len(body), *lines))
    return b"POST %b HTTP/1.1\r\n%b\r\n" % (target, head) + body


UPGRADE = (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAAQAAP__")


class Case(NamedTuple):
    """What is sent and what is said, each as "POST /path body"; whether the connection stays."""

    what: str
    sent: bytes
    said: list[bytes]
    stays: bool = True


UPGRADED_GET = GET[:-2] + b"upgrade: websocket\r\nconnection: upgrade\r\n\r\n"
UPGRADED_CHUNKS = CHUNKED + b"\r\n".join(UPGRADE) + b"\r\n\r\n1\r\nx\r\n0\r\n\r\n"
CLOSE = GET[:-2] + b"connection: close\r\n\r\n"
FULL = b"x" * BODY_SIZE_BYTES_MAX
A, THEN = b"GET /a ", b"GET /after "
CASES = [
    Case("one", GET, [A]),
    Case("an empty line first", b"\r\n\r\n" + GET, [A]),
    Case("in a row", GET + post(b"12") + AFTER, [A, b"POST /b 12", THEN]),
    Case("more than may wait", GET * 100 + AFTER, [A] * 100 + [THEN]),
    Case("the largest body", post(FULL), [b"POST /b " + FULL]),
    Case("chunks", CHUNKED + b"\r\n2;a=b\r\n12\r\n1\r\n3\r\n0\r\n\r\n" + AFTER, [b"POST /b 123", THEN]),
    Case("small chunks", CHUNKED + b"\r\n" + b"1\r\nx\r\n" * 1_000 + b"0\r\n\r\n", [b"POST /b " + FULL]),
    Case("a trailer", CHUNKED + b"\r\n1\r\nx\r\n0\r\na: b\r\n\r\n" + AFTER, [b"POST /b x", THEN]),
    Case("close", CLOSE + AFTER, [A], False),
    Case("close behind others", GET + CLOSE, [A] * 2, False),
    Case("HTTP/1.0", b"GET /a HTTP/1.0\r\n\r\n", [A], False),
    Case("HTTP/1.0, alive", b"GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" + AFTER, [A], False),
    Case("an upgrade", UPGRADED_GET + AFTER, [A, THEN]),
    Case("an upgrade with a body", post(b"12", b"/b", *UPGRADE) + AFTER, [b"POST /b 12", THEN]),
    Case("an upgrade with chunks", UPGRADED_CHUNKS + AFTER, [b"POST /b x", THEN]),
]


@pytest.mark.parametrize("apart", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
async def test_requests_are_answered_in_order(case: Case, apart: bool) -> None:
    async with serving(pipelined_max=4) as served:
        wire = await served.wire()
        if apart:
            await wire.send_apart(case.sent)
        else:
            wire.send(case.sent)
        answers = [await wire.answer() for _ in case.said]
        assert [answer.body for answer in answers] == case.said
        assert {answer.status for answer in answers} == {200}
        closing = [answer.headers.get("connection") for answer in answers]
        assert closing == [None] * (len(answers) - 1) + [None if case.stays else "close"]
        if case.stays:
            wire.send(GET)
            assert (await wire.answer()).body == b"GET /a "
        else:
            assert await wire.rest() == b""


def framed(*lines: bytes, body: bytes = b"") -> bytes:
    """A POST with just these header lines."""
    return (
        b"POST /b HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in (b"host: x", *lines)) + b"\r\n" + body
    )


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an unknown method": b"SPIN /b HTTP/1.1\r\nhost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /a HTTP/9.9\r\n\r\n",
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a target in Latin-1": b"GET /\xe9 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a fragment in Latin-1": b"GET /a#\xe9 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a query in Latin-1": b"GET /a?\xe9 HTTP/1.1\r\nhost: x\r\n\r\n",
    "length and chunks": framed(b"content-length: 3", b"transfer-encoding: chunked", body=b"0\r\n\r\n"),
    "chunks and length": framed(b"transfer-encoding: chunked", b"content-length: 3", body=b"0\r\n\r\n"),
    "two lengths": framed(b"content-length: 1", b"content-length: 2", body=b"xx"),
    "a length twice": framed(b"content-length: 1", b"content-length: 1", body=b"x"),
    "a list of lengths": framed(b"content-length: 1, 1", body=b"x"),
    "a length with a sign": framed(b"content-length: +1", body=b"x"),
    "a negative length": framed(b"content-length: -1", body=b"x"),
    "a length in hex": framed(b"content-length: 0x1", body=b"x"),
    "an endless length": framed(b"content-length: 99999999999999999999"),
    "another encoding": framed(b"transfer-encoding: xchunked", body=b"0\r\n\r\n"),
    "chunked not last": framed(b"transfer-encoding: chunked, identity", body=b"0\r\n\r\n"),
    "chunked not last, in two": framed(
        b"transfer-encoding: chunked", b"transfer-encoding: identity", body=b"0\r\n\r\n"
    ),
    "chunked not last, upgraded": framed(
        b"transfer-encoding: chunked", b"transfer-encoding: identity", *UPGRADE, body=b"0\r\n\r\n"
    ),
    "a chunk of no size": framed(b"transfer-encoding: chunked", body=b"g\r\nx\r\n0\r\n\r\n"),
    "a chunk of another size": framed(b"transfer-encoding: chunked", body=b"1\r\nxyz\r\n0\r\n\r\n"),
    "a folded header": framed(b"a: b", b" c: d"),
    "a space before the colon": framed(b"content-length : 1", body=b"x"),
    "a header without colon": framed(b"content-length"),
    "a bare LF": b"GET /a HTTP/1.1\nhost: x\n\n",
    "a bare LF in a header": framed(b"a: b\ncontent-length: 1", body=b"x"),
    "a bare CR in a header": framed(b"a: b\rcontent-length: 1", body=b"x"),
    "a NUL in a header": framed(b"a: b\0"),
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_what_is_no_http_is_refused_and_nothing_behind_it_is_read(what: str) -> None:
    async with serving() as served:
        wire = await served.wire()
        wire.send(GET + MALFORMED[what] + AFTER)
        assert (await wire.answer()).body == b"GET /a "
        refused = await wire.answer()
        assert (refused.status, refused.reason) == (400, "BODY_MALFORMED")
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["connection"] == "close"
        assert json.loads(refused.body)["metadata"]["problem"]
        assert await wire.rest() == b""
        assert [request.target for request in served.app.asked if not request.refusal] == ["/a"]


MIB = b"x" * 2**20
TOO_LARGE = {
    "a header": framed(b"a: " + b"x" * HEAD_SIZE_BYTES_MAX),
    "headers": framed(*(b"a-%d: %b" % (number, b"x" * 100) for number in range(170))),
    "a target": b"GET /" + b"x" * HEAD_SIZE_BYTES_MAX + b" HTTP/1.1\r\n\r\n",
    "a header without end": b"GET /a HTTP/1.1\r\na: " + MIB,
    "a header's name without end": b"GET /a HTTP/1.1\r\n" + MIB,
    "a body": post(b"x" * (BODY_SIZE_BYTES_MAX + 1)),
    "a body of which more was promised": framed(b"content-length: 9999999", body=MIB),
    "a body in chunks": CHUNKED + b"\r\n" + b"100\r\n" + b"x" * 256 + b"\r\n" + b"300\r\n" + b"x" * 768,
    "a chunk's extension without end": CHUNKED + b"\r\n1;" + MIB,
    "a trailer without end": CHUNKED + b"\r\n0\r\na: " + MIB,
}


@pytest.mark.parametrize("what", TOO_LARGE)
async def test_what_is_too_large_is_refused_and_the_client_hears_it(what: str) -> None:
    async with serving() as served:
        wire = await served.wire()
        wire.send(TOO_LARGE[what])
        refused = await wire.answer()
        expected = (413, "BODY_TOO_LARGE")
        if what == "a target":
            expected = (414, "URL_TOO_LONG")
        elif "header" in what:
            expected = (431, "HEAD_TOO_LARGE")
        assert (refused.status, refused.reason) == expected
        assert refused.headers["connection"] == "close"
        # It goes on sending what nobody reads, and may do so: the answer must not be lost by a reset.
        for _ in range(5):
            wire.send(MIB)
            await wire.writer.drain()
        assert await wire.rest() == b""
        wire.end()
        assert all(request.refusal for request in served.app.asked)


async def test_a_refusal_waits_for_its_turn() -> None:
    async with serving() as served:
        wire = await served.wire()
        wire.send(b"GET /hold HTTP/1.1\r\n\r\n" + MALFORMED["two lengths"])
        await happened(served.app.begun)
        served.app.release.set()
        assert (await wire.answer()).body == b"GET /hold "
        assert (await wire.answer()).status == 400


@pytest.mark.parametrize("behind", [b"", b"GET /hold HTTP/1.1\r\n\r\n"], ids=["alone", "behind another"])
async def test_a_body_is_asked_for_when_its_turn_has_come(behind: bytes) -> None:
    async with serving() as served:
        wire = await served.wire()
        head, body = post(b"12", b"/b", b"expect: 100-continue")[:-2], b"12"
        wire.send(behind + head)
        if behind:
            await happened(served.app.begun)
            served.app.release.set()
            assert (await wire.answer()).body == b"GET /hold "
        assert await wire.head() == (100, {})
        wire.send(body)
        assert (await wire.answer()).body == b"POST /b 12"
        wire.send(GET)
        assert (await wire.answer()).body == b"GET /a "


async def test_head_is_answered_without_its_body() -> None:
    async with serving() as served:
        wire = await served.wire()
        wire.send(GET.replace(b"GET", b"HEAD") + GET)
        status, headers = await wire.head()
        assert (status, headers["content-length"]) == (200, str(len("HEAD /a ")))
        assert (await wire.answer()).body == b"GET /a "


async def test_of_a_header_sent_twice_the_first_counts_and_no_trailer() -> None:
    async with serving() as served:
        wire = await served.wire()
        wire.send(CHUNKED + b"A: 1\r\na: 2\r\n\r\n0\r\nb: 3\r\n\r\n")
        await wire.answer()
        [request] = served.app.asked
        assert (request.header(b"a"), request.header(b"b")) == ("1", "")


@pytest.mark.parametrize("target", ["/fail", "/cancel"])
async def test_a_failure_is_told_logged_once_and_leaves_the_connection(
    target: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as served:
        wire = await served.wire()
        wire.send(f"GET {target} HTTP/1.1\r\n\r\n".encode() + GET)
        failed = await wire.answer()
        assert (failed.status, failed.reason) == (500, "INTERNAL")
        assert (b"hunter2" not in failed.body and "hunter2" in caplog.text) or target == "/cancel"
        assert (await wire.answer()).body == b"GET /a "
        assert [record.message for record in caplog.records] == ["a request failed"]


async def test_every_reply_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []

    class Counted:
        def __init__(self, transport: asyncio.BaseTransport) -> None:
            self._transport = transport

        def __getattr__(self, name: str) -> object:
            return getattr(self._transport, name)

        def write(self, data: bytes) -> None:
            writes.append(data)
            self._transport.write(data)  # type: ignore[attr-defined]

    made = Connection.connection_made
    monkeypatch.setattr(Connection, "connection_made", lambda self, transport: made(self, Counted(transport)))  # type: ignore[arg-type]
    async with serving() as served:
        wire: Wire = await served.wire()
        for sent in (GET, post(b"12"), MALFORMED["no HTTP"]):
            wire.send(sent)
            await wire.answer()
    assert len(writes) == 3


async def test_a_request_says_whether_it_came_over_tls(tmp_path: Path) -> None:
    require_tool("openssl")
    authority = Authority(tmp_path)
    served_with = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served_with.load_cert_chain(*authority.issue("gateway"))
    for tls, trusting, scheme in (
        (None, None, "http"),
        (served_with, ssl.create_default_context(cafile=authority.ca_file), "https"),
    ):
        async with serving(tls=tls) as served:
            wire = Wire(*await asyncio.open_connection(HOST, served.port, ssl=trusting))
            wire.send(GET)
            assert (await wire.answer()).status == 200
            assert [request.scheme for request in served.app.asked] == [scheme]
            wire.writer.transport.abort()
