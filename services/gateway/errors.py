"""Errors of the gateway; the docstring is the message."""

from services.common.errors import DomainError


class ApiKeyInvalid(DomainError):
    """The API key is missing, unknown, revoked or expired."""

    reason = "API_KEY_INVALID"


class ScopeMissing(DomainError):
    """The API key is not allowed to do this."""

    reason = "SCOPE_MISSING"


class SignatureMissing(DomainError):
    """The API key is for signed requests only, and this one is not signed."""

    reason = "SIGNATURE_MISSING"


class SignatureInvalid(DomainError):
    """The request's signature does not verify."""

    reason = "SIGNATURE_INVALID"


class RequestReplayed(DomainError):
    """A request with this nonce was here before; this copy did nothing. Sign a retry anew."""

    reason = "REQUEST_REPLAYED"


class RateLimited(DomainError):
    """Too many requests; nothing was done."""

    reason = "RATE_LIMITED"


class OriginForbidden(DomainError):
    """Scripts of this page may not call here."""

    reason = "ORIGIN_FORBIDDEN"


class TokenInvalid(DomainError):
    """The session token is missing or unknown."""

    reason = "TOKEN_INVALID"


class RouteNotFound(DomainError):
    """No such path, or over WebSocket no such method; docs/api.md lists them."""

    reason = "ROUTE_NOT_FOUND"


class MethodNotAllowed(DomainError):
    """The path does not take this HTTP method."""

    reason = "METHOD_NOT_ALLOWED"


class UpgradeRequired(DomainError):
    """Only a WebSocket handshake is answered here: an Upgrade to websocket, version 13, with its key."""


class UrlTooLong(DomainError):
    """The URL is too long."""


class HeadTooLarge(DomainError):
    """The URL and the headers are too large."""


class RoundNotFound(DomainError):
    """No such round of this operator."""

    reason = "ROUND_NOT_FOUND"


class DemoNotOffered(DomainError):
    """Demo sessions at a click are not offered here; an operator's back end opens sessions."""


class GameNotFound(DomainError):
    """No such game is served."""

    reason = "GAME_NOT_FOUND"


class InsufficientFunds(DomainError):
    """The balance does not cover the stake; nothing was taken. Send a new id."""

    reason = "INSUFFICIENT_FUNDS"


class AccountFrozen(DomainError):
    """The account is frozen; nothing was taken. Once it is not, send a new id."""

    reason = "ACCOUNT_FROZEN"


class RoundVoid(DomainError):
    """The round was voided: its stake was never taken. Send a new id."""

    reason = "ROUND_VOID"


class RoundInReview(DomainError):
    """The operator must decide this round first."""

    reason = "ROUND_IN_REVIEW"


class GameWithdrawn(DomainError):
    """The game takes no new rounds; nothing was taken. Send a new id."""

    reason = "GAME_WITHDRAWN"


class CurrencyNotOffered(DomainError):
    """The game has no stakes in this currency; nothing was taken. Send a new id."""

    reason = "CURRENCY_NOT_OFFERED"


class StakeNotOnLadder(DomainError):
    """The game does not offer this stake; nothing was taken. Send a new id with one of GET /v1/games."""

    reason = "STAKE_NOT_ON_LADDER"


class ModeUnknown(DomainError):
    """The game has no such mode; nothing was taken. Send a new id with one of GET /v1/games."""

    reason = "MODE_UNKNOWN"


class RoundOpen(DomainError):
    """The last round of this game is not over; nothing was taken. End it, then send a new id."""

    reason = "ROUND_OPEN"


# What game refuses is stored there without a text: these are the texts.
REFUSED_BY_GAME = {
    error.reason: error
    for error in (GameWithdrawn, CurrencyNotOffered, StakeNotOnLadder, ModeUnknown, RoundOpen)
}


class SessionClosed(DomainError):
    """The session was closed; known ids are still answered."""


class SessionExpired(DomainError):
    """The session is past its end; known ids are still answered."""


class SessionReplaced(DomainError):
    """The player opened this game in a newer session; known ids are still answered."""
