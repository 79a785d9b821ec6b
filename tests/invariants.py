"""What must be true of a wallet's database at any moment, whatever was killed, repeated or raced.

`check_wallet` asserts what the auditor looks at, each query in one snapshot: it holds while the wallet works.
tests/integration/wallet/test_invariants.py and test_auditor_mutants.py show that the auditor sees what it is
there to see. The others know nothing of it: they compare in Python.
"""

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.wallet.audit import auditor
from services.wallet.audit import sql as audit_sql


class Verdict(NamedTuple):
    """A stored step, as an acknowledged answer or an event must show it."""

    round_id: str
    step: int  # 0 tombstone, 1 fused, 2 stake, 3 payout
    status: int  # 1 applied, 2 refused, 3 void, 4 reversed
    account_id: int
    account_version: int
    balance_after_minor: int


async def check_wallet(conn: AsyncConnection) -> None:
    """All invariants that the wallet's own database can show: those of its auditor."""
    await _hold(conn, *(check.name for check in audit_sql.CHECKS))
    await reviews_end_as_they_say(conn)
    await freezes_are_recorded(conn)


async def postings_are_those_due(conn: AsyncConnection) -> None:
    """I3: exactly the legs that applied settlements, reversals and transfers call for."""
    await _hold(conn, "I3 postings")


async def balances_are_their_postings(conn: AsyncConnection) -> None:
    """I4: every balance is the sum of its postings."""
    await _hold(conn, "I4 sums")


async def histories_chain(conn: AsyncConnection) -> None:
    """I4, I7: versions without gap, each balance from the one before, the account as the last left it."""
    await _hold(conn, "I4 I7 chains")


async def counter_balances_are_derived(conn: AsyncConnection) -> None:
    """I5: checkpoint plus tail is the full sum of the counter-account's postings."""
    await _hold(conn, "I5 counters")


async def rounds_have_one_ending(conn: AsyncConnection) -> None:
    """I2, R8: a payout moves money only on a stake of its own account that was applied."""
    await _hold(conn, "I2 verdicts")


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
            -- Its void was stopped, the round stands all the same, and its payout came after that.
            and not (v.external and v.verdict = 1 and v.missing_minor = s.win_minor - s.stake_minor)
          or (coalesce(v.verdict, 1) = 2) <> (r.round_id is not null)
          or (v.verdict is null) <> (v.verdict_actor = '')
          or r.win_minor - r.stake_minor <> v.missing_minor""",
    )
    await _none(
        conn,
        """
        select round_id from review v where not exists (
          select from settlement s where s.round_id = v.round_id and s.step_key = 0)
        and v.round_id >= (
          select month_id(cast(max(month) + interval '1 month' as date)) from ledger_month
          where archive_time is not null)""",
    )


async def kinds_never_meet(conn: AsyncConnection) -> None:
    """R10: no posting joins two kinds, currencies or operators."""
    await _hold(conn, "I3 pairs")


async def postings_sum_to_zero(conn: AsyncConnection) -> None:
    """I3: per transaction, and so in all. The auditor need not look: one row is both sides."""
    query = "select transaction_id from posting_leg group by transaction_id having sum(amount_minor) <> 0"
    assert not (await conn.execute(text(query))).all()


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


async def _hold(conn: AsyncConnection, *names: str) -> None:
    """Asserts that these checks of the auditor find nothing in all there is."""
    checks = [check for check in audit_sql.CHECKS if check.name in names]
    findings = await auditor.audit_whole(conn, checks)
    broken = {finding.check.name: finding.details for finding in findings if finding.violations}
    assert not broken, f"violated by {broken}"


async def _none(conn: AsyncConnection, query: str) -> None:
    """Asserts that a query for violations finds none."""
    found = [tuple(row) for row in (await conn.execute(text(f"{query} limit 5"))).all()]
    assert not found, f"violated by {found}"
