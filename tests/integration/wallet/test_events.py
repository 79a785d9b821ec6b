"""What the wallet tells the events service: each verdict and transfer once, and no hidden outcome."""

import json
from collections.abc import Callable
from typing import Any

from reelmesh.events.v1 import events_pb2
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text

from services.common.outbox import OutboxRow
from services.wallet.outbox_events import to_events
from tests.integration.wallet.harness import (
    CONTEXT,
    DEMO,
    OPERATOR,
    PAYOUT,
    STAKE,
    Wallet,
    new_id,
    settle_request,
)

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def told(wallet: Wallet) -> list[events_pb2.Event]:
    """The events of everything in the outbox, oldest first."""
    async with wallet.engine.connect() as conn:
        rows = await conn.execute(text("select outbox_id, kind, payload, create_time from outbox order by 1"))
        batches = await to_events(conn, [OutboxRow(*row) for row in rows])
    return [event for batch in batches for event in batch]


def facts(event: events_pb2.Event) -> dict[str, Any]:
    """An event's payload."""
    payload: dict[str, Any] = json.loads(event.payload_json)
    return payload


async def test_a_deposit_and_a_round_are_told_with_balance_and_version(
    database: Callable[[str], str],
) -> None:
    async with Wallet(database("wallet")) as wallet:
        account_id = await wallet.open(balance=1000)
        round_id = (await wallet.settle(account_id, stake=100, win=30)).round_id
        deposit, settle = await told(wallet)
    assert (deposit.event_type, settle.event_type) == ("transfer.applied", "wallet.settled")
    assert {deposit.operator_id, settle.operator_id} == {OPERATOR}
    assert {deposit.account_id, settle.account_id} == {account_id}
    assert (deposit.account_version, settle.account_version) == (1, 2)
    assert (deposit.round_id, settle.round_id) == ("", round_id)
    assert facts(settle) == {
        "account_kind": "REAL",
        "currency_code": "EUR",
        "balance_after_minor": 930,
        "round_id": round_id,
        "step": "FUSED",
        "status": "APPLIED",
        "stake_minor": 100,
        "win_minor": 30,
    }
    assert facts(deposit)["amount_minor"] == facts(deposit)["balance_after_minor"] == 1000


async def test_the_win_of_a_round_whose_stake_was_not_taken_is_told_to_nobody(
    database: Callable[[str], str],
) -> None:
    async with Wallet(database("wallet")) as wallet:
        account_id = await wallet.open(balance=50)
        refused, given_back, voided = new_id(), new_id(), new_id()
        await wallet.settle(account_id, round_id=refused, stake=100, win=77_777)
        await wallet.void(account_id, voided)
        await wallet.settle(account_id, round_id=voided, stake=10, win=77_777)
        await wallet.settle(account_id, round_id=given_back, step=STAKE, stake=10)
        await wallet.roll_back(account_id, given_back)
        await wallet.settle(account_id, round_id=given_back, step=PAYOUT, win=77_777)
        await wallet.settle(account_id, round_id=voided, step=PAYOUT, win=77_777)
        events = await told(wallet)
        outbox = await wallet.scalar("select string_agg(payload::text, '') from outbox")
    assert "77777" not in outbox
    assert [(facts(event)["step"], facts(event)["status"]) for event in events[1:]] == [
        ("FUSED", "REFUSED"),
        ("VOID", "VOID"),
        ("STAKE", "APPLIED"),
        ("STAKE", "REVERSED"),
        ("PAYOUT", "REVERSED"),
    ]


async def test_replays_and_refused_transfers_are_not_told(database: Callable[[str], str]) -> None:
    async with Wallet(database("wallet")) as wallet:
        account_id = await wallet.open(balance=100)
        request = settle_request(account_id, stake=10)
        for _ in range(3):
            await wallet.send(request)
        for _ in range(2):
            try:
                await wallet.withdraw(account_id, 1000, request_id=request.round_id)
            except Exception as error:
                assert "INSUFFICIENT_FUNDS" in str(error)
        assert [event.event_type for event in await told(wallet)] == ["transfer.applied", "wallet.settled"]


async def test_each_item_of_a_batch_keeps_its_own_trace_and_account(database: Callable[[str], str]) -> None:
    async with Wallet(database("wallet")) as wallet:
        real_id, demo_id = await wallet.open(balance=100), await wallet.open(balance=100, kind=DEMO)
        requests = [settle_request(i, stake=10) for i in (real_id, demo_id)]
        requests[0].traceparent = TRACEPARENT
        requests[1].traceparent = "not a traceparent"
        await wallet.handlers.BatchSettle(wallet_pb2.BatchSettleRequest(requests=requests), CONTEXT)
        events = {event.account_id: event for event in (await told(wallet))[2:]}
    assert events[real_id].traceparent == TRACEPARENT
    assert events[demo_id].traceparent == ""
    assert [facts(events[i])["account_kind"] for i in (real_id, demo_id)] == ["REAL", "DEMO"]
