"""The command as it is typed: exit codes, table, JSON, JUnit, and what it needs to be told."""

import asyncio
import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

from reelmesh.conformance.catalogue import ROWS
from reelmesh.conformance.report import catalogue

from deploy.local.ports import free_ports
from tests.conformance.broken import AcceptsAnAlteredBody
from tests.conformance.operator_wallet import PLAYER, TOKEN, OperatorWallet, serving

PAGE = Path(__file__).resolve().parents[2] / "docs/conformance.md"


async def command(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "reelmesh.conformance", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "REELMESH_TOKEN": TOKEN},
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, output.decode(), errors.decode()


async def test_every_case_is_a_row_and_the_balance_is_put_back(tmp_path: Path) -> None:
    wallet = OperatorWallet()
    async with serving(wallet) as target:
        written = ("--json", str(tmp_path / "c.json"), "--junit", str(tmp_path / "c.xml"))
        # The dialect is asked by reflection. `true` restarts nothing, and nothing is forgotten.
        code, output, errors = await command(
            target, "--player", PLAYER, "--restart-command", "true", "--player-command", "false", *written
        )
    assert (code, errors) == (1, "")
    head, _, *lines, summary = output.splitlines()
    assert head == f"external at {target}: rounds of player pat in EUR, whose balance is put back"
    assert [line.split()[0] for line in lines] == [row.number for row in ROWS]
    cases = json.loads((tmp_path / "c.json").read_text())["cases"]
    failed = {case["case"]: case["seen"] for case in cases if case["status"] == "fail"}
    assert failed == dict.fromkeys(("24", "25", "28", "41"), "`false` ended with 1")
    skipped = sum(case["status"] == "skip" for case in cases)
    assert summary == f"{len(ROWS) - 4 - skipped} ok, 4 failed, {skipped} skipped"
    suite = ElementTree.parse(tmp_path / "c.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (
        str(len(ROWS)),
        "4",
        str(skipped),
    )
    assert wallet.memory.balances == {PLAYER: 1_000}


async def test_a_wallet_without_failures_ends_with_0_and_a_broken_one_with_1() -> None:
    async with serving(OperatorWallet()) as target:
        code, output, _ = await command(target, "--player", PLAYER, "--case", "32", "--case", "31")
    assert (code, output.splitlines()[-1]) == (0, "2 ok, 0 failed, 0 skipped")
    async with serving(AcceptsAnAlteredBody()) as target:
        code, output, _ = await command(target, "--player", PLAYER, "--case", "32")
    assert (code, output.splitlines()[-1]) == (1, "0 ok, 1 failed, 0 skipped")


async def test_what_cannot_be_run_ends_with_2_and_says_why() -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    async with serving(OperatorWallet()) as target:
        told = {
            "no target": await command(),
            "--player": await command(target),
            "--keys-file": await command(target, "--dialect", "wallet"),
            "there is no case 64": await command(target, "--player", PLAYER, "--case", "64"),
            "nobody answers": await command(nobody, "--player", PLAYER),
            "NOT_FOUND": await command(target, "--player", "nobody"),
        }
    for words, (code, output, errors) in told.items():
        assert (code, output) == (2, "")
        assert words in errors and len(errors.splitlines()) == 1


def test_the_page_lists_every_case() -> None:
    assert catalogue() in PAGE.read_text()
