"""A round in the books, for people."""

from typing import Any

import grpc
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, fields
from services.common.times import timestamp
from services.wallet import explain_store, messages, review_store, store
from services.wallet.explain_store import BookedCall, BookedStep
from services.wallet.reads import messages as reads_messages
from services.wallet.reads import store as reads_store

Context = grpc.aio.ServicerContext[Any, Any]


class ExplainHandlers(wallet_pb2_grpc.WalletServiceServicer):
    """What is stored of one round."""

    _engine: AsyncEngine

    async def ExplainBooks(
        self, request: wallet_pb2.ExplainBooksRequest, context: Context
    ) -> wallet_pb2.ExplainBooksResponse:
        """Its verdicts, postings and calls, of one moment."""
        operator_id = fields.require_text(request.operator_id, "operator_id")
        round_id = fields.require_uuid(request.round_id, "round_id")
        async with db.transaction(self._engine, "wallet.explain_round") as conn:
            await reads_store.begin_snapshot(conn)
            moment = await explain_store.find_moment(conn, round_id=str(round_id))
            steps = await explain_store.list_steps(conn, round_id=str(round_id))
            reversal = await explain_store.find_reversal(conn, round_id=str(round_id))
            calls = await explain_store.list_calls(conn, round_id=str(round_id))
            postings = await reads_store.list_postings(conn, transaction_id=round_id)
            review = await review_store.find_review(conn, round_id=str(round_id))
            account_ids = [step.account_id for step in steps] + [call.account_id for call in calls]
            account = await store.find_account(conn, account_id=account_ids[0]) if account_ids else None
        books = wallet_pb2.RoundBooks(
            expired=moment.expired, halted=moment.halted, read_time=timestamp(moment.read_time)
        )
        if moment.unsent_time is not None:
            books.unsent_time.CopyFrom(timestamp(moment.unsent_time))
        # Another operator's round is answered like one that the wallet never heard of.
        if account is not None and account.operator_id == operator_id:
            code = account.currency_code
            books.account.CopyFrom(messages.account(account))
            books.steps.extend(_step(step, code) for step in steps)
            books.calls.extend(_call(call, code) for call in calls)
            books.postings.extend(reads_messages.posting(posting, code) for posting in postings)
            if reversal is not None:
                books.reversal.CopyFrom(_step(reversal, code))
            if review is not None and review.verdict is None:
                books.review.CopyFrom(messages.review(review))
        return wallet_pb2.ExplainBooksResponse(books=books)


def _step(step: BookedStep, currency_code: str) -> wallet_pb2.BookedStep:
    message = wallet_pb2.BookedStep(
        step=wallet_pb2.SettleStep.ValueType(step.step),
        status=wallet_pb2.SettlementStatus.ValueType(step.status),
        account_id=step.account_id,
        stake=messages.money(currency_code, step.stake_minor),
        win=messages.money(currency_code, step.win_minor),
        balance_after=messages.money(currency_code, step.balance_after_minor),
        account_version=step.account_version,
        refusal=messages.refusal(step.refusal),
        create_time=timestamp(step.create_time),
        actor=step.actor,
        reason=step.reason,
    )
    if step.balance_before_minor is not None:
        message.balance_before.CopyFrom(messages.money(currency_code, step.balance_before_minor))
    return message


def _call(call: BookedCall, currency_code: str) -> wallet_pb2.BookedCall:
    message = wallet_pb2.BookedCall(
        step=wallet_pb2.ExternalStep.ValueType(call.step),
        amount=messages.money(currency_code, call.amount_minor),
        state=call.state,
        outcome=call.outcome,
        attempts=call.attempts,
        last_error=call.last_error,
        create_time=timestamp(call.create_time),
    )
    if call.done_time is not None:
        message.done_time.CopyFrom(timestamp(call.done_time))
    return message
