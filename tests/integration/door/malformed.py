"""Requests that are wrong in some way, by a seed: HTTP as bytes, RPCs as path, message and metadata."""

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.message import Message
from reelmesh.gateway.v1 import gateway_pb2

from services.common import identity

GATEWAY = identity.call_graph()["gateway"]
UUID = "6f1c5a0e-3b55-4b7e-9a53-0d2f0a4f9b11"
_PATHS = (
    *("/v1/spins", "/v1/sessions", "/v1/sessions/exchange", "/v1/sessions/close", "/v1/balance"),
    *("/v1/players/p-x/deposits", "/v1/players/p-x/withdrawals", f"/v1/sessions/{UUID}/close"),
    *(f"/v1/rounds/{UUID}", f"/v1/rounds/{UUID}/steps", f"/v1/spins/{UUID}", "/v1/rounds", "/v1/games"),
)
_ODD_PATHS = (
    *("/", "//", "/v1", "/v1/", "*", "/v1/spins/", "/../etc", "/v1/%2e%2e/x", "/v1/rounds/%00", "/%ff%fe"),
    *("/v1/rounds/" + "a" * 3_000, "/v1/rounds?page_size=-1", "/v1/rounds?page_size=99999999999999999999"),
    *("/v1/rounds?page_token=%00", "/v1/rounds?page_size=1&page_size=x", "/v1/rounds?&&==&", "/v1/\xe9"),
    *(
        "/v1/rounds/%zz",
        "/v1/players/%ED%A0%80/deposits",
        "/v1/players/" + "%41" * 900 + "/deposits",
        "http://",
    ),
    *("http://a b/", "/v1/rounds?page_token=" + "A" * 2_000, "/v1/spins#x", "/v1/players/;drop/deposits"),
)
_MONEY = {"currency_code": "USD", "amount_minor": 100}
_BODIES: tuple[dict[str, Any], ...] = (
    {"request_id": UUID, "stake": _MONEY, "mode": "base"},
    {"request_id": UUID, "amount": _MONEY, "kind": "REAL"},
    {"request_id": UUID, "player_id": "p-x", "game_id": "harbour-lights", "currency_code": "USD"},
    {"launch_code": "x" * 43},
    {"step": 1, "choice": "COLLECT"},
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 1.5, -0.0, "", "x", "\0", "\ud800"),
    *([], {}, [[]], [None], {"": ""}, "1e3", "0x1", "é" * 200, "x" * 5_000, "../../x", "' or 1=1 --", "${x}"),
    *("9" * 400, {"currency_code": "usd", "amount_minor": 1}, {"amount_minor": "1"}, "\u202e", "2026-13-45"),
)
_NUMBERS = (b"1E2000000000", b"1e-999999999", b"9" * 500, b"-0", b"01", b"1.", b"NaN", b"Infinity", b"0.1e1")


class Http(NamedTuple):
    """`framed`: one whole request, behind which the connection may be used again."""

    data: bytes
    framed: bool


class Rpc(NamedTuple):
    """A call as bytes."""

    path: str
    message: bytes
    metadata: list[tuple[str, str]]


def http(rng: random.Random, credentials: list[str]) -> Http:
    """A request; one in three is not even HTTP."""
    if rng.random() < 0.33:
        return Http(_broken(rng, credentials), False)
    path = rng.choice(_ODD_PATHS) if rng.random() < 0.2 else rng.choice(_PATHS)
    return Http(_request(rng, path, body(rng), credentials), False)


