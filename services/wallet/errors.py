"""Errors of the wallet; the docstring is the message."""

from services.common.errors import DomainError


class AccountNotFound(DomainError):
    """The operator has no such account."""

    reason = "ACCOUNT_NOT_FOUND"


class InsufficientFunds(DomainError):
    """The balance does not cover the amount; the refusal is stored, send a new id."""

    reason = "INSUFFICIENT_FUNDS"


class BalanceTooLarge(DomainError):
    """The deposit would lift the balance above 2^53 minor units; the refusal is stored."""

    reason = "BALANCE_TOO_LARGE"


class DemoWithdrawal(DomainError):
    """Play money cannot be withdrawn."""

    reason = "DEMO_WITHDRAWAL"


class SealInvalid(DomainError):
    """The settle does not carry game's seal over these very amounts."""

    reason = "SEAL_INVALID"


class StakeUnknown(DomainError):
    """A payout came before its stake; send it again."""

    reason = "STAKE_UNKNOWN"
