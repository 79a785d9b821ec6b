"""The files that python -m services.wallet.reads.export writes."""

import asyncio
import csv
import io
import os
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

from services.wallet.reads import export
from services.wallet.records import Movement, MovementType
from tests.integration.wallet.harness import PAYOUT, STAKE, Wallet, new_id
from tests.integration.wallet.reading import adjust, at, move_times, statement, totals


class Ended(NamedTuple):
    """How the command ended."""

    code: int
    out: bytes
    err: str


async def run(url: str, *arguments: str) -> Ended:
    """The command as a shell runs it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.wallet.reads.export",
        *arguments,
        env=os.environ | {"REELMESH_WALLET_DATABASE_URL": url, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out, err.decode())


def rows_of(written: bytes) -> list[dict[str, str]]:
    """The rows of a file of RFC 4180: CRLF ends every line, also the last."""
    assert written.count(b"\r\n") == written.count(b"\n") and written.endswith(b"\r\n")
    return list(csv.DictReader(io.StringIO(written.decode(), newline="")))


async def test_a_statement_s_file_has_its_movements_oldest_first(wallet: Wallet, wallet_url: str) -> None:
    account_id, bet_id, choice_id = await wallet.open(balance=1000), new_id(), new_id()
    await wallet.settle(account_id, round_id=bet_id, stake=100, win=30)
    await wallet.settle(account_id, round_id=choice_id, step=STAKE, stake=50)
    await wallet.settle(account_id, round_id=choice_id, step=PAYOUT, win=5)
    await wallet.roll_back(account_id, bet_id)
    await adjust(wallet, account_id, -7, reason='=HYPERLINK("x"),\u00fc', round_id=bet_id)
    ended = await run(wallet_url, "statement", "--operator", "acme", "--account", str(account_id))
    assert (ended.code, ended.err) == (0, "")
    expected = (await statement(wallet, account_id))[::-1]
    found = rows_of(ended.out)
    assert len(found) == len(expected) == 6
    for row, movement in zip(found, expected, strict=True):
        assert (
            row["type"]
            == ["DEPOSIT", "BET", "STAKE", "PAYOUT", "ROLLBACK", "ADJUSTMENT"][movement.account_version - 1]
        )
        assert (row["account_id"], row["currency_code"]) == (str(account_id), "EUR")
        assert row["account_version"] == str(movement.account_version)
        assert datetime.fromisoformat(row["create_time"]) == movement.create_time.ToDatetime(UTC)
        assert row["create_time"].endswith("Z")
        for name in ("amount", "stake", "win", "balance_after"):
            amount_minor = getattr(movement, name).amount_minor
            assert row[f"{name}_minor"] == str(amount_minor)
            assert row[name] == f"{amount_minor / 100:.2f}"
        for name in ("transaction_id", "round_id", "game_id", "request_id", "actor"):
            assert row[name] == getattr(movement, name)
    # Not a formula to whoever opens it.
    assert found[-1]["reason"] == '\'=HYPERLINK("x"),\u00fc'


async def test_a_statement_s_file_begins_and_ends_at_its_times(wallet: Wallet, wallet_url: str) -> None:
    account_id = await wallet.open(balance=5)
    for _ in range(4):
        await wallet.settle(account_id, stake=1)
    times = {version: at(f"2026-03-01 {10 + version}:00") for version in range(1, 6)}
    await move_times(wallet, account_id, times)
    between = ("--start", "2026-03-01T12:00", "--end", "2026-03-01T17:00:00+02:00")
    ended = await run(wallet_url, "statement", "--operator", "acme", "--account", str(account_id), *between)
    assert [row["account_version"] for row in rows_of(ended.out)] == ["2", "3", "4"]


async def test_a_day_s_file_says_its_checksums_and_is_whole_or_not_there(
    wallet: Wallet, wallet_url: str, tmp_path: Path
) -> None:
    account_id = await wallet.open(operator_id="filed", player_id="=1+1", balance=1000)
    await wallet.settle(account_id, stake=100, win=30)
    yen_id = await wallet.open(operator_id="filed", balance=9000, currency_code="JPY")
    for id in (account_id, yen_id):
        await move_times(wallet, id, {version: at("2026-03-01 12:00") for version in (1, 2)})
    path = tmp_path / "day.csv"
    day = ("day", "--operator", "filed", "--day", "2026-03-01")
    ended = await run(wallet_url, *day, "--output", str(path))
    found = await totals(wallet, "2026-03-01", operator_id="filed")
    assert (ended.code, ended.out) == (0, b"")
    assert ended.err.splitlines() == [
        f"EUR: checksum {found['EUR'].checksum} of 6 postings",
        f"JPY: checksum {found['JPY'].checksum} of 2 postings",
    ]
    rows = rows_of(path.read_bytes())
    assert {row["player_id"] for row in rows if row["currency_code"] == "EUR"} == {"'=1+1"}
    assert [row["amount"] for row in rows if row["currency_code"] == "JPY"] == ["-9000", "9000"]
    one = await run(wallet_url, *day, "--currency", "JPY")
    assert rows_of(one.out) == [row for row in rows if row["currency_code"] == "JPY"]
    # What fails leaves neither a file nor a part of one, and not its predecessor's place.
    before = path.read_bytes()
    failed = await run(wallet_url, *day[:-1], "2026-02-30", "--output", str(path))
    assert failed.code == 1 and "FIELD_INVALID" in failed.err and len(failed.err.splitlines()) == 1
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["day.csv"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--operator", "rival", "--account", "ACCOUNT"), "ACCOUNT_NOT_FOUND"),
        (("--operator", "acme", "--account", "ACCOUNT", "--start", "yesterday"), "no time like 2026"),
    ],
)
async def test_what_cannot_be_exported_is_said_in_one_line(
    wallet: Wallet, wallet_url: str, arguments: tuple[str, ...], problem: str
) -> None:
    account_id = str(await wallet.open(balance=5))
    ended = await run(wallet_url, "statement", *(a.replace("ACCOUNT", account_id) for a in arguments))
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, b"", 1)
    assert problem in ended.err


@pytest.mark.parametrize("account", ["0", "-6", "x", str(2**63)])
async def test_what_can_be_no_account_does_not_reach_the_database(wallet_url: str, account: str) -> None:
    ended = await run(wallet_url, "statement", "--operator", "acme", "--account", account)
    assert (ended.code, ended.out) == (1, b"") and "is no account's id" in ended.err


@pytest.mark.parametrize(
    ("amount_minor", "currency_code", "text"),
    [
        (-5, "EUR", "-0.05"),
        (0, "EUR", "0.00"),
        (123456, "EUR", "1234.56"),
        (2**53, "EUR", "90071992547409.92"),
        (-5, "JPY", "-5"),
        (10, "KWD", "0.010"),
        (-1, "BTC", "-0.00000001"),
        (2**53, "BTC", "90071992.54740992"),
    ],
)
def test_an_amount_is_written_with_all_digits_of_its_currency(
    amount_minor: int, currency_code: str, text: str
) -> None:
    assert export.decimal(amount_minor, currency_code) == text


def test_a_time_is_written_in_utc_whatever_zone_the_database_shows_it_in() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    movement = Movement(
        account_id=6,
        account_version=1,
        create_time=datetime(2026, 3, 1, 2, 0, 0, 7, tzinfo=zone),
        type=MovementType.DEPOSIT,
        transaction_id=UUID(int=1),
        amount_minor=5,
        stake_minor=0,
        win_minor=0,
        balance_after_minor=5,
        round_id=None,
        game_id="",
        request_id=UUID(int=2),
        actor="",
        reason="",
    )
    row = dict(zip(export.columns(Movement), export.cells(movement, "EUR"), strict=True))
    assert row["create_time"] == "2026-02-28T20:30:00.000007Z"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "'"])
def test_no_text_is_a_formula_and_each_can_be_told_from_the_others(start: str) -> None:
    text = f"{start}1+1|cmd"
    assert export.harmless(text) == f"'{text}"
    assert export.harmless(f"a{text}") == f"a{text}"
    assert export.harmless("") == ""


async def test_a_statement_is_found_by_its_player_too(wallet: Wallet, wallet_url: str) -> None:
    account_id = await wallet.open(balance=1000, player_id=(player_id := new_id()))
    await wallet.open(balance=5, player_id=player_id, currency_code="USD")
    await wallet.settle(account_id, stake=100, win=30)
    by_id = await run(wallet_url, "statement", "--operator", "acme", "--account", str(account_id))
    named = ("--player", player_id, "--currency", "EUR")
    by_player = await run(wallet_url, "statement", "--operator", "acme", *named)
    assert (by_player.code, by_player.out) == (0, by_id.out) and len(rows_of(by_id.out)) == 2
    for operator, names, complaint in (
        ("another", named, "ACCOUNT_NOT_FOUND"),
        ("acme", ("--player", player_id), "give either --account, or --player and --currency"),
        ("acme", (), "give either --account, or --player and --currency"),
    ):
        ended = await run(wallet_url, "statement", "--operator", operator, *names)
        assert ended.code == 1 and complaint in ended.err and ended.err.count("\n") == 1


async def test_a_day_s_totals_as_a_file_are_those_of_the_rpc(wallet: Wallet, wallet_url: str) -> None:
    day, operator_id = "2026-03-07", "totals-file"
    account_id = await wallet.open(balance=1000, operator_id=operator_id)
    await wallet.settle(account_id, stake=100, win=30)
    await move_times(wallet, account_id, {1: at(f"{day} 12:00"), 2: at(f"{day} 13:00")})
    ended = await run(wallet_url, "totals", "--operator", operator_id, "--day", day)
    [row] = rows_of(ended.out)
    told = (await totals(wallet, day, operator_id=operator_id))["EUR"]
    assert (row["currency_code"], row["checksum"]) == ("EUR", told.checksum)
    for name, value in {"stake_minor": 100, "win_minor": 30, "deposit_minor": 1000, "round_count": 1}.items():
        assert int(row[name]) == value
    assert int(row["posting_count"]) == told.posting_count == 6
