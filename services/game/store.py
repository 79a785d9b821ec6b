"""Every access of game to its database: one function per statement of sql.py, rows in and out. No commit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common import arrays
from services.common.db import Connection
from services.game import sql
from services.game.records import Kind, Round, Settlement, State, Step

FIRST_ID = "00000000-0000-0000-0000-000000000000"
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"

assert tuple(sql.ROUND_COLUMNS) == Round.__struct_fields__
_COLUMNS = len(sql.ROUND_COLUMNS)
# Enum look-ups by value, without the enum's call.
_KINDS = {kind.value: kind for kind in Kind}
_STATES = {state.value: state for state in State}


class Appended(NamedTuple):
    """What became of one drawn round. `create_time` is None when it was not stored."""

    create_time: datetime | None
    opened: bool


class Draft(NamedTuple):
    """A round that is ready to be stored, with its draw log; None when nothing was drawn."""

    round: Round
    draws: bytes | None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a wallet's answer makes of a round. `place`: its table, END, STEP, REVERSAL or REVIEW."""

    place: str
    state: State
    amount_minor: int = 0  # paid, or at risk
    problem: str = ""


class Blocking(NamedTuple):
    """The unfinished round of an account in a choice game."""

    account_id: int
    game_id: str
    round_id: str
    request_id: str


class Definition(NamedTuple):
    """What was served under a version of a game."""

    game_id: str
    version: int
    definition_hash: str
    canonical_json: str
    profile: str = ""
    theory: str = ""  # JSON: mode -> rtp_target, deviation. Written only


class Stray(NamedTuple):
    """A round in review that game does not know."""

    round_id: str
    operator_id: str
    problem: str


class Pending(NamedTuple):
    """A round whose stake is not known here to be taken or not."""

    round_id: str
    account_id: int
    create_time: datetime
    traceparent: str


async def append_rounds(conn: Connection, drafts: Sequence[Draft]) -> list[Appended]:
    """Stores rounds unless their id is known or, for a choice game, another round is unfinished."""
    rounds = [draft.round for draft in drafts]
    rows = await conn.execute(
        sql.APPEND_ROUNDS,
        {
            "round_ids": arrays.plain(r.round_id for r in rounds),
            "account_ids": arrays.plain(r.account_id for r in rounds),
            "request_ids": arrays.plain(r.request_id for r in rounds),
            "operator_ids": arrays.texts(r.operator_id for r in rounds),
            "player_ids": arrays.texts(r.player_id for r in rounds),
            "session_ids": arrays.plain(r.session_id for r in rounds),
            "kinds": arrays.plain(int(r.kind) for r in rounds),
            "game_ids": arrays.texts(r.game_id for r in rounds),
            "game_versions": arrays.plain(r.game_version for r in rounds),
            "definition_hashes": arrays.texts(r.definition_hash for r in rounds),
            "currency_codes": arrays.texts(r.currency_code for r in rounds),
            "stakes_minor": arrays.plain(r.stake_minor for r in rounds),
            "wins_minor": arrays.plain(r.win_minor for r in rounds),
            "outcomes": _bytes(r.outcome for r in rounds),
            "draws": _bytes(draft.draws for draft in drafts),
            "offers": arrays.plain(r.offers_choice for r in rounds),
            "births": arrays.plain(r.birth for r in rounds),
            "reasons": arrays.texts(r.birth_reason for r in rounds),
            "metadata": arrays.texts(_json(r.birth_metadata) for r in rounds),
            "authorize_times": arrays.plain(r.authorize_time.isoformat() for r in rounds),
            "traceparents": arrays.texts(r.traceparent for r in rounds),
            "gateways": arrays.texts(r.gateway for r in rounds),
            "modes": arrays.texts(r.mode for r in rounds),
        },
    )
    return [Appended(*row) for row in rows]


async def delete_open_rounds(conn: Connection, round_ids: Iterable[str]) -> None:
    """Takes back rows of open_round whose round was not stored."""
    await conn.execute(sql.DELETE_OPEN_ROUNDS, {"round_ids": arrays.plain(round_ids)})


async def find_rounds(conn: Connection, keys: Sequence[tuple[int, str]]) -> list[Round | None]:
    """Rounds by (account_id, request_id), in that order."""
    rows = await conn.execute(
        sql.FIND_ROUNDS,
        {
            "account_ids": arrays.plain(key[0] for key in keys),
            "request_ids": arrays.plain(key[1] for key in keys),
        },
    )
    found = {row[_COLUMNS]: _round(row) for row in rows}
    return [found.get(place) for place in range(1, len(keys) + 1)]


async def list_blocking(conn: Connection, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Blocking]:
    """The unfinished rounds of (account_id, game_id), where there are any."""
    rows = await conn.execute(
        sql.LIST_BLOCKING,
        {
            "account_ids": arrays.plain(key[0] for key in keys),
            "game_ids": arrays.texts(key[1] for key in keys),
        },
    )
    return {(row[0], row[1]): Blocking(*row) for row in rows}


