"""What an API key may be allowed to: one scope per operation, read and write apart."""

from collections.abc import Collection

from services.gateway.errors import ScopeMissing

# All of them, also those of later versions: of keys that were given out before there were scopes.
EVERYTHING = "*"
SCOPES = {
    "wallet.read": "read balances, statements and daily totals",
    "wallet.write": "fund, withdraw and adjust",
    "account.read": "read players' limits",
    "account.write": "freeze and unfreeze accounts, set players' limits",
    "session.write": "open and close sessions",
    "round.read": "read and explain rounds",
    "round.write": "roll rounds back",
    "review.read": "read rounds in review and stuck calls",
    "review.write": "decide reviews and stuck calls",
    "event.read": "read and follow events",
    "webhook.read": "read webhooks and their dead letters",
    "webhook.write": "register, change and delete webhooks",
}


def require(scopes: Collection[str], scope: str) -> None:
    """Errors: PERMISSION_DENIED/SCOPE_MISSING"""
    if scope not in scopes and EVERYTHING not in scopes:
        raise ScopeMissing(scope=scope)
