"""Rows of the table: calls between services, rounds in review, and broken parts."""

import asyncio

from google.protobuf.message import Message
from reelmesh.events.v1 import events_pb2
from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common.fields import uuid7
from services.game.seal import seal
from tests.contract.rows_fields import Row, grpc_spin, rest_spin
from tests.mesh.asking import Grpc, Request, Rest, Told
from tests.mesh.players import Player
from tests.mesh.stage import SIMPLE_GAME_ID, STAKE_MINOR, Stage, money, new_id
from tests.meshes import API_KEY

# More than a batcher's queue takes.
FLOOD_CALLS = 60
FLOOD_ITEMS = 200


def _account_of_nobody() -> Message:
    return wallet_pb2.GetAccountRequest(account_id=1, operator_id="dev")


# Identities


async def nobody(stage: Stage) -> Request:
    return Grpc("wallet", "GetAccount", _account_of_nobody())


async def player_inside(stage: Stage) -> Request:
    player = stage.guest()
    return Grpc("wallet", "GetAccount", _account_of_nobody(), player.token)


async def forged_identity(stage: Stage) -> Request:
    token = stage.token("gateway")
    return Grpc("wallet", "GetAccount", _account_of_nobody(), token=f"{token[:-4]}0000")


async def expired_identity(stage: Stage) -> Request:
    return Grpc("wallet", "GetAccount", _account_of_nobody(), token=stage.token("gateway", ttl_s=-5))


async def void_by_a_gateway(stage: Stage) -> Request:
    request = wallet_pb2.VoidRequest(round_id=str(uuid7()), account_id=1)
    return stage.internal("wallet", "Void", request)


async def deposit_by_game(stage: Stage) -> Request:
    request = wallet_pb2.DepositRequest(operator_id="dev", request_id=new_id(), account_id=1)
    return stage.internal("wallet", "Deposit", request, caller="game")


# The wallet


async def settle_with_a_larger_win(stage: Stage) -> Request:
    """A gateway that was taken over makes a win of its own (R11)."""
    player = await stage.player()
    settle = (await stage.play(player, new_id())).settle
    settle.win.CopyFrom(money(settle.win.amount_minor + 1))
    return stage.internal("wallet", "Settle", settle)


async def settle_without_a_seal(stage: Stage) -> Request:
    player = await stage.player()
    settle = (await stage.play(player, new_id())).settle
    settle.ClearField("seal")
    return stage.internal("wallet", "Settle", settle)


async def payout_before_its_stake(stage: Stage) -> Request:
    session = await stage.session(stage.guest())
    round_id = str(uuid7())
    payout = wallet_pb2.SettleRequest(
        round_id=round_id,
        step=wallet_pb2.SETTLE_STEP_PAYOUT,
        account_id=session.account_id,
        stake=money(0),
        win=money(500),
        game_id=SIMPLE_GAME_ID,
        seal=seal(
            key=stage.seal_key,
            round_id=round_id,
            step="PAYOUT",
            account_id=session.account_id,
            game_id=SIMPLE_GAME_ID,
            currency_code="USD",
            stake_minor=0,
            win_minor=500,
        ),
    )
    return stage.internal("wallet", "Settle", payout, caller="game")


async def void_of_an_archived_month(stage: Stage) -> Request:
    """The first of all months, in which no test has rounds."""
    await stage.sql(
        "wallet",
        "insert into ledger_month values ('1970-01-01', now(), now(), '{}') on conflict (month) do nothing",
    )
    request = wallet_pb2.VoidRequest(round_id="00000001-0000-7000-8000-000000000001", account_id=1)
    return stage.internal("wallet", "Void", request, caller="game")


# Reviews


