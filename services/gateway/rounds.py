"""The round, orchestrated: authorise, play, settle, finish (ARCHITECTURE, "One spin").

The outcome leaves this module only after the wallet has applied the stake (R2), and once Play is sent nothing
a caller does stops the spin before it is settled (R6).
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import error_pb2, money_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common import fields
from services.common import telemetry_names as names
from services.common.errors import Overloaded, Unavailable, from_proto
from services.gateway import errors
from services.gateway.hops import Hops
from services.gateway.patience import SILENT, Deadlines, Patience
from services.gateway.returns import return_of
from services.gateway.stubs import Stubs

log = logging.getLogger(__name__)

T = TypeVar("T")

MODE_LENGTH_MAX = 32
_RETRY_AFTER_MS = 500
# Between two looks at a round that another call is ending.
_LOOK_PAUSE_S = 0.05

_UNFINISHED = {game_pb2.ROUND_STATE_PENDING, game_pb2.ROUND_STATE_OPEN}
# In these the wallet has the word; in any other state game's own row is the answer.
_ASK_WALLET = {game_pb2.ROUND_STATE_PENDING, game_pb2.ROUND_STATE_REFUSED}
# The wallet's answer has the whole error (the balance, too), so it is asked again.
_REFUSED_BY_WALLET = {error_pb2.ERROR_REASON_INSUFFICIENT_FUNDS, error_pb2.ERROR_REASON_ACCOUNT_FROZEN}


class Played(NamedTuple):
    """What a spin or a choice came to."""

    round: game_pb2.Round
    current_balance: money_pb2.Money


class Rounds:
    """Spins and choices of players."""

    def __init__(self, hops: Hops, stubs: Stubs, *, deadline_ms: int, in_flight_max: int) -> None:
        self._hops = hops
        self._stubs = stubs
        self._deadlines = Deadlines(deadline_ms / 1000)
        # Spins that are not authorised yet; after that they are owned, whatever becomes of their callers.
        self._authorizing, self._in_flight_max = 0, in_flight_max
        self._owned: set[asyncio.Task[None]] = set()
        self.refused = 0
        """Spins for which there was no room, since the start."""

    async def spin(
        self,
        token: str,
        request_id: str,
        stake: money_pb2.Money,
        mode: str = "",
        *,
        autoplay: bool = False,
        turbo: bool = False,
    ) -> Played:
        """One spin, idempotent on (account, request_id). `mode`: of the game; empty is its own default.

        Errors: as GatewayService.Spin
        """
        # Checked before it joins others in a batch: nothing that one caller sends may weigh on them.
        fields.require_uuid(request_id, "request_id")
        fields.require_money(stake, "stake")
        if mode:
            fields.require_text(mode, "mode", MODE_LENGTH_MAX)
        self.require_room()
        patience = self._deadlines.start()
        self._authorizing += 1
        try:
            authorize = session_pb2.AuthorizeRequest(
                token=token,
                request_id=request_id,
                stake=stake,
                mode=mode,
                traceparent=patience.traceparent,
                autoplay=autoplay,
                turbo=turbo,
            )
            authorization = await patience.hop(self._hops.authorize, authorize, repeat=SILENT)
        finally:
            self._authorizing -= 1
        return await self._own(self._play(authorization, patience), patience)

    def require_room(self) -> None:
        """Room for one more spin; before its body is looked at, when there are too many.

        Errors: RESOURCE_EXHAUSTED/OVERLOADED
        """
        if self.full:
            self.refused += 1
            raise no_room()

    @property
    def full(self) -> bool:
        """Whether there is no room: more would only wait until their deadline, and make all others wait."""
        return self._authorizing + len(self._owned) >= self._in_flight_max

    def observe_with(self, meter: Meter) -> None:
        """Registers the counter of refused spins, which the exporter reads when it wants to."""

        def observe(options: CallbackOptions) -> Iterable[Observation]:
            yield Observation(self.refused, {names.ERROR_REASON: Overloaded.reason})

        meter.create_observable_counter(names.SPIN_REFUSED, [observe], unit="{spin}")

    async def act(self, token: str, request: gateway_pb2.ActRequest) -> Played:
        """A player's choice, idempotent on (round_id, step).

        Errors: as GatewayService.Act
        """
        patience = self._deadlines.start()
        get = session_pb2.GetSessionRequest(token=token)
        found = await patience.call(self._stubs.session.GetSession, get)
        act = game_pb2.ActRequest(
            account_id=found.session.account_id,
            round_id=request.round_id,
            step=request.step,
            choice=request.choice,
            decided_by=game_pb2.DECIDED_BY_PLAYER,
            session_state=found.session.state,
        )
        return await self._own(self._act(act, found.session, patience), patience)

    async def collect(self, round_: game_pb2.Round) -> game_pb2.Round:
        """Ends a round because its session was closed (R9); what stays silent the reconciler ends (R7)."""
        patience = self._deadlines.start()
        return await self._own(self._collect(round_, patience), patience)

    async def _collect(self, round_: game_pb2.Round, patience: Patience) -> game_pb2.Round:
        """A spin in flight may yet open it, a gamble won meanwhile leaves it open: until it is over."""
        get = game_pb2.GetRoundRequest(account_id=round_.account_id, round_id=round_.round_id)
        while round_.state in _UNFINISHED and not patience.over:
            if round_.state == game_pb2.ROUND_STATE_OPEN:
                collect = game_pb2.ActRequest(
                    account_id=round_.account_id,
                    round_id=round_.round_id,
                    step=round_.step_next,
                    choice="COLLECT",
                    decided_by=game_pb2.DECIDED_BY_CLOSE,
                )
                round_, _ = await self._decide(collect, patience)
                self._count(round_)
            else:
                await asyncio.sleep(_LOOK_PAUSE_S)
                round_ = (await patience.call(self._stubs.game.GetRound, get)).round
        return round_

    async def drain(self) -> None:
        """Waits for the spins that belong to this gateway."""
        while self._owned:
            await asyncio.wait(self._owned)

    async def _own(self, work: Coroutine[Any, Any, T], patience: Patience) -> T:
        """Runs work that a cancelled or impatient caller must not cut short."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(_tell(work, answer, patience))
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)
        return await answer

    async def _play(self, authorization: session_pb2.Authorization, patience: Patience) -> Played:
        play = game_pb2.PlayRequest(authorization=authorization, traceparent=patience.traceparent)
        played = await patience.hop(self._hops.play, play)
        if authorization.counted:
            self._count(played.round)
        _raise_if_over(played.round)
        if played.round.state not in _ASK_WALLET:
            balance = await self._balance(played.round.account_id, played.round.operator_id, patience)
            return Played(played.round, balance)
        played.settle.traceparent = patience.traceparent
        settlement = await patience.hop(self._hops.settle, played.settle)
        finish = game_pb2.FinishRequest(settlement=settlement, traceparent=patience.traceparent)
        if played.settle.step == wallet_pb2.SETTLE_STEP_STAKE:
            # A round that offers a choice is answered only after OPEN is recorded (R8).
            round_ = await patience.hop(self._hops.finish, finish)
        else:
            if played.round.state == game_pb2.ROUND_STATE_PENDING:
                self._finish_later(finish)
            round_ = _settled(played, settlement)
        if authorization.counted:
            self._count(round_, settlement)
        _raise_if_not_taken(settlement)
        _raise_if_over(round_)
        has_balance = settlement.HasField("current_balance")
        return Played(round_, settlement.current_balance if has_balance else settlement.balance_after)

    async def _act(
        self, act: game_pb2.ActRequest, session: session_pb2.Session, patience: Patience
    ) -> Played:
        round_, balance = await self._decide(act, patience)
        if session.counted:
            self._count(round_)
        if balance is None:
            balance = await self._balance(session.account_id, session.operator_id, patience)
        return Played(round_, balance)

    async def _decide(
        self, act: game_pb2.ActRequest, patience: Patience
    ) -> tuple[game_pb2.Round, money_pb2.Money | None]:
        """Takes a choice and, when it ends the round, pays; the balance when a payout told it."""
        acted = await patience.call(self._stubs.game.Act, act)
        if not acted.HasField("payout"):
            return acted.round, None
        acted.payout.traceparent = patience.traceparent
        settlement = await patience.hop(self._hops.settle, acted.payout)
        finish = game_pb2.FinishRequest(settlement=settlement, traceparent=patience.traceparent)
        return await patience.hop(self._hops.finish, finish), settlement.current_balance

    def _finish_later(self, finish: game_pb2.FinishRequest) -> None:
        """Off the hot path. When it fails the reconciler records the same answer (R7)."""
        with suppress(Overloaded, Unavailable):
            self._hops.finish_later(finish)

    def _count(self, round_: game_pb2.Round, settlement: wallet_pb2.Settlement | None = None) -> None:
        """Tells session what the round returned, off the hot path. What is lost session looks for (R13)."""
        returned = return_of(round_, settlement)
        if returned is not None:
            with suppress(Overloaded, Unavailable):
                self._hops.count_later(returned)

    async def _balance(self, account_id: int, operator_id: str, patience: Patience) -> money_pb2.Money:
        request = wallet_pb2.GetAccountRequest(account_id=account_id, operator_id=operator_id)
        return (await patience.call(self._stubs.wallet.GetAccount, request)).account.balance


