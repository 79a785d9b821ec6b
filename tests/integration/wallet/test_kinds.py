"""Real and demo never meet (R10): not in one posting, not in one balance, not in one total."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.common import db
from services.common.errors import DomainError
from services.wallet import store
from tests.integration.wallet.harness import DEMO, FUSED, PAYOUT, REAL, STAKE, Wallet, new_id

KINDS = (REAL, DEMO)


async def counters_of(wallet: Wallet, account_id: int) -> list[int]:
    """Ids of an account's house and cashier."""
    query = "select array[house_account_id, cashier_account_id] from account where account_id = :id"
    return list(await wallet.scalar(query, id=account_id))


async def test_each_kind_currency_and_operator_has_counter_accounts_of_its_own(wallet: Wallet) -> None:
    accounts = [
        await wallet.open(player_id="ann", operator_id=operator_id, currency_code=code, kind=kind)
        for operator_id in ("one", "two")
        for code in ("EUR", "USD")
        for kind in KINDS
    ]
    counters = [await counters_of(wallet, account_id) for account_id in accounts]
    assert len({counter for pair in counters for counter in pair}) == 2 * len(accounts)
    # Another player of the same three shares them.
    ben = await wallet.open(player_id="ben", operator_id="one", currency_code="EUR", kind=REAL)
    assert await counters_of(wallet, ben) == counters[0]


@pytest.mark.parametrize(("of", "against"), [(REAL, DEMO), (DEMO, REAL)])
@pytest.mark.parametrize("place", [0, 1], ids=["house", "cashier"])
async def test_no_posting_over_two_kinds_can_be_written(
    wallet: Wallet, of: Any, against: Any, place: int
) -> None:
    account_id, other_id = await wallet.open(kind=of), await wallet.open(kind=against)
    own, foreign = [(await counters_of(wallet, id))[place] for id in (account_id, other_id)]
    posting = text("""
        insert into posting (transaction_id, leg, account_id, counter_account_id, amount_minor)
        values (cast(:id as uuid), 1, :account_id, :counter_id, 5)""")
    async with wallet.engine.connect() as conn:
        await conn.execute(posting, {"id": new_id(), "account_id": account_id, "counter_id": own})
        with pytest.raises(IntegrityError, match="posting_check"):
            await conn.execute(posting, {"id": new_id(), "account_id": account_id, "counter_id": foreign})


@pytest.mark.parametrize("counter", ["house", "cashier"])
async def test_no_account_has_a_counter_account_of_the_other_kind(wallet: Wallet, counter: str) -> None:
    account_id, demo_id = await wallet.open(), await wallet.open(kind=DEMO)
    foreign = (await counters_of(wallet, demo_id))[("house", "cashier").index(counter)]
    update = text(f"update account set {counter}_account_id = :counter_id where account_id = :id")
    async with wallet.engine.connect() as conn:
        with pytest.raises(IntegrityError, match="foreign key"):
            await conn.execute(update, {"counter_id": foreign, "id": account_id})


async def test_an_account_cannot_change_its_kind(wallet: Wallet) -> None:
    account_id = await wallet.open()
    async with wallet.engine.connect() as conn:
        with pytest.raises(IntegrityError, match="account_check"):
            await conn.execute(text("update account set kind = 2 where account_id = :id"), {"id": account_id})


# Any sequence of calls on accounts of one kind


class Call(NamedTuple):
    """One call on an account of a kind; ids by number, the same for both kinds."""

    kind: Any
    account: int
    method: str
    arguments: tuple[Any, ...]


IDS, AMOUNTS = st.integers(0, 3), st.integers(1, 60)


