"""The reconciler: every round ends, by what the wallet answers (R7)."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from services.common import telemetry
from services.game import rounds, sql, store
from services.game.reconciler import Ages
from services.game.records import State
from services.tracing.spans import Tracer
from tests.integration.game.harness import GAMBLE, SETTLED, VOID, Game, authorization, new_id
from tests.integration.wallet.harness import Wallet
from tests.spans import Kept
from tests.waiting import until


@pytest.fixture
async def game(own_game_url: str, wallet: Wallet) -> AsyncIterator[Game]:
    """A game whose database no other test left rounds in."""
    async with Game(own_game_url, wallet) as game:
        yield game
        assert not await game.rows("""
            select 1 from open_round o join round_view v using (round_id)
            where v.state not in ('PENDING', 'OPEN', 'SETTLING')""")


async def test_old_pending_rounds_become_what_the_wallet_answers(game: Game, wallet: Wallet) -> None:
    rich, poor = await wallet.open(balance=10_000), await wallet.open(balance=0)
    unknown, applied, open_, refused = [
        await game.play(account_id, game_id=game_id)
        for account_id, game_id in (
            (rich, "sure-spin"),
            (rich, "sure-spin"),
            (rich, GAMBLE),
            (poor, "sure-spin"),
        )
    ]
    for played in (applied, open_, refused):
        await wallet.send(played.settle)  # and the gateway dies before Finish
    assert await game.reconciler(ages=Ages(pending_ms=0, payout_ms=0, open_ms=60_000)).run_once()
    states = [(await game.stored(p.round.round_id)).state for p in (unknown, applied, open_, refused)]
    assert states == [State.VOID, State.SETTLED, State.OPEN, State.REFUSED]
    assert game.stub.calls.count("BatchVoid") == 1
    # The arbiter is the wallet's row: a settle that arrives now is refused by the tombstone.
    assert (await game.settle(unknown)).state == VOID
    assert await wallet.balance(rich) == 10_000 - 100 + 700 - 100


async def test_young_rounds_belong_to_the_gateway(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    played = await game.play(account_id)
    open_ = await game.open(account_id)
    settling = (await game.act(await game.open(await wallet.open(balance=1000)), "COLLECT")).round
    ages = Ages(pending_ms=60_000, payout_ms=60_000, open_ms=60_000)
    await game.reconciler(ages=ages).run_once()
    found = [await game.stored(r.round_id) for r in (played.round, open_, settling)]
    assert [r.state for r in found] == [State.PENDING, State.OPEN, State.SETTLING]
    assert game.stub.calls == ["ReportOpenRounds"]


async def test_a_payout_is_repeated_until_it_is_answered(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    acted = await game.act(await game.open(account_id), "COLLECT")
    game.stub.silent = True
    await game.reconciler().run_once()
    assert (await game.stored(acted.round.round_id)).state == State.SETTLING
    game.stub.silent = False
    await wallet.send(acted.payout)  # the gateway was not dead after all
    await game.reconciler().run_once()
    found = await game.get(acted.round.round_id, account_id)
    assert (found.state, found.win.amount_minor) == (SETTLED, 700)
    assert await wallet.balance(account_id) == 1600


async def test_an_open_round_past_its_time_is_collected_and_paid(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    round_ = await game.open(account_id)
    await game.reconciler().run_once()
    found = await game.get(round_.round_id, account_id)
    assert (found.state, found.win.amount_minor) == (SETTLED, 700)
    assert [(s.step, s.choice, s.decided_by) for s in found.steps] == [(1, "COLLECT", 2)]
    # The player's late choice finds that step.
    assert (await game.act(round_, "RED")).round == found


async def test_a_choice_that_was_first_is_kept_and_paid(game: Game, wallet: Wallet) -> None:
    round_ = await game.open(await wallet.open(balance=1000))
    acted, _ = await asyncio.gather(game.act(round_, "RED"), game.reconciler().run_once())
    [step] = acted.round.steps
    found = await game.stored(round_.round_id)
    assert found.steps[0].choice == step.choice
    assert found.state in (State.OPEN, State.SETTLING, State.SETTLED)


async def test_a_silent_wallet_leaves_everything_as_it_is(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    played = await game.play(account_id)
    reconciler = game.reconciler()
    game.stub.silent = True
    stop = asyncio.Event()
    running = asyncio.create_task(reconciler.run(stop))

    async def asked_again() -> bool:
        return len(game.stub.calls) >= 3

    async def ended() -> bool:
        return (await game.stored(played.round.round_id)).state != State.PENDING

    await until(asked_again)
    assert (await game.stored(played.round.round_id)).state == State.PENDING
    game.stub.silent = False
    await until(ended)
    stop.set()
    await running
    assert (await game.stored(played.round.round_id)).state == State.VOID


async def test_rounds_the_wallet_cannot_void_hold_nobody_up(
    game: Game, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.game.reconciler.PAGE_SIZE", 2)
    stuck = [await game.play(account_id) for account_id in (901, 903, 905)]  # no such accounts
    played = await game.play(await wallet.open(balance=1000))
    await game.reconciler().run_once()
    assert (await game.stored(played.round.round_id)).state == State.VOID
    # The low-water mark stays before them: they are asked about again.
    again = await game.play(await wallet.open(balance=1000))
    await game.reconciler().run_once()
    assert (await game.stored(again.round.round_id)).state == State.VOID
    assert {(await game.stored(p.round.round_id)).state for p in stuck} == {State.PENDING}
    [row] = await game.rows("select create_time_low from reconciler")
    assert row.create_time_low == (await game.stored(stuck[0].round.round_id)).create_time


async def test_ended_rounds_are_not_looked_at_again(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    await game.settle(await game.play(account_id))
    await game.reconciler().run_once()
    [row] = await game.rows("select create_time_low from reconciler")
    [last] = await game.rows("select max(create_time) as create_time from round")
    assert row.create_time_low > last.create_time
    assert "BatchVoid" not in game.stub.calls


@pytest.mark.parametrize("waits", [True, False])
async def test_a_play_that_commits_late_is_not_overlooked(
    game: Game, wallet: Wallet, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """Its row is older than rounds that ended meanwhile: a mark that does not wait for it never finds it."""
    if not waits:
        monkeypatch.setattr(sql, "FIND_HORIZON", text("select clock_timestamp(), cast(:age_ms as integer)"))
    draft = rounds.draft_round(game.catalogue, authorization(await wallet.open(balance=1000)))
    assert draft is not None
    async with game.engine.connect() as conn:
        await store.append_rounds(conn, [draft])
        await game.settle(await game.play(await wallet.open(balance=1000)))
        await game.reconciler().run_once()
        await conn.commit()
    await game.reconciler().run_once()
    assert (await game.stored(draft.round.round_id)).state == (State.VOID if waits else State.PENDING)


async def test_one_replica_works_while_it_holds_the_lease(game: Game, wallet: Wallet) -> None:
    await game.play(await wallet.open(balance=1000))
    assert await game.reconciler(holder="a").run_once()
    assert not await game.reconciler(holder="b").run_once()
    async with game.engine.begin() as conn:
        await conn.execute(text("update reconciler set lease_until = clock_timestamp()"))
    assert await game.reconciler(holder="b").run_once()


async def test_two_reconcilers_at_once_end_a_round_once(game: Game, wallet: Wallet) -> None:
    """The lease only saves work: a holder that slept through its end does no harm (docs/traps.md, 8)."""
    account_id = await wallet.open(balance=10_000)
    played = [await game.play(account_id) for _ in range(5)]
    await wallet.send(played[0].settle)
    open_ = await game.open(account_id)
    first, second = game.reconciler(holder="a"), game.reconciler(holder="b")
    await asyncio.gather(
        *(r._void_pending("-infinity") for r in (first, second)),
        *(r._end_unfinished() for r in (first, second)),
    )
    ends = await game.rows("select state, count(*) as n from round_end group by state order by state")
    assert [(row.state, row.n) for row in ends] == [("SETTLED", 2), ("VOID", 4)]
    assert (await game.stored(open_.round_id)).state == State.SETTLED
    assert await wallet.balance(account_id) == 10_000 + 600 + 600


async def test_returns_are_counted_by_gateway_and_verdict_once(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=250)
    plays = [
        await game.play(account_id, stake=stake, gateway=gateway)
        for stake, gateway in ((100, "one"), (200, "one"), (100, "two"))
    ]
    await wallet.withdraw(account_id, 50)
    verdicts = [await game.settle(played) for played in plays[:1]]
    assert verdicts[0].state == SETTLED
    await game.reconciler().run_once()
    await game.settle(plays[0])
    counted = {(key[0], key[6]): sums for key, sums in game.returns._sums.items()}
    assert counted == {
        ("one", "applied"): [1, 100, 700, 700**2],
        ("one", "void"): [1, 200, 1400, 1400**2],
        ("two", "void"): [1, 100, 700, 700**2],
    }


async def test_a_pass_that_ends_nothing_is_no_trace(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    reconciler, kept = game.reconciler(), Kept()
    await reconciler.run_once()  # tells the wallet, once an hour
    monkeypatch.setattr(telemetry, "tracer", Tracer(1, kept))
    assert await reconciler.run_once()
    assert kept.finished == []


async def kept(wallet: Wallet) -> str:
    """Under which ids game's rounds are over, as the wallet knows it."""
    return str(await wallet.scalar("select cast(round_id_low as text) from game_report"))


