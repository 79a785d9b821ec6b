"""The totals of a day, and the same day as CSV: they agree, and anybody can check that they do."""

import asyncio
import csv
import hashlib
import io
import re
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text

from services.common import db
from services.common.errors import DomainError
from services.wallet.reads import export, statements
from tests.integration.wallet.harness import CONTEXT, DEMO, PAYOUT, STAKE, Wallet, money, new_id
from tests.integration.wallet.reading import adjust, at, balance, move_times, totals

ROOT = Path(__file__).parents[3]
DAY, NOON = "2026-03-01", at("2026-03-01 12:00")


async def a_day(wallet: Wallet, operator_id: str) -> int:
    """Everything that moves money on that day, in two currencies, real and demo; the first account."""
    account_id = await wallet.open(operator_id=operator_id, balance=1000)
    bet_id, choice_id = new_id(), new_id()
    await wallet.settle(account_id, round_id=bet_id, stake=100, win=30)
    await wallet.settle(account_id, stake=11)
    await wallet.settle(account_id, round_id=choice_id, step=STAKE, stake=50)
    await wallet.settle(account_id, round_id=choice_id, step=PAYOUT, win=80)
    await wallet.settle(account_id, stake=100_000)  # refused
    await wallet.void(account_id, new_id())
    await wallet.roll_back(account_id, bet_id)
    await wallet.withdraw(account_id, 200, operator_id=operator_id)
    await adjust(wallet, account_id, -7, operator_id=operator_id)
    await adjust(wallet, account_id, 3, operator_id=operator_id)
    other_id = await wallet.open(operator_id=operator_id, balance=400)
    await wallet.settle(other_id, stake=5, win=1)
    yen_id = await wallet.open(operator_id=operator_id, balance=9000, currency_code="JPY")
    await wallet.settle(yen_id, stake=500, currency_code="JPY")
    demo_id = await wallet.open(operator_id=operator_id, balance=7777, kind=DEMO)
    await wallet.settle(demo_id, stake=77, win=7)
    for id in (account_id, other_id, yen_id, demo_id):
        await move_times(wallet, id, {version: NOON for version in range(1, 12)})
    return account_id


async def test_a_day_s_totals_are_the_sums_of_what_was_done(wallet: Wallet) -> None:
    await a_day(wallet, "totals")
    await a_day(wallet, "totals-rival")
    found = await totals(wallet, DAY, operator_id="totals")
    for row in found.values():
        assert len(row.checksum) == 16
        row.ClearField("checksum")
    assert found["EUR"] == wallet_pb2.DailyTotals(
        currency_code="EUR",
        round_count=4,
        stake=money(166),
        win=money(111),
        stake_reversed=money(100),
        win_reversed=money(30),
        deposit=money(1400),
        withdrawal=money(200),
        adjustment=money(-4),
        # Two deposits, four stakes, three wins, two of a rollback, a withdrawal, two adjustments.
        posting_count=2 * 14,
    )
    assert found["JPY"] == wallet_pb2.DailyTotals(
        currency_code="JPY",
        round_count=1,
        stake=money(500, "JPY"),
        win=money(0, "JPY"),
        stake_reversed=money(0, "JPY"),
        win_reversed=money(0, "JPY"),
        deposit=money(9000, "JPY"),
        withdrawal=money(0, "JPY"),
        adjustment=money(0, "JPY"),
        posting_count=2 * 2,
    )
    assert set(found) == {"EUR", "JPY"}


async def test_one_currency_alone_has_the_same_totals(wallet: Wallet) -> None:
    await a_day(wallet, "one-currency")
    whole = await totals(wallet, DAY, operator_id="one-currency")
    for code in ("EUR", "JPY"):
        alone = await totals(wallet, DAY, operator_id="one-currency", currency_code=code)
        assert alone == {code: whole[code]}
    assert await totals(wallet, DAY, operator_id="one-currency", currency_code="USD") == {}
    assert await totals(wallet, DAY, operator_id="nobody") == {}


