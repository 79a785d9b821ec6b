"""Same id, other body: refused field by field, nothing moves, and the first body is answered as before.

domain.md case 32. Each operation has its fields; each change is one of them and nothing else.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from google.protobuf.message import Message
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text

from services.common.errors import DomainError
from tests.integration.wallet.harness import (
    APPLIED,
    FUSED,
    PAYOUT,
    REFUSED,
    STAKE,
    VOID,
    Wallet,
    new_id,
)

BALANCE = 1000
# Everything that a call may write.
STORED = """
select json_build_array(
  (select json_agg(json_build_array(account_id, balance_minor, version) order by account_id) from account),
  (select count(*) from settlement), (select count(*) from transfer), (select count(*) from posting),
  (select count(*) from outbox), (select sum(amount_minor) from posting))
"""


@dataclass(frozen=True)
class World:
    """Two accounts of one operator and one of another, and two rounds of the first."""

    wallet: Wallet
    mine: int
    other: int
    foreign: int
    round_id: str
    other_round_id: str

    async def stored(self) -> Any:
        """All of it; equal when nothing was written."""
        async with self.wallet.engine.connect() as conn:
            return (await conn.execute(text(STORED))).scalar_one()


@pytest.fixture
async def world(wallet: Wallet) -> World:
    mine, other = await wallet.open(balance=BALANCE), await wallet.open(balance=BALANCE)
    foreign = await wallet.open(balance=BALANCE, operator_id="other")
    rounds = [(await wallet.settle(mine, stake=1, win=1)).round_id for _ in range(2)]
    return World(wallet, mine, other, foreign, *rounds)


Fields = dict[str, Any]
Send = Callable[[World, Fields], Awaitable[Message]]


async def settle(world: World, fields: Fields) -> Message:
    return await world.wallet.settle(fields["account_id"], **_others(fields))


async def payout(world: World, fields: Fields) -> Message:
    """A payout, whose stake is there; a payout of a fused round has none."""
    if not await world.wallet.known(fields["round_id"]):
        stake: Fields = {"step": STAKE, "round_id": fields["round_id"], "stake": 10}
        await world.wallet.settle(world.mine, **stake)
    return await world.wallet.settle(fields["account_id"], **_others(fields))


async def void(world: World, fields: Fields) -> Message:
    return await world.wallet.void(fields["account_id"], fields["round_id"])


async def transfer(world: World, fields: Fields) -> Message:
    call = getattr(world.wallet, fields["type"])
    answer = await call(**{key: value for key, value in fields.items() if key != "type"})
    moved: wallet_pb2.Transfer = answer.transfer
    return moved


def _others(fields: Fields) -> Fields:
    return {key: value for key, value in fields.items() if key != "account_id"}


class Operation(NamedTuple):
    """A call under an id. `body`: its fields, of which a change replaces some."""

    send: Send
    body: Callable[[World], Fields]
    id_field: str = "round_id"


OPERATIONS = {
    "fused": Operation(
        settle,
        lambda w: {"account_id": w.mine, "step": FUSED, "stake": 100, "win": 30, "game_id": "lucky-lines"},
    ),
    "fused without a win": Operation(settle, lambda w: {"account_id": w.mine, "step": FUSED, "stake": 100}),
    "stake": Operation(settle, lambda w: {"account_id": w.mine, "step": STAKE, "stake": 100}),
    "payout": Operation(payout, lambda w: {"account_id": w.mine, "step": PAYOUT, "win": 30}),
    "payout of nothing": Operation(payout, lambda w: {"account_id": w.mine, "step": PAYOUT, "win": 0}),
    "void": Operation(void, lambda w: {"account_id": w.mine}),
    "deposit": Operation(
        transfer, lambda w: {"type": "deposit", "account_id": w.mine, "amount": 50}, "request_id"
    ),
    "withdrawal": Operation(
        transfer, lambda w: {"type": "withdraw", "account_id": w.mine, "amount": 50}, "request_id"
    ),
    "adjustment": Operation(
        transfer,
        lambda w: {"type": "adjust", "account_id": w.mine, "amount": 50, "round_id": w.round_id},
        "request_id",
    ),
    "adjustment down": Operation(
        transfer, lambda w: {"type": "adjust", "account_id": w.mine, "amount": -50}, "request_id"
    ),
    # The refusals are stored like everything else (R5).
    "refused fused": Operation(
        settle, lambda w: {"account_id": w.mine, "step": FUSED, "stake": 5000, "win": 30}
    ),
    "refused stake": Operation(settle, lambda w: {"account_id": w.mine, "step": STAKE, "stake": 5000}),
    "refused withdrawal": Operation(
        transfer, lambda w: {"type": "withdraw", "account_id": w.mine, "amount": 5000}, "request_id"
    ),
    "refused adjustment": Operation(
        transfer, lambda w: {"type": "adjust", "account_id": w.mine, "amount": -5000}, "request_id"
    ),
}

Change = Callable[[World], Fields]


def to(**fields: Any) -> Change:
    """These fields instead."""
    return lambda world: fields


_ACCOUNTS: dict[str, Change] = {
    "account": lambda w: {"account_id": w.other},
    "account of another operator": lambda w: {"account_id": w.foreign},
}
_CURRENCY = {"currency": to(currency_code="USD")}
_SETTLE = _ACCOUNTS | _CURRENCY | {"game": to(game_id="other-game")}
_TRANSFER = {"account": _ACCOUNTS["account"]} | _CURRENCY
_ADJUST = {"actor": to(actor="eve"), "reason": to(reason="another reason")}

CHANGES: dict[str, dict[str, Change]] = {
    "fused": _SETTLE
    | {"stake": to(stake=101), "win": to(win=31), "step stake": to(step=STAKE, win=0)}
    | {"step payout": to(step=PAYOUT, stake=0)},
    # The win is the same here, so only the step differs.
    "fused without a win": {"step": to(step=STAKE)},
    "stake": _SETTLE | {"stake": to(stake=99), "step": to(step=FUSED)},
    "payout": _SETTLE | {"win": to(win=29), "step": to(step=FUSED, stake=10)},
    "payout of nothing": {"win": to(win=1)},
    "void": _ACCOUNTS,
    "deposit": _TRANSFER
    | {"amount": to(amount=51), "withdrawal": to(type="withdraw"), "adjustment": to(type="adjust")},
    "withdrawal": _TRANSFER
    | {"amount": to(amount=49), "deposit": to(type="deposit"), "adjustment": to(type="adjust", amount=-50)},
    "adjustment": _TRANSFER
    | _ADJUST
    | {
        "amount": to(amount=51),
        "sign": to(amount=-50),
        "round": lambda w: {"round_id": w.other_round_id},
        "no round": to(round_id=""),
        "unknown round": lambda w: {"round_id": new_id()},
        "deposit": to(type="deposit"),
    },
    "adjustment down": {
        "round": lambda w: {"round_id": w.round_id},
        "withdrawal": to(type="withdraw", amount=50),
    },
    "refused fused": _SETTLE | {"stake": to(stake=4999), "stake that is covered": to(stake=1)},
    "refused stake": _SETTLE | {"stake": to(stake=1), "step": to(step=FUSED)},
    "refused withdrawal": _TRANSFER | {"amount": to(amount=1), "deposit": to(type="deposit")},
    "refused adjustment": _TRANSFER | _ADJUST | {"amount": to(amount=-1), "sign": to(amount=5000)},
}
CASES = [
    pytest.param(OPERATIONS[operation], change, id=f"{operation}: {field}")
    for operation, changes in CHANGES.items()
    for field, change in changes.items()
]
ONLY_ADJUST = ("actor", "reason", "round_id")


def test_every_operation_is_tried() -> None:
    assert CHANGES.keys() == OPERATIONS.keys()


async def answer_of(send: Send, world: World, fields: Fields) -> object:
    """What a replay must repeat: the message without what tells a replay from the first, or the refusal."""
    if fields.get("type") in ("deposit", "withdraw"):
        fields = {key: value for key, value in fields.items() if key not in ONLY_ADJUST}
    try:
        answer = await send(world, fields)
    except DomainError as error:
        return (error.reason, error.metadata)
    for field in ("replayed", "current_balance"):
        if field in answer.DESCRIPTOR.fields_by_name:
            answer.ClearField(field)
    return answer


@pytest.mark.parametrize(("operation", "change"), CASES)
async def test_another_body_under_a_used_id_is_refused_and_moves_nothing(
    world: World, operation: Operation, change: Change
) -> None:
    body = operation.body(world) | {operation.id_field: new_id()}
    first = await answer_of(operation.send, world, body)
    before = await world.stored()
    refusal = await answer_of(operation.send, world, body | change(world))
    assert refusal == ("ID_REUSED", {"request_id": body[operation.id_field]})
    assert await world.stored() == before
    assert await answer_of(operation.send, world, body) == first
    assert await world.stored() == before


async def test_the_id_of_one_operator_means_nothing_to_another(world: World) -> None:
    """The key is (operator, request id): the other's account is not found, its own is another transfer."""
    wallet, request_id = world.wallet, new_id()
    await wallet.deposit(world.mine, 50, request_id=request_id)
    for call in (wallet.deposit, wallet.withdraw, wallet.adjust):
        with pytest.raises(DomainError, match="ACCOUNT_NOT_FOUND"):
            await call(world.mine, 50, request_id=request_id, operator_id="other")
    theirs = await wallet.deposit(world.foreign, 50, request_id=request_id, operator_id="other")
    assert not theirs.transfer.replayed
    assert (await wallet.deposit(world.mine, 50, request_id=request_id)).transfer.replayed


async def test_a_void_and_a_settle_share_their_id(world: World) -> None:
    """A void of a known round answers what it is; a settle of a voided one answers VOID, any body."""
    wallet = world.wallet
    assert (await wallet.void(world.mine, world.round_id)).status == APPLIED
    refused = (await wallet.settle(world.mine, stake=5000)).round_id
    assert (await wallet.void(world.mine, refused)).status == REFUSED
    voided = new_id()
    await wallet.void(world.mine, voided)
    for stake in (1, 2):
        assert (await wallet.settle(world.mine, round_id=voided, stake=stake)).status == VOID
    with pytest.raises(DomainError, match="ID_REUSED"):
        await wallet.settle(world.other, round_id=voided, stake=1)
    assert await wallet.balance(world.mine) == BALANCE