def _request(rng: random.Random, path: str, body: bytes, credentials: list[str], extra: bytes = b"") -> bytes:
    method = rng.choice(("POST", "POST", "POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: {_authorization(rng, credentials)}\r\n"
    head += f"content-length: {len(body)}\r\n"
    if rng.random() < 0.2:
        head += rng.choice(_HEADERS)(rng) + "\r\n"
    return head.encode("latin-1") + extra + b"\r\n" + body


_HEADERS: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: "reelmesh-signature: " + rng.choice(("v1=" + "0" * 64, "", "v1", "\xff" * 9, "x" * 900)),
    lambda _: "reelmesh-signature: v1=x\r\nreelmesh-timestamp: 99999999999999999999\r\nreelmesh-nonce: \xff",
    lambda rng: (
        "origin: " + rng.choice(("null", "", "https://evil.example", "\xff", "x" * 999, "://", "a://x"))
    ),
    lambda _: "origin: https://evil.example\r\naccess-control-request-method: POST",
    lambda rng: (
        "traceparent: " + rng.choice(("", "00-0-0-0", "ff-" + "f" * 32 + "-" + "f" * 16 + "-01", "\0x"[1:]))
    ),
    lambda rng: "x-forwarded-for: " + rng.choice((",,,", "\xff", "1.2.3.4, " * 200, "::1", "a" * 900)),
    lambda _: "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: x",
    lambda _: "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAA",
    lambda _: "content-encoding: gzip",
    lambda _: "content-type: application/xml; charset=utf-7",
    lambda rng: "\r\n".join(f"x-{number}: {'y' * 9}" for number in range(rng.choice((5, 100, 300)))),
)


def _authorization(rng: random.Random, credentials: list[str]) -> str:
    odd = (
        "",
        "Bearer",
        "Bearer ",
        "Basic dTpw",
        "bearer rk_",
        "Bearer rk_" + "x" * 43,
        "Bearer \xff\xfe",
        "x" * 4_000,
    )
    return rng.choice(odd) if rng.random() < 0.25 else f"Bearer {rng.choice(credentials)}"


def body(rng: random.Random) -> bytes:
    """What an operation takes, wrong in some way, or nothing of the sort."""
    sound = json.loads(json.dumps(rng.choice(_BODIES)))
    way = rng.randrange(10)
    if way < 4:
        holder = sound
        key = rng.choice(list(holder))
        if isinstance(holder[key], dict) and rng.random() < 0.6:
            holder = holder[key]
            key = rng.choice(list(holder))
        holder[key] = rng.choice(_VALUES)
        return json.dumps(sound, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    text = json.dumps(sound).encode()
    if way == 4:
        return text[: rng.randrange(len(text))]
    if way == 5:
        at = rng.randrange(len(text))
        return text[:at] + bytes([rng.randrange(256)]) + text[at + rng.randrange(2) :]
    if way == 6:
        return text.replace(b"100", rng.choice(_NUMBERS)).replace(b"1,", rng.choice(_NUMBERS) + b",")
    if way == 7:
        depth = rng.choice((10, 1_000, 20_000))
        return rng.choice((b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth))
    if way == 8:
        return text[:-1] + b"," + text[1:]  # every key twice
    return rng.choice(
        (b"", b"\0", b"\xff\xfe{}", b"null", b"[]", b'"x"', b"{" + b" " * 70_000 + b"}", b"\xef\xbb\xbf{}")
    )


def _broken(rng: random.Random, credentials: list[str]) -> bytes:
    sound = _request(rng, "/v1/spins", json.dumps(_BODIES[0]).encode(), credentials)
    post = b"POST /v1/spins HTTP/1.1\r\nhost: x\r\n"
    smuggled = b"GET /v1/games HTTP/1.1\r\nhost: x\r\n\r\n"
    return rng.choice(
        (
            post + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
            post + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello" + smuggled,
            post + b"content-length: 5, 6\r\n\r\nhello",
            post + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n" + smuggled,
            post + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + smuggled,
            post + b"transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nx\r\n0\r\n\r\n",
            post + b"transfer-encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
            post + b"transfer-encoding: chunked\r\n\r\n1;" + b"x" * 40_000 + b"\r\nx\r\n0\r\n\r\n",
            post + b"content-length: -1\r\n\r\n",
            post + b"content-length: +5\r\n\r\nhello",
            post + b"content-length: 0x5\r\n\r\nhello",
            post + b"content-length: 99999999999999999999\r\n\r\nhello",
            post + b"content-length : 5\r\n\r\nhello",
            post + b"x-long: " + b"y" * 20_000 + b"\r\n\r\n",
            post + b" folded: line\r\n\r\n",
            post + b"no colon here\r\n\r\n",
            post + b"a\0b: c\r\n\r\n",
            post + b"a: b\0c\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET /v1/games\r\n\r\n",
            b"GET /v1/games HTTP/9.9\r\n\r\n",
            b"GET  /v1/games  HTTP/1.1\r\n\r\n",
            b"GET /v1/games HTTP/1.1\nhost: x\n\n",
            b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n",
            b"BREW /v1/games HTTP/1.1\r\nhost: x\r\n\r\n",
            b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(64),
            b"\r\n" * 500 + sound,
            rng.randbytes(rng.randrange(1, 400)),
            sound[: rng.randrange(1, len(sound))],
            flipped(rng, sound),
        )
    )


def flipped(rng: random.Random, data: bytes) -> bytes:
    """With up to five other bytes."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


_MESSAGES: tuple[Message, ...] = (
    gateway_pb2.FundPlayerRequest(request_id=UUID, player_id="p-x"),
    gateway_pb2.SpinRequest(request_id=UUID, mode="base"),
    gateway_pb2.CreateSessionRequest(request_id=UUID, player_id="p-x", game_id="harbour-lights"),
    gateway_pb2.ActRequest(round_id=UUID, step=1, choice="COLLECT"),
    gateway_pb2.GetRoundRequest(round_id=UUID),
    gateway_pb2.ListRoundsRequest(page_size=-1, page_token="x"),
)


def rpc(rng: random.Random, credentials: list[str], unary: list[str]) -> Rpc:
    """A call of one of these methods, or of none that there is."""
    odd = (
        "/x/y",
        f"/{GATEWAY.grpc_service}/Nothing",
        "/reelmesh.wallet.v1.WalletService/Settle",
        "/",
        "/a/b/c",
    )
    path = rng.choice(odd) if rng.random() < 0.15 else f"/{GATEWAY.grpc_service}/{rng.choice(unary)}"
    sound = rng.choice(_MESSAGES).SerializeToString()
    message = rng.choice(
        (
            sound,
            sound[: rng.randrange(len(sound))],
            flipped(rng, sound),
            rng.randbytes(rng.randrange(200)),
            b"",
            b"\x0a\xff\xff\xff\xff\x0f",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x1b" * 5_000,
            b"\x0a\x02\xff\xfe",
            b"\x1a\x80\x02" + b"\x1a" * 256,
            b"\x0a" + bytes([0x80, 0x80, 0x14]) + b"x" * 327_680,
        )
    )
    metadata = [("authorization", _authorization(rng, credentials).encode("ascii", "replace").decode())]
    if rng.random() < 0.2:
        metadata.append(
            rng.choice((("reelmesh-signature", "v1=x"), ("traceparent", "x"), ("x-reelmesh-identity", "x")))
        )
    return Rpc(path, message, metadata)


def h2(rng: random.Random) -> bytes:
    """Bytes for the port of gRPC that are no HTTP/2, or none that makes sense."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    kind, flags = rng.randrange(16), rng.randrange(256)
    frame = rng.randrange(60).to_bytes(3, "big") + bytes([kind, flags]) + rng.randbytes(4) + rng.randbytes(60)
    return rng.choice(
        (
            rng.randbytes(rng.randrange(1, 300)),
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
            preface + settings + frame,
            preface + frame * 20,
            preface + settings + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
            preface + settings + b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08" * 50,
            preface[: rng.randrange(1, len(preface))],
        )
    )
