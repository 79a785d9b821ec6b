"""gRPC <-> the rules of rounds, and game's outbox rows <-> events."""

from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.trace import Link
from reelmesh.events.v1 import events_pb2
from reelmesh.game.v1 import game_pb2
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, fields, items, telemetry
from services.common import telemetry_names as names
from services.common.batching import Batcher
from services.common.errors import DomainError, FieldInvalid, FieldMissing
from services.common.outbox import OutboxRow
from services.common.server import current_caller
from services.game import choices, definitions, messages, rounds, seal, settlements, store
from services.game.catalogue import Catalogue
from services.game.engine import rng
from services.game.errors import RoundNotFound
from services.game.explain_handlers import ExplainHandlers
from services.game.minted import Minted
from services.game.reconciler import Ages
from services.game.records import Authorization, Round, Settlement, State, Verdict, Wallet
from services.game.returns import Returns
from services.game.reviews import Decided, Reviews
from services.game.rounds import Played
from services.game.wallet import settle_fields, settle_request

Context = grpc.aio.ServicerContext[Any, Any]

PAGE_SIZE_DEFAULT = 20
PAGE_SIZE_MAX = 100
_VERDICTS = {
    game_pb2.VERDICT_VOID: Verdict.VOID,
    game_pb2.VERDICT_SETTLED: Verdict.SETTLED,
    game_pb2.VERDICT_REVERSED: Verdict.REVERSED,
}


