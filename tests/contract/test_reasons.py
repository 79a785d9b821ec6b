"""Every reason of the contract, made to happen in a running mesh: as documented, nothing moved or leaked."""

import asyncio
import re

import pytest
from reelmesh.type.v1 import error_pb2

from services.common.errors import DOMAIN, spec_of
from tests.contract import (
    rows_events,
    rows_fields,
    rows_inside,
    rows_keys,
    rows_play,
    rows_policy,
    rows_reads,
)
from tests.contract.rows_fields import Row
from tests.mesh.asking import Request, Rest, Told
from tests.mesh.stage import Stage

ROWS = [
    *rows_fields.ROWS,
    *rows_play.ROWS,
    *rows_policy.ROWS,
    *rows_inside.ROWS,
    *rows_reads.ROWS,
    *rows_events.ROWS,
    *rows_keys.ROWS,
]
REASONS = {name.removeprefix("ERROR_REASON_") for name in error_pb2.ErrorReason.keys()} - {"UNSPECIFIED"}

ANSWERED_S_MAX = 10.0
TRACE_ID = re.compile("[0-9a-f]{32}")
# What only someone inside may see: code, SQL, drivers, addresses, files.
INSIDE = re.compile(
    r"""Traceback|\.py\b|\bline \d+|<class|Exception|psycopg|sqlalchemy|grpc\.|asyncio|postgres
    |\bselect\b|\binsert\b|\bupdate\b|\brelation\b|DETAIL:|:\d{4,5}\b|127\.0\.0\.1|localhost|dns:|ipv4:
    |/(work|tmp|home|usr|root)/|outcome|win_minor""",
    re.VERBOSE | re.IGNORECASE,
)


def test_every_reason_has_a_row() -> None:
    assert {row.reason for row in ROWS} == REASONS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.reason}: {row.what}")
async def test_a_refusal_is_as_documented_and_moves_nothing(stage: Stage, row: Row) -> None:
    request = await row.arrange(stage)
    before = await stage.money()
    told = await stage.refusal(request)
    assert told.reason == row.reason, told
    assert set(told.metadata) == set(spec_of(row.reason).metadata_keys)
    if isinstance(request, Rest):
        check_problem(told)
    else:
        check_status(told)
    assert told.message and not INSIDE.search(told.text), told.text
    assert await stage.money() == before
    if class_of(row.reason) == "FINAL":
        again = await stage.refusal(request)
        assert (again.reason, again.message, again.metadata) == (told.reason, told.message, told.metadata)
    if row.answered_later:
        await stage.restore()
        await until_answered(stage, request)


async def until_answered(stage: Stage, request: Request) -> None:
    """Sends the same again and again, as a client does that is told to, until it is answered for good."""
    async with asyncio.timeout(ANSWERED_S_MAX):
        while True:
            answer = await stage.send(request)
            if not isinstance(answer, Told) or class_of(answer.reason) == "FINAL":
                return
            assert class_of(answer.reason) == "RETRY_SAME_ID", answer
            await asyncio.sleep(0.1)


def class_of(reason: str) -> str:
    """FINAL, NOT_YET, ..."""
    return error_pb2.ErrorClass.Name(getattr(spec_of(reason), "class")).removeprefix("ERROR_CLASS_")


def check_problem(told: Told) -> None:
    """RFC 9457, with the reason, the class and the trace id."""
    spec = spec_of(told.reason)
    assert told.http_status == spec.http_status
    assert told.content_type == "application/problem+json"
    assert told.body["status"] == told.http_status
    assert told.body["class"] == class_of(told.reason)
    assert told.body["type"].endswith(f"/{told.reason}") and told.body["title"]
    assert told.body["trace_id"] == told.trace_id and TRACE_ID.fullmatch(told.trace_id)
    retry_after_ms = int(told.metadata.get("retry_after_ms", "0"))
    assert int(told.headers.get("retry-after", "0")) == -(-retry_after_ms // 1000)
    assert ("allow" in told.headers) == (told.http_status == 405)


def check_status(told: Told) -> None:
    """google.rpc.Status with exactly one ErrorInfo, and the trace id."""
    assert told.grpc_code == spec_of(told.reason).grpc_code
    assert told.details == 1 and told.domain == DOMAIN
    assert TRACE_ID.fullmatch(told.trace_id)