async def find_round(conn: AsyncConnection, round_id: str) -> Round | None:
    """A round by the id game minted."""
    row = (await conn.execute(sql.FIND_ROUND_BY_ID, {"round_id": round_id})).one_or_none()
    return None if row is None else _round(row)


async def list_rounds_by_id(
    conn: Connection, round_ids: Iterable[str], *, outcomes: bool = True
) -> dict[str, Round]:
    """Rounds by id; those that do not exist are not in it. `outcomes`: with theirs, half the weight."""
    wanted = {"round_ids": arrays.plain(round_ids), "outcomes": outcomes}
    rows = await conn.execute(sql.LIST_ROUNDS_BY_ID, wanted)
    return {round_.round_id: round_ for round_ in map(_round, rows)}


async def append_rulings(
    conn: Connection, rulings: Sequence[tuple[Round, Settlement, Ruling]]
) -> list[datetime | None]:
    """Stores what answers made of rounds; the time of each, None where something else was stored first."""
    rounds = [r for r, _, _ in rulings]
    settlements = [s for _, s, _ in rulings]
    verdicts = [v for _, _, v in rulings]
    rows = await conn.execute(
        sql.APPEND_RULINGS,
        {
            "round_ids": arrays.plain(r.round_id for r in rounds),
            "places": arrays.plain(v.place for v in verdicts),
            "states": arrays.plain(v.state for v in verdicts),
            "account_ids": arrays.plain(r.account_id for r in rounds),
            "game_ids": arrays.texts(r.game_id for r in rounds),
            "operator_ids": arrays.texts(r.operator_id for r in rounds),
            "amounts_minor": arrays.plain(v.amount_minor for v in verdicts),
            "balances_after_minor": arrays.plain(s.balance_after_minor for s in settlements),
            "account_versions": arrays.plain(s.account_version for s in settlements),
            "refusals": arrays.texts(s.refusal for s in settlements),
            "problems": arrays.texts(v.problem for v in verdicts),
            "traceparents": arrays.texts(
                s.traceparent or r.traceparent for r, s in zip(rounds, settlements, strict=True)
            ),
        },
    )
    return [time for (time,) in rows]


async def append_step(
    conn: AsyncConnection,
    *,
    round_id: str,
    step: Step,
    state_after: State,
    draws: bytes | None,
    traceparent: str,
) -> bool:
    """Decides a step; False when it was decided before, or is not the next one of an open choice."""
    result = await conn.execute(
        sql.APPEND_STEP,
        {
            "round_id": round_id,
            "step": step.step,
            "state_after": state_after,
            "choice": step.choice,
            "decided_by": step.decided_by,
            "card": step.card,
            "draws": draws,
            "at_risk_minor": step.at_risk_minor,
            "traceparent": traceparent,
        },
    )
    return result.first() is not None


async def list_rounds(
    conn: AsyncConnection, *, account_id: int, game_id: str, before: tuple[str, str] | None, rows_max: int
) -> list[Round]:
    """An account's rounds, newest first; of one game, or of all if it is empty. `before`: time, round_id."""
    time_before, id_before = before or ("infinity", LAST_ID)
    rows = await conn.execute(
        sql.LIST_ROUNDS,
        {
            "account_id": account_id,
            "game_id": game_id,
            "time_before": time_before,
            "id_before": id_before,
            "rows_max": rows_max,
        },
    )
    return [_round(row) for row in rows]


async def list_open_rounds(conn: AsyncConnection, *, account_id: int, game_id: str) -> list[Round]:
    """An account's unfinished rounds of choice games; of one game, or of all when it is empty."""
    rows = await conn.execute(sql.LIST_OPEN_ROUNDS, {"account_id": account_id, "game_id": game_id})
    return [_round(row) for row in rows]


async def list_reviews(
    conn: AsyncConnection, *, operator_id: str, after: tuple[str, str] | None, rows_max: int
) -> list[tuple[Round | Stray, datetime]]:
    """An operator's rounds in review and since when, oldest first. `after`: (time, round_id)."""
    time_after, id_after = after or ("-infinity", FIRST_ID)
    rows = await conn.execute(
        sql.LIST_REVIEWS,
        {"operator_id": operator_id, "time_after": time_after, "id_after": id_after, "rows_max": rows_max},
    )
    return [
        (
            Stray(row.review_round_id, operator_id, row.problem)
            if row.round_id is None
            else replace(_round(row), state=State.NEEDS_REVIEW, review_problem=row.problem),
            row.review_time,
        )
        for row in rows
    ]


