"""Rows of the table: what an API key may not, signatures, rates and origins."""

import asyncio
import time
from dataclasses import replace

from reelmesh.gateway.v1 import gateway_pb2

from tests.contract.rows_fields import Row
from tests.mesh.asking import Grpc, Request, Rest, Told
from tests.mesh.players import amount
from tests.mesh.signed import signed_rest
from tests.mesh.stage import Stage, money, new_id

# As many as a session may send at once, and a few that fill its bucket again meanwhile.
FLOOD = 2_100
_FLOODED = "st_flooded"


def _deposit(stage: Stage) -> Rest:
    body = {"request_id": new_id(), "amount": amount(100)}
    return Rest("POST", f"/v1/players/{stage.guest().player_id}/deposits", body=body)


async def without_its_scope(stage: Stage) -> Request:
    key = await stage.key("wallet.read", "session.write")
    return replace(_deposit(stage), credential=key.api_key)


async def without_its_scope_over_grpc(stage: Stage) -> Request:
    key = await stage.key("wallet.read")
    fund = gateway_pb2.FundPlayerRequest(
        request_id=new_id(), player_id=stage.guest().player_id, amount=money(100)
    )
    return Grpc("gateway", "FundPlayer", fund, key.api_key)


async def not_signed(stage: Stage) -> Request:
    key = await stage.key(signed=True)
    return replace(_deposit(stage), credential=key.api_key)


async def not_signed_over_grpc(stage: Stage) -> Request:
    key = await stage.key(signed=True)
    fund = gateway_pb2.FundPlayerRequest(
        request_id=new_id(), player_id=stage.guest().player_id, amount=money(100)
    )
    return Grpc("gateway", "FundPlayer", fund, key.api_key)


async def another_body(stage: Stage) -> Request:
    key = await stage.key()
    signed = signed_rest(key, _deposit(stage))
    assert signed.content is not None
    return replace(signed, content=signed.content.replace(b"100", b"900"))


async def old_timestamp(stage: Stage) -> Request:
    return signed_rest(await stage.key(), _deposit(stage), timestamp=int(time.time()) - 301)


async def replayed(stage: Stage) -> Request:
    key = await stage.key(signed=True)
    signed = signed_rest(key, _deposit(stage))
    await stage.answer(signed)
    return signed


async def too_often(stage: Stage) -> Request:
    request = Rest("GET", "/v1/games", _FLOODED)
    port = stage.mesh.ports("gateway").rest
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    one = f"GET /v1/games HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {_FLOODED}\r\n\r\n"
    writer.write(one.encode() * FLOOD + one.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").encode())
    await reader.read()
    writer.close()
    # The bucket gains one a second: just after that one was taken, there is most of a second until the next.
    while isinstance(await stage.send(request), Told):
        pass
    while not isinstance(await stage.send(request), Told):
        pass
    return request


async def another_s_page(stage: Stage) -> Request:
    return Rest("GET", "/v1/balance", stage.guest().token, headers={"origin": "https://evil.example"})


ROWS = [
    Row("SCOPE_MISSING", "a deposit by a key that may only read", without_its_scope),
    Row("SCOPE_MISSING", "the same over gRPC", without_its_scope_over_grpc),
    Row("SIGNATURE_MISSING", "a key for signed requests", not_signed),
    Row("SIGNATURE_MISSING", "the same over gRPC", not_signed_over_grpc),
    Row("SIGNATURE_INVALID", "another body", another_body),
    Row("SIGNATURE_INVALID", "a timestamp of five minutes ago", old_timestamp),
    Row("REQUEST_REPLAYED", "the same bytes again", replayed),
    Row("RATE_LIMITED", "more than its bucket holds", too_often),
    Row("ORIGIN_FORBIDDEN", "a page that no operator has", another_s_page),
]
