"""Rounds whose money an operator's own wallet keeps: a call is written down, made, and its answer recorded.

All that is decided about a round is decided under its account's lock: a stake is APPLIED by its answer unless
a void is under way, a void ends a round whose stake is not answered. Only an answer decides; an error decides
nothing. No call is made inside a transaction.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import CurrencyMismatch, DomainError, IdReused, Unavailable
from services.wallet import ledger, store
from services.wallet.errors import AccountNotFound, LedgerHalted, StakeUnknown
from services.wallet.external import books, reviews
from services.wallet.external import store as external_store
from services.wallet.external.books import find_settled, insert_call, item_of, lock_round
from services.wallet.records import (
    Account,
    Call,
    CallState,
    CallStep,
    External,
    Item,
    OperatorWallet,
    Refusal,
    RollbackOrder,
    Settlement,
    Status,
    Step,
    Told,
    Unanswered,
)

log = logging.getLogger(__name__)

WAIT_S_MAX = 60.0
POLL_INTERVAL_S = 0.2
# Calls of one operator that are in flight again at once. Operators do not wait for each other.
CALLS_AT_ONCE = 50


class ExternalRounds:
    """The rounds of accounts whose operator has a wallet of its own."""

    def __init__(self, engine: AsyncEngine, wallets: Mapping[str, OperatorWallet]) -> None:
        """`wallets` by operator_id."""
        self._engine = engine
        self._wallets = wallets
        self._answering: dict[Item, asyncio.Task[Settlement]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def keeps(self, operator_id: str) -> bool:
        """Whether accounts for real money that this operator opens are external."""
        return operator_id in self._wallets

    async def answer(self, item: Item) -> Settlement:
        """The verdict on an item. Its work goes on when the caller does not wait for it.

        Errors: UNAVAILABLE while the operator's wallet has not answered: the same item again. And as
        WalletService.Settle.
        """
        return await asyncio.shield(self._start_answer(item))

    async def answer_many(
        self, answers: Sequence[ledger.Answer], *, wait_s: float
    ) -> list[Settlement | DomainError]:
        """Answers in which each External is replaced; UNAVAILABLE for one that takes longer than `wait_s`."""
        tasks = [
            self._start_answer(answer.item) if isinstance(answer, External) else None for answer in answers
        ]
        waiting = [task for task in tasks if task is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=wait_s)
        return [_result(answer, task) for answer, task in zip(answers, tasks, strict=True)]

    async def roll_back(self, order: RollbackOrder, *, settled_stays: bool) -> Settlement:
        """Gives a stake back while nothing is paid on it; NEEDS_REVIEW and a stored review after that.

        `settled_stays`: nothing moves, and it is APPLIED, when the round is settled, won or lost.
        Errors: UNAVAILABLE while the operator's wallet has not answered; ID_EXPIRED.
        """
        item = Item(order.round_id, Step.VOID, order.account_id, traceparent=order.traceparent)
        task = self._start(self._void(item, order, settled_stays=settled_stays))
        return await asyncio.shield(task)

    async def balance_minor(self, account: Account) -> int:
        """What the player has at the operator. Errors: UNAVAILABLE, ACCOUNT_NOT_FOUND."""
        try:
            balance_minor = await self._wallet(account.operator_id).balance_minor(
                player_id=account.player_id, currency_code=account.currency_code
            )
        except Unanswered as problem:
            log.warning("operator %s's wallet told no balance: %s", account.operator_id, problem)
            raise Unavailable() from None
        if balance_minor is None:
            raise AccountNotFound()
        return balance_minor

    async def deliver(self, call: Call) -> None:
        """Makes a call that is written down, and records its answer; what fails stays due."""
        try:
            await self._record(call, await self._send(call))
        except DomainError:
            return
        except Exception as error:
            # One call that fails must not keep the others from being sent, for as long as it is due.
            unexpected = None if db.is_connection_error(error) else error
            log.log(
                logging.ERROR if unexpected else logging.WARNING,
                "round %s: %s not recorded",
                *(call.round_id, call.step.name),
                exc_info=unexpected,
            )

    async def keep_sending(self, stop: asyncio.Event) -> None:
        """Sends payouts and voids that were not answered, for ever and ever more seldom, until `stop`.

        Any number of replicas may do it. Operators do not wait for each other.
        """
        async with self._engine.connect() as conn:
            for operator_id in await external_store.list_operators(conn):
                if operator_id not in self._wallets:
                    log.error("operator %s has external accounts, but no wallet is configured", operator_id)
        async with asyncio.TaskGroup() as group:
            for operator_id in self._wallets:
                group.create_task(self._keep_sending(operator_id, stop))

    async def send_due(self, operator_id: str) -> int:
        """One round of an operator's due calls; how many there were."""
        async with db.transaction(self._engine, "wallet.external_due", links=()) as conn:
            calls = await external_store.take_due(
                conn,
                operator_id=operator_id,
                wait_s=books.WAIT_S / 2,
                wait_s_max=WAIT_S_MAX,
                rows_max=CALLS_AT_ONCE,
            )
        await asyncio.gather(*(self.deliver(call) for call in calls))
        return len(calls)

    async def drain(self) -> None:
        """Waits for what is in flight; calls end by their own deadline."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _keep_sending(self, operator_id: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                if await self.send_due(operator_id) == CALLS_AT_ONCE:
                    continue
            except Exception as error:
                if not db.is_connection_error(error):
                    raise
                log.warning("calls to operator %s wait: database not available", operator_id)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_INTERVAL_S)

    def _start_answer(self, item: Item) -> asyncio.Task[Settlement]:
        """One task per item: a repetition joins the one that is under way."""
        key = item._replace(traceparent="")
        if key not in self._answering:
            work = {Step.VOID: self._void, Step.PAYOUT: self._payout}.get(item.step, self._stake)
            self._answering[key] = task = self._start(work(item))
            task.add_done_callback(lambda _: self._answering.pop(key))
        return self._answering[key]

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Nobody may be waiting any more; an unexpected error is told by whoever does, or here.
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, DomainError):
            log.error("a call to an operator's wallet failed", exc_info=error)

    async def _stake(self, item: Item) -> Settlement:
        async with db.transaction(self._engine, "wallet.external_stake") as conn:
            round_ = await lock_round(conn, item)
            if round_.stake is not None:
                return round_.show(_require(ledger.replay(item, round_.stake)))
            call = round_.calls.get(CallStep.STAKE)
            if call is not None:
                _require_same(call, item)
                if CallStep.VOID in round_.calls or call.state is not CallState.SENT:
                    raise Unavailable()
                await external_store.send_again(conn, call)
            else:
                _require_currency(round_.account, item)
                if await store.is_halted(conn):
                    raise LedgerHalted()
                if round_.account.frozen:
                    await external_store.settle(
                        conn, item, status=Status.REFUSED, refusal=Refusal.ACCOUNT_FROZEN
                    )
                    return _decided(await find_settled(conn, item))
                call = await insert_call(
                    conn, round_.account, item, CallStep.STAKE, amount_minor=item.stake_minor
                )
        return _decided(await self._record(call, await self._send(call)))

    async def _payout(self, item: Item) -> Settlement:
        """Decided by our books; the operator's wallet hears of it until it has paid."""
        async with db.transaction(self._engine, "wallet.external_payout") as conn:
            round_ = await lock_round(conn, item)
            if round_.payout is not None:
                return round_.show(_require(ledger.replay(item, round_.payout)))
            if round_.stake is None:
                raise StakeUnknown(round_id=item.round_id)
            if round_.stake.step is Step.FUSED:
                raise IdReused(request_id=item.round_id)
            _require_currency(round_.account, item)
            void = round_.calls.get(CallStep.VOID)
            open_void = void is not None and void.state is not CallState.DONE
            if open_void and round_.stake.status is Status.APPLIED:
                # The stake is being given back; its end leaves a tombstone here.
                raise Unavailable()
            await external_store.settle(conn, item)
            call = None
            if round_.stake.status is Status.APPLIED:
                call = await insert_call(
                    conn, round_.account, item, CallStep.PAYOUT, amount_minor=item.win_minor
                )
            settlement = _decided(await find_settled(conn, item))
        if call is not None:
            self._start(self.deliver(call))
        return settlement

    async def _void(
        self, item: Item, order: RollbackOrder | None = None, *, settled_stays: bool = False
    ) -> Settlement:
        """With an order the rollback of an applied stake, too."""
        async with db.transaction(self._engine, "wallet.external_void") as conn:
            round_ = await lock_round(conn, item)
            stake, sent = round_.stake, round_.calls.get(CallStep.STAKE)
            over = stake is not None and (stake.step is Step.FUSED or round_.payout is not None)
            void = round_.calls.get(CallStep.VOID)
            stays = settled_stays and over and (void is None or void.state is CallState.DONE)
            if stake is not None and (stays or order is None or stake.status is not Status.APPLIED):
                return round_.show(_require(ledger.replay(item, stake)))
            if stake is None and sent is None:
                # The operator never heard of it, and now never will.
                await external_store.settle(conn, item)
                return _decided(await find_settled(conn, item))
            assert sent is not None, "a stake is applied by the answer to its call"
            if CallStep.PAYOUT in round_.calls or (void is not None and void.state is not CallState.SENT):
                if order is None or stake is None:
                    return _undecided(item, round_.account)
                return await reviews.open_review(conn, round_, stake, order)
            if void is not None:
                raise Unavailable()  # it is sent until it is answered
            call = await insert_call(
                conn,
                round_.account,
                item._replace(game_id=sent.game_id),
                CallStep.VOID,
                amount_minor=sent.amount_minor,
                actor=order.actor if order else "",
                reason=order.reason if order else "",
            )
        settled = _decided(await self._record(call, await self._send(call)))
        if order is not None and settled.status is Status.APPLIED:
            # The answer contradicts what we know, so the call was stopped: now it is a review.
            return await self._void(item, order, settled_stays=settled_stays)
        return settled

    async def _send(self, call: Call) -> Told:
        """The answer. Errors: UNAVAILABLE when there is none; that is written down."""
        try:
            wallet = self._wallet(call.operator_id)
            calls = {CallStep.STAKE: wallet.stake, CallStep.PAYOUT: wallet.payout, CallStep.VOID: wallet.void}
            return await calls[call.step](call)
        except Unanswered as problem:
            log.warning(
                "round %s: operator %s did not answer %s, attempt %d: %s",
                *(call.round_id, call.operator_id, call.step.name, call.attempts, problem),
            )
            async with db.transaction(self._engine, "wallet.external_error") as conn:
                await external_store.record_error(conn, call, last_error=str(problem))
            raise Unavailable() from None

    def _wallet(self, operator_id: str) -> OperatorWallet:
        if operator_id not in self._wallets:
            raise Unanswered("no wallet of this operator is configured")
        return self._wallets[operator_id]

    async def _record(self, call: Call, told: Told) -> Settlement | None:
        """What was decided about the round; None when the answer does not decide it."""
        async with db.transaction(self._engine, "wallet.external_record") as conn:
            payout = await books.record(conn, call, told)
            settled = None
            if call.step is not CallStep.PAYOUT:
                settled = await find_settled(conn, item_of(call))
        if payout is not None:
            # Not awaited: no reply waits longer because of what the round won (R3).
            self._start(self.deliver(payout))
        return settled


