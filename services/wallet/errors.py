"""Errors of the wallet; the docstring is the message."""

from services.common.errors import DomainError


class AccountNotFound(DomainError):
    """The operator has no such account."""

    reason = "ACCOUNT_NOT_FOUND"


class InsufficientFunds(DomainError):
    """The balance does not cover the amount; the refusal is stored, send a new id."""

    reason = "INSUFFICIENT_FUNDS"


class BalanceTooLarge(DomainError):
    """The amount would lift the balance above 2^53 minor units; the refusal is stored."""

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


class AccountFrozen(DomainError):
    """The account is frozen: no stakes, no withdrawals; the refusal is stored."""

    reason = "ACCOUNT_FROZEN"


class RoundNotFound(DomainError):
    """The operator, or the account, has no such round."""

    reason = "ROUND_NOT_FOUND"


class LedgerHalted(DomainError):
    """The books are broken: nothing is taken from an account until an operator has looked."""

    reason = "LEDGER_HALTED"


class IdExpired(DomainError):
    """The id is older than what is kept."""

    reason = "ID_EXPIRED"


class TransactionNotFound(DomainError):
    """The operator has no such round or transfer, or nothing moved under it."""

    reason = "TRANSACTION_NOT_FOUND"


class RoundNotInReview(DomainError):
    """The round is not in review: nothing stood in its way, or it was decided before."""

    reason = "ROUND_NOT_IN_REVIEW"
