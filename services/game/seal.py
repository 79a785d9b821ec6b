"""Game's seal over what it drew (R11): a taken-over gateway can carry a settle, not invent one.

The wallet verifies it with its own code; tests/vectors/seal.json keeps the two alike.
"""

import hmac

from services.game.records import Round, Settle, SettleStep, State


def seal(
    *,
    key: bytes,
    round_id: str,
    step: str,
    account_id: int,
    game_id: str,
    currency_code: str,
    stake_minor: int,
    win_minor: int,
) -> bytes:
    """HMAC-SHA256 over one step of a round, 32 bytes.

    `round_id` is lower-case text, `step` is FUSED, STAKE or PAYOUT, amounts are minor units. No field can
    hold the separator: game ids are checked at load.
    """
    canonical = f"{round_id}|{step}|{account_id}|{game_id}|{currency_code}|{stake_minor}|{win_minor}"
    return hmac.digest(key, canonical.encode(), "sha256")


def settle_of(round_: Round, *, key: bytes) -> Settle | None:
    """What takes the stake of a drawn round, and pays its win unless a choice comes first.

    None when nothing was drawn, and in review, where an operator decides what is done at the wallet. Whether
    it is FUSED or STAKE depends on the game alone, never on the outcome (R3).
    """
    if round_.birth is not State.PENDING or round_.state is State.NEEDS_REVIEW:
        return None
    if round_.offers_choice:
        return _sealed(round_, SettleStep.STAKE, round_.stake_minor, 0, key)
    return _sealed(round_, SettleStep.FUSED, round_.stake_minor, round_.win_minor, key)


def payout_of(round_: Round, *, key: bytes) -> Settle:
    """What ends a round with a choice at the wallet; also when the player lost it all."""
    return _sealed(round_, SettleStep.PAYOUT, 0, round_.at_risk_minor, key)


def _sealed(round_: Round, step: SettleStep, stake_minor: int, win_minor: int, key: bytes) -> Settle:
    return Settle(
        round_id=round_.round_id,
        step=step,
        account_id=round_.account_id,
        game_id=round_.game_id,
        currency_code=round_.currency_code,
        stake_minor=stake_minor,
        win_minor=win_minor,
        seal=seal(
            key=key,
            round_id=round_.round_id,
            step=step,
            account_id=round_.account_id,
            game_id=round_.game_id,
            currency_code=round_.currency_code,
            stake_minor=stake_minor,
            win_minor=win_minor,
        ),
    )
