"""What must be true of a wallet's database at any moment, whatever was killed, repeated or raced.

Each function takes a connection to it and asserts one invariant by reading tables only;
`check_wallet` asserts all that hold while the wallet is working too: each query sees one snapshot.
"""

from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# Every movement of a player's account in one shape: what it added, and balance and version right after it.
_MOVEMENTS = """
  select account_id, account_version, win_minor - stake_minor as amount_minor, balance_after_minor
  from settlement where account_version > 0
  union all
  select account_id, account_version, stake_minor - win_minor, balance_after_minor from reversal
  union all
  select account_id, account_version, amount_minor, balance_after_minor
  from transfer where account_version > 0
"""

# The postings that settlements, reversals and transfers call for.
_POSTINGS_DUE = """
  select s.round_id as transaction_id, 1 as leg, s.account_id, a.house_account_id as counter_account_id,
    -s.stake_minor as amount_minor
  from settlement s join account a using (account_id) where s.status = 1 and s.stake_minor > 0
  union all
  select s.round_id, 2, s.account_id, a.house_account_id, s.win_minor
  from settlement s join account a using (account_id) where s.status = 1 and s.win_minor > 0
  union all
  select r.round_id, 3, r.account_id, a.house_account_id, -r.win_minor
  from reversal r join account a using (account_id) where r.win_minor > 0
  union all
  select r.round_id, 4, r.account_id, a.house_account_id, r.stake_minor
  from reversal r join account a using (account_id) where r.stake_minor > 0
  union all
  select t.transfer_id, 1, t.account_id, a.cashier_account_id, t.amount_minor
  from transfer t join account a using (account_id) where t.account_version > 0
"""


class Verdict(NamedTuple):
    """A stored step, as an acknowledged answer or an event must show it."""

    round_id: str
    step: int  # 0 tombstone, 1 fused, 2 stake, 3 payout
    status: int  # 1 applied, 2 refused, 3 void, 4 reversed
    account_id: int
    account_version: int
    balance_after_minor: int


async def check_wallet(conn: AsyncConnection) -> None:
    """All invariants that the wallet's own database can show."""
    await postings_sum_to_zero(conn)
    await postings_are_those_due(conn)
    await balances_are_their_postings(conn)
    await versions_count_movements(conn)
    await balances_chain(conn)
    await counter_balances_are_derived(conn)
    await rounds_have_one_ending(conn)
    await reviews_end_as_they_say(conn)
    await kinds_never_meet(conn)
    await freezes_are_recorded(conn)


async def postings_sum_to_zero(conn: AsyncConnection) -> None:
    """I3: per transaction, and so in all."""
    await _none(
        conn, "select transaction_id from posting_leg group by transaction_id having sum(amount_minor) <> 0"
    )


async def postings_are_those_due(conn: AsyncConnection) -> None:
    """I3: exactly the legs that applied settlements, reversals and transfers call for."""
    stored = "select transaction_id, leg, account_id, counter_account_id, amount_minor from posting"
    await _none(conn, f"({stored}) except all ({_POSTINGS_DUE})")
    await _none(conn, f"({_POSTINGS_DUE}) except all ({stored})")


async def balances_are_their_postings(conn: AsyncConnection) -> None:
    """I4: every balance is what was archived, from 0 on, plus the sum of its postings; and not negative."""
    await _none(
        conn,
        """
        select a.account_id, a.balance_minor, o.amount_minor, coalesce(sum(p.amount_minor), 0)
        from account a left join account_opening o using (account_id) left join posting p using (account_id)
        where a.type = 1 group by a.account_id, o.account_id
        having a.balance_minor <> coalesce(o.amount_minor, 0) + coalesce(sum(p.amount_minor), 0)
          or a.balance_minor < 0""",
    )