class Handlers(ExplainHandlers):
    """GameService."""

    def __init__(
        self,
        engine: AsyncEngine,
        catalogue: Catalogue,
        *,
        wallet: Wallet,
        returns: Returns,
        seal_key: bytes,
        ages: Ages,
    ) -> None:
        """`ages`: from when on a round is the reconciler's."""
        self._engine, self._catalogue, self._wallet, self._seal_key = engine, catalogue, wallet, seal_key
        self._returns, self._ages = returns, ages
        self._minted = Minted()
        self._plays: Batcher[Authorization, Played] = Batcher(
            "game.play",
            self._play_batch,
            key=lambda item: item.account_id,
            size_max=messages.BATCH_SIZE_MAX,
        )
        self._finishes: Batcher[Settlement, Round] = Batcher(
            "game.finish",
            self._finish_batch,
            key=lambda item: item.round_id,
            size_max=messages.BATCH_SIZE_MAX,
        )
        self.finish = self._finishes.submit
        self._reviews = Reviews(engine, wallet=wallet, finish=self.finish, seal_key=seal_key)

    async def _play_batch(self, batch: Sequence[Authorization]) -> list[Played | DomainError]:
        answers = await rounds.play_batch(self._engine, self._catalogue, batch)
        drawn = (one for one in answers if isinstance(one, Played) and one.draws is not None)
        self._minted.add(one.round for one in drawn)
        await self._learn(one.round for one in answers if isinstance(one, Played))
        return answers

    async def _finish_batch(self, batch: Sequence[Settlement]) -> list[Round | DomainError]:
        answers = await settlements.finish_batch(self._engine, self._returns, self._minted, batch)
        await self._learn(one for one in answers if isinstance(one, Round))
        return answers

    async def _learn(self, rounds: Iterable[Round]) -> None:
        """Before rounds are shown: what an open one offers, its own definition tells."""
        await definitions.learn(self._engine, self._catalogue, rounds)

    async def drain(self) -> None:
        """Answers what is queued, and takes no more."""
        await self._plays.close()
        await self._finishes.close()

    async def ListGames(
        self, request: game_pb2.ListGamesRequest, context: Context
    ) -> game_pb2.ListGamesResponse:
        served = [g for g in self._catalogue.games.values() if g.game_id not in self._catalogue.withdrawn]
        return game_pb2.ListGamesResponse(games=[messages.game(game) for game in served])

    async def Play(self, request: game_pb2.PlayRequest, context: Context) -> game_pb2.PlayResponse:
        item = messages.parse_authorization(
            request, traceparent=telemetry.traceparent(), gateway=current_caller().instance
        )
        played = await self._plays.submit(item)
        return game_pb2.PlayResponse(**self._played(played, trace.get_current_span()))

    async def BatchPlay(
        self, request: game_pb2.BatchPlayRequest, context: Context
    ) -> game_pb2.BatchPlayResponse:
        messages.require_batch(request.requests)
        gateway = current_caller().instance
        results = await items.answer(
            "game.play",
            request.requests,
            self._plays,
            parse=lambda item, traceparent: messages.parse_authorization(
                item, traceparent=traceparent, gateway=gateway
            ),
            reply=lambda played, span, _: {"play": self._played(played, span)},
        )
        return game_pb2.BatchPlayResponse(results=results)

    async def Finish(self, request: game_pb2.FinishRequest, context: Context) -> game_pb2.FinishResponse:
        item = messages.parse_settlement(request, traceparent=telemetry.traceparent())
        return game_pb2.FinishResponse(round=messages.round_(self._catalogue, await self.finish(item)))

    async def BatchFinish(
        self, request: game_pb2.BatchFinishRequest, context: Context
    ) -> game_pb2.BatchFinishResponse:
        messages.require_batch(request.requests)
        wanted = not request.omit_rounds
        results = await items.answer(
            "game.finish",
            request.requests,
            self._finishes,
            parse=lambda item, traceparent: messages.parse_settlement(
                item, traceparent=traceparent, outcome_wanted=wanted
            ),
            reply=lambda done, *_: {"round": messages.round_fields(self._catalogue, done)} if wanted else {},
        )
        return game_pb2.BatchFinishResponse(results=results)

    async def Act(self, request: game_pb2.ActRequest, context: Context) -> game_pb2.ActResponse:
        account_id = messages.require_account_id(request.account_id)
        round_id = str(fields.require_uuid(request.round_id, "round_id"))
        if request.step == 0:
            raise FieldMissing(field="step")
        if request.step < 0:
            raise FieldInvalid(field="step", problem="negative")
        choice = fields.require_text(request.choice, "choice", 32)
        decided_by = messages.parse_decided_by(request.decided_by)
        found = await self._find(round_id, account_id=account_id, operator_id="")
        found = await settlements.ask_wallet(self._wallet, self.finish, found)
        await self._learn([found])
        decided = await choices.act(
            self._engine,
            self._catalogue,
            round_=found,
            step=request.step,
            choice=choice,
            decided_by=decided_by,
            refusal=messages.session_refusal(request.session_state, decided_by),
            traceparent=telemetry.traceparent(),
        )
        trace.get_current_span().set_attribute(names.ROUND_ID, round_id)
        response = game_pb2.ActResponse(round=messages.round_(self._catalogue, decided))
        if decided.state is State.SETTLING:
            response.payout.CopyFrom(settle_request(seal.payout_of(decided, key=self._seal_key)))
        return response

    async def GetRound(
        self, request: game_pb2.GetRoundRequest, context: Context
    ) -> game_pb2.GetRoundResponse:
        if request.account_id == 0 and not request.operator_id:
            raise FieldMissing(field="account_id")
        if request.WhichOneof("key") == "round_id":
            round_id = str(fields.require_uuid(request.round_id, "round_id"))
            found = await self._find(round_id, account_id=request.account_id, operator_id=request.operator_id)
        else:
            request_id = str(fields.require_uuid(request.request_id, "request_id"))
            account_id = messages.require_account_id(request.account_id)
            async with self._engine.connect() as conn:
                (known,) = await store.find_rounds(conn, [(account_id, request_id)])
            found = self._owned(known, account_id=account_id, operator_id=request.operator_id)
        read = await settlements.read_round(self._wallet, self.finish, found)
        await self._learn([read])
        whole = rounds.whole(self._catalogue, read)
        return game_pb2.GetRoundResponse(round=messages.round_(self._catalogue, whole))

    async def ListRounds(
        self, request: game_pb2.ListRoundsRequest, context: Context
    ) -> game_pb2.ListRoundsResponse:
        account_id = messages.require_account_id(request.account_id)
        query = f"rounds/{account_id}/{request.game_id}"
        before = messages.parse_position(fields.decode_page_token(request.page_token, query))
        size = fields.require_page(request.page_size, default=PAGE_SIZE_DEFAULT, size_max=PAGE_SIZE_MAX)
        async with self._engine.connect() as conn:
            found = await store.list_rounds(
                conn, account_id=account_id, game_id=request.game_id, before=before, rows_max=size + 1
            )
        await self._learn(found)
        response = game_pb2.ListRoundsResponse(
            rounds=[messages.round_(self._catalogue, r) for r in found[:size]]
        )
        if len(found) > size:
            last = found[size - 1]
            assert last.create_time is not None
            response.next_page_token = fields.encode_page_token(
                query, last.create_time.isoformat(), last.round_id
            )
        return response

    async def ListOpenRounds(
        self, request: game_pb2.ListOpenRoundsRequest, context: Context
    ) -> game_pb2.ListOpenRoundsResponse:
        account_id = messages.require_account_id(request.account_id)
        async with self._engine.connect() as conn:
            found = await store.list_open_rounds(conn, account_id=account_id, game_id=request.game_id)
        await self._learn(found)
        return game_pb2.ListOpenRoundsResponse(rounds=[messages.round_(self._catalogue, r) for r in found])

    async def ListReviews(
        self, request: game_pb2.ListReviewsRequest, context: Context
    ) -> game_pb2.ListReviewsResponse:
        operator_id = fields.require_text(request.operator_id, "operator_id")
        query = f"reviews/{operator_id}"
        after = messages.parse_position(fields.decode_page_token(request.page_token, query))
        size = fields.require_page(request.page_size, default=PAGE_SIZE_DEFAULT, size_max=PAGE_SIZE_MAX)
        async with self._engine.connect() as conn:
            found = await store.list_reviews(conn, operator_id=operator_id, after=after, rows_max=size + 1)
        response = game_pb2.ListReviewsResponse(
            rounds=[
                messages.stray(*r[:1], operator_id=r.operator_id, problem=r.problem, state=State.NEEDS_REVIEW)
                if isinstance(r, store.Stray)
                else messages.round_(self._catalogue, r)
                for r, _ in found[:size]
            ]
        )
        if len(found) > size:
            last, review_time = found[size - 1]
            response.next_page_token = fields.encode_page_token(query, review_time.isoformat(), last.round_id)
        return response

    async def ResolveReview(
        self, request: game_pb2.ResolveReviewRequest, context: Context
    ) -> game_pb2.ResolveReviewResponse:
        resolved = await self._reviews.resolve(
            operator_id=fields.require_text(request.operator_id, "operator_id"),
            round_id=str(fields.require_uuid(request.round_id, "round_id")),
            verdict=_VERDICTS[fields.require_enum(request.verdict, "verdict", game_pb2.Verdict)],
            actor=fields.require_text(request.actor, "actor"),
            reason=fields.require_text(request.reason, "reason", 500),
            traceparent=telemetry.traceparent(),
        )
        if isinstance(resolved, Decided):
            stray = messages.stray(
                request.round_id,
                operator_id=request.operator_id,
                problem=resolved.problem,
                state=resolved.state,
            )
            return game_pb2.ResolveReviewResponse(round=stray)
        return game_pb2.ResolveReviewResponse(round=messages.round_(self._catalogue, resolved))

    async def RollbackRound(
        self, request: game_pb2.RollbackRoundRequest, context: Context
    ) -> game_pb2.RollbackRoundResponse:
        round_, _ = await self._roll_back(request, bet_only=False)
        return game_pb2.RollbackRoundResponse(round=round_)

    async def RollbackBet(
        self, request: game_pb2.RollbackBetRequest, context: Context
    ) -> game_pb2.RollbackBetResponse:
        round_, unchanged = await self._roll_back(request, bet_only=True)
        return game_pb2.RollbackBetResponse(round=round_, unchanged=unchanged)

    async def _roll_back(
        self, request: game_pb2.RollbackRoundRequest | game_pb2.RollbackBetRequest, *, bet_only: bool
    ) -> tuple[game_pb2.Round, bool]:
        round_, unchanged = await self._reviews.roll_back(
            operator_id=fields.require_text(request.operator_id, "operator_id"),
            round_id=str(fields.require_uuid(request.round_id, "round_id")),
            actor=fields.require_text(request.actor, "actor"),
            reason=fields.require_text(request.reason, "reason", 500),
            bet_only=bet_only,
        )
        await self._learn([round_])
        return messages.round_(self._catalogue, round_), unchanged

    def _played(self, played: Played, span: trace.Span) -> items.Fields:
        """PlayResponse as fields."""
        _note(played, span, key=self._seal_key)
        round_ = played.round
        fields: items.Fields = {"round": messages.round_fields(self._catalogue, round_)}
        settle = seal.settle_of(round_, key=self._seal_key)
        if settle is not None:
            fields["settle"] = settle_fields(settle)
            if round_.state is State.PENDING or round_.stake_applied:
                fields["hidden_outcome_json"] = round_.outcome or b""
        return fields

    async def _find(self, round_id: str, *, account_id: int, operator_id: str) -> Round:
        async with self._engine.connect() as conn:
            found = await store.find_round(conn, round_id)
        return self._owned(found, account_id=account_id, operator_id=operator_id)

    @staticmethod
    def _owned(found: Round | None, *, account_id: int, operator_id: str) -> Round:
        """The round, if it belongs to those who were named (0 and "": not named)."""
        if found is None or account_id not in (0, found.account_id):
            raise RoundNotFound()
        if operator_id not in ("", found.operator_id):
            raise RoundNotFound()
        return found