def _calls(method: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    asked = st.tuples(*arguments)
    return st.builds(Call, st.sampled_from(KINDS), st.integers(0, 1), st.just(method), asked)


CALLS = st.one_of(
    _calls("deposit", IDS, AMOUNTS),
    _calls("withdraw", IDS, AMOUNTS),
    _calls("adjust", IDS, st.integers(-60, 60).filter(bool)),
    _calls("settle", IDS, st.just(FUSED), AMOUNTS, st.integers(0, 90)),
    _calls("settle", IDS, st.just(STAKE), AMOUNTS, st.just(0)),
    _calls("settle", IDS, st.just(PAYOUT), st.just(0), st.integers(0, 90)),
    _calls("void", IDS),
    _calls("roll_back", IDS),
    _calls("freeze"),
    _calls("unfreeze"),
    _calls("roll_up"),
)
SEQUENCES = st.lists(CALLS, min_size=6, max_size=24)

# Everything that an account has, and what a counter-account's balance is derived from.
_STANDING = text("""
select a.kind, json_agg(json_build_array(a.account_id, a.balance_minor, a.version, a.frozen,
    coalesce(c.balance_minor, 0) + coalesce(t.amount_minor, 0)) order by a.account_id)
from account a left join counter_checkpoint c using (account_id)
left join (select account_id, sum(amount_minor) as amount_minor from counter_tail group by account_id) t
  using (account_id)
where a.account_id = any(:account_ids) group by a.kind
""")


class Player:
    """One player's accounts, two currencies of each kind, and the counter-accounts beside them."""

    def __init__(self, wallet: Wallet, accounts: dict[Any, list[int]], counted: Sequence[int]) -> None:
        self._wallet, self._accounts, self._counted = wallet, accounts, counted
        self._ids = [new_id() for _ in range(4)]

    async def standing(self) -> dict[int, Any]:
        """By kind, all there is."""
        async with self._wallet.engine.connect() as conn:
            rows = await conn.execute(_STANDING, {"account_ids": list(self._counted)})
            return {kind: standing for kind, standing in rows}

    async def call(self, call: Call) -> None:
        """One call; a refusal is an answer like any other."""
        account_id = self._accounts[call.kind][call.account]
        code = ("EUR", "USD")[call.account]
        wallet = self._wallet
        try:
            match call.method, call.arguments:
                case "settle", (number, step, stake, win):
                    await wallet.settle(
                        account_id,
                        round_id=self._ids[number],
                        step=step,
                        stake=stake,
                        win=win,
                        currency_code=code,
                    )
                case ("void" | "roll_back") as method, (number,):
                    await getattr(wallet, method)(account_id, self._ids[number])
                case "roll_up", ():
                    async with db.transaction(wallet.engine, "roll_up") as conn:
                        await store.roll_up_counters(conn)
                case ("freeze" | "unfreeze") as method, ():
                    await getattr(wallet, method)(account_id)
                case method, (number, amount):
                    move = getattr(wallet, method)
                    await move(account_id, amount, request_id=self._ids[number], currency_code=code)
        except DomainError:
            pass


async def play(wallet: Wallet, calls: list[Call]) -> None:
    """After each call the other kind is as it was; in the end the books of each are closed in themselves."""
    player_id, accounts, counted = new_id(), dict[Any, list[int]](), list[int]()
    for kind in KINDS:
        accounts[kind] = [
            await wallet.open(player_id=player_id, kind=kind, currency_code=code) for code in ("EUR", "USD")
        ]
        for account_id in accounts[kind]:
            counted += [account_id, *await counters_of(wallet, account_id)]
    player = Player(wallet, accounts, counted)
    before = opening = await player.standing()
    for call in calls:
        await player.call(call)
        after = await player.standing()
        other = DEMO if call.kind == REAL else REAL
        assert after[other] == before[other], call
        before = after
    for kind in KINDS:
        moved = [sum(row[1] + row[4] for row in standing[kind]) for standing in (opening, before)]
        assert moved[0] == moved[1], "what the players have is what the counter-accounts gave"


REPEATABLE = settings(
    deadline=None,
    derandomize=True,
    # The database is shared on purpose: every example opens accounts of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@settings(REPEATABLE, max_examples=15)
@given(calls=SEQUENCES)
async def test_no_sequence_of_calls_on_one_kind_changes_the_other(wallet: Wallet, calls: list[Call]) -> None:
    await play(wallet, calls)


@pytest.mark.long
@settings(REPEATABLE, max_examples=200)
@given(calls=SEQUENCES)
async def test_no_longer_series_of_sequences_does_either(wallet: Wallet, calls: list[Call]) -> None:
    await play(wallet, calls)


async def test_a_withdrawal_of_play_money_is_refused_whatever_it_is(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=100, kind=DEMO)
    cashier = (await counters_of(wallet, account_id))[1]
    before = await wallet.balance(cashier)
    for amount in (1, 100, 101):
        with pytest.raises(DomainError, match="DEMO_WITHDRAWAL"):
            await wallet.withdraw(account_id, amount)
    await wallet.freeze(account_id)
    with pytest.raises(DomainError, match="DEMO_WITHDRAWAL"):
        await wallet.withdraw(account_id, 1)
    assert (await wallet.balance(account_id), await wallet.balance(cashier)) == (100, before)
