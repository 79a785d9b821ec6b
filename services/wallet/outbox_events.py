"""Outbox rows -> events: each row is a batch in columns, and makes an event per item."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from reelmesh.events.v1 import events_pb2

from services.common import db
from services.common.outbox import OutboxRow
from services.wallet import store
from services.wallet.records import AccountNames, Refusal, Status, Step, TransferType, Verdict

# What the columns of an outbox row are called where there is only one of each.
_SINGULAR = {
    "round_ids": "round_id",
    "steps": "step",
    "statuses": "status",
    "stakes_minor": "stake_minor",
    "wins_minor": "win_minor",
    "transfer_ids": "transfer_id",
    "request_ids": "request_id",
    "amounts_minor": "amount_minor",
    "refusals": "refusal",
    "verdicts": "verdict",
    "missing_minor": "missing_minor",
    "types": "type",
    "account_ids": "account_id",
    "account_versions": "account_version",
    "balances_after_minor": "balance_after_minor",
    "frozen": "frozen",
    "actors": "actor",
    "reasons": "reason",
    "traceparents": "traceparent",
}


async def to_events(conn: db.Connection, rows: Sequence[OutboxRow]) -> Sequence[Sequence[events_pb2.Event]]:
    """The events of each outbox row: one per verdict, tombstone, reversal, transfer, review or freeze."""
    account_ids = {account_id for row in rows for account_id in row.payload["account_ids"]}
    accounts = await store.list_account_names(conn, account_ids=sorted(account_ids))
    return [[_event(row.kind, item, accounts[item["account_id"]]) for item in _items(row)] for row in rows]


def _items(row: OutboxRow) -> Iterator[dict[str, Any]]:
    """A row holds one batch in columns, {"round_ids": [..], "statuses": [..]}; an item is one of each."""
    names_of_items = [_SINGULAR[column] for column in row.payload]
    for values in zip(*row.payload.values(), strict=True):
        yield dict(zip(names_of_items, values, strict=True))


def _event(kind: str, item: Mapping[str, Any], names: AccountNames) -> events_pb2.Event:
    """One event of an outbox row of this kind ("settle", "transfer", "freeze").

    The relay gives it id and time.
    """
    facts: dict[str, object] = {"account_kind": names.kind.name, "currency_code": names.currency_code}
    if kind == "freeze":
        event_type = "account.frozen" if item["frozen"] else "account.unfrozen"
        facts |= {"actor": item["actor"], "reason": item["reason"]}
    elif kind == "settle":
        event_type = "wallet.settled"
        facts |= {
            "round_id": item["round_id"],
            "step": Step(item["step"]).name,
            "status": Status(item["status"]).name,
            "stake_minor": item["stake_minor"],
            "win_minor": item["win_minor"],
            "balance_after_minor": item["balance_after_minor"],
        }
        # A row of before this key has none.
        if item.get("refusal"):
            facts["refusal"] = Refusal(item["refusal"]).name
    elif kind == "review":
        event_type = "review.resolved" if item["verdict"] else "review.opened"
        facts |= {
            key: item[key] for key in ("round_id", "missing_minor", "balance_after_minor", "actor", "reason")
        }
        if item["verdict"]:
            facts["verdict"] = Verdict(item["verdict"]).name
    else:
        event_type = "transfer.applied"
        facts |= {
            key: item[key] for key in ("transfer_id", "request_id", "amount_minor", "balance_after_minor")
        }
        if "type" in item:
            facts["type"] = TransferType(item["type"]).name
    return events_pb2.Event(
        event_type=event_type,
        operator_id=names.operator_id,
        account_id=item["account_id"],
        account_version=item.get("account_version", 0),
        player_id=names.player_id,
        round_id=item.get("round_id", ""),
        payload_json=msgspec.json.encode(facts),
        traceparent=item["traceparent"],
    )
