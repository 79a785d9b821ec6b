"""Whether a spin may start. The rule book of R4 (known ids), R9 (none after close) and the pace of play."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.common.db import Connection
from services.common.errors import CurrencyMismatch, DomainError, IdReused, Internal
from services.session import store
from services.session.errors import (
    SessionClosed,
    SessionExpired,
    SessionReplaced,
    SpinTooEarly,
    StakeAboveLimit,
    TokenInvalid,
)
from services.session.store import KnownKey, KnownSpin, SpinAsk, Verdict


class SpinAuthorization(NamedTuple):
    """An authorised spin as it is stored, and whether it may still be drawn."""

    request_id: str
    account_id: int
    session_id: str
    operator_id: str
    player_id: str
    kind: int
    game_id: str
    currency_code: str
    stake_minor: int
    mint: bool
    authorize_time: datetime


Answer = SpinAuthorization | DomainError


async def authorize_spins(
    conn: Connection,
    asks: Sequence[SpinAsk],
    *,
    mint_age_ms: int,
    row_lock: bool = True,
    one_per_account: bool = True,
    find_known: bool = True,
) -> list[Answer]:
    """An answer per ask, in its order: authorised, found again, or refused with nothing stored.

    A known id mints while younger than `mint_age_ms`. The three guards are switched off only by the tests
    that show what each prevents.
    """
    answers: dict[int, Answer] = {}
    waiting = list(range(len(asks)))
    # One round, unless two sessions of one account are in the batch: then as many as the account has asks.
    while waiting:
        verdicts = await store.authorize(
            conn, [asks[i] for i in waiting], row_lock=row_lock, one_per_account=one_per_account
        )
        judged = [(i, verdict) for i, verdict in zip(waiting, verdicts, strict=True)]
        not_stored: list[tuple[int, Verdict]] = []
        for i, verdict in judged:
            if verdict.verdict == "ALLOWED":
                answers[i] = _authorized(asks[i], verdict)
            elif verdict.verdict == "TOKEN_INVALID":
                answers[i] = TokenInvalid()
            elif verdict.verdict != "DEFERRED":
                not_stored.append((i, verdict))
        if not_stored:
            # A second statement sees what was committed while the first waited for its locks. Whatever the
            # session says to a new spin, a known one gets its answer: also after expiry, close, replacement.
            known = (
                await _find_known(conn, asks, not_stored, mint_age_ms)
                if find_known
                else [None] * len(not_stored)
            )
            for (i, verdict), spin in zip(not_stored, known, strict=True):
                answers[i] = _refused(asks[i], verdict) if spin is None else _found(asks[i], verdict, spin)
        waiting = [i for i, verdict in judged if verdict.verdict == "DEFERRED"]
    return [answers[i] for i in range(len(asks))]


async def _find_known(
    conn: Connection, asks: Sequence[SpinAsk], judged: Sequence[tuple[int, Verdict]], mint_age_ms: int
) -> list[KnownSpin | None]:
    keys = [KnownKey(verdict.account_id, asks[i].request_id, verdict.session_id) for i, verdict in judged]
    return await store.find_known_spins(conn, keys, mint_age_ms=mint_age_ms)


def _authorized(ask: SpinAsk, verdict: Verdict) -> Answer:
    if verdict.authorize_time is None:
        return Internal()
    return SpinAuthorization(
        request_id=ask.request_id,
        account_id=verdict.account_id,
        session_id=verdict.session_id,
        operator_id=verdict.operator_id,
        player_id=verdict.player_id,
        kind=verdict.kind,
        game_id=verdict.game_id,
        currency_code=verdict.currency_code,
        stake_minor=ask.stake_minor,
        mint=True,
        authorize_time=verdict.authorize_time,
    )


def _found(ask: SpinAsk, verdict: Verdict, spin: KnownSpin) -> Answer:
    # The body is game, currency and stake. The row keeps the stake, the authorising session the other two.
    if (verdict.game_id, ask.currency_code, ask.stake_minor) != (
        spin.game_id,
        spin.currency_code,
        spin.stake_minor,
    ):
        return IdReused(request_id=ask.request_id)
    return SpinAuthorization(
        request_id=ask.request_id,
        account_id=verdict.account_id,
        session_id=spin.session_id,
        operator_id=spin.operator_id,
        player_id=spin.player_id,
        kind=spin.kind,
        game_id=spin.game_id,
        currency_code=spin.currency_code,
        stake_minor=spin.stake_minor,
        mint=spin.mint,
        authorize_time=spin.authorize_time,
    )


def _refused(ask: SpinAsk, verdict: Verdict) -> DomainError:
    match verdict.verdict:
        case "SESSION_CLOSED":
            return SessionClosed()
        case "SESSION_REPLACED":
            return SessionReplaced()
        case "SESSION_EXPIRED":
            return SessionExpired()
        case "CURRENCY_MISMATCH":
            return CurrencyMismatch(
                currency_code=ask.currency_code, currency_code_expected=verdict.currency_code
            )
        case "STAKE_ABOVE_LIMIT":
            return StakeAboveLimit(amount_minor_max=verdict.stake_max_minor)
        case "SPIN_TOO_EARLY":
            return SpinTooEarly(retry_after_ms=verdict.retry_after_ms)
        case _:
            # Includes KNOWN: an id that the insert met is in the table, and session deletes none.
            return Internal()
