"""Files that the gateway serves, each read once. A client that has one is told so."""

import hashlib

from services.gateway.edge.exchange import Request, Response


class _NotModified(Response):
    """The head of an answer whose body the client has."""

    def encode(self, *, date: str, close: bool, head_only: bool) -> bytes:
        """Never a body; its length is told all the same."""
        return super().encode(date=date, close=close, head_only=True)


class File:
    """One file; `security`: its header lines, of security_lines."""

    def __init__(self, body: bytes, content_type: str, *, security: str) -> None:
        self._body, self._content_type, self._security = body, content_type, security
        self._etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'

    async def answer(self, request: Request) -> Response:
        """The file, or that the client has it; a new one each time, for headers are added on its way."""
        known = request.header(b"if-none-match").split(",")
        same = self._etag in (tag.strip().removeprefix("W/") for tag in known)
        kind, status = (_NotModified, 304) if same else (Response, 200)
        headers = {"etag": self._etag}
        return kind(status, self._body, self._content_type, headers, security=self._security)
