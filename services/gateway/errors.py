"""Errors of the gateway; the docstring is the message."""

from services.common.errors import DomainError


class ApiKeyInvalid(DomainError):
    """The API key is missing, unknown or revoked."""

    reason = "API_KEY_INVALID"


class TokenInvalid(DomainError):
    """The session token is missing or unknown."""

    reason = "TOKEN_INVALID"


class RouteNotFound(DomainError):
    """No such path."""

    reason = "ROUTE_NOT_FOUND"


class MethodNotAllowed(DomainError):
    """The path does not take this HTTP method."""

    reason = "METHOD_NOT_ALLOWED"


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


class RoundOpen(DomainError):
    """The last round of this game is not over; nothing was taken. End it, then send a new id."""

    reason = "ROUND_OPEN"


# What game refuses is stored there without a text: these are the texts.
REFUSED_BY_GAME = {
    error.reason: error for error in (GameWithdrawn, CurrencyNotOffered, StakeNotOnLadder, RoundOpen)
}


class SessionClosed(DomainError):
    """The session was closed; known ids are still answered."""


class SessionExpired(DomainError):
    """The session is past its end; known ids are still answered."""


class SessionReplaced(DomainError):
    """The player opened this game in a newer session; known ids are still answered."""
