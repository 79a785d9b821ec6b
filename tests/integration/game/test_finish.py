"""Finish: what the wallet answered becomes the state, once, and is told as an event."""

import asyncio
import json

import pytest
from reelmesh.events.v1 import events_pb2
from reelmesh.game.v1 import game_pb2
from reelmesh.type.v1 import error_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common import db
from services.common.errors import DomainError
from services.common.outbox import OutboxRow
from services.game.handlers import to_events
from services.game.records import State
from tests.integration.game.harness import (
    CONTEXT,
    GAMBLE,
    NEEDS_REVIEW,
    OPEN,
    PENDING,
    REFUSED,
    REVERSED,
    SETTLED,
    VOID,
    Game,
    new_id,
)
from tests.integration.wallet.harness import Wallet


async def events_of(game: Game, round_id: str) -> list[events_pb2.Event]:
    """The events that the outbox tells of a round."""
    rows = await game.rows(
        "select * from outbox where cast(payload as jsonb) -> 'round_ids' ? :id order by outbox_id",
        id=round_id,
    )
    outbox = [OutboxRow(row.outbox_id, row.kind, row.payload, row.create_time) for row in rows]
    async with db.transaction(game.engine, "relay_read") as conn:
        events = await to_events(conn, outbox)
    return [event for batch in events for event in batch if event.round_id == round_id]


async def told(game: Game, round_id: str) -> list[str]:
    """Their types."""
    return [event.event_type for event in await events_of(game, round_id)]


async def reasons_told(game: Game, round_id: str) -> list[str]:
    """Their reasons."""
    return [json.loads(event.payload_json)["reason"] for event in await events_of(game, round_id)]


async def test_a_stake_refused_by_a_freeze_says_so_for_ever(game: Game, wallet: Wallet) -> None:
    account_id, request_id = await wallet.open(balance=99_000), new_id()
    await wallet.freeze(account_id)
    played = await game.play(account_id, request_id=request_id)
    round_ = await game.settle(played)
    assert (round_.state, round_.reason) == (REFUSED, error_pb2.ERROR_REASON_ACCOUNT_FROZEN)
    assert not round_.reason_metadata and not round_.outcome_json
    await wallet.unfreeze(account_id)
    assert (await game.play(account_id, request_id=request_id)).round == round_
    assert await game.get(round_.round_id, account_id) == round_
    listed = await game.handlers.ListRounds(game_pb2.ListRoundsRequest(account_id=account_id), CONTEXT)
    assert list(listed.rounds) == [round_]
    assert await reasons_told(game, round_.round_id) == ["ACCOUNT_FROZEN"]


async def test_a_round_whose_refusal_was_lost_is_asked_for_at_the_wallet(game: Game, wallet: Wallet) -> None:
    """The gateway's Finish never came: a read, or the reconciler's void, hears the reason as it was."""
    account_id = await wallet.open(balance=99_000)
    await wallet.freeze(account_id)
    read, voided = [await game.play(account_id) for _ in range(2)]
    for played in (read, voided):
        await wallet.send(played.settle)
    await wallet.unfreeze(account_id)
    assert (await game.get(read.round.round_id, account_id)).reason == error_pb2.ERROR_REASON_ACCOUNT_FROZEN
    await game.finish(await wallet.void(account_id, voided.round.round_id))
    assert (await game.get(voided.round.round_id, account_id)).reason == error_pb2.ERROR_REASON_ACCOUNT_FROZEN


async def test_a_refusal_of_a_wallet_that_gives_no_reason_is_for_funds(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=99)
    played = await game.play(account_id)
    settlement = await wallet.send(played.settle)
    settlement.ClearField("refusal")
    assert (await game.finish(settlement)).reason == error_pb2.ERROR_REASON_INSUFFICIENT_FUNDS
    assert await reasons_told(game, played.round.round_id) == ["INSUFFICIENT_FUNDS"]


async def test_a_refusal_of_the_wallet_is_recorded_and_hides_the_outcome_for_ever(
    game: Game, wallet: Wallet
) -> None:
    account_id, request_id = await wallet.open(balance=99), new_id()
    played = await game.play(account_id, request_id=request_id)
    round_ = await game.settle(played)
    assert round_.state == REFUSED
    assert round_.reason == error_pb2.ERROR_REASON_INSUFFICIENT_FUNDS
    assert dict(round_.reason_metadata) == {"balance_minor": "99", "currency_code": "EUR"}
    assert not round_.outcome_json and not round_.HasField("win")
    await wallet.deposit(account_id, 1000)
    again = await game.play(account_id, request_id=request_id)
    assert again.round == round_
    assert not again.hidden_outcome_json
    # The gateway asks the wallet again, and hears the same.
    assert (await wallet.send(again.settle)).status == wallet_pb2.SETTLEMENT_STATUS_REFUSED
    assert await told(game, round_.round_id) == ["round.refused"]


