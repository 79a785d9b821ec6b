"""The Batcher: what travels together, what waits, and what one item's failure does to the others."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import psycopg
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan
from sqlalchemy.exc import DBAPIError

from services.common.batching import Batcher
from services.common.errors import DomainError, FieldInvalid, Internal, Overloaded, Unavailable


class Backend:
    """Records the batches it is given; answers item * 10, one loop turn or `gate` later."""

    def __init__(self, gate: asyncio.Event | None = None) -> None:
        self.batches: list[list[int]] = []
        self.gate = gate
        self.called = asyncio.Event()

    async def execute(self, items: Sequence[int]) -> Sequence[int | DomainError]:
        self.batches.append(list(items))
        self.called.set()
        await (self.gate.wait() if self.gate is not None else asyncio.sleep(0))
        return [item * 10 for item in items]


class Poisoned(Backend):
    """Fails as PostgreSQL would while one of the items is in the batch."""

    def __init__(self, *poison: int, error: type[psycopg.Error]) -> None:
        super().__init__()
        self.poison, self.error = set(poison), error

    async def execute(self, items: Sequence[int]) -> Sequence[int | DomainError]:
        results = await super().execute(items)
        if self.poison & set(items):
            raise DBAPIError("insert", {}, self.error("new row violates a constraint"))
        return results


async def submit_when(
    gate: asyncio.Future[None], batcher: Batcher[int, int], item: int, answered: list[int] | None = None
) -> int:
    await gate
    result = await batcher.submit(item)
    if answered is not None:
        answered.append(item)
    return result


async def burst(batcher: Batcher[int, int], count: int) -> list[int]:
    """`count` callers that were all woken in the same loop turn, as by the answer of one earlier batch."""
    gates = [asyncio.get_running_loop().create_future() for _ in range(count)]
    tasks = [asyncio.create_task(submit_when(gate, batcher, item)) for item, gate in enumerate(gates)]
    await asyncio.sleep(0)
    for gate in gates:
        gate.set_result(None)
    return await asyncio.gather(*tasks)


async def outcomes(batcher: Batcher[int, int], items: Sequence[int]) -> list[int | BaseException]:
    return await asyncio.gather(*map(batcher.submit, items), return_exceptions=True)


async def test_callers_woken_together_leave_as_one_batch() -> None:
    backend = Backend()
    assert await burst(Batcher("test", backend.execute), 50) == [item * 10 for item in range(50)]
    assert [len(batch) for batch in backend.batches] == [50]


async def test_an_eager_batcher_sends_the_first_of_a_burst_alone() -> None:
    backend = Backend()
    await burst(Batcher("test", backend.execute, eager=True), 50)
    assert [len(batch) for batch in backend.batches] == [1, 49]


@pytest.mark.parametrize("eager", [False, True])
async def test_callers_answered_together_stay_together_in_the_next_batcher(eager: bool) -> None:
    """Three hops of eight spins: a late flush keeps the cohort whole, an eager one splits it at every hop."""
    backends = [Backend(), Backend(), Backend()]
    batchers = [Batcher("hop", backend.execute, eager=eager) for backend in backends]

    async def spin(item: int) -> None:
        for batcher in batchers:
            await batcher.submit(item)

    await asyncio.gather(*map(spin, range(8)))
    sizes = [len(batch) for backend in backends for batch in backend.batches]
    assert sum(sizes) == 24
    assert len(sizes) >= 6 if eager else sizes == [8, 8, 8]


async def test_one_call_is_in_flight_and_everything_queued_goes_next() -> None:
    gate = asyncio.Event()
    backend = Backend(gate)
    batcher = Batcher("test", backend.execute)
    first = asyncio.create_task(batcher.submit(1))
    await backend.called.wait()
    later = [asyncio.create_task(batcher.submit(item)) for item in (2, 3, 4)]
    await asyncio.sleep(0.01)
    assert backend.batches == [[1]]
    gate.set()
    assert await asyncio.gather(first, *later) == [10, 20, 30, 40]
    assert backend.batches == [[1], [2, 3, 4]]


async def test_a_batch_is_cut_at_its_maximum_size() -> None:
    backend = Backend()
    assert await outcomes(Batcher("test", backend.execute, size_max=4), range(10)) == list(range(0, 100, 10))
    assert backend.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_of_three_batches_worth_of_players_nobody_waits_for_more_than_two_batches() -> None:
    """The gateway takes no more spins than that (services/gateway/config.py)."""
    backend = Backend()
    batcher = Batcher("test", backend.execute, key=lambda item: item // 100)
    waited: list[int] = []

    async def play(player: int) -> None:
        for spin in range(5):
            before = len(backend.batches)
            item = player * 100 + spin
            await batcher.submit(item)
            own = next(n for n, batch in enumerate(backend.batches[before:]) if item in batch)
            waited.append(own)
            if player % 7 == 0:  # some think, so that the batches are not all alike
                await asyncio.sleep(0)

    await asyncio.gather(*(play(player) for player in range(600)))
    assert len(waited) == 600 * 5 and max(waited) == 2


async def test_one_item_of_a_key_per_batch_and_the_rest_in_order() -> None:
    backend = Backend()
    # The key is the tens digit: three items of key 1, two of key 2, one of key 3.
    batcher = Batcher("test", backend.execute, key=lambda item: item // 10)
    items = [11, 12, 21, 13, 31, 22]
    assert await outcomes(batcher, items) == [item * 10 for item in items]
    assert backend.batches == [[11, 21, 31], [12, 22], [13]]


async def test_an_item_that_waits_for_its_key_keeps_its_place_before_later_items() -> None:
    backend = Backend()
    batcher = Batcher("test", backend.execute, key=lambda item: item // 10, size_max=2)
    await outcomes(batcher, [11, 12, 21, 31, 32])
    assert backend.batches == [[11, 21], [12, 31], [32]]


async def test_a_poison_item_is_isolated_by_halving() -> None:
    backend = Poisoned(5, error=psycopg.errors.CheckViolation)
    results = await outcomes(Batcher("test", backend.execute), range(8))
    assert isinstance(results.pop(5), Internal)
    assert results == [item * 10 for item in range(8) if item != 5]
    assert backend.batches == [[*range(8)], [0, 1, 2, 3], [4, 5, 6, 7], [4, 5], [4], [5], [6, 7]]


@pytest.mark.parametrize(
    "error", [psycopg.errors.DeadlockDetected, psycopg.errors.AdminShutdown, psycopg.OperationalError]
)
async def test_an_error_that_no_row_is_to_blame_for_is_every_items_and_is_not_halved(
    error: type[psycopg.Error],
) -> None:
    backend = Poisoned(5, error=error)
    results = await outcomes(Batcher("test", backend.execute), range(8))
    assert all(isinstance(result, Unavailable) for result in results)
    assert len(backend.batches) == 1


async def test_a_peers_refusal_of_the_whole_batch_is_every_items() -> None:
    async def execute(items: Sequence[int]) -> Sequence[int | DomainError]:
        raise Unavailable()

    results = await outcomes(Batcher("test", execute), range(3))
    assert [type(result) for result in results] == [Unavailable] * 3


async def test_an_items_own_error_is_raised_to_its_caller_alone() -> None:
    async def execute(items: Sequence[int]) -> Sequence[int | DomainError]:
        return [FieldInvalid(field="stake", problem="odd") if item % 2 else item for item in items]

    results = await outcomes(Batcher("test", execute), range(4))
    assert [results[0], results[2]] == [0, 2]
    assert isinstance(results[1], FieldInvalid) and isinstance(results[3], FieldInvalid)


async def test_a_short_answer_fails_the_batch_instead_of_hanging_its_last_callers() -> None:
    async def execute(items: Sequence[int]) -> Sequence[int | DomainError]:
        return list(items)[:-1]

    async with asyncio.timeout(1):
        results = await outcomes(Batcher("test", execute), range(4))
    assert all(isinstance(result, Internal) for result in results)


class BrokenSpan(NonRecordingSpan):
    """A span whose exporter is gone: what is done per item after the call raises."""

    def is_recording(self) -> bool:
        return True

    def add_link(self, *args: object, **kwargs: object) -> None:
        raise RuntimeError("span is gone")


@pytest.mark.parametrize("guarded", [True, False])
async def test_a_failing_step_after_the_call_does_not_lose_the_other_items(
    guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not guarded:
        monkeypatch.setattr(Batcher, "_deliver", Batcher._answer)
    batcher = Batcher("test", Backend().execute)

    async def broken() -> int:
        with trace.use_span(BrokenSpan(trace.SpanContext(1, 1, False, trace.TraceFlags(1)))):
            return await batcher.submit(1)

    callers = [asyncio.create_task(broken()), *(asyncio.create_task(batcher.submit(i)) for i in (2, 3))]
    task_errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: task_errors.append(context))
    results = await asyncio.gather(*callers, return_exceptions=True)
    # The broken item itself is answered too: its money has moved.
    assert results[0] == 10
    if guarded:
        assert results[1:] == [20, 30]
    else:
        assert all(isinstance(result, Unavailable) for result in results[1:])


async def test_a_cancelled_caller_cancels_neither_its_item_nor_the_batch() -> None:
    gate = asyncio.Event()
    backend = Backend(gate)
    batcher = Batcher("test", backend.execute)
    callers = [asyncio.create_task(batcher.submit(item)) for item in (1, 2, 3)]
    await backend.called.wait()
    queued = asyncio.create_task(batcher.submit(4))
    await asyncio.sleep(0)
    callers[0].cancel()
    queued.cancel()
    gate.set()
    assert await asyncio.gather(*callers[1:]) == [20, 30]
    assert callers[0].cancelled() and queued.cancelled()
    await batcher.close()
    assert backend.batches == [[1, 2, 3], [4]]


async def test_a_full_queue_refuses_at_once() -> None:
    gate = asyncio.Event()
    batcher = Batcher("test", Backend(gate).execute, queue_max=3, size_max=1)
    waiting = [asyncio.create_task(batcher.submit(item)) for item in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await asyncio.gather(batcher.submit(3), batcher.submit(4))
    assert refused.value.metadata == {"retry_after_ms": "100"}
    gate.set()
    assert await asyncio.gather(*waiting) == [0, 10, 20]


async def test_close_answers_what_waits_and_refuses_what_comes() -> None:
    backend = Backend()
    batcher = Batcher("test", backend.execute, size_max=2, linger_ms=60_000)
    waiting = [asyncio.create_task(batcher.submit(item)) for item in range(5)]
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await batcher.close()
    assert [task.result() for task in waiting] == [0, 10, 20, 30, 40]
    with pytest.raises(Unavailable):
        await batcher.submit(5)


async def test_a_lingering_batcher_gathers_what_comes_within_its_time() -> None:
    backend = Backend()
    batcher = Batcher("test", backend.execute, linger_ms=30)
    first = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0.005)
    assert await batcher.submit(2) == 20
    assert await first == 10
    assert backend.batches == [[1, 2]]


async def test_a_cancelled_loop_leaves_no_caller_waiting() -> None:
    gate = asyncio.Event()
    batcher = Batcher("test", Backend(gate).execute, size_max=1)
    callers = [asyncio.create_task(batcher.submit(item)) for item in range(2)]
    await asyncio.sleep(0.01)
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "batch test")
    task.cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)


@pytest.mark.parametrize(
    ("error", "logged"), [(lambda: KeyError("bug"), 1), (lambda: psycopg.OperationalError("away"), 0)]
)
async def test_only_what_nobody_expected_is_logged(
    error: Callable[[], Exception], logged: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def execute(items: Sequence[int]) -> Sequence[int | DomainError]:
        raise error()

    with caplog.at_level(logging.ERROR):
        await outcomes(Batcher("test", execute), range(3))
    assert len(caplog.records) == logged