def _note(played: Played, span: trace.Span, *, key: bytes) -> None:
    """Names the round on the span, with a keyed hash of its draw; replays and voids are always recorded.

    A replay is linked to the first execution, whether that was kept or not: its trace id is the round's.
    """
    round_ = played.round
    first = telemetry.context_of(round_.traceparent)
    # A round that nothing is drawn for has no log either: then another trace tells that it was known.
    replayed = played.draws is None and (
        round_.birth is State.PENDING or first.trace_id != span.get_span_context().trace_id
    )
    links = [Link(first)] if replayed and first.is_valid else []
    why = "void" if round_.state is State.VOID else "replay" if replayed else None
    if span.is_recording():
        span.set_attribute(names.ROUND_ID, round_.round_id)
        span.set_attribute(names.GAME_ID, round_.game_id)
        span.set_attribute(names.REPLAYED, replayed)
        for link in links:
            span.add_link(link.context)
        if played.draws is not None:
            round_id_bytes = bytes.fromhex(round_.round_id.replace("-", ""))
            draw_hash = rng.draw_hash(key=key, round_id_bytes=round_id_bytes, draws_bytes=played.draws)
            span.set_attribute(names.DRAW_HASH, draw_hash)
        if why is not None:
            span.set_attribute(names.KEEP, why)
    elif why is not None:
        attributes: dict[str, Any] = {names.ROUND_ID: round_.round_id, names.REPLAYED: replayed}
        with trace.use_span(span):
            telemetry.keep("game.play", why=why, links=links, **attributes)


async def to_events(conn: db.Connection, rows: Sequence[OutboxRow]) -> Sequence[Sequence[events_pb2.Event]]:
    """The events of each outbox row: one per round that was born ended, or changed, in its batch.

    The outcome is read here, by id: it was never in the outbox (R2).
    """
    round_ids = sorted({round_id for row in rows for round_id in row.payload["round_ids"]})
    found = await store.list_rounds_by_id(conn, round_ids)
    return [
        [
            messages.event(
                found[round_id],
                state=State(state),
                balance_after_minor=balance_after_minor,
                account_version=account_version,
                traceparent=traceparent,
            )
            for round_id, state, balance_after_minor, account_version, traceparent in zip(
                row.payload["round_ids"],
                row.payload["states"],
                row.payload["balances_after_minor"],
                row.payload["account_versions"],
                row.payload["traceparents"],
                strict=True,
            )
        ]
        for row in rows
    ]
