"""A month that is closed while an operator's wallet is about to be asked about one of its rounds."""

import asyncio
from typing import Any

import pytest

from services.archiving.dropping import ArchiveError
from services.common.errors import DomainError
from services.wallet.external import books
from services.wallet.months import archive
from services.wallet.months import store as months_store
from tests.integration.wallet.barrier import until_waiting
from tests.integration.wallet.external.stage import OLD, Stage
from tests.integration.wallet.months import find_month, ids_in

pytestmark = pytest.mark.tool("openssl")


async def test_a_call_that_is_being_written_keeps_its_month_open(
    old_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, commit, insert_call = asyncio.Event(), asyncio.Event(), books.insert_call

    async def slowly(*args: Any, **kwargs: Any) -> Any:
        call = await insert_call(*args, **kwargs)
        written.set()
        await commit.wait()
        return call

    monkeypatch.setattr("services.wallet.external.rounds.insert_call", slowly)
    old_stage.line.cut_after.add("stake")
    engine, round_id = old_stage.wallet.engine, ids_in(OLD)()
    settling = asyncio.create_task(old_stage.settle(round_id=round_id, stake=100))
    await written.wait()
    closing = asyncio.create_task(archive.close_month(engine, await find_month(engine, OLD)))
    async with engine.connect() as watcher:
        await until_waiting(watcher)
    commit.set()
    with pytest.raises(ArchiveError, match=f"{round_id}: a call to an operator's wallet"):
        await closing
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await settling
    # The operator has taken it, so it must be possible to say so.
    old_stage.line.cut_after.clear()
    assert (await old_stage.settle(round_id=round_id, stake=100)).balance_after.amount_minor == 900


async def test_no_call_is_made_for_a_month_that_was_closed_meanwhile(
    old_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, close, list_unfinished = asyncio.Event(), asyncio.Event(), months_store.list_unfinished

    async def slowly(*args: Any) -> Any:
        found = await list_unfinished(*args)
        looked.set()
        await close.wait()
        return found

    monkeypatch.setattr(months_store, "list_unfinished", slowly)
    engine = old_stage.wallet.engine
    closing = asyncio.create_task(archive.close_month(engine, await find_month(engine, OLD)))
    await looked.wait()
    settling = asyncio.create_task(old_stage.settle(round_id=ids_in(OLD)(), stake=100))
    async with engine.connect() as watcher:
        await until_waiting(watcher)
    close.set()
    await closing
    with pytest.raises(DomainError, match="ID_EXPIRED"):
        await settling
    assert old_stage.line.sent == [] and await old_stage.balance() == 1000
