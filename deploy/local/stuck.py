"""`make stuck`: calls that operators' own wallets did not answer: listed, sent again, stopped, settled."""

import asyncio
from pathlib import Path
from typing import Any

from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from rich.console import Console

from deploy.local import reach
from deploy.local.errors import LocalError, NobodyAnswers
from services.common.errors import DomainError

_STEPS = {
    "stake": wallet_pb2.EXTERNAL_STEP_STAKE,
    "payout": wallet_pb2.EXTERNAL_STEP_PAYOUT,
    "void": wallet_pb2.EXTERNAL_STEP_VOID,
}
_NAMES = {number: name for name, number in _STEPS.items()}
_USAGE = "make stuck CALL=<round id>/<stake|payout|void> ACTION=force|stop|settle ACTOR=<who> REASON=<why>"
_ACTIONS = {
    "force": wallet_pb2.STUCK_ACTION_FORCE,
    "stop": wallet_pb2.STUCK_ACTION_STOP,
    "settle": wallet_pb2.STUCK_ACTION_SETTLE,
}


def stuck(
    console: Console,
    *,
    target: str,
    keys_path: Path,
    operator_id: str,
    call: str,
    action: str,
    actor: str,
    reason: str,
) -> None:
    """Without `call` the list; with it ("<round_id>/<step>") the action on it. Raises LocalError."""
    round_id, _, step = call.partition("/")
    if (call or action or actor or reason) and (
        step not in _STEPS or action not in _ACTIONS or not (actor and reason)
    ):
        raise LocalError(f"an action needs all of it: {_USAGE}")
    if not keys_path.exists():
        raise NobodyAnswers("no mesh found: start it with `make run` first")
    try:
        asyncio.run(
            _stuck(console, target, keys_path.parent, operator_id, round_id, step, action, actor, reason)
        )
    except DomainError as error:
        if error.reason in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
            raise NobodyAnswers("the wallet does not answer: is `make run` running?") from None
        raise LocalError(str(error)) from None


async def _stuck(
    console: Console,
    target: str,
    directory: Path,
    operator_id: str,
    round_id: str,
    step: str,
    action: str,
    actor: str,
    reason: str,
) -> None:
    channel = reach.channel(directory, target, service="wallet")
    stub: Any = channel.stub(wallet_pb2_grpc.WalletServiceStub)
    try:
        if not round_id:
            _print(console, operator_id, await _list(stub, operator_id))
            return
        request = wallet_pb2.ResolveStuckCallRequest(
            operator_id=operator_id,
            round_id=round_id,
            step=_STEPS[step],
            action=_ACTIONS[action],
            actor=actor,
            reason=reason,
        )
        call = (await stub.ResolveStuckCall(request)).call
        state = "stopped" if call.stopped else f"sent {call.attempts} times"
        if call.settled_by_hand:
            state = "settled by hand"
        error = f", last error: {call.last_error}" if call.last_error else ""
        console.print(f"{call.round_id}/{step}: {state}{error}", soft_wrap=True, markup=False)
    finally:
        await channel.close()


async def _list(stub: Any, operator_id: str) -> list[wallet_pb2.StuckCall]:
    calls: list[wallet_pb2.StuckCall] = []
    request = wallet_pb2.ListStuckCallsRequest(operator_id=operator_id, page_size=200)
    while True:
        page = await stub.ListStuckCalls(request)
        calls += page.calls
        if not page.next_page_token:
            return calls
        request.page_token = page.next_page_token


def _print(console: Console, operator_id: str, calls: list[wallet_pb2.StuckCall]) -> None:
    if not calls:
        console.print(f"operator {operator_id}: every call to its wallet is answered", markup=False)
        return
    # Lines, not a table: what is to be copied must not be cut to the width of a terminal.
    for call in calls:
        amount = call.amount
        later = (
            f"next {call.next_time.ToDatetime():%H:%M:%S}"
            if call.HasField("next_time")
            else "not sent by itself"
        )
        lines = (
            f"{call.round_id}/{_NAMES[call.step]}",
            f"  account {call.account_id}, {amount.amount_minor} minor units of {amount.currency_code}",
            f"  sent {call.attempts} times since {call.create_time.ToDatetime():%m-%d %H:%M:%S} UTC,"
            f" {'stopped' if call.stopped else later}; last error: {call.last_error or 'none'}",
        )
        for line in lines:
            console.print(line, soft_wrap=True, markup=False)
    console.print(f"\n{len(calls)} not answered: {_USAGE}", soft_wrap=True, markup=False)
    console.print("settle: of a stopped one, once what it asks for was done by hand", markup=False)