async def test_the_sum_of_all_days_is_the_balance(wallet: Wallet) -> None:
    account_id = await wallet.open(operator_id="days", balance=1000)
    for _ in range(8):
        await wallet.settle(account_id, stake=100, win=30)
    await move_times(wallet, account_id, {v: NOON + v * timedelta(hours=13) for v in range(1, 10)})
    sum_minor, round_counts = 0, []
    for number in range(7):
        day = (NOON + timedelta(days=number)).date().isoformat()
        for row in (await totals(wallet, day, operator_id="days")).values():
            sum_minor += row.deposit.amount_minor - row.stake.amount_minor + row.win.amount_minor
            round_counts.append(row.round_count)
    assert (sum_minor, sum(round_counts)) == (440, 8) and len(round_counts) == 5
    assert await balance(wallet, account_id, operator_id="days") == (440, 9)


async def test_a_day_begins_at_midnight_utc_and_ends_before_the_next(wallet: Wallet) -> None:
    account_id = await wallet.open(operator_id="midnight", balance=1000)
    for _ in range(4):
        await wallet.settle(account_id, stake=1)
    midnight, microsecond = at("2026-03-01 00:00"), timedelta(microseconds=1)
    times = [midnight - microsecond, midnight, midnight + timedelta(days=1) - microsecond]
    times = [*times, midnight + timedelta(days=1)]
    await move_times(wallet, account_id, {1: NOON} | dict(enumerate(times, start=2)))
    for day, count in (("2026-02-28", 1), ("2026-03-01", 2), ("2026-03-02", 1), ("2026-03-03", 0)):
        found = await totals(wallet, day, operator_id="midnight")
        assert (found["EUR"].round_count if found else 0) == count


async def test_every_step_of_a_round_counts_on_its_own_day(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(operator_id="steps"), new_id()
    await wallet.deposit(account_id, 1000, operator_id="steps")
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=50)
    await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=80)
    await wallet.roll_back(account_id, round_id)
    await move_times(wallet, account_id, {v: NOON + v * timedelta(days=1) for v in range(1, 5)})
    days = [await totals(wallet, f"2026-03-0{day}", operator_id="steps") for day in range(2, 6)]
    rows = [day["EUR"] for day in days]
    assert [row.deposit.amount_minor for row in rows] == [1000, 0, 0, 0]
    assert [row.stake.amount_minor for row in rows] == [0, 50, 0, 0]
    assert [row.win.amount_minor for row in rows] == [0, 0, 80, 0]
    assert [row.stake_reversed.amount_minor for row in rows] == [0, 0, 0, 50]
    assert [row.win_reversed.amount_minor for row in rows] == [0, 0, 0, 80]
    assert [row.posting_count for row in rows] == [2, 2, 2, 4]
    assert [row.round_count for row in rows] == [0, 1, 0, 0]


async def day_csv(wallet: Wallet, operator_id: str) -> tuple[str, dict[str, tuple[int, str]]]:
    """The day's file, and the numbers and checksums that its writer tells."""
    file = io.StringIO(newline="")
    async with db.transaction(wallet.engine, "export") as conn:
        told = await export.write_day(conn, file, operator_id=operator_id, day=NOON.date(), currency_code="")
    return file.getvalue(), told


async def test_whoever_has_the_file_can_compute_its_totals_and_checksums(wallet: Wallet) -> None:
    await a_day(wallet, "checked")
    written, told = await day_csv(wallet, "checked")
    hash_sums: dict[str, int] = defaultdict(int)
    sums: dict[str, int] = defaultdict(int)
    counts: dict[str, int] = defaultdict(int)
    for cells in csv.DictReader(io.StringIO(written, newline="")):
        # As services/wallet/README.md says.
        line = "|".join(cells[name] for name in ("transaction_id", "leg", "account_id", "amount_minor"))
        code = cells["currency_code"]
        hash_sums[code] += int.from_bytes(hashlib.sha256(line.encode()).digest()[:8], "big")
        sums[code] += int(cells["amount_minor"])
        counts[code] += 1
    found = await totals(wallet, DAY, operator_id="checked")
    assert set(found) == set(counts) == {"EUR", "JPY"}
    for code, row in found.items():
        assert row.checksum == f"{hash_sums[code] % 2**64:016x}"
        assert (row.posting_count, sums[code]) == (counts[code], 0)
        assert told[code] == (row.posting_count, row.checksum)


