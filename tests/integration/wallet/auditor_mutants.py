"""Twenty ways to break the ledger, each a patch to a shipped statement, and what the auditor says to it."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from sqlalchemy.sql.elements import TextClause

from services.wallet import counters, ledger, sql
from services.wallet.records import Item, Step
from tests.integration.wallet.harness import Wallet, new_id
from tests.integration.wallet.mutants import mutant

POSTINGS, PAIRS, CHAINS, SUMS = "I3 postings", "I3 pairs", "I4 I7 chains", "I4 sums"
COUNTERS, MIRRORS = "I5 counters", "I5 mirrors"
VERDICTS, EVENTS = "I2 verdicts", "I6 events"

# Plays with a statement in the place of SETTLE, on two accounts that have 1,000 each.
Play = Callable[[Wallet, TextClause, int, int], Awaitable[None]]


def fused(account_id: int, *, stake: int, win: int = 0, round_id: str = "") -> Item:
    """A bet and its result."""
    return Item(round_id or new_id(), Step.FUSED, account_id, "EUR", stake, win, "lucky-lines")


async def bets(wallet: Wallet, settle: TextClause, one: int, other: int) -> None:
    """A bet that wins and one that loses; a stake and its payout."""
    batch = [fused(one, stake=100, win=30), fused(other, stake=100)]
    await ledger.settle_batch(wallet.engine, batch, statement=settle)
    round_id = new_id()
    for step, stake, win in ((Step.STAKE, 50, 0), (Step.PAYOUT, 0, 70)):
        item = Item(round_id, step, one, "EUR", stake, win, "lucky-lines")
        await ledger.settle_batch(wallet.engine, [item], statement=settle)


async def refusal(wallet: Wallet, settle: TextClause, one: int, other: int) -> None:
    """A stake that is not covered; its win would be, so that no balance gets below zero."""
    await ledger.settle_batch(wallet.engine, [fused(one, stake=5_000, win=6_000)], statement=settle)


async def replay(wallet: Wallet, settle: TextClause, one: int, other: int) -> None:
    """A bet, and the same again."""
    item = fused(one, stake=100, win=30)
    for _ in range(2):
        await ledger.settle_batch(wallet.engine, [item], statement=settle)


async def late_bet(wallet: Wallet, settle: TextClause, one: int, other: int) -> None:
    """A void, and then its bet."""
    item = fused(one, stake=100)
    for step in (Item(item.round_id, Step.VOID, one), item):
        await ledger.settle_batch(wallet.engine, [step], statement=settle)


async def one_id(wallet: Wallet, settle: TextClause, one: int, other: int) -> None:
    """Two accounts under one round id."""
    round_id = new_id()
    batch = [fused(one, stake=100, round_id=round_id), fused(other, stake=70, round_id=round_id)]
    await ledger.settle_batch(wallet.engine, batch, statement=settle)


async def roll_ups(wallet: Wallet, settle: TextClause, one: int, other: int) -> None:
    """Bets between roll-ups."""
    for _ in range(2):
        await ledger.settle_batch(wallet.engine, [fused(one, stake=100, win=30)], statement=settle)
        await counters.roll_up(wallet.engine)


class Mutant(NamedTuple):
    """A patch, where it shows, and the checks that must name it."""

    name: str
    statement: TextClause
    whole: set[str]
    window: set[str]
    play: Play = bets
    of: str = "SETTLE"
    # Table and words of the constraints that refuse it; without them it goes through.
    constraints: tuple[tuple[str, str], ...] = ()


_LEGS = "(values (cast(1 as smallint), -u.stake_minor), (2, u.win_minor))"
_HOUSE = "a.house_account_id, n.stake_minor, n.win_minor)"
_EVENT = "and i.rn < 2 having count(*) > 0"
_VERSION = "> 0 then version + 1 else 0 end"
_ARBITER = "on conflict (round_id, step_key) do nothing"
_BALANCE = "balance_minor = n.balance_after_minor"
_KEYS = (("settlement", "PRIMARY KEY"), ("posting", "PRIMARY KEY"))


def _house(condition: str) -> str:
    return f"(select h.account_id from account h where h.type = 2 and {condition}) as {_HOUSE[2:]}"


_OVER_TOMBSTONE = f"""on conflict (round_id, step_key) do update set {
    ", ".join(
        f"{column} = excluded.{column}"
        for column in (
            "step",
            "status",
            "stake_minor",
            "win_minor",
            "game_id",
            "balance_after_minor",
            "account_version",
        )
    )
} where settlement.status = 3"""

MUTANTS = [
    Mutant(
        "drop stake leg",
        mutant((_LEGS, "(values (2, u.win_minor))")),
        {POSTINGS, SUMS, MIRRORS},
        {POSTINGS, MIRRORS},
    ),
    Mutant(
        "drop win leg",
        mutant((_LEGS, "(values (cast(1 as smallint), -u.stake_minor))")),
        {POSTINGS, SUMS, MIRRORS},
        {POSTINGS, MIRRORS},
    ),
    Mutant(
        "swap sign",
        mutant(("-u.stake_minor", "u.stake_minor")),
        {POSTINGS, SUMS, MIRRORS},
        {POSTINGS, MIRRORS},
    ),
    Mutant(
        "wrong counter-account",
        mutant((_HOUSE, f"a.cashier_account_id as {_HOUSE[2:]}")),
        {POSTINGS},
        {POSTINGS},
    ),
    Mutant(
        "wrong currency",
        mutant((_HOUSE, _house("h.currency_code = 'USD'"))),
        {POSTINGS, PAIRS, MIRRORS},
        {POSTINGS, MIRRORS},
    ),
    Mutant(
        "wrong kind",
        mutant((_HOUSE, _house("h.kind = 2"))),
        {POSTINGS, PAIRS, MIRRORS},
        {POSTINGS, MIRRORS},
        constraints=(("posting", "account_id - counter"),),
    ),
    Mutant(
        "apply a duplicate",
        mutant((_ARBITER, "")),
        {VERDICTS},
        {VERDICTS, POSTINGS},
        replay,
        constraints=_KEYS,
    ),
    Mutant(
        "apply a refused",
        mutant(("when status = 1 and stake_minor", "when status in (1, 2) and stake_minor")),
        {POSTINGS, CHAINS, SUMS, MIRRORS},
        {POSTINGS, CHAINS, MIRRORS},
        refusal,
        constraints=(("settlement", "account_version > 0"),),
    ),
    Mutant("apply after tombstone", mutant((_ARBITER, _OVER_TOMBSTONE)), {EVENTS}, {EVENTS}, late_bet),
    Mutant(
        "skip a version",
        mutant((_VERSION, "> 0 then greatest(version, 1) else 0 end")),
        {CHAINS, SUMS},
        {CHAINS},
    ),
    Mutant("version +2", mutant((_VERSION, "> 0 then version + 2 else 0 end")), {CHAINS, SUMS}, {CHAINS}),
    Mutant(
        "wrong balance_after",
        mutant(("- stake_minor + win_minor else", "- stake_minor + win_minor + 1 else")),
        {CHAINS, SUMS, MIRRORS},
        {CHAINS, MIRRORS},
    ),
    Mutant(
        "balance without posting",
        mutant((_BALANCE, f"{_BALANCE} + 1")),
        {CHAINS, SUMS, MIRRORS},
        {CHAINS, MIRRORS},
    ),
    Mutant(
        "posting without balance",
        mutant((_BALANCE, "balance_minor = a.balance_minor")),
        {CHAINS, SUMS, MIRRORS},
        {CHAINS, MIRRORS},
    ),
    Mutant("event missing", mutant((_EVENT, "and i.rn < 2 having false")), {EVENTS}, {EVENTS}),
    Mutant(
        "event twice",
        mutant((_EVENT, "and i.rn < 2 cross join generate_series(1, 2) having count(*) > 0")),
        {EVENTS},
        {EVENTS},
    ),
    Mutant(
        "event with other amount",
        mutant(("json_agg(n.stake_minor)", "json_agg(n.stake_minor + 1)")),
        {EVENTS},
        {EVENTS},
    ),
    Mutant(
        "stale checkpoint",
        mutant(
            ("do update set balance_minor = c.balance_minor + excluded.balance_minor", "do nothing"),
            of=sql.ROLL_UP,
        ),
        {COUNTERS, MIRRORS},
        {MIRRORS},
        roll_ups,
        "ROLL_UP",
    ),
    Mutant(
        "checkpoint counts the tail twice",
        mutant(
            ("delete from counter_tail where", "select account_id, amount_minor from counter_tail where"),
            ("\n  returning account_id, amount_minor)", ")"),
            of=sql.ROLL_UP,
        ),
        {COUNTERS, MIRRORS},
        {MIRRORS},
        roll_ups,
        "ROLL_UP",
    ),
    Mutant(
        "two rounds under one id",
        mutant((_ARBITER, "")),
        {VERDICTS},
        {VERDICTS, POSTINGS},
        one_id,
        constraints=_KEYS,
    ),
]