async def test_a_tombstone_that_was_first_makes_the_round_void(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    played = await game.play(account_id)
    await game.client.void([(played.round.round_id, account_id)])
    round_ = await game.settle(played)
    assert (round_.state, round_.reason) == (VOID, error_pb2.ERROR_REASON_ROUND_VOID)
    assert not round_.outcome_json
    assert await wallet.balance(account_id) == 1000


async def test_a_lost_spin_of_a_choice_game_ends_without_a_payout(game: Game, wallet: Wallet) -> None:
    while True:
        account_id = await wallet.open(balance=1000)
        played = await game.play(account_id, game_id="double-dawn")
        won = json.loads(played.hidden_outcome_json)["win_minor"] > 0
        # Nothing but the hidden outcome may tell (R3): the settle is the same.
        assert (played.settle.step, played.settle.win.amount_minor) == (wallet_pb2.SETTLE_STEP_STAKE, 0)
        round_ = await game.settle(played)
        assert round_.state == (OPEN if won else SETTLED)
        assert (round_.round_id in await game.open_rounds()) is won
        if not won:
            break
    assert round_.win.amount_minor == 0 and round_.outcome_json
    assert await wallet.balance(account_id) == 900


async def test_a_won_spin_of_a_choice_game_is_open(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    round_ = await game.open(account_id)
    assert (round_.at_risk.amount_minor, round_.step_next) == (700, 1)
    assert list(round_.choices) == ["COLLECT", "RED", "BLACK"]
    assert round_.balance_after.amount_minor == 900
    assert not round_.HasField("win") and round_.outcome_json
    assert await game.get(round_.round_id, account_id) == round_
    assert await told(game, round_.round_id) == ["round.open"]


async def test_a_settled_round_that_the_wallet_gave_back_is_reversed(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    played = await game.play(account_id)
    await game.settle(played)
    await game.client.roll_back(played.round.round_id, account_id, actor="a", reason="r")
    round_ = await game.settle(played)
    assert round_.state == REVERSED
    assert await wallet.balance(account_id) == 1000
    assert await game.get(round_.round_id, account_id) == round_
    assert await told(game, round_.round_id) == ["round.settled", "round.reversed"]


async def test_a_contradiction_needs_a_review_and_keeps_the_outcome_hidden(
    game: Game, wallet: Wallet
) -> None:
    account_id = await wallet.open(balance=1000)
    played = await game.play(account_id, game_id=GAMBLE)
    settlement = await wallet.send(played.settle)
    settlement.stake.amount_minor += 1
    round_ = await game.finish(settlement)
    assert (round_.state, round_.reason) == (NEEDS_REVIEW, error_pb2.ERROR_REASON_ROUND_IN_REVIEW)
    assert not round_.outcome_json
    assert round_.round_id not in await game.open_rounds()
    assert await told(game, round_.round_id) == ["round.needs_review"]
    # Until an operator decides, nothing is done at the wallet for it.
    again = await game.play(account_id, request_id=round_.request_id)
    assert again.round == round_ and not again.HasField("settle") and not again.hidden_outcome_json


async def test_an_answer_about_an_unknown_round_writes_nothing(game: Game) -> None:
    settlement = wallet_pb2.Settlement(round_id=new_id(), status=wallet_pb2.SETTLEMENT_STATUS_VOID)
    with pytest.raises(DomainError) as caught:
        await game.finish(settlement)
    assert caught.value.reason == "ROUND_NOT_FOUND"


async def test_many_answers_at_once_over_two_replicas_are_recorded_once(
    game: Game, second_game: Game, wallet: Wallet
) -> None:
    account_id = await wallet.open(balance=10_000)
    plays = [await game.play(account_id) for _ in range(5)]
    answers = [game_pb2.FinishRequest(settlement=await wallet.send(played.settle)) for played in plays]
    request = game_pb2.BatchFinishRequest(requests=answers * 4)
    batches = await asyncio.gather(
        *(replica.handlers.BatchFinish(request, CONTEXT) for replica in (game, second_game, game))
    )
    assert {result.round.state for batch in batches for result in batch.results} == {SETTLED}
    assert all(list(batch.results) == list(batches[0].results[:5]) * 4 for batch in batches)
    for played in plays:
        assert await told(game, played.round.round_id) == ["round.settled"]


async def test_the_settled_event_tells_the_outcome_and_pending_tells_nothing(
    game: Game, wallet: Wallet
) -> None:
    account_id = await wallet.open(balance=1000)
    played = await game.play(account_id)
    assert played.round.state == PENDING
    assert await told(game, played.round.round_id) == []
    await game.settle(played)
    [row] = await game.rows(
        "select * from outbox where cast(payload as jsonb) -> 'round_ids' ? :id", id=played.round.round_id
    )
    assert b"HIDDENSYMBOL" not in json.dumps(row.payload).encode()
    async with db.transaction(game.engine, "relay_read") as conn:
        [[event]] = await to_events(conn, [OutboxRow(row.outbox_id, row.kind, row.payload, row.create_time)])
    facts = json.loads(event.payload_json)
    assert facts["outcome"] == json.loads(played.hidden_outcome_json)
    assert (facts["win_minor"], facts["balance_after_minor"], facts["state"]) == (700, 1600, State.SETTLED)
    assert (event.account_id, event.account_version, event.operator_id) == (account_id, 2, "acme")
