"""WebSockets that are wrong in some way, by a seed: handshakes, frames, and JSON-RPC in sound frames."""

import json
import random
from typing import Any, NamedTuple

from services.gateway.edge.jsonrpc import BATCH_SIZE_MAX
from services.gateway.operations import OPERATIONS
from tests.integration.door.malformed import body, flipped

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_METHODS = sorted({one.method for one in OPERATIONS if one.routes} | {"authenticate", "events", "ping"})
_KEY = b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
_HANDSHAKE = b"GET /v1/ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
_VERSION = b"sec-websocket-version: 13\r\n"


class Conversation(NamedTuple):
    """What a client sends. `owed`: so many messages answer it; None: it ends after what answers it."""

    data: bytes
    owed: int | None


class Frame(NamedTuple):
    """One of the server's."""

    opcode: int
    data: bytes


def conversation(rng: random.Random, credentials: list[str]) -> Conversation:
    """Of ten one has a wrong handshake, four have wrong frames, five wrong calls."""
    way = rng.randrange(10)
    if way == 0:
        return Conversation(_handshake(rng), None)
    start = _HANDSHAKE + _VERSION + _KEY + b"\r\n"
    who = _call("authenticate", 0, credential=rng.choice(credentials))
    if way < 5:
        sound = frame(rng, TEXT, who)
        return Conversation(start + (sound if rng.random() < 0.5 else b"") + _frames(rng, sound), None)
    said = [(who, 1), *(_said(rng) for _ in range(rng.randrange(1, 4)))]
    return Conversation(
        start + b"".join(frame(rng, TEXT, text) for text, _ in said), sum(owed for _, owed in said)
    )


def frame(rng: random.Random, first: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    """Masked, as a client's must be. `first`: opcode, and bits that are reserved."""
    size, mask = len(data), rng.randbytes(4)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 2**16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    return bytes([first | (0x80 if fin else 0)]) + length + mask + masked


def frames(data: bytes) -> list[Frame]:
    """What a server sent, as far as it came."""
    found = []
    while len(data) >= 2:
        start, size = 2, data[1]
        if size == 126:
            start, size = 4, int.from_bytes(data[2:4], "big")
        elif size == 127:
            start, size = 10, int.from_bytes(data[2:10], "big")
        if len(data) < start + size:
            break
        found.append(Frame(data[0] & 0x0F, data[start : start + size]))
        data = data[start + size :]
    return found


def messages(data: bytes) -> int:
    """How many a server has sent behind its handshake that answer something."""
    found = frames(data.partition(b"\r\n\r\n")[2])
    return sum(one.opcode == TEXT and b'"method":' not in one.data[:40] for one in found)


def _call(method: Any, call_id: Any, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}).encode()


def _handshake(rng: random.Random) -> bytes:
    head = rng.choice(
        (
            _HANDSHAKE + _KEY,
            _HANDSHAKE + _VERSION,
            _HANDSHAKE + _VERSION.replace(b"13", b"99999999999999999999") + _KEY,
            _HANDSHAKE + _VERSION + b"sec-websocket-key: \xff\r\n",
            _HANDSHAKE + _VERSION + _KEY + _KEY,
            _HANDSHAKE + _VERSION + _KEY + b'sec-websocket-extensions: permessage-deflate; x="\r\n',
            _HANDSHAKE + _VERSION + _KEY + b"sec-websocket-protocol: ,,\xff\r\n",
            _HANDSHAKE + _VERSION + _KEY + b"origin: https://evil.example\r\n",
            _HANDSHAKE + _VERSION + _KEY + b"origin: \xff\r\n",
            _HANDSHAKE + _VERSION + _KEY + b"content-length: 5\r\n",
            _HANDSHAKE + _VERSION + _KEY + b"transfer-encoding: chunked\r\n",
            _HANDSHAKE.replace(b"GET", b"POST") + _VERSION + _KEY,
            _HANDSHAKE.replace(b"/ws", b"/ws?credential=x") + _VERSION + _KEY,
            _HANDSHAKE.replace(b"1.1", b"1.0") + _VERSION + _KEY,
        )
    )
    return head + b"\r\n" + frame(rng, TEXT, _call("ping", 1))