async def _tell(work: Coroutine[Any, Any, T], answer: "asyncio.Future[T]", patience: Patience) -> None:
    """Does the work and tells whoever still waits: a caller that has gone cancelled its future."""
    try:
        result = await work
    except BaseException as error:
        if not answer.done():
            answer.set_exception(error)
        if not isinstance(error, Exception):
            raise
    else:
        if not answer.done():
            answer.set_result(result)
    finally:
        patience.end()


def no_room() -> Overloaded:
    """What a spin is told for which there is no room."""
    return Overloaded(retry_after_ms=_RETRY_AFTER_MS)


def reason_name(reason: error_pb2.ErrorReason.ValueType) -> str:
    """The reason as ErrorInfo spells it; empty for none."""
    return error_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_") if reason else ""


def played_round(round_: game_pb2.Round) -> gateway_pb2.PlayedRound:
    """What players and operators see of a round."""
    played = gateway_pb2.PlayedRound(
        round_id=round_.round_id,
        request_id=round_.request_id,
        game_id=round_.game_id,
        game_version=round_.game_version,
        state=round_.state,
        stake=round_.stake,
        outcome_json=round_.outcome_json,
        step_next=round_.step_next,
        choices=round_.choices,
        steps=round_.steps,
        create_time=round_.create_time,
        trace_id=round_.trace_id,
        reason=reason_name(round_.reason),
        mode=round_.mode,
    )
    for field in ("win", "at_risk", "balance_after"):
        if round_.HasField(field):
            getattr(played, field).CopyFrom(getattr(round_, field))
    return played


