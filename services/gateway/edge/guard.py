"""Around the operations over HTTP: where a request comes from, how often, for which page, signed or not."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from services.gateway.door import bearer, is_api_key
from services.gateway.edge.exchange import Request, Response
from services.gateway.operators import signing
from services.gateway.operators.operators import Operators
from services.gateway.operators.signing import Signatures, Signed
from services.gateway.protection.origins import Origins
from services.gateway.protection.rates import Addresses, Limit, Rates, Taken, refusal

App: TypeAlias = Callable[[Request], Awaitable[Response]]

# What a page's script may send, and what it may read of an answer.
_HEADERS = "authorization, content-type, traceparent"
_EXPOSED = "x-trace-id, retry-after, ratelimit, ratelimit-policy, ratelimit-limit, ratelimit-remaining"
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_PREFLIGHT_AGE_S = 600
_HSTS = "max-age=31536000"
_SIGNATURE, _TIMESTAMP, _NONCE = (
    name.encode() for name in (signing.SIGNATURE_HEADER, signing.TIMESTAMP_HEADER, signing.NONCE_HEADER)
)


class Guard:
    """Refuses before the operation is looked for; the refusal has the route's span like any other."""

    def __init__(
        self,
        app: App,
        *,
        operators: Operators,
        signatures: Signatures,
        rates: Rates,
        addresses: Addresses,
        origins: Origins,
        tls: bool,
    ) -> None:
        self._app, self._operators, self._signatures = app, operators, signatures
        self._rates, self._addresses, self._origins, self._tls = rates, addresses, origins, tls

    async def answer(self, request: Request) -> Response:
        """As the app's, with what the guard has to say in its headers."""
        headers = request.headers
        credential = bearer(request.header(b"authorization"))
        forwarded_for = request.header(b"x-forwarded-for") if b"x-forwarded-for" in headers else ""
        limit, taken = self._rates.take(credential, self._addresses.of(request.address, forwarded_for))
        if taken.refused_for_s:
            request.refusal = refusal(limit, taken)
        origin = headers.get(b"origin")
        if origin is None and not is_api_key(credential):
            response = await self._app(request)
        else:
            response = await self._checked(request, credential, origin)
        if not limit.unlimited:
            response.rate = _rate_lines(limit, taken)
        if self._tls:
            response.headers["strict-transport-security"] = _HSTS
        return response

    async def _checked(self, request: Request, credential: str, origin: bytes | None) -> Response:
        preflight = request.method == "OPTIONS" and b"access-control-request-method" in request.headers
        allowed = ""
        try:
            # What was refused already stays refused for that reason.
            if origin is not None:
                allowed = await self._allow(request, "" if preflight else credential, origin)
            if request.refusal is None and is_api_key(credential) and not preflight:
                await self._verify(request, credential)
        except Exception as error:
            # Also what is unexpected: it is told and logged within the route's span.
            request.refusal = request.refusal or error
        if preflight and allowed and request.refusal is None:
            response = Response(200, b"")
            response.headers["access-control-allow-methods"] = _METHODS
            response.headers["access-control-allow-headers"] = _HEADERS
            response.headers["access-control-max-age"] = str(_PREFLIGHT_AGE_S)
        else:
            response = await self._app(request)
            response.headers["access-control-expose-headers"] = _EXPOSED
        if origin is not None:
            response.headers["vary"] = "origin"
        if allowed:
            response.headers["access-control-allow-origin"] = allowed
        return response

    async def _allow(self, request: Request, credential: str, origin: bytes) -> str:
        """The origin as the browser may hear it. Errors: as Origins.require"""
        name = origin.decode("latin-1")
        await self._origins.require(name, request.header(b"host"), credential)
        return name

    async def _verify(self, request: Request, credential: str) -> None:
        operator = await self._operators.find(credential)
        if operator.signature_required or _SIGNATURE in request.headers:
            signed = Signed(
                request.method,
                request.target,
                request.body,
                request.header(_SIGNATURE),
                request.header(_TIMESTAMP),
                request.header(_NONCE),
            )
            await self._signatures.verify(
                operator.key_id, required=operator.signature_required, signed=signed
            )


def _rate_lines(limit: Limit, taken: Taken) -> str:
    """The IETF's fields (draft-ietf-httpapi-ratelimit-headers), and those that clients knew before."""
    return (
        f'ratelimit-policy: {limit.policy}\r\nratelimit: "{limit.name}";r={taken.remaining};'
        f"t={taken.full_after_s}\r\nratelimit-limit: {limit.burst}\r\n"
        f"ratelimit-remaining: {taken.remaining}\r\nratelimit-reset: {taken.full_after_s}\r\n"
    )
