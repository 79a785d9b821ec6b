"""Turns many concurrent calls into few: what waits while a call is in flight goes together in the next."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from opentelemetry import trace
from opentelemetry.trace import Link, Span

from services.common import telemetry
from services.common import telemetry_names as names
from services.common.db import is_data_error, translate
from services.common.errors import DomainError, Internal, Overloaded, Unavailable

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRY_AFTER_MS = 100
# Fewer are few players, to whom the wait would be long and of no use.
LOADED_SIZE = 8


@dataclass(slots=True, eq=False)
class _Entry(Generic[Item, Result]):
    item: Item
    key: Hashable
    future: asyncio.Future[Result] | None  # None: nobody waits
    span: Span


class Batcher(Generic[Item, Result]):
    """Gives items to `execute`, many at a time, one call in flight; idle, an item goes at once and alone.

    `execute` answers one result per item, in order; a DomainError among them is raised to that item's caller.
    When it raises, PostgreSQL's class 22 or 23 (some row is to blame) makes it run again with halves until
    the culprit is alone; any other error is every item's. It must therefore be one transaction, or answer an
    item that it has carried out already from what is stored.
    """

    def __init__(
        self,
        name: str,
        execute: Callable[[Sequence[Item]], Awaitable[Sequence[Result | DomainError]]],
        *,
        key: Callable[[Item], Hashable] | None = None,
        size_max: int = 200,
        queue_max: int = 10_000,
        linger_ms: int = 0,
        gather_ms: int = 0,
        eager: bool = False,
    ) -> None:
        """`key`: one item of a key per batch, the others wait in order. `queue_max`: items that may wait.

        `linger_ms`: how long to wait before every batch; only off the hot path. `gather_ms`: the same, only
        while loaded, when the batch before had LOADED_SIZE items or more: what several hops hold apart
        becomes one batch (docs/decisions/0016). `eager` is for the test that shows why a batch is taken one
        loop turn late: the first of a burst would leave alone.
        """
        self._name = name
        self._execute = execute
        self._key = key
        self._size_max = size_max
        self._queue_max = queue_max
        self._linger_s, self._gather_s = linger_ms / 1000, gather_ms / 1000
        self._size_last = 0
        self._eager = eager
        self._queue: deque[_Entry[Item, Result]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def submit(self, item: Item) -> Result:
        """The item's result. Cancelling the caller cancels neither the item nor its batch.

        Errors: the item's own; OVERLOADED when `queue_max` items wait; UNAVAILABLE after close().
        """
        return await self.put(item)

    def put(self, item: Item) -> asyncio.Future[Result]:
        """As submit, for a caller that keeps the time of its waiting: it may end the future itself."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._enqueue(item, future)
        return future

    def post(self, item: Item) -> None:
        """As submit, for an item whose result and error nobody waits for.

        Errors: OVERLOADED, UNAVAILABLE as above.
        """
        self._enqueue(item, None)

    def _enqueue(self, item: Item, future: asyncio.Future[Result] | None) -> None:
        if self._closing.is_set():
            raise Unavailable()
        if len(self._queue) >= self._queue_max:
            raise Overloaded(retry_after_ms=RETRY_AFTER_MS)
        key = self._key(item) if self._key is not None else None
        self._queue.append(_Entry(item, key, future, trace.get_current_span()))
        if self._task is None:
            first = self._take() if self._eager else []
            # A task of its own, in an empty context: no caller's span, deadline or cancellation reaches it.
            # Its first step runs one loop turn later, after everyone who was woken together with this caller.
            self._task = asyncio.create_task(self._run(first), name=f"batch {self._name}", context=Context())

    async def submit_many(self, items: Sequence[tuple[Item, Span]]) -> list[Result | DomainError]:
        """The results of items that came together, each with its own span, in order; errors are among them.

        As one submit() per item, without a task for each. Cancelling the caller cancels nothing but the wait.
        """
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Result]] = []
        for item, span in items:
            future: asyncio.Future[Result] = loop.create_future()
            futures.append(future)
            if self._closing.is_set():
                future.set_exception(Unavailable())
            elif len(self._queue) >= self._queue_max:
                future.set_exception(Overloaded(retry_after_ms=RETRY_AFTER_MS))
            else:
                key = self._key(item) if self._key is not None else None
                self._queue.append(_Entry(item, key, future, span))
        if self._queue and self._task is None:
            self._task = asyncio.create_task(self._run([]), name=f"batch {self._name}", context=Context())
        results: list[Result | DomainError] = []
        try:
            for future in futures:
                try:
                    results.append(await future)
                except DomainError as error:
                    results.append(error)
        finally:
            # Nobody asks for the rest when the caller was cancelled.
            for future in futures[len(results) :]:
                future.cancel()
        return results

    async def close(self) -> None:
        """Takes no more items and returns when all the earlier ones are answered."""
        self._closing.set()
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self, batch: list[_Entry[Item, Result]]) -> None:
        try:
            while True:
                if not batch and len(self._queue) < self._size_max:
                    await self._linger()
                batch = batch or self._take()
                if not batch:
                    return
                self._size_last = len(batch)
                await self._call(batch)
                batch = []
                # Those just answered may submit again at once: they go with this batch, not behind it.
                await asyncio.sleep(0)
        finally:
            # Only a cancelled loop leaves anything here.
            for entry in [*batch, *self._queue]:
                self._deliver(entry, Unavailable(), trace.INVALID_SPAN_CONTEXT)
            self._queue.clear()
            self._task = None

    async def _linger(self) -> None:
        if self._linger_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._linger_s)
        elif self._gather_s and self._size_last >= LOADED_SIZE:
            await asyncio.sleep(self._gather_s)

    def _take(self) -> list[_Entry[Item, Result]]:
        batch: list[_Entry[Item, Result]] = []
        later: list[_Entry[Item, Result]] = []
        keys: set[Hashable] = set()
        while self._queue and len(batch) < self._size_max:
            entry = self._queue.popleft()
            if self._key is not None and entry.key in keys:
                later.append(entry)
            else:
                keys.add(entry.key)
                batch.append(entry)
        self._queue.extendleft(reversed(later))
        return batch

    async def _call(self, batch: list[_Entry[Item, Result]]) -> None:
        kept = [entry.span.get_span_context() for entry in batch if entry.span.is_recording()]
        links = [Link(context) for context in kept]
        with telemetry.span(
            f"batch {self._name}", links=links, attributes={names.BATCH_SIZE: len(batch)}
        ) as span:
            await self._call_part(batch, span)

    async def _call_part(self, batch: list[_Entry[Item, Result]], span: Span) -> None:
        results: Sequence[Result | DomainError]
        try:
            results = await self._execute([entry.item for entry in batch])
            # zip() would hide a short answer and leave callers waiting for ever.
            if len(results) != len(batch):
                raise RuntimeError(f"{self._name}: {len(results)} results for {len(batch)} items")
        except Exception as error:
            if is_data_error(error) and len(batch) > 1:
                middle = len(batch) // 2
                await self._call_part(batch[:middle], span)
                await self._call_part(batch[middle:], span)
                return
            telemetry.fail(span, error)
            results = [self._refusal(error)] * len(batch)
        context = span.get_span_context()
        for entry, result in zip(batch, results, strict=True):
            self._deliver(entry, result, context)

    def _refusal(self, error: Exception) -> DomainError:
        refusal = translate(error)
        if isinstance(refusal, Internal):
            log.error("batch %s failed", self._name, exc_info=error)
        return refusal

    def _deliver(self, entry: _Entry[Item, Result], result: Any, batch: trace.SpanContext) -> None:
        # What fails for one item (its span, its closed loop) must not lose the items behind it (seen).
        try:
            self._answer(entry, result, batch)
        except Exception:
            log.exception("batch %s: an item's answer was lost", self._name)

    def _answer(self, entry: _Entry[Item, Result], result: Any, batch: trace.SpanContext) -> None:
        try:
            if entry.span.is_recording() and batch.is_valid:
                entry.span.add_link(batch)
        finally:
            future = entry.future
            if future is not None and not future.done():  # else its caller was cancelled
                if isinstance(result, DomainError):
                    future.set_exception(result)
                else:
                    future.set_result(result)
