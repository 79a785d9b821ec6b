"""A round as it is stored, for people; and the reviews that a difference between services ends in."""

import hashlib
import uuid
from datetime import datetime, timedelta
from typing import Any

import grpc
from reelmesh.game.v1 import game_pb2, game_pb2_grpc
from reelmesh.type.v1 import money_pb2
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, fields, telemetry
from services.common.times import timestamp
from services.game import explain_store, messages, review_store, store
from services.game.catalogue import Catalogue
from services.game.engine import rng
from services.game.errors import RoundNotFound
from services.game.explain_store import Change
from services.game.reconciler import Ages
from services.game.records import DecidedBy, Round, State, Verdict
from services.game.replay import replays
from services.game.replay import store as replay_store
from services.game.replay.replays import Check, Stored
from services.game.reviews import Reviews

Context = grpc.aio.ServicerContext[Any, Any]

PROBLEM_LENGTH_MAX = 500


class ExplainHandlers(game_pb2_grpc.GameServiceServicer):
    """What is stored of one round."""

    _engine: AsyncEngine
    _catalogue: Catalogue
    _reviews: Reviews
    _seal_key: bytes
    _ages: Ages

    async def OpenReview(
        self, request: game_pb2.OpenReviewRequest, context: Context
    ) -> game_pb2.OpenReviewResponse:
        """Puts a round in review, once."""
        opened, review = await self._reviews.open(
            operator_id=fields.require_text(request.operator_id, "operator_id"),
            round_id=str(fields.require_uuid(request.round_id, "round_id")),
            problem=fields.require_text(request.problem, "problem", PROBLEM_LENGTH_MAX),
            traceparent=telemetry.traceparent(),
        )
        response = game_pb2.OpenReviewResponse(opened=opened)
        if review is not None:
            response.review.CopyFrom(_review(review))
        return response

    async def ExplainRound(
        self, request: game_pb2.ExplainRoundRequest, context: Context
    ) -> game_pb2.ExplainRoundResponse:
        """All that is stored of a round, of one moment."""
        operator_id = fields.require_text(request.operator_id, "operator_id")
        round_id = str(fields.require_uuid(request.round_id, "round_id"))
        async with db.transaction(self._engine, "game.explain_round") as conn:
            await conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            round_ = await store.find_round(conn, round_id)
            if round_ is None or round_.operator_id != operator_id:
                raise RoundNotFound()
            stored = Stored(
                round_,
                await replay_store.find_draws(conn, round_id),
                await replay_store.list_steps(conn, round_id),
                await replay_store.find_definition(conn, round_.game_id, round_.game_version),
            )
            changes = await explain_store.list_changes(conn, round_id=round_id)
            review = await review_store.find_review(conn, round_id=round_id)
            moment = await explain_store.find_moment(conn)
        record = self._record(stored)
        record.changes.extend(_change(change, round_.currency_code) for change in changes)
        record.read_time.CopyFrom(timestamp(moment.read_time))
        if review is not None:
            record.review.CopyFrom(_review(review))
        if moment.unsent_time is not None:
            record.unsent_time.CopyFrom(timestamp(moment.unsent_time))
        reconcile_time = self._reconcile_time(round_, changes[-1].create_time if changes else None)
        if reconcile_time is not None:
            record.reconcile_time.CopyFrom(timestamp(reconcile_time))
        if request.replay and replays.is_hidden(round_):
            record.replay_problem = "its stake is not known to be taken or not"
        elif request.replay:
            checks = replays.replay(stored, self._catalogue.games.values)
            record.replay_checks.extend(_check(check) for check in checks)
        return game_pb2.ExplainRoundResponse(record=record)

    def _record(self, stored: Stored) -> game_pb2.RoundRecord:
        """What the round's own row says; nothing of what R2 hides."""
        round_ = stored.round
        record = game_pb2.RoundRecord(
            round=messages.round_(self._catalogue, round_),
            definition_hash=round_.definition_hash,
            definition_known=stored.definition is not None
            and hashlib.sha256(stored.definition.canonical_json.encode()).hexdigest()
            == round_.definition_hash,
            birth=game_pb2.RoundState.Value(f"ROUND_STATE_{round_.birth}"),
            gateway=round_.gateway,
            traceparent=round_.traceparent,
            offers_choice=round_.offers_choice,
            stake_applied=round_.stake_applied,
        )
        if stored.draws is not None:
            record.draw_hash = rng.draw_hash(
                key=self._seal_key,
                round_id_bytes=uuid.UUID(round_.round_id).bytes,
                draws_bytes=stored.draws,
            )
        if round_.stake_applied:
            drawn = messages.money_fields(round_.currency_code, round_.win_minor)
            record.drawn_win.currency_code, record.drawn_win.amount_minor = drawn.values()
        return record

    def _reconcile_time(self, round_: Round, change_time: datetime | None) -> datetime | None:
        since, age_ms = change_time, 0
        match round_.state:
            case State.PENDING:
                since, age_ms = round_.create_time, self._ages.pending_ms
            case State.OPEN:
                age_ms = self._ages.open_ms
            case State.SETTLING:
                age_ms = self._ages.payout_ms
            case _:
                return None
        return None if since is None else since + timedelta(milliseconds=age_ms)


def _change(change: Change, currency_code: str) -> game_pb2.RoundChange:
    message = game_pb2.RoundChange(
        create_time=timestamp(change.create_time),
        state=game_pb2.RoundState.Value(f"ROUND_STATE_{change.state}"),
        step=change.step,
        choice=change.choice,
        amount=money_pb2.Money(currency_code=currency_code, amount_minor=change.amount_minor),
        account_version=change.account_version,
        traceparent=change.traceparent,
    )
    if change.decided_by:
        message.decided_by = messages.decided_by(DecidedBy(change.decided_by))
    if change.balance_after_minor is not None:
        message.balance_after.currency_code = currency_code
        message.balance_after.amount_minor = change.balance_after_minor
    return message


def _review(review: review_store.Review) -> game_pb2.RoundReview:
    message = game_pb2.RoundReview(
        problem=review.problem,
        create_time=timestamp(review.create_time),
        actor=review.actor,
        reason=review.reason,
    )
    if review.resolve_time is not None:
        message.verdict = game_pb2.Verdict.Value(f"VERDICT_{Verdict(review.verdict)}")
        message.resolve_time.CopyFrom(timestamp(review.resolve_time))
    return message


def _check(check: Check) -> game_pb2.ReplayCheck:
    return game_pb2.ReplayCheck(name=check.name, same=check.same, stored=check.stored, derived=check.derived)
