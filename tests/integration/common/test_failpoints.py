"""Failpoints kill or hold a real process exactly where they are named, and nowhere else."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from reelmesh.wallet.v1 import wallet_pb2

from services.common.failpoints import Failpoint
from tests.integration.common.toy import Mesh, ok

REACH = """
import asyncio
from services.common import failpoints
async def main():
    for name in ("other", "mine", "mine", "mine"):
        await failpoints.reach("before_commit", name)
        await failpoints.reach("after_commit", name)
        print(name, flush=True)
asyncio.run(main())
"""

CALL = """
import asyncio, sys
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from services.common.client import GuardedChannel
async def main():
    channel = GuardedChannel(sys.argv[1], caller="gateway", identity_key=sys.argv[2])
    stub = channel.stub(wallet_pb2_grpc.WalletServiceStub)
    await stub.GetAccount(wallet_pb2.GetAccountRequest(account_id=7))
    print("answered", flush=True)
    await channel.close()
asyncio.run(main())
"""

SERVE = """
import asyncio, os, sys
from contextlib import AsyncExitStack
from tests.integration.common.toy import Mesh, ok
async def main():
    async with AsyncExitStack() as stack:
        _, target = await Mesh(stack).serve(ok)
        print(target, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def spawn(code: str, *arguments: str, fail: str, mark: Path) -> asyncio.subprocess.Process:
    environ = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "REELMESH_FAIL_MARK": str(mark)}
    if fail:
        environ["REELMESH_FAIL"] = fail
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", code, *arguments),
        env=os.environ | environ,
        stdout=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize(
    ("fail", "printed", "marked"),
    [
        ("", "other mine mine mine", None),
        ("before_commit", "", "before_commit@other"),
        ("before_commit@mine", "other", "before_commit@mine"),
        ("after_commit@mine:3", "other mine mine", "after_commit@mine"),
        ("before_commit@mine:4", "other mine mine mine", None),
        ("mid_relay", "other mine mine mine", None),
    ],
)
async def test_the_process_dies_at_the_named_reach_and_leaves_its_mark(
    tmp_path: Path, fail: str, printed: str, marked: str | None
) -> None:
    mark = tmp_path / "mark"
    process = await spawn(REACH, fail=fail, mark=mark)
    output, _ = await process.communicate()
    assert output.decode().split() == printed.split()
    assert process.returncode == (0 if marked is None else -signal.SIGKILL)
    assert mark.exists() is (marked is not None)
    if marked is not None:
        assert mark.read_text() == f"{marked} pid={process.pid}\n"


async def test_a_hold_waits_until_its_mark_is_deleted(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    failpoint = Failpoint({"REELMESH_FAIL": "before_commit:hold", "REELMESH_FAIL_MARK": str(mark)})
    held = asyncio.ensure_future(failpoint.reach("before_commit", "settle"))
    done, _ = await asyncio.wait([held], timeout=0.1)
    assert not done and mark.exists()
    await failpoint.reach("before_commit", "settle")
    mark.unlink()
    await asyncio.wait_for(held, 1)


@pytest.mark.parametrize("text", ["", "UPPER", "point:0", "point:x", "point:hold:2", "point@"])
def test_a_misspelt_failpoint_is_an_error_not_a_test_that_passes(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="REELMESH_FAIL must be"):
        Failpoint({"REELMESH_FAIL": text, "REELMESH_FAIL_MARK": str(tmp_path / "mark")})


@pytest.mark.parametrize(("fail", "arrived"), [("before_send@GetAccount", 0), ("after_send@GetAccount", 1)])
async def test_a_caller_dies_before_or_after_its_request_left(
    mesh: Mesh, tmp_path: Path, fail: str, arrived: int
) -> None:
    release = asyncio.Event()

    async def slow(request: Any, context: Any) -> Any:
        await release.wait()
        return await ok(request, context)

    toy, target = await mesh.serve(slow)
    process = await spawn(CALL, target, "a-key-for-tests-only", fail=fail, mark=tmp_path / "mark")
    output, _ = await process.communicate()
    release.set()
    assert (output, process.returncode) == (b"", -signal.SIGKILL)
    assert len(toy.requests) == arrived and (tmp_path / "mark").read_text().startswith(fail)


async def test_a_server_dies_after_its_reply_and_the_reply_arrives(mesh: Mesh, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    process = await spawn(SERVE, fail="after_reply@GetAccount", mark=mark)
    assert process.stdout is not None
    target = (await process.stdout.readline()).decode().strip()
    await mesh.wallet(target).GetAccount(wallet_pb2.GetAccountRequest())
    assert await asyncio.wait_for(process.wait(), 5) == -signal.SIGKILL
    assert mark.read_text().startswith("after_reply@GetAccount")