async def resolve_review(
    conn: AsyncConnection,
    settlement: Settlement,
    *,
    verdict: str,
    actor: str,
    reason: str,
    state: State,
    paid_minor: int,
    traceparent: str,
) -> bool:
    """Ends a review with the wallet's answer; False when it was ended before."""
    result = await conn.execute(
        sql.RESOLVE_REVIEW,
        {
            "round_id": settlement.round_id,
            "verdict": verdict,
            "actor": actor,
            "reason": reason,
            "state": state,
            "paid_minor": paid_minor,
            "balance_after_minor": settlement.balance_after_minor,
            "account_version": settlement.account_version,
            "refusal": settlement.refusal,
            "traceparent": traceparent,
        },
    )
    return result.first() is not None


async def append_definitions(conn: AsyncConnection, served: Sequence[Definition]) -> set[tuple[str, int]]:
    """Stores what is served; game id and version of each that was not there."""
    rows = await conn.execute(
        sql.APPEND_DEFINITIONS,
        {
            "game_ids": [one.game_id for one in served],
            "versions": [one.version for one in served],
            "hashes": [one.definition_hash for one in served],
            "canonical_jsons": [one.canonical_json for one in served],
            "profiles": [one.profile for one in served],
            "theories": [one.theory for one in served],
        },
    )
    return {(row.game_id, row.version) for row in rows}


async def list_definitions(conn: AsyncConnection, game_ids: Sequence[str]) -> list[Definition]:
    """Every version of these games that was served, ascending."""
    rows = await conn.execute(sql.LIST_DEFINITIONS, {"game_ids": game_ids})
    return [Definition(*row) for row in rows]


async def list_definitions_by_hash(conn: AsyncConnection, hashes: Sequence[str]) -> list[Definition]:
    """Those with these hashes, in no order."""
    rows = await conn.execute(sql.LIST_DEFINITIONS_BY_HASH, {"hashes": hashes})
    return [Definition(*row) for row in rows]


async def take_lease(conn: AsyncConnection, *, holder: str, lease_ms: int) -> str | None:
    """Becomes or stays the reconciler; the time (text) before which no round is PENDING. None: another is."""
    low: str | None = (
        await conn.execute(sql.TAKE_LEASE, {"holder": holder, "lease_ms": lease_ms})
    ).scalar_one_or_none()
    return low


async def move_low(conn: AsyncConnection, *, holder: str, create_time_low: datetime) -> None:
    """Records that no round created before this time is PENDING."""
    await conn.execute(sql.MOVE_LOW, {"holder": holder, "create_time_low": create_time_low})


async def find_horizon(conn: AsyncConnection, *, age_ms: int) -> datetime:
    """The database's time `age_ms` ago, or the start of the oldest writing transaction if that is earlier."""
    horizon: datetime = (await conn.execute(sql.FIND_HORIZON, {"age_ms": age_ms})).scalar_one()
    return horizon


async def list_pending(
    conn: AsyncConnection,
    *,
    create_time_low: str,
    horizon: datetime,
    after: Pending | None,
    rows_max: int,
) -> list[Pending]:
    """PENDING rounds created from `create_time_low` to before `horizon`, oldest first, behind `after`."""
    rows = await conn.execute(
        sql.LIST_PENDING,
        {
            "create_time_low": create_time_low,
            "horizon": horizon,
            "time_after": after.create_time if after else "-infinity",
            "id_after": after.round_id if after else FIRST_ID,
            "rows_max": rows_max,
        },
    )
    return [Pending(*row) for row in rows]


async def find_round_low(conn: AsyncConnection) -> str:
    """An id under which no round is, or will be, one that the wallet may still be asked to pay."""
    low: str = (await conn.execute(sql.FIND_ROUND_LOW)).scalar_one()
    return low


async def list_unfinished(
    conn: AsyncConnection, *, payout_age_ms: int, open_age_ms: int, id_after: str, rows_max: int
) -> list[Round]:
    """Rounds SETTLING for `payout_age_ms`, or OPEN without a choice for `open_age_ms`."""
    rows = await conn.execute(
        sql.LIST_UNFINISHED,
        {
            "payout_age_ms": payout_age_ms,
            "open_age_ms": open_age_ms,
            "id_after": id_after,
            "rows_max": rows_max,
        },
    )
    return [_round(row) for row in rows]


def _bytes(values: Iterable[bytes | None]) -> str:
    return "{" + ",".join("null" if v is None else f'"\\\\x{v.hex()}"' for v in values) + "}"


def _json(metadata: Mapping[str, str] | None) -> str | None:
    return None if metadata is None else msgspec.json.encode(metadata).decode()


def _round(row: Sequence[Any]) -> Round:
    kind, birth, state, steps, *others = row[:_COLUMNS]
    decided = tuple([Step(*step) for step in steps]) if steps else ()
    return Round(_KINDS[kind], _STATES[birth], _STATES[state], decided, *others)