async def _review(stage: Stage, request_id: str) -> tuple[Player, str]:
    """A round whose stake the wallet does not know, and of which game was told something else."""
    player = await stage.player()
    played = await stage.play(player, request_id)
    settlement = wallet_pb2.Settlement(
        round_id=played.round.round_id,
        step=played.settle.step,
        status=wallet_pb2.SETTLEMENT_STATUS_APPLIED,
        account_id=played.settle.account_id,
        stake=money(STAKE_MINOR + 1),
        win=played.settle.win,
        balance_after=money(1),
        account_version=1,
    )
    finish = game_pb2.FinishRequest(settlement=settlement)
    finished = await stage.answer(stage.internal("game", "Finish", finish))
    assert finished.round.state == game_pb2.ROUND_STATE_NEEDS_REVIEW
    return player, played.round.round_id


def _resolve(stage: Stage, round_id: str, *, operator_id: str = "dev") -> Request:
    request = game_pb2.ResolveReviewRequest(
        operator_id=operator_id,
        round_id=round_id,
        verdict=game_pb2.VERDICT_SETTLED,
        actor="ann",
        reason="looked at it",
    )
    return stage.internal("game", "ResolveReview", request)


async def spin_in_review(stage: Stage) -> Request:
    request_id = new_id()
    player, _ = await _review(stage, request_id)
    return rest_spin(player, request_id=request_id)


async def verdict_on_an_unknown_stake(stage: Stage) -> Request:
    _, round_id = await _review(stage, new_id())
    return _resolve(stage, round_id)


async def verdict_by_another_operator(stage: Stage) -> Request:
    _, round_id = await _review(stage, new_id())
    return _resolve(stage, round_id, operator_id="other")


async def verdict_on_a_settled_round(stage: Stage) -> Request:
    player = await stage.player()
    played = await player.spin(STAKE_MINOR)
    return _resolve(stage, played.body["round"]["round_id"])


# Events


async def batch_after_a_gap(stage: Stage) -> Request:
    event = events_pb2.Event(
        event_id=new_id(), event_type="session.created", operator_id="dev", payload_json=b"{}"
    )
    event.event_time.GetCurrentTime()
    batch = events_pb2.EventBatch(batch_no=10**9, events=[event])
    request = events_pb2.AppendRequest(batches=[batch])
    return stage.internal("events", "Append", request, caller="session")


# Broken parts


async def a_table_is_gone_at_the_door(stage: Stage) -> Request:
    await stage.lose_table("gateway", "api_key")
    # A key that nobody used before: the gateway believes a known one for a while.
    return Rest("POST", "/v1/sessions", f"rk_{new_id()}", {})


async def a_table_is_gone_behind(stage: Stage) -> Request:
    player = stage.guest()
    await stage.lose_table("session", "session")
    return Grpc("gateway", "GetBalance", gateway_pb2.GetBalanceRequest(), player.token)


async def a_table_is_gone_in_a_batch(stage: Stage) -> Request:
    player = await stage.player()
    await stage.lose_table("wallet", "counter_tail")
    return rest_spin(player)


async def dead_session(stage: Stage) -> Request:
    player = stage.guest()
    await stage.kill("session")
    return Grpc("gateway", "GetBalance", gateway_pb2.GetBalanceRequest(), player.token)


async def dead_wallet(stage: Stage) -> Request:
    player = await stage.player()
    await stage.kill("wallet")
    return rest_spin(player)


async def frozen_wallet(stage: Stage) -> Request:
    await stage.freeze("wallet")
    return Rest("GET", "/v1/balance", stage.guest().token)


async def frozen_session(stage: Stage) -> Request:
    await stage.freeze("session")
    return Grpc("gateway", "GetBalance", gateway_pb2.GetBalanceRequest(), stage.guest().token)


async def spin_with_a_frozen_session(stage: Stage) -> Request:
    player = await stage.player()
    await stage.freeze("session")
    return grpc_spin(player)


async def spin_while_the_books_are_broken(stage: Stage) -> Request:
    player = await stage.player()
    await stage.break_books()
    return rest_spin(player)


