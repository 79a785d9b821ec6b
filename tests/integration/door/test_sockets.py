"""Which pages may open a WebSocket and speak for whom, and which keys may not be shown there."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from tests.integration.door.conftest import OURS, THEIRS, allow
from tests.mesh.protocols import Refused, Socket
from tests.mesh.stage import STAKE_MINOR, Stage, new_id

EVIL = "https://evil.example"
PATIENCE_S = 20.0

pytestmark = pytest.mark.usefixtures("origins")


def connection(stage: Stage, origin: str | None, **headers: str) -> connect:
    """A page's. `origin` None: no browser's."""
    return connect(
        stage.mesh.rest_url().replace("http://", "ws://") + "/v1/ws",
        origin=None if origin is None else Origin(origin),
        additional_headers=headers,
        proxy=None,
    )


@asynccontextmanager
async def opened(stage: Stage, origin: str | None) -> AsyncIterator[Socket]:
    """A socket of this page's."""
    async with connection(stage, origin) as opening:
        socket = Socket(opening)
        yield socket
        await socket.close()


async def closed_at_once(stage: Stage, origin: str | None, credential: str) -> tuple[int, str]:
    """How a socket ends whose handshake shows the credential."""
    async with connection(stage, origin, authorization=f"Bearer {credential}") as opening:
        with pytest.raises(ConnectionClosed) as closed:
            await opening.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def listed(stage: Stage, origin: str, wanted: bool) -> None:
    """Returns when handshakes of this page are answered as wanted: the lists are read again and again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                async with opened(stage, origin):
                    found = True
            except InvalidStatus as refused:
                assert refused.response.status_code == 403
                assert json.loads(refused.response.body or b"")["reason"] == "ORIGIN_FORBIDDEN"
                found = False
            if found is wanted:
                return
            await asyncio.sleep(0.02)


async def told(socket: Socket, method: str, **fields: object) -> str:
    """Why it is refused; empty when it is not."""
    try:
        await socket.ask(method, fields)
    except Refused as refused:
        return str(refused.told["reason"])
    return ""


async def test_a_handshake_is_for_the_pages_of_any_operator(stage: Stage) -> None:
    await listed(stage, OURS, True)
    for origin in (None, OURS, THEIRS, stage.mesh.rest_url()):
        async with opened(stage, origin) as socket:
            assert await told(socket, "list_games") == ""
    for origin in (EVIL, "null", OURS + ".evil.example", OURS.upper(), "https://x@dev-casino.example"):
        with pytest.raises(InvalidStatus) as refused:
            async with opened(stage, origin):
                pass
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body or b"")["reason"] == "ORIGIN_FORBIDDEN"


async def test_a_changed_list_holds_for_the_next_handshake(stage: Stage) -> None:
    new = "https://new-casino.example"
    await listed(stage, new, False)
    await allow(stage.mesh, "other", THEIRS, new)
    await listed(stage, new, True)
    await allow(stage.mesh, "other", THEIRS)
    await listed(stage, new, False)


async def test_a_socket_speaks_for_the_operator_of_its_page_only(stage: Stage) -> None:
    await listed(stage, OURS, True)
    player, key = await stage.player(), await stage.key(operator_id="other")
    before = await stage.money()
    amount = {"currency_code": "USD", "amount_minor": STAKE_MINOR}
    for credential, own, foreign in ((player.token, OURS, THEIRS), (key.api_key, THEIRS, OURS)):
        async with opened(stage, foreign) as socket:
            assert await told(socket, "authenticate", credential=credential) == "ORIGIN_FORBIDDEN"
            # Nobody was authenticated.
            assert await told(socket, "spin", request_id=new_id(), stake=amount) == "TOKEN_INVALID"
            assert await told(socket, "events") == "API_KEY_INVALID"
        assert await closed_at_once(stage, foreign, credential) == (4001, "ORIGIN_FORBIDDEN")
        for origin in (own, None, stage.mesh.rest_url()):
            async with opened(stage, origin) as socket:
                assert await told(socket, "authenticate", credential=credential) == ""
    assert await stage.money() == before


async def test_who_was_authenticated_before_stays_so_when_another_is_refused(stage: Stage) -> None:
    player, key = await stage.player(), await stage.key(operator_id="other")
    async with opened(stage, OURS) as socket:
        assert await told(socket, "authenticate", credential=player.token) == ""
        assert await told(socket, "authenticate", credential=key.api_key) == "ORIGIN_FORBIDDEN"
        assert await told(socket, "balance") == ""


async def test_a_key_that_must_sign_is_refused(stage: Stage) -> None:
    key = await stage.key(signed=True)
    async with opened(stage, None) as socket:
        assert await told(socket, "authenticate", credential=key.api_key) == "SIGNATURE_MISSING"
        assert await told(socket, "events") == "API_KEY_INVALID"
    assert await closed_at_once(stage, None, key.api_key) == (4001, "SIGNATURE_MISSING")
