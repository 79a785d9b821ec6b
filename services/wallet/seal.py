"""Game's seal over a settle (R11): a taken-over gateway can carry a win, not invent one.

The text that is sealed is fixed by tests/vectors/seal.json, which game's side checks too.
"""

import hmac

from services.wallet.records import Item


def seal_of(item: Item, *, key: str) -> bytes:
    """HMAC-SHA256 over round, step, account, game, currency, stake, win. No field can hold the separator."""
    canonical = (
        f"{item.round_id}|{item.step.name}|{item.account_id}|{item.game_id}|{item.currency_code}"
        f"|{item.stake_minor}|{item.win_minor}"
    )
    return hmac.digest(key.encode(), canonical.encode(), "sha256")


def verifies(item: Item, *, seal: bytes, key: str) -> bool:
    """Whether the seal is game's for exactly this item."""
    return hmac.compare_digest(seal_of(item, key=key), seal)
