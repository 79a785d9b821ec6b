"""The page's files as they are answered, and what else still reaches the operations behind them."""

import json
from collections.abc import Awaitable

import pytest

from services.gateway.edge.exchange import Request, Response
from services.gateway.edge.page import Page


async def behind(request: Request) -> Response:
    """What answers when the page does not."""
    return Response(404, b"behind")


async def opened() -> Response:
    return Response(200, b"demo")


def demo(request: Request) -> Awaitable[Response] | None:
    """What answers for demo sessions."""
    return opened() if request.target == "/v1/demo/sessions" else None


async def ask(target: str, *, method: str = "GET", shown: bool = True, **headers: str) -> Response:
    page = Page(behind, demo, shown=shown, settings={"demo_offered": True})
    lines = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return await page.answer(Request(method, target, lines))


@pytest.mark.parametrize(
    ("target", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/play?code=lc_1", "text/html; charset=utf-8"),
        ("/page/app.js", "text/javascript; charset=utf-8"),
        ("/page/reelmesh.js", "text/javascript; charset=utf-8"),
        ("/page/style.css", "text/css; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ],
)
async def test_a_file_is_sent_with_what_keeps_it_safe(target: str, content_type: str) -> None:
    response = await ask(target)
    assert (response.status, response.content_type) == (200, content_type) and response.body
    assert "content-security-policy: default-src 'self';" in response.security
    assert "x-content-type-options: nosniff" in response.security
    assert "cache-control: no-cache" in response.security


async def test_the_settings_are_a_file() -> None:
    assert json.loads((await ask("/page/config.json")).body) == {"demo_offered": True}


@pytest.mark.parametrize("known", ["{}", "W/{}", '"other", {}'])
async def test_what_the_client_has_is_not_sent_again(known: str) -> None:
    first = await ask("/page/app.js")
    again = await ask("/page/app.js", if_none_match=known.format(first.headers["etag"]))
    assert again.status == 304
    sent = again.encode(date="", close=False, head_only=False)
    assert sent.endswith(b"\r\n\r\n") and b"content-length: %d\r\n" % len(first.body) in sent
    assert (await ask("/page/app.js", if_none_match='"other"')).status == 200


@pytest.mark.parametrize(
    ("method", "target", "shown"),
    [
        ("GET", "/page/../config.py", True),
        ("GET", "/page/index.html", True),
        ("GET", "/page/", True),
        ("GET", "/v1/games", True),
        ("GET", "/v1/demo/other", True),
        ("POST", "/", True),
        ("GET", "/", False),
        ("GET", "/page/config.json", False),
    ],
)
async def test_everything_else_goes_on(method: str, target: str, shown: bool) -> None:
    assert (await ask(target, method=method, shown=shown)).body == b"behind"


async def test_demo_sessions_are_asked_for_without_the_page_too() -> None:
    assert (await ask("/v1/demo/sessions", method="POST", shown=False)).body == b"demo"
