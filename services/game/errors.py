"""Errors of game; the docstring is the message."""

from services.common.errors import DomainError


class GameNotFound(DomainError):
    """No such game is served."""

    reason = "GAME_NOT_FOUND"


class RoundNotFound(DomainError):
    """The player, or the operator, has no such round."""

    reason = "ROUND_NOT_FOUND"


class RoundNotOpen(DomainError):
    """The round offers no choice now."""

    reason = "ROUND_NOT_OPEN"


class StepOutOfOrder(DomainError):
    """The step is beyond the next one."""

    reason = "STEP_OUT_OF_ORDER"


class ChoiceUnknown(DomainError):
    """The round does not offer this choice; its `choices` are those it does."""

    reason = "CHOICE_UNKNOWN"


class SessionClosed(DomainError):
    """The session was closed; known ids are still answered."""

    reason = "SESSION_CLOSED"


class SessionExpired(DomainError):
    """The session is past its end; known ids are still answered."""

    reason = "SESSION_EXPIRED"


class SessionReplaced(DomainError):
    """The player opened this game in a newer session; known ids are still answered."""

    reason = "SESSION_REPLACED"


class RoundNotInReview(DomainError):
    """The round is not in review."""

    reason = "ROUND_NOT_IN_REVIEW"


class VerdictNotAllowed(DomainError):
    """The wallet's record of the stake does not allow this verdict; an unknown stake allows only VOID."""

    reason = "VERDICT_NOT_ALLOWED"
