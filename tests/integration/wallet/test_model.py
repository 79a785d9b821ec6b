"""Any sequence of calls, with repeated ids and other bodies, is answered as the model of the ledger says."""

from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from services.wallet.records import Step, Verdict
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
    st.builds(lambda a, r: Call("roll_back_bet", (a, r)), ACCOUNTS, IDS),
    st.builds(lambda r, v: Call("resolve", (r, v)), IDS, st.sampled_from(("SETTLED", "REVERSED"))),
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

    async def roll_back_bet(self, account: int, round_id: int) -> Answer:
        answer = await self._wallet.roll_back_bet(self._accounts[account], self._ids[round_id])
        if answer.unchanged == wallet_pb2.UNCHANGED_UNSPECIFIED:
            return (_name(answer.settlement),)
        return (_name(answer.settlement), wallet_pb2.Unchanged.Name(answer.unchanged))

    async def resolve(self, round_id: int, verdict: str) -> Answer:
        value = wallet_pb2.ReviewVerdict.ValueType(Verdict[verdict])
        return (_name(await self._wallet.resolve(self._ids[round_id], value)),)

    async def list_reviews(self) -> set[int]:
        """The rounds that are in review, by number."""
        return {self._ids.index(r.round_id) for r in await self._wallet.reviews() if r.round_id in self._ids}


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
    waiting = {number for number, state in model.reviews.items() if state == "OPEN"}
    assert await played.list_reviews() == waiting
    for number, account_id in enumerate(accounts):
        account = await wallet.account(account_id)
        assert account.balance.amount_minor == model.balances.get(number, 0)
        assert account.account_version == model.versions.get(number, 0)


# What chance alone seldom makes: a round in review, its win spent before it is rolled back.
SPENT_WIN = [
    Call("transfer", (0, 0, 1)),
    Call("settle", (0, 0, "FUSED", 1, 2)),
    Call("transfer", (0, 1, -2)),
    Call("roll_back", (0, 0)),
]
# The same, kept by an operator, with money there to give back.
KEPT = [*SPENT_WIN, Call("resolve", (0, "SETTLED")), Call("transfer", (0, 2, 3))]
# A round with a choice that was paid out.
PAID = [
    Call("transfer", (0, 0, 3)),
    Call("settle", (0, 0, "STAKE", 1, 0)),
    Call("settle", (0, 0, "PAYOUT", 0, 2)),
]
SEQUENCES = st.builds(
    lambda beginning, calls: [*beginning, *calls],
    st.sampled_from(([], SPENT_WIN, KEPT, PAID)),
    st.lists(CALLS, min_size=4, max_size=24),
)
REPEATABLE = settings(
    deadline=None,
    derandomize=True,
    # The database is shared on purpose: every example opens accounts of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@settings(REPEATABLE, max_examples=40)
@given(calls=SEQUENCES)
async def test_any_sequence_of_calls_is_answered_as_the_model_says(wallet: Wallet, calls: list[Call]) -> None:
    await play(wallet, calls)


@pytest.mark.long
@settings(REPEATABLE, max_examples=200)
@given(calls=SEQUENCES)
async def test_many_more_sequences_are_answered_as_the_model_says(wallet: Wallet, calls: list[Call]) -> None:
    await play(wallet, calls)