async def test_the_program_of_the_documentation_computes_them_from_the_file(wallet: Wallet) -> None:
    await a_day(wallet, "documented")
    written, told = await day_csv(wallet, "documented")
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/books.md").read_text(), re.DOTALL)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(written.encode())
    said = [line.split() for line in out.decode().splitlines()]
    assert {code: checksum for code, checksum in (one for one in said if len(one) == 2)} == {
        code: checksum for code, (_, checksum) in told.items()
    }
    moved = {
        (code, kind, leg): int(minor) for code, kind, leg, minor in (one for one in said if len(one) == 4)
    }
    found = await totals(wallet, DAY, operator_id="documented")
    assert set(found) == {"EUR", "JPY"}
    for code, row in found.items():
        of = {(kind, leg): minor for (at_code, kind, leg), minor in moved.items() if at_code == code}
        assert of.get(("BET", "1"), 0) + of.get(("STAKE", "1"), 0) == row.stake.amount_minor
        assert of.get(("BET", "2"), 0) + of.get(("PAYOUT", "2"), 0) == row.win.amount_minor
        assert of["DEPOSIT", "1"] == row.deposit.amount_minor


ALTERATIONS = [
    "update posting set amount_minor = amount_minor - 1 where transaction_id = :id",
    "update posting set amount_minor = -amount_minor where transaction_id = :id",
    "update posting set account_id = account_id + 2 where transaction_id = :id",
    "update posting set counter_account_id = counter_account_id + 2 where transaction_id = :id",
    "update posting set account_id = counter_account_id, counter_account_id = account_id"
    " where transaction_id = :id",
    "update posting set leg = 2 where transaction_id = :id",
    "delete from posting where transaction_id = :id",
    "insert into posting select transaction_id, 2, account_id, counter_account_id, 1 from posting"
    " where transaction_id = :id",
]


@pytest.mark.parametrize("alteration", ALTERATIONS)
async def test_no_posting_can_be_changed_without_changing_the_checksum(
    wallet: Wallet, alteration: str
) -> None:
    operator_id = f"altered-{ALTERATIONS.index(alteration)}"
    account_id = await wallet.open(operator_id=operator_id, balance=1000)
    settled = await wallet.settle(account_id, stake=10)
    day = datetime.now(UTC).date()
    async with wallet.engine.connect() as conn:

        async def checksum() -> str:
            [row] = await statements.get_daily_totals(
                conn, operator_id=operator_id, day=day, currency_code="EUR"
            )
            return statements.checksum(row.hash_sum)

        before = await checksum()
        assert await checksum() == before
        altered = await conn.execute(text(alteration), {"id": settled.round_id})
        assert altered.rowcount == 1
        assert await checksum() != before
        await conn.rollback()


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"operator_id": ""}, "FIELD_MISSING", "operator_id"),
        ({"day": ""}, "FIELD_MISSING", "day"),
        ({"day": "2026-02-30"}, "FIELD_INVALID", "day"),
        ({"day": "9999-12-31"}, "FIELD_INVALID", "day"),
        ({"currency_code": "eur"}, "CURRENCY_UNKNOWN", ""),
    ],
)
async def test_a_day_that_makes_no_sense_is_refused(
    wallet: Wallet, fields: dict[str, Any], reason: str, field: str
) -> None:
    request = wallet_pb2.GetDailyTotalsRequest(**{"operator_id": "acme", "day": DAY, **fields})
    with pytest.raises(DomainError) as caught:
        await wallet.handlers.GetDailyTotals(request, CONTEXT)
    assert (caught.value.reason, caught.value.metadata.get("field", "")) == (reason, field)


async def test_tomorrow_is_refused(wallet: Wallet) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    request = wallet_pb2.GetDailyTotalsRequest(operator_id="acme", day=tomorrow)
    with pytest.raises(DomainError) as caught:
        await wallet.handlers.GetDailyTotals(request, CONTEXT)
    assert (caught.value.reason, caught.value.metadata["field"]) == ("FIELD_INVALID", "day")