def _frames(rng: random.Random, sound: bytes) -> bytes:
    return rng.choice(
        (
            frame(rng, rng.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15)), b"x"),
            frame(rng, rng.choice((0x10, 0x20, 0x40, 0x70)) | TEXT, b"{}"),
            b"\x81\x02{}",  # under no mask
            b"\x81\xff" + rng.choice((2**63, 2**64 - 1, 2**40, 2**31, 70_000)).to_bytes(8, "big") + bytes(9),
            b"\x81\xfe\x00\x02" + bytes(4) + b"{}",  # a longer length than it needs
            frame(rng, TEXT, b" " * 70_000),
            frame(rng, TEXT, b"x" * 40_000, fin=False) + frame(rng, 0, b"x" * 40_000),
            frame(rng, TEXT, b"[", fin=False) + frame(rng, 0, fin=False) * 2_000,
            frame(rng, TEXT, b"[", fin=False) + frame(rng, 0, b" ", fin=False) * 2_000,
            frame(rng, rng.choice((CLOSE, PING, PONG)), b"x", fin=False),
            frame(rng, rng.choice((CLOSE, PING, PONG)), b"x" * 126),
            frame(rng, 0, b"x"),
            frame(rng, TEXT, b"{", fin=False) + frame(rng, TEXT, b"}"),
            frame(rng, TEXT, b"{", fin=False) + frame(rng, PING, b"x") + frame(rng, 0, b"}"),
            frame(rng, BINARY, rng.randbytes(20)),
            frame(rng, PING, rng.randbytes(125)) * 50,
            frame(rng, PONG, b"nobody asked") * 50,
            frame(rng, CLOSE, b"x"),
            frame(rng, CLOSE, rng.choice((0, 999, 1005, 1006, 1015, 65_535)).to_bytes(2, "big")),
            frame(rng, CLOSE, b"\x03\xe8\xff\xfe") + sound,
            b"GET /v1/games HTTP/1.1\r\nhost: x\r\n\r\n",
            rng.randbytes(rng.randrange(1, 300)),
            sound[: rng.randrange(1, len(sound))],
            flipped(rng, sound),
        )
    )


def _said(rng: random.Random) -> tuple[bytes, int]:
    """A message and how many are owed for it."""
    method, depth = rng.choice(_METHODS), rng.choice((10, 1_000, 10_000))
    call = _call(method, 1)
    whole: tuple[bytes, ...] = (
        call[: rng.randrange(1, len(call))],
        # What the operation is asked is wrong, as over REST.
        b'{"jsonrpc": "2.0", "id": 1, "method": "%b", "params": %b}' % (method.encode(), body(rng)[:60_000]),
        call.replace(b'"2.0"', rng.choice((b'"1.0"', b"2.0", b"null", b'"2.00"', b"[]", b"{}"))),
        call.replace(
            b'"id": 1', b'"id": ' + rng.choice((b"[]", b"{}", b"true", b"1e999", b"-0.0", b"9" * 500))
        ),
        call.replace(b'"params": {}', b'"params": ' + rng.choice((b"[]", b"null", b"7", b'"x"', b"[[]]"))),
        call.replace(b"}", b', "id": 2, "id": "x"}', 1),
        call[:-1] + b', "traceparent": ' + rng.choice((b'"\\u0000"', b'"00-0-0-0"', b"7")) + b"}",
        _call(rng.choice(("", "x" * 9_000, "spin\0", "__class__", "../authenticate", "\u202e")), "\ud7ff"),
        _call(rng.choice((None, 7, [], {})), 1),
        _call(method, "é" * 9_000),
        _call("authenticate", 1, credential=rng.choice(("", "rk_", "x" * 50_000, "\0", "é", 7, None, {}))),
        b"[" * depth,
        b"[" * depth + b"]" * depth,
        b'{"a":' * depth,
        b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": ' + b"[" * depth + b"]" * depth + b"}",
        b"[" + b",".join([b"7"] * (BATCH_SIZE_MAX + 1)) + b"]",
        b"[" + b"1," * 30_000 + b"1]",
        b"[" + b",".join([call] * rng.randrange(1, BATCH_SIZE_MAX + 1)) + b"]",  # one id for all
        rng.choice(
            (b"", b" ", b"\0", b"null", b"true", b"7", b'"x"', b"[]", b"{}", b"[[]]", b"\xef\xbb\xbf{}")
        ),
        rng.choice((b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b'{"jsonrpc": "\xff"}', b"[\xff]")),
        rng.randbytes(rng.randrange(1, 200)),
    )
    none: tuple[bytes, ...] = (
        call.replace(b'"id": 1, ', b""),
        b"[" + call.replace(b'"id": 1, ', b"") + b"]",
    )
    return (rng.choice(none), 0) if rng.random() < 0.05 else (rng.choice(whole), 1)
