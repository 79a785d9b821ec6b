"""Any sequence of calls, with repeated ids and other bodies, is answered as the model of the ledger says."""

from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from services.wallet.records import Step
from tests.integration.wallet.harness import Wallet, new_id
from tests.integration.wallet.ledger_model import Answer, LedgerModel

# Few accounts, ids and amounts, so that calls meet.
ACCOUNTS, IDS, AMOUNTS = st.integers(0, 1), st.integers(0, 2), st.integers(1, 3)


class Call(NamedTuple):
    """One call of the sequence: the model's method and its arguments."""

    method: str
    arguments: tuple[Any, ...]


CALLS = st.one_of(
    st.builds(lambda *a: Call("transfer", a), ACCOUNTS, IDS, AMOUNTS),
    st.builds(lambda a, i, n: Call("transfer", (a, i, -n)), ACCOUNTS, IDS, AMOUNTS),
    st.builds(
        lambda a, r, n, w: Call("settle", (a, r, "FUSED", n, w)), ACCOUNTS, IDS, AMOUNTS, st.integers(0, 2)
    ),
    st.builds(lambda a, r, n: Call("settle", (a, r, "STAKE", n, 0)), ACCOUNTS, IDS, AMOUNTS),
    st.builds(lambda a, r, w: Call("settle", (a, r, "PAYOUT", 0, w)), ACCOUNTS, IDS, st.integers(0, 2)),
    st.builds(lambda a, r: Call("settle", (a, r, "VOID", 0, 0)), ACCOUNTS, IDS),
    st.builds(lambda a, r: Call("roll_back", (a, r)), ACCOUNTS, IDS),
)


class Played:
    """The wallet behind the model's methods: numbers become fresh accounts and ids."""

    def __init__(self, wallet: Wallet, accounts: list[int]) -> None:
        self._wallet, self._accounts = wallet, accounts
        self._ids = [new_id() for _ in range(3)]

    async def answer(self, call: Call) -> Answer:
        """Status or reason, and the balance after it where the model says one."""
        try:
            answer: Answer = await getattr(self, call.method)(*call.arguments)
            return answer
        except DomainError as error:
            if error.reason == "INSUFFICIENT_FUNDS":
                return (error.reason, int(error.metadata["balance_minor"]))
            return (error.reason,)

    async def transfer(self, account: int, request: int, amount: int) -> Answer:
        move = self._wallet.deposit if amount > 0 else self._wallet.withdraw
        answer = await move(self._accounts[account], abs(amount), request_id=self._ids[request])
        return ("APPLIED", answer.transfer.balance_after.amount_minor)

    async def settle(self, account: int, round_id: int, step: str, stake: int, win: int) -> Answer:
        if step == "VOID":
            settlement = await self._wallet.void(self._accounts[account], self._ids[round_id])
        else:
            settlement = await self._wallet.settle(
                self._accounts[account],
                round_id=self._ids[round_id],
                step=wallet_pb2.SettleStep.ValueType(Step[step]),
                stake=stake,
                win=win,
            )
        return (_name(settlement), settlement.balance_after.amount_minor)

    async def roll_back(self, account: int, round_id: int) -> Answer:
        return (_name(await self._wallet.roll_back(self._accounts[account], self._ids[round_id])),)


def _name(settlement: wallet_pb2.Settlement) -> str:
    name = wallet_pb2.SettlementStatus.Name(settlement.status)
    return name.removeprefix("SETTLEMENT_STATUS_")


async def play(wallet: Wallet, calls: list[Call]) -> None:
    """Both answer every call alike, and hold the same balances and versions at the end."""
    accounts = [await wallet.open() for _ in range(2)]
    model, played = LedgerModel(), Played(wallet, accounts)
    for call in calls:
        expected = getattr(model, call.method)(*call.arguments)
        assert await played.answer(call) == expected, call
    for number, account_id in enumerate(accounts):
        account = await wallet.account(account_id)
        assert account.balance.amount_minor == model.balances.get(number, 0)
        assert account.account_version == model.versions.get(number, 0)


SEQUENCES = st.lists(CALLS, min_size=4, max_size=24)
REPEATABLE = settings(
    deadline=None,
    derandomize=True,
    # The database is shared on purpose: every example opens accounts of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@settings(REPEATABLE, max_examples=20)
@given(calls=SEQUENCES)
async def test_any_sequence_of_calls_is_answered_as_the_model_says(wallet: Wallet, calls: list[Call]) -> None:
    await play(wallet, calls)


@pytest.mark.long
@settings(REPEATABLE, max_examples=200)
@given(calls=SEQUENCES)
async def test_many_more_sequences_are_answered_as_the_model_says(wallet: Wallet, calls: list[Call]) -> None:
    await play(wallet, calls)