async def withdrawal_while_the_books_are_broken(stage: Stage) -> Request:
    player = await stage.player()
    await stage.break_books()
    body = {"request_id": new_id(), "amount": {"currency_code": "USD", "amount_minor": 1}}
    return Rest("POST", f"/v1/players/{player.player_id}/withdrawals", API_KEY, body)


async def full_queue(stage: Stage) -> Request:
    """More spins wait for session's database than its batcher takes."""
    player = await stage.player()
    await stage.lock_table("session", "session")
    flood = [asyncio.create_task(stage.send(_flood(stage, number))) for number in range(FLOOD_CALLS)]

    async def dry() -> None:
        await asyncio.gather(*flood)

    stage.repair(dry)
    for answered in asyncio.as_completed(flood):
        answer = await answered
        if not isinstance(answer, Told) and any(result.HasField("error") for result in answer.results):
            break
    return rest_spin(player)


def _flood(stage: Stage, number: int) -> Request:
    asks = [
        session_pb2.AuthorizeRequest(
            token=f"nobody-{number}-{item}", request_id=new_id(), stake=money(STAKE_MINOR)
        )
        for item in range(FLOOD_ITEMS)
    ]
    return stage.internal("session", "BatchAuthorize", session_pb2.BatchAuthorizeRequest(requests=asks))


ROWS = [
    Row("CALLER_UNKNOWN", "no identity", nobody),
    Row("CALLER_UNKNOWN", "a player inside", player_inside),
    Row("CALLER_UNKNOWN", "another key's identity", forged_identity),
    Row("CALLER_UNKNOWN", "an expired identity", expired_identity),
    Row("CALLER_FORBIDDEN", "a gateway that voids", void_by_a_gateway),
    Row("CALLER_FORBIDDEN", "game that deposits", deposit_by_game),
    Row("SEAL_INVALID", "a win that was not drawn", settle_with_a_larger_win),
    Row("SEAL_INVALID", "no seal", settle_without_a_seal),
    Row("STAKE_UNKNOWN", "a payout before its stake", payout_before_its_stake),
    Row("ID_EXPIRED", "a void in an archived month", void_of_an_archived_month),
    Row("ROUND_IN_REVIEW", "a spin whose round is in review", spin_in_review),
    Row("VERDICT_NOT_ALLOWED", "an unknown stake to be settled", verdict_on_an_unknown_stake),
    Row("ROUND_NOT_FOUND", "a verdict by another operator", verdict_by_another_operator),
    Row("ROUND_NOT_IN_REVIEW", "a verdict on a settled round", verdict_on_a_settled_round),
    Row("BATCH_OUT_OF_ORDER", "a batch after a gap", batch_after_a_gap),
    Row("INTERNAL", "a table is gone at the door", a_table_is_gone_at_the_door),
    Row("INTERNAL", "a table is gone behind", a_table_is_gone_behind, answered_later=True),
    Row("INTERNAL", "a table is gone in a batch", a_table_is_gone_in_a_batch, answered_later=True),
    Row("UNAVAILABLE", "session is dead", dead_session, answered_later=True),
    Row("UNAVAILABLE", "the wallet is dead", dead_wallet, answered_later=True),
    Row("UNAVAILABLE", "a spin while session is frozen", spin_with_a_frozen_session, answered_later=True),
    Row("DEADLINE_EXCEEDED", "the wallet is frozen", frozen_wallet, answered_later=True),
    Row("DEADLINE_EXCEEDED", "session is frozen", frozen_session, answered_later=True),
    Row("LEDGER_HALTED", "a spin on broken books", spin_while_the_books_are_broken, answered_later=True),
    Row(
        "LEDGER_HALTED",
        "a withdrawal on broken books",
        withdrawal_while_the_books_are_broken,
        answered_later=True,
    ),
    Row("OVERLOADED", "the queue is full", full_queue, answered_later=True),
]