async def versions_count_movements(conn: AsyncConnection) -> None:
    """I4: the version is the number of movements, archived ones too, and each has its own, from 1 to it."""
    await _none(
        conn,
        f"""
        select a.account_id, a.version, o.movements, count(m.*), count(distinct m.account_version),
          max(m.account_version)
        from account a left join account_opening o using (account_id)
        left join ({_MOVEMENTS}) m using (account_id) where a.type = 1
        group by a.account_id, o.account_id
        having a.version <> coalesce(o.movements, 0) + count(m.account_version)
          or count(m.account_version) <> count(distinct m.account_version)
          or a.version < max(m.account_version) or min(m.account_version) < 1""",
    )


async def balances_chain(conn: AsyncConnection) -> None:
    """I7: every balance_after is the one before plus the movement: one account's history is serial.

    Where movements were archived, a month's here and a month's there, the chain has gaps, which the openings
    account for: balances_are_their_postings and versions_count_movements say that they fill them.
    """
    await _none(
        conn,
        f"""
        select * from (
          select m.*, coalesce(lag(account_version) over chain, 0) as version_before,
            coalesce(lag(balance_after_minor) over chain, 0) as balance_before_minor
          from ({_MOVEMENTS}) m window chain as (partition by account_id order by account_version)) chained
        left join account_opening o using (account_id)
        where chained.balance_after_minor < 0 or case when account_version = version_before + 1
          then balance_after_minor <> balance_before_minor + chained.amount_minor
          else coalesce(o.movements, 0) = 0 end""",
    )


async def counter_balances_are_derived(conn: AsyncConnection) -> None:
    """I5: checkpoint plus tail is the full sum of the counter-account's postings, archived ones too."""
    await _none(
        conn,
        """
        select a.account_id, derived.amount_minor, posted.amount_minor from account a
        left join lateral (
          select coalesce(sum(amount_minor), 0) as amount_minor from (
            select balance_minor as amount_minor from counter_checkpoint c where c.account_id = a.account_id
            union all
            select amount_minor from counter_tail t where t.account_id = a.account_id) parts) derived on true
        left join lateral (
          select coalesce(sum(amount_minor), 0) as amount_minor from (
            select -amount_minor as amount_minor from posting p where p.counter_account_id = a.account_id
            union all
            select amount_minor from account_opening o where o.account_id = a.account_id) p) posted on true
        where a.type <> 1 and derived.amount_minor <> posted.amount_minor""",
    )


async def rounds_have_one_ending(conn: AsyncConnection) -> None:
    """I2, R8: a payout moves money only on a stake of its own account that was applied."""
    await _none(
        conn,
        """
        select p.round_id from settlement p
        left join settlement s on s.round_id = p.round_id and s.step_key = 0
        where p.step_key = 1 and (s.round_id is null or s.account_id <> p.account_id or s.step = 1
          or (p.status = 1 and (s.step <> 2 or s.status <> 1)))""",
    )
    await _none(
        conn,
        """
        select r.round_id from reversal r left join settlement s on s.round_id = r.round_id and s.step_key = 0
        where s.status is distinct from 1 or s.account_id <> r.account_id""",
    )


async def reviews_end_as_they_say(conn: AsyncConnection) -> None:
    """R14: a round in review, or kept by one, stands; a reversed one was given back as it was asked."""
    await _none(
        conn,
        """
        select v.round_id, v.verdict, r.round_id as reversed_id from review v
        join settlement s on s.round_id = v.round_id and s.step_key = 0
        left join settlement p on p.round_id = v.round_id and p.step_key = 1
        left join reversal r on r.round_id = v.round_id
        where s.status <> 1 or s.account_id <> v.account_id
          or v.missing_minor <> s.win_minor + coalesce(p.win_minor, 0) - s.stake_minor
          or (coalesce(v.verdict, 1) = 2) <> (r.round_id is not null)
          or (v.verdict is null) <> (v.verdict_actor = '')
          or r.win_minor - r.stake_minor <> v.missing_minor""",
    )
    await _none(
        conn,
        """
        select round_id from review v where not exists (
          select from settlement s where s.round_id = v.round_id and s.step_key = 0)""",
    )