def _require_same(call: Call, item: Item) -> None:
    if item_of(call)._replace(traceparent="") != item._replace(traceparent=""):
        raise IdReused(request_id=item.round_id)


def _require_currency(account: Account, item: Item) -> None:
    if item.currency_code != account.currency_code:
        raise CurrencyMismatch(currency_code=item.currency_code, currency_code_expected=account.currency_code)


def _decided(settled: Settlement | None) -> Settlement:
    """Errors: UNAVAILABLE when something else, under way, will decide it."""
    if settled is None:
        raise Unavailable()
    return settled


def _require(answer: Settlement | DomainError) -> Settlement:
    if isinstance(answer, DomainError):
        raise answer
    return answer


def _result(answer: ledger.Answer, task: asyncio.Task[Settlement] | None) -> Settlement | DomainError:
    if not isinstance(answer, External):
        return answer
    assert task is not None
    if not task.done() or task.cancelled():
        return Unavailable()
    error = task.exception()
    return task.result() if error is None else db.translate(error)


def _undecided(item: Item, account: Account) -> Settlement:
    """The answer while a person has to find out about the stake (`make stuck`); it is not stored."""
    return Settlement(
        item.round_id,
        Step.VOID,
        Status.NEEDS_REVIEW,
        item.account_id,
        account.currency_code,
        0,
        0,
        "",
        0,
        0,
        0,
        False,
    )
