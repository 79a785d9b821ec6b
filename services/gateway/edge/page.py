"""The page that people play on: files that were read at the start, and the demo sessions it asks for.

They come before the REST operations, which never see a request that is answered here.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from services.gateway.edge.exchange import Request, Response, security_lines
from services.gateway.edge.files import File

App = Callable[[Request], Awaitable[Response]]
# None: it is for the app.
Find = Callable[[Request], Awaitable[Response] | None]

_REPOSITORY = Path(__file__).parents[3]
_FOLDER = Path(__file__).parents[1] / "page"
# The page's client is the published one: its modules, as they are.
_CLIENT = _REPOSITORY / "clients/javascript"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
# Nothing from elsewhere, nothing inline: what a name or an outcome says cannot run. Kept, and asked about
# each time: a new release is seen at once, and costs one small answer else.
_SECURITY = security_lines(
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    cache="no-cache",
)
# A launch URL leads to /play?code=...
_INDEX_PATHS = ("/", "/play")
_DEMO_PREFIX = "/v1/demo/"


class Page:
    """Answers for the page's files and demo sessions, and hands everything else on."""

    def __init__(self, app: App, demo: Find, *, shown: bool, settings: Mapping[str, object]) -> None:
        """`settings`: what /page/config.json says. Without `shown` there are no files."""
        self._app, self._demo = app, demo
        self._files = _files(settings) if shown else {}

    def answer(self, request: Request) -> Awaitable[Response]:
        """What the request is answered with: never an exception."""
        if request.method in ("GET", "HEAD") and request.refusal is None:
            file = self._files.get(request.target.partition("?")[0])
            if file is not None:
                return file.answer(request)
        # A spin's target is compared with one prefix and no more.
        demo = self._demo(request) if request.target.startswith(_DEMO_PREFIX) else None
        return self._app(request) if demo is None else demo


def _files(settings: Mapping[str, object]) -> dict[str, File]:
    """By path."""
    paths = [path for path in (*_FOLDER.iterdir(), *_CLIENT.glob("*.js")) if path.suffix in _TYPES]
    bodies = {path.name: path.read_bytes() for path in paths if path.name != "package.json"}
    bodies["config.json"] = json.dumps(settings).encode()
    index = bodies.pop("index.html")
    files = {f"/page/{name}": _file(name, body) for name, body in bodies.items()}
    return files | {path: _file("index.html", index) for path in _INDEX_PATHS}


def _file(name: str, body: bytes) -> File:
    return File(body, _TYPES[Path(name).suffix], security=_SECURITY)