async def test_the_wallet_hears_once_which_rounds_are_over(game: Game, wallet: Wallet) -> None:
    """A round that may still be paid is not among them, however old it is (R8)."""
    account_id = await wallet.open(balance=1000)
    # In review, and unfinished; both as if minted long ago. A lost round in review is not to be paid.
    reviewed, open_ = await game.open(account_id), await game.open(await wallet.open(balance=1000))
    simple = await game.play(account_id)
    old = ["019ab3c4-0000-7000-8000-000000000001", "019ab3c4-0000-7000-8000-000000000002"]
    async with game.engine.begin() as conn:
        for round_id in (reviewed.round_id, simple.round.round_id):
            await conn.execute(
                text("insert into round_review (round_id, operator_id, problem) values (:id, 'acme', '')"),
                {"id": round_id},
            )
        await conn.execute(text("delete from open_round where round_id = :id"), {"id": reviewed.round_id})
        for round_, round_id in ((reviewed, old[0]), (open_, old[1])):
            for table in ("round", "round_step", "round_review", "open_round"):
                await conn.execute(
                    text(f"update {table} set round_id = :old where round_id = :id"),
                    {"old": round_id, "id": round_.round_id},
                )
    async with wallet.engine.begin() as conn:
        # It never goes back.
        await conn.execute(text("update game_report set round_id_low = default"))
    ages = Ages(pending_ms=60_000, payout_ms=60_000, open_ms=60_000)
    reconciler = game.reconciler(ages=ages)
    for ending, low in (
        ("select 1", old[0]),
        ("delete from round_review where round_id <> :id", old[0]),
        ("delete from round_review where round_id = :id", old[1]),
    ):
        async with game.engine.begin() as conn:
            values = {"id": old[0]} if ":id" in ending else {}
            await conn.execute(text(ending), values)
        for _ in range(2):
            await reconciler.run_once()
        assert await kept(wallet) == low
    assert game.stub.calls == ["ReportOpenRounds"] * 2
    async with game.engine.begin() as conn:
        await conn.execute(text("delete from open_round"))
    await reconciler.run_once()
    # Nothing is open: all but the rounds of the last hours are over, and none that is minted from now on.
    minted_ms = [int(round_id[:8] + round_id[9:13], 16) for round_id in (await kept(wallet), new_id())]
    assert 3_600_000 <= minted_ms[1] - minted_ms[0] < 2 * 3_600_000 + 60_000


async def test_a_wallet_that_did_not_hear_it_is_told_again(game: Game, wallet: Wallet) -> None:
    reconciler = game.reconciler()
    game.stub.silent = True
    await reconciler.run_once()
    game.stub.silent = False
    await reconciler.run_once()
    assert game.stub.calls == ["ReportOpenRounds"] * 2
