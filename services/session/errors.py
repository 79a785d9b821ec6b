"""The errors of the session service; the docstring is the message."""

from services.common.errors import DomainError


class TokenInvalid(DomainError):
    """The session token is missing or unknown."""

    reason = "TOKEN_INVALID"


class LaunchCodeInvalid(DomainError):
    """The launch code is unknown, was used before or is older than its life."""

    reason = "LAUNCH_CODE_INVALID"


class SessionNotFound(DomainError):
    """The operator has no such session."""

    reason = "SESSION_NOT_FOUND"


class SessionExpired(DomainError):
    """The session is past its end; known ids are still answered."""

    reason = "SESSION_EXPIRED"


class SessionClosed(DomainError):
    """The session was closed; known ids are still answered."""

    reason = "SESSION_CLOSED"


class SessionReplaced(DomainError):
    """The player opened this game in a newer session; known ids are still answered."""

    reason = "SESSION_REPLACED"


class StakeAboveLimit(DomainError):
    """The stake is above the session's limit."""

    reason = "STAKE_ABOVE_LIMIT"


class SpinTooEarly(DomainError):
    """The minimum time of a game cycle has not passed."""

    reason = "SPIN_TOO_EARLY"


class PolicyForbidden(DomainError):
    """The jurisdiction policy does not allow this session."""

    reason = "POLICY_FORBIDDEN"


class LaunchIncomplete(DomainError):
    """The jurisdiction policy wants the launch to name this."""

    reason = "LAUNCH_INCOMPLETE"


class FeatureForbidden(DomainError):
    """The jurisdiction policy does not allow this way to play."""

    reason = "FEATURE_FORBIDDEN"


class ModeForbidden(DomainError):
    """The jurisdiction policy does not allow this mode of the game."""

    reason = "MODE_FORBIDDEN"


class LossLimitReached(DomainError):
    """With this stake the loss could pass its limit."""

    reason = "LOSS_LIMIT_REACHED"


class RealityCheckDue(DomainError):
    """The reality check has to be shown and acknowledged first."""

    reason = "REALITY_CHECK_DUE"


class LockedOut(DomainError):
    """No stake is taken now."""

    reason = "LOCKED_OUT"
