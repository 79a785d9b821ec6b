"""The OpenAPI document and the page that shows it. Nothing from elsewhere."""

from pathlib import Path

from services.gateway.edge.exchange import security_lines
from services.gateway.edge.files import File

_EDGE = Path(__file__).parent
# A page may load from here and ask here, and nobody may frame it.
_SECURITY = security_lines(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    cache="no-cache",
)


def _file(name: str, content_type: str) -> File:
    return File((_EDGE / name).read_bytes(), content_type, security=_SECURITY)


# By path.
FILES = {
    "/openapi.json": _file("openapi.json", "application/json"),
    "/docs": _file("document/docs.html", "text/html; charset=utf-8"),
    "/docs.js": _file("document/docs.js", "text/javascript; charset=utf-8"),
    "/docs.css": _file("document/docs.css", "text/css; charset=utf-8"),
}
