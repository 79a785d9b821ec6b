"""The invariants of tests/invariants.py see what they are there to see: each break fails the right one."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests import invariants
from tests.integration.wallet.harness import PAYOUT, STAKE, Wallet, new_id

Check = Callable[[AsyncConnection], Awaitable[None]]

# What somebody did to the tables behind the wallet's back, and the invariant that must notice.
BREAKS: list[tuple[str, str, Check]] = [
    ("a leg dropped", "delete from posting where leg = 2", invariants.postings_are_those_due),
    (
        "a leg too many",
        "insert into posting select transaction_id, 4, account_id, counter_account_id, 5 "
        "from posting limit 1",
        invariants.postings_are_those_due,
    ),
    (
        "a sign swapped",
        "update posting set amount_minor = -amount_minor where leg = 2",
        invariants.postings_are_those_due,
    ),
    (
        "the wrong counter-account",
        "update posting p set counter_account_id = cashier_account_id from account a "
        "where a.account_id = p.account_id and leg = 2",
        invariants.postings_are_those_due,
    ),
    (
        "balance without posting",
        "update account set balance_minor = balance_minor + 1 where type = 1",
        invariants.balances_are_their_postings,
    ),
    (
        "a version skipped",
        "update account set version = version + 1 where type = 1",
        invariants.histories_chain,
    ),
    (
        "a version used twice",
        "update settlement set account_version = 1 where account_version > 0",
        invariants.histories_chain,
    ),
    (
        "a wrong balance_after",
        "update settlement set balance_after_minor = balance_after_minor + 1 where step = 1",
        invariants.histories_chain,
    ),
    ("a gap that no archive explains", "delete from settlement where step = 1", invariants.histories_chain),
    (
        "a checkpoint that counts the tail twice",
        "insert into counter_checkpoint select account_id, amount_minor from counter_tail limit 1",
        invariants.counter_balances_are_derived,
    ),
    ("a tail lost", "delete from counter_tail", invariants.counter_balances_are_derived),
    (
        "a payout on a stake that was not taken",
        "update settlement set status = 2, refusal = 1, account_version = 0 where step = 2",
        invariants.rounds_have_one_ending,
    ),
    (
        "a stake lost under its payout",
        "delete from settlement where step = 2",
        invariants.rounds_have_one_ending,
    ),
    (
        "a posting into another currency",
        "update posting set counter_account_id = (select account_id from account "
        "where currency_code = 'USD' and type = 2) where leg = 2",
        invariants.kinds_never_meet,
    ),
    ("an event missing", "delete from outbox where kind = 'settle'", invariants.outbox_tells_everything_once),
    (
        "an event twice",
        "insert into outbox (kind, payload) select kind, payload from outbox where kind = 'settle' limit 1",
        invariants.outbox_tells_everything_once,
    ),
    (
        "an event with another amount",
        "update outbox set payload = cast(jsonb_set(cast(payload as jsonb), '{balances_after_minor}', '[1]') "
        "as json) where kind = 'settle'",
        invariants.outbox_tells_everything_once,
    ),
    (
        "a transfer untold",
        "delete from outbox where kind = 'transfer'",
        invariants.outbox_tells_everything_once,
    ),
]


@pytest.mark.parametrize(("breaking", "check"), [b[1:] for b in BREAKS], ids=[b[0] for b in BREAKS])
async def test_a_broken_ledger_is_noticed(wallet: Wallet, breaking: str, check: Check) -> None:
    account_id, round_id = await wallet.open(balance=1000), new_id()
    await wallet.open(currency_code="USD")
    await wallet.settle(account_id, stake=100, win=30)
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=40)
    async with wallet.engine.connect() as conn:
        await check(conn)
        result = await conn.execute(text(breaking))
        assert result.rowcount > 0
        with pytest.raises(AssertionError):
            await check(conn)
        # Rolled back: nothing is broken for the next test.


async def test_postings_that_do_not_sum_to_zero_cannot_be_written(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    await wallet.settle(account_id, stake=100, win=30)
    async with wallet.engine.connect() as conn:
        # Whatever is done to a posting, its other side follows.
        await conn.execute(text("update posting set amount_minor = amount_minor * 3"))
        await conn.execute(text("delete from posting where leg = 2"))
        await invariants.postings_sum_to_zero(conn)
