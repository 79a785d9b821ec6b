"""kill -9 of our wallet around every call: what was written down is taken up again by another one, once."""

import asyncio
import signal
import uuid
from pathlib import Path

import pytest
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from tests.databases import Databases
from tests.integration.wallet.external.stage import Line, Stage
from tests.integration.wallet.harness import APPLIED, OPERATOR, REAL, VOID, Wallet, new_id, settle_request
from tests.integration.wallet.test_process import Process
from tests.operators import Operator

pytestmark = pytest.mark.tool("openssl")

SECONDS_MAX = 30.0
# Wallet processes that start together.
AT_ONCE = 4
STAKE, WIN = 100, 30
# Where the wallet dies, and what the player with 1,000 has at the operator by then.
BEFORE_STAKE = {"after_commit@wallet.external_stake": 1000, "before_send@Stake": 1000}
STAKE_UNKNOWN = {"before_commit@wallet.external_record": 900}
STAKE_KNOWN = {
    "after_commit@wallet.external_record": 900,
    "before_send@Payout": 900,
    "before_commit@wallet.external_record:2": 930,
    "after_commit@wallet.external_record:2": 930,
}
POINTS = BEFORE_STAKE | STAKE_UNKNOWN | STAKE_KNOWN
CASES = [(point, end) for point in POINTS for end in ("repeated", "voided")]
FEW = [
    ("after_commit@wallet.external_stake", "voided"),
    ("before_commit@wallet.external_record", "repeated"),
    ("before_commit@wallet.external_record", "voided"),
    ("before_commit@wallet.external_record:2", "repeated"),
]


async def test_four_kills_around_a_call_lose_and_double_nothing(
    databases: Databases, operator: Operator, tmp_path: Path
) -> None:
    await kill_at(databases, operator, tmp_path, FEW)


@pytest.mark.long
async def test_every_kill_around_a_call_loses_and_doubles_nothing(
    databases: Databases, operator: Operator, tmp_path: Path
) -> None:
    for first in range(0, len(CASES), AT_ONCE):
        await kill_at(databases, operator, tmp_path, CASES[first : first + AT_ONCE])


async def kill_at(
    databases: Databases, operator: Operator, directory: Path, cases: list[tuple[str, str]]
) -> None:
    """Each case with a database of its own, where no other wallet sends what the killed one left."""
    urls = [databases.create("wallet") for _ in cases]
    try:
        marks = [directory / f"{point}-{end}".replace("/", "-") for point, end in cases]
        works = [
            one_kill(url, operator, mark, *case) for url, mark, case in zip(urls, marks, cases, strict=True)
        ]
        for result in await asyncio.gather(*works, return_exceptions=True):
            if result is not None:
                raise result
    finally:
        for url in urls:
            databases.drop(url)


async def one_kill(url: str, operator: Operator, mark: Path, point: str, end: str) -> None:
    """A wallet that dies at the point; then one that lives."""
    player_id, round_id = str(uuid.uuid4()), new_id()
    await operator.open(player_id, balance=1000)
    process = Process(
        url,
        environment={
            "REELMESH_EXTERNAL_WALLETS_PATH": str(operator.wallets_path),
            "REELMESH_FAIL": point,
            "REELMESH_FAIL_MARK": str(mark),
        },
    )
    try:
        account_id = await open_account(process, player_id)
        request = settle_request(account_id, round_id=round_id, stake=STAKE, win=WIN)
        answered = False
        try:
            settled = (await process.stub("gateway").Settle(request)).settlement
            answered = settled.status == APPLIED
        except DomainError:
            pass
        assert await process.ended() == -signal.SIGKILL
    finally:
        process.kill()
    assert await operator.balance(player_id) == POINTS[point]
    # The reply leaves before the payout is made, and not before the stake is recorded.
    assert not answered or point in STAKE_KNOWN
    line = Line(operator.client())
    async with Wallet(url, wallets={OPERATOR: line}) as survivor:
        stage = Stage(survivor, operator, line, player_id, account_id)
        await take_up(stage, round_id, end=end, stake_known=point in STAKE_KNOWN)
        await stage.quiet()
        await survivor.check()
    await line.client.close()


async def take_up(stage: Stage, round_id: str, *, end: str, stake_known: bool) -> None:
    """What gateway or game do next, and the sender; then the round is the same everywhere."""
    if end == "repeated":
        settled = await stage.settle(round_id=round_id, stake=STAKE, win=WIN)
    else:
        settled = await stage.wallet.void(stage.account_id, round_id)
    applied = end == "repeated" or stake_known
    assert settled.status == (APPLIED if applied else VOID)
    async with asyncio.timeout(SECONDS_MAX):
        while any(call.state == 1 for call in (await stage.calls(round_id)).values()):
            await stage.wallet.external.send_due(OPERATOR)
            await asyncio.sleep(0.05)
    assert await stage.balance() == (1000 - STAKE + WIN if applied else 1000)
    assert await stage.in_transit() == 0


async def open_account(process: Process, player_id: str) -> int:
    """Once the process serves."""
    request = wallet_pb2.OpenAccountRequest(
        operator_id=OPERATOR, player_id=player_id, currency_code="EUR", kind=REAL
    )
    stub = process.stub("gateway")
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            try:
                opened: int = (await stub.OpenAccount(request)).account.account_id
                return opened
            except DomainError:
                await asyncio.sleep(0.1)