def _settled(played: game_pb2.PlayResponse, settlement: wallet_pb2.Settlement) -> game_pb2.Round:
    """The round as Finish will record it: the reply does not wait for that (docs/performance.md)."""
    round_ = played.round
    if settlement.status == wallet_pb2.SETTLEMENT_STATUS_APPLIED:
        round_.state = game_pb2.ROUND_STATE_SETTLED
        round_.outcome_json = played.hidden_outcome_json
        round_.win.CopyFrom(played.settle.win)
        round_.balance_after.CopyFrom(settlement.balance_after)
    elif settlement.status == wallet_pb2.SETTLEMENT_STATUS_REVERSED:
        round_.state = game_pb2.ROUND_STATE_REVERSED
    return round_


def _raise_if_not_taken(settlement: wallet_pb2.Settlement) -> None:
    """The wallet's answer, as an error where the stake was not taken."""
    if settlement.refusal == error_pb2.ERROR_REASON_ACCOUNT_FROZEN:
        raise errors.AccountFrozen()
    if settlement.status == wallet_pb2.SETTLEMENT_STATUS_REFUSED:
        raise errors.InsufficientFunds(
            balance_minor=settlement.balance_after.amount_minor,
            currency_code=settlement.balance_after.currency_code,
        )
    if settlement.status == wallet_pb2.SETTLEMENT_STATUS_VOID:
        raise errors.RoundVoid(round_id=settlement.round_id)


def _raise_if_over(round_: game_pb2.Round) -> None:
    """Game's stored refusals and voids, as the errors they are."""
    if round_.state == game_pb2.ROUND_STATE_NEEDS_REVIEW:
        raise errors.RoundInReview(round_id=round_.round_id)
    if round_.state == game_pb2.ROUND_STATE_VOID:
        raise errors.RoundVoid(round_id=round_.round_id)
    if round_.state == game_pb2.ROUND_STATE_REFUSED and round_.reason not in _REFUSED_BY_WALLET:
        refused = errors.REFUSED_BY_GAME.get(reason_name(round_.reason))
        if refused is not None:
            raise refused(**round_.reason_metadata)
        raise from_proto(error_pb2.Error(reason=round_.reason, metadata=round_.reason_metadata))
