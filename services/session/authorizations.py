"""Whether a spin may start. The rule book of R4 (known ids), R9 (none after close) and the pace of play."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.common.db import Connection
from services.common.errors import CurrencyMismatch, DomainError, IdReused, Internal
from services.session import errors, spins_store
from services.session.errors import TokenInvalid
from services.session.policy import Feature
from services.session.spins_store import KnownKey, KnownSpin, SpinAsk, Verdict


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
    mode: str
    counted: bool = False


Answer = SpinAuthorization | DomainError
# Judged in the next round.
_AGAIN = frozenset({"DEFERRED", "COUNTED"})


async def authorize_spins(
    conn: Connection,
    asks: Sequence[SpinAsk],
    *,
    mint_age_ms: int,
    known_counted: set[bytes] | None = None,
    row_lock: bool = True,
    one_per_account: bool = True,
    find_known: bool = True,
    play_lock: bool = True,
) -> list[Answer]:
    """An answer per ask, in its order: authorised, found again, or refused with nothing stored.

    A known id mints while younger than `mint_age_ms`. `known_counted`: tokens, by their hashes, of sessions
    that are known to have limits, kept by the caller; it saves them a statement, and no more. The guards are
    switched off only by the tests that show what each prevents.
    """
    if known_counted is None:
        known_counted = set()
    if any(ask.joined for ask in asks):
        asks = await _by_handle(conn, asks)
    answers: dict[int, Answer] = {}
    waiting = list(range(len(asks)))
    counted = any(ask.token_hash in known_counted for ask in asks)
    # One round, unless two sessions of one account are in the batch: then as many as the account has asks. Or
    # unless limits turn out to count for one: then the rest is judged with them.
    while waiting:
        verdicts = await spins_store.authorize(
            conn,
            [asks[i] for i in waiting],
            counted=counted,
            row_lock=row_lock,
            one_per_account=one_per_account,
            play_lock=play_lock,
        )
        judged = [(i, verdict) for i, verdict in zip(waiting, verdicts, strict=True)]
        not_stored: list[tuple[int, Verdict]] = []
        for i, verdict in judged:
            if verdict.verdict == "ALLOWED":
                answers[i] = _authorized(asks[i], verdict)
            elif verdict.verdict == "TOKEN_INVALID":
                answers[i] = TokenInvalid()
            elif verdict.verdict == "COUNTED":
                counted = True
                known_counted.add(asks[i].token_hash)
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
        waiting = [i for i, verdict in judged if verdict.verdict in _AGAIN]
    return [answers[i] for i in range(len(asks))]


async def _by_handle(conn: Connection, asks: Sequence[SpinAsk]) -> list[SpinAsk]:
    """The asks, where a token is one of several with the hash by which the session is known."""
    handles = await spins_store.find_handles(conn, [ask.token_hash for ask in asks if ask.joined])
    return [
        ask._replace(token_hash=handles[ask.token_hash]) if ask.token_hash in handles else ask for ask in asks
    ]


async def _find_known(
    conn: Connection, asks: Sequence[SpinAsk], judged: Sequence[tuple[int, Verdict]], mint_age_ms: int
) -> list[KnownSpin | None]:
    keys = [KnownKey(verdict.account_id, asks[i].request_id, verdict.session_id) for i, verdict in judged]
    return await spins_store.find_known_spins(conn, keys, mint_age_ms=mint_age_ms)


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
        mode=ask.mode,
        counted=verdict.counted,
    )


def _found(ask: SpinAsk, verdict: Verdict, spin: KnownSpin) -> Answer:
    # The body is game, currency, stake, mode. The row keeps the last two, the authorising session the others.
    if (verdict.game_id, ask.currency_code, ask.stake_minor, ask.mode) != (
        spin.game_id,
        spin.currency_code,
        spin.stake_minor,
        spin.mode,
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
        mode=spin.mode,
        counted=spin.counted,
    )


def _refused(ask: SpinAsk, verdict: Verdict) -> DomainError:
    facts = dict(verdict.facts or {})
    match verdict.verdict:
        case "SESSION_CLOSED":
            return errors.SessionClosed()
        case "SESSION_REPLACED":
            return errors.SessionReplaced()
        case "SESSION_EXPIRED":
            return errors.SessionExpired()
        case "CURRENCY_MISMATCH":
            return CurrencyMismatch(
                currency_code=ask.currency_code, currency_code_expected=verdict.currency_code
            )
        case "FEATURE_FORBIDDEN":
            feature = Feature.AUTOPLAY if facts["features"] & Feature.AUTOPLAY else Feature.TURBO
            name = str(feature.name).lower()
            return errors.FeatureForbidden(feature=name, jurisdiction=facts["jurisdiction"])
        case "SPIN_TOO_EARLY":
            return errors.SpinTooEarly(retry_after_ms=verdict.retry_after_ms)
        case reason if reason in _REFUSED:
            return _REFUSED[reason](**facts)
        case _:
            # Includes KNOWN: an id that the insert met is in the table, and session deletes none.
            return Internal()


# Those whose facts the statement tells as they are documented.
_REFUSED: Mapping[str, type[DomainError]] = {
    error.reason: error
    for error in (
        errors.StakeAboveLimit,
        errors.ModeForbidden,
        errors.LossLimitReached,
        errors.RealityCheckDue,
        errors.LockedOut,
    )
}
