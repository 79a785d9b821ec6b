"""Many spins and choices of one player over one stream, each a call of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import Context
from typing import Any

from reelmesh.gateway.v1 import gateway_pb2

from services.common import fields, telemetry
from services.common.errors import FieldMissing, Unavailable
from services.gateway.door import Caller, Door
from services.gateway.operations import BY_NAME
from services.gateway.tracing import told, traced

CALL_ID_LENGTH_MAX = 64
# Calls of one stream that are under way; beyond it nothing is read from it.
CALLS_MAX = 64
_OPERATIONS = {"spin": BY_NAME["Spin"], "act": BY_NAME["Act"]}


async def play(
    door: Door,
    caller: Caller,
    requests: AsyncIterator[gateway_pb2.PlayRequest],
    leaving: Callable[[], Awaitable[None]],
) -> AsyncIterator[gateway_pb2.PlayResponse]:
    """The answers, in the order in which they are there. Ends when what was asked is answered.

    Whoever leaves leaves its spins to the gateway (R6). When the gateway itself does, or the stream is old,
    `leaving` returns: what was taken is answered, then it ends. Errors: UNAVAILABLE then; what has no answer
    was not begun.
    """
    answers: asyncio.Queue[gateway_pb2.PlayResponse | None] = asyncio.Queue()
    room = asyncio.Semaphore(CALLS_MAX)
    calls: set[asyncio.Task[None]] = set()

    async def answer(request: gateway_pb2.PlayRequest) -> None:
        response = gateway_pb2.PlayResponse(call_id=request.call_id[:CALL_ID_LENGTH_MAX])
        kind = request.WhichOneof("action")
        try:
            with traced(_OPERATIONS[kind or "spin"]):
                response.trace_id = telemetry.trace_id()
                result = await _call(door, caller, request, kind)
        except Exception as error:
            response.error.CopyFrom(told(error).to_proto())
        else:
            getattr(response, kind or "").CopyFrom(result)
        answers.put_nowait(response)

    async def take() -> None:
        async for request in requests:
            await room.acquire()
            # In a context of its own: each call is a trace, as each spin of a unary client is.
            task = asyncio.get_running_loop().create_task(answer(request), context=Context())
            calls.add(task)
            task.add_done_callback(calls.discard)

    async def read() -> None:
        taking, ending = asyncio.create_task(take()), asyncio.ensure_future(leaving())
        try:
            await asyncio.wait((taking, ending), return_when=asyncio.FIRST_COMPLETED)
            whole = taking.done()
            taking.cancel()
            await asyncio.wait((taking, *calls))
            if not whole:
                raise Unavailable()
            taking.result()
        finally:
            taking.cancel()
            ending.cancel()
            answers.put_nowait(None)

    reading = asyncio.create_task(read())
    try:
        while (response := await answers.get()) is not None:
            # Only when it is taken is there room again: who does not read is not read either.
            yield response
            room.release()
        await reading
    finally:
        reading.cancel()
        for task in calls:
            task.cancel()


async def _call(door: Door, caller: Caller, request: gateway_pb2.PlayRequest, kind: str | None) -> Any:
    if request.call_id:
        fields.require_text(request.call_id, "call_id", CALL_ID_LENGTH_MAX)
    if kind is None:
        raise FieldMissing(field="action")
    return await door.call(_OPERATIONS[kind], caller, getattr(request, kind))