async def kinds_never_meet(conn: AsyncConnection) -> None:
    """R10: no posting joins two kinds, currencies or operators."""
    await _none(
        conn,
        """
        select p.transaction_id from posting p
        join account a on a.account_id = p.account_id join account c on c.account_id = p.counter_account_id
        where (a.kind, a.currency_code, a.operator_id) <> (c.kind, c.currency_code, c.operator_id)""",
    )


async def freezes_are_recorded(conn: AsyncConnection) -> None:
    """An account is frozen when its last record says so, and only changes are recorded."""
    await _none(
        conn,
        """
        select a.account_id from account a left join lateral (
          select f.frozen from account_freeze f where f.account_id = a.account_id
          order by f.freeze_id desc limit 1) last on true
        where a.frozen <> coalesce(last.frozen, false)""",
    )
    await _none(
        conn,
        """
        select * from (
          select f.*, coalesce(lag(f.frozen) over (partition by f.account_id order by f.freeze_id), false)
            as frozen_before
          from account_freeze f) changes
        where frozen = frozen_before""",
    )


async def outbox_tells_everything_once(conn: AsyncConnection) -> None:
    """I6, of a wallet whose relay does not run: its outbox holds all of it once."""
    rows = (await conn.execute(text("select kind, payload from outbox"))).all()
    columns = ("round_ids", "steps", "statuses", "account_ids", "account_versions", "balances_after_minor")
    settles = [row.payload for row in rows if row.kind == "settle"]
    told = [item for payload in settles for item in zip(*(payload[c] for c in columns), strict=True)]
    assert sorted(told) == sorted(await list_told(conn))
    transfers = [id for row in rows if row.kind == "transfer" for id in row.payload["transfer_ids"]]
    applied = await conn.execute(text("select cast(transfer_id as text) from transfer where refusal = ''"))
    assert sorted(transfers) == sorted(applied.scalars())
    freezes = [
        (payload["account_ids"][0], payload["frozen"][0], payload["actors"][0], payload["reasons"][0])
        for payload in (row.payload for row in rows if row.kind == "freeze")
    ]
    stored = await conn.execute(text("select account_id, frozen, actor, reason from account_freeze"))
    assert sorted(freezes) == sorted(tuple(row) for row in stored)
    reviews = [row.payload for row in rows if row.kind == "review"]
    told_reviews = [
        item for payload in reviews for item in zip(payload["round_ids"], payload["verdicts"], strict=True)
    ]
    assert sorted(told_reviews) == sorted(await list_told_reviews(conn))


async def list_told(conn: AsyncConnection) -> list[Verdict]:
    """The verdicts that the wallet's events must tell, each once: every stored step and every reversal."""
    reversals = await conn.execute(
        text("""
        select cast(r.round_id as text), s.step, 4, r.account_id, r.account_version, r.balance_after_minor
        from reversal r join settlement s on s.round_id = r.round_id and s.step_key = 0""")
    )
    # The tombstone that a rollback leaves for a payout is told by the reversal.
    stored = [verdict for verdict in await list_verdicts(conn) if (verdict.step, verdict.status) != (0, 4)]
    return [*stored, *(Verdict(*row) for row in reversals)]


async def list_told_reviews(conn: AsyncConnection) -> list[tuple[str, int]]:
    """(round_id, verdict) that the wallet's events must tell, each once: 0 when the review was opened."""
    rows = await conn.execute(
        text("""
        select cast(round_id as text), 0 from review
        union all select cast(round_id as text), verdict from review where verdict is not null""")
    )
    return [(round_id, verdict) for round_id, verdict in rows]


async def list_verdicts(conn: AsyncConnection) -> list[Verdict]:
    """Every stored step as it was decided, by round and step: to compare with answers and events."""
    rows = await conn.execute(
        text("""
        select cast(round_id as text), step, status, account_id, account_version, balance_after_minor
        from settlement order by round_id, step_key""")
    )
    return [Verdict(*row) for row in rows]


async def _none(conn: AsyncConnection, query: str) -> None:
    """Asserts that a query for violations finds none."""
    found: list[Any] = [tuple(row) for row in (await conn.execute(text(f"{query} limit 5"))).all()]
    assert not found, f"violated by {found}"
