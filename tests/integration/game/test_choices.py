"""Act: one step, one decision, whoever asks and how often (R8)."""

import asyncio

import pytest
from reelmesh.game.v1 import game_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import error_pb2
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text

from services.common import db
from services.common.errors import DomainError
from services.game import choices, definitions, rounds, store
from services.game.records import DecidedBy
from tests.integration.game.harness import (
    CLOSE,
    GAMBLE,
    OPEN,
    PENDING,
    PLAYER,
    REFUSED,
    SETTLED,
    SETTLING,
    Game,
    authorization,
    blocked_or_done,
    new_id,
)
from tests.integration.wallet.harness import Wallet
from tests.waiting import until


async def pay(game: Game, wallet: Wallet, acted: game_pb2.ActResponse) -> game_pb2.Round:
    """What the gateway does when a choice ended the round."""
    assert acted.payout.step == wallet_pb2.SETTLE_STEP_PAYOUT
    return await game.finish(await wallet.send(acted.payout))


async def refused(game: Game, round_: game_pb2.Round, choice: str, **fields: object) -> DomainError:
    """The error of an Act that decides nothing."""
    with pytest.raises(DomainError) as caught:
        await game.act(round_, choice, **fields)  # type: ignore[arg-type]
    return caught.value


async def test_collect_pays_what_is_at_risk(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    acted = await game.act(await game.open(account_id), "COLLECT")
    assert acted.round.state == SETTLING
    round_ = await pay(game, wallet, acted)
    assert (round_.state, round_.win.amount_minor) == (SETTLED, 700)
    assert await wallet.balance(account_id) == 1600
    assert [(s.step, s.choice, s.card) for s in round_.steps] == [(1, "COLLECT", "")]
    assert await game.get(round_.round_id, account_id) == round_


async def test_a_gamble_doubles_or_takes_all_and_ends_at_its_limit(game: Game, wallet: Wallet) -> None:
    seen: set[tuple[int, int]] = set()
    while len(seen) < 3:
        account_id = await wallet.open(balance=1000)
        acted = await game.act(await game.open(account_id), "RED")
        first = acted.round.steps[0]
        assert first.card in ("RED", "BLACK")
        assert first.at_risk.amount_minor == (1400 if first.card == "RED" else 0)
        if first.card == "RED":
            assert (acted.round.state, acted.round.step_next) == (OPEN, 2)
            acted = await game.act(acted.round, "BLACK", step=2)
        # Lost, or the limit is reached: the payout is sent either way.
        assert acted.round.state == SETTLING
        win_minor = acted.round.steps[-1].at_risk.amount_minor
        assert acted.payout.win.amount_minor == win_minor
        assert (await pay(game, wallet, acted)).win.amount_minor == win_minor
        assert await wallet.balance(account_id) == 900 + win_minor
        seen.add((len(acted.round.steps), win_minor))
    assert seen == {(1, 0), (2, 0), (2, 2800)}


async def test_a_decided_step_is_found_in_any_state_of_session_and_round(game: Game, wallet: Wallet) -> None:
    round_ = await game.open(await wallet.open(balance=1000))
    acted = await game.act(round_, "COLLECT")
    for state in session_pb2.SessionState.values():
        found = await game.act(round_, "RED", session_state=session_pb2.SessionState.ValueType(state))
        assert found == acted
    settled = await pay(game, wallet, acted)
    again = await game.act(round_, "COLLECT")
    assert again.round == settled and not again.HasField("payout")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (session_pb2.SESSION_STATE_CLOSED, "SESSION_CLOSED"),
        (session_pb2.SESSION_STATE_EXPIRED, "SESSION_EXPIRED"),
        (session_pb2.SESSION_STATE_REPLACED, "SESSION_REPLACED"),
        (session_pb2.SESSION_STATE_UNSPECIFIED, "FIELD_MISSING"),
    ],
)
async def test_only_an_open_session_decides_but_close_always_collects(
    game: Game, wallet: Wallet, state: session_pb2.SessionState.ValueType, reason: str
) -> None:
    round_ = await game.open(await wallet.open(balance=1000))
    assert (await refused(game, round_, "RED", session_state=state)).reason == reason
    assert (await refused(game, round_, "RED", decided_by=CLOSE)).reason == "CHOICE_UNKNOWN"
    acted = await game.act(round_, "COLLECT", decided_by=CLOSE, session_state=state)
    assert acted.round.state == SETTLING
    assert acted.round.steps[0].decided_by == CLOSE
    await pay(game, wallet, acted)


async def test_steps_and_choices_that_do_not_fit_decide_nothing(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    round_ = await game.open(account_id)
    error = await refused(game, round_, "RED", step=2)
    assert (error.reason, error.metadata) == ("STEP_OUT_OF_ORDER", {"step": "2", "step_expected": "1"})
    assert (await refused(game, round_, "GREEN")).reason == "CHOICE_UNKNOWN"
    assert (await refused(game, round_, "RED", step=0)).reason == "FIELD_MISSING"
    timeout = game_pb2.DECIDED_BY_TIMEOUT
    assert (await refused(game, round_, "COLLECT", decided_by=timeout)).reason == "FIELD_INVALID"
    stranger = game_pb2.Round()
    stranger.CopyFrom(round_)
    stranger.account_id = account_id + 2
    assert (await refused(game, stranger, "RED")).reason == "ROUND_NOT_FOUND"
    assert await game.get(round_.round_id, account_id) == round_


async def test_a_choice_on_a_pending_round_asks_the_wallet_first(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    played = await game.play(account_id, game_id=GAMBLE)
    # It may open yet: that it is not open would be said for good.
    assert (await refused(game, played.round, "COLLECT")).reason == "UNAVAILABLE"
    await wallet.send(played.settle)  # and the gateway dies before Finish
    game.stub.silent = True
    assert (await refused(game, played.round, "COLLECT")).reason == "UNAVAILABLE"
    game.stub.silent = False
    assert (await game.act(played.round, "COLLECT")).round.state == SETTLING


async def test_an_unfinished_round_blocks_the_next_one_until_it_ends(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=10_000)
    first = await game.play(account_id, game_id=GAMBLE)
    for state in (PENDING, OPEN, SETTLING):
        round_ = (await game.play(account_id, request_id=first.round.request_id)).round
        assert round_.state == state
        blocked = await game.play(account_id, game_id=GAMBLE, request_id=new_id())
        assert (blocked.round.state, blocked.round.reason) == (REFUSED, error_pb2.ERROR_REASON_ROUND_OPEN)
        named = {"round_id": first.round.round_id, "request_id": first.round.request_id}
        assert dict(blocked.round.reason_metadata) == named
        assert not blocked.HasField("settle") and not blocked.hidden_outcome_json
        # Another game is free.
        assert (await game.play(account_id)).round.state == PENDING
        if state == PENDING:
            assert (await game.settle(first)).state == OPEN
        elif state == OPEN:
            acted = await game.act(first.round, "COLLECT")
    await pay(game, wallet, acted)
    assert (await game.play(account_id, game_id=GAMBLE)).round.state == PENDING
    # The refusal was final, although nothing blocks the id any more (R5).
    again = await game.play(account_id, game_id=GAMBLE, request_id=blocked.round.request_id)
    assert again.round == blocked.round


async def test_a_replay_of_an_ended_round_blocks_nobody(
    game: Game, second_game: Game, wallet: Wallet
) -> None:
    """The replay's insert takes the free place, finds the id known, and has to give the place back."""
    account_id = await wallet.open(balance=10_000)
    for _ in range(3):
        round_ = await game.open(account_id)
        await pay(game, wallet, await game.act(round_, "COLLECT"))
        replays = await asyncio.gather(
            *(
                replica.play(account_id, game_id=GAMBLE, request_id=round_.request_id)
                for replica in (game, second_game) * 3
            )
        )
        assert {replay.round.state for replay in replays} == {SETTLED}
        assert round_.round_id not in await game.open_rounds()
    # Without giving it back the place would stay taken for ever, by a round that does not exist.
    item = authorization(account_id, game_id=GAMBLE, request_id=round_.request_id)
    draft = rounds.draft_round(game.catalogue, item)
    assert draft is not None
    async with game.engine.connect() as conn:
        assert await store.append_rounds(conn, [draft]) == [store.Appended(None, True)]
        await conn.rollback()


async def test_one_of_two_rounds_at_once_is_refused(game: Game, second_game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=10_000)
    played = await asyncio.gather(
        *(replica.play(account_id, game_id=GAMBLE) for replica in (game, second_game) * 3)
    )
    assert sorted(p.round.state for p in played) == [PENDING] + [REFUSED] * 5


@pytest.mark.parametrize("unique", [True, False])
async def test_two_tabs_time_out_and_close_make_one_decision(
    own_game_url: str, wallet: Wallet, unique: bool
) -> None:
    """All four have read the round before one decides. Without the key each decides for itself."""
    async with Game(own_game_url, wallet) as game, Game(own_game_url, wallet) as other:
        if not unique:
            async with game.engine.begin() as conn:
                await conn.execute(text("alter table round_step drop constraint round_step_pkey"))
        round_ = await game.stored((await game.open(await wallet.open(balance=1000))).round_id)
        for replica in (game, other):
            await definitions.learn(replica.engine, replica.catalogue, [round_])
        askers = [
            ("RED", DecidedBy.PLAYER),
            ("BLACK", DecidedBy.PLAYER),
            ("COLLECT", DecidedBy.TIMEOUT),
            ("COLLECT", DecidedBy.CLOSE),
        ]

        async def decide(replica: Game, choice: str, decided_by: DecidedBy) -> tuple[object, ...]:
            drawn = choices.draw_step(replica.catalogue, round_, choice=choice, decided_by=decided_by)
            async with db.transaction(replica.engine, "act") as conn:
                return tuple((await choices.append_step(conn, round_, drawn, traceparent="")).steps)

        # The barrier: the first has inserted and not committed when the others insert.
        drawn = choices.draw_step(game.catalogue, round_, choice="RED", decided_by=DecidedBy.PLAYER)
        async with db.transaction(game.engine, "act") as conn:
            await choices.append_step(conn, round_, drawn, traceparent="")
            late = [asyncio.create_task(decide(other, *asker)) for asker in askers]
            for task in late:
                await until(lambda task=task: blocked_or_done(game, task))
        answers = await asyncio.gather(*late)
        [count] = await game.rows("select count(*) as steps from round_step where step = 1")
        if unique:
            assert count.steps == 1
            assert answers == [(drawn.step,)] * 4
        else:
            assert count.steps > 1


async def test_acts_that_race_over_two_replicas_hear_the_same(
    game: Game, second_game: Game, wallet: Wallet
) -> None:
    round_ = await game.open(await wallet.open(balance=1000))
    acted = await asyncio.gather(
        *(
            replica.act(round_, choice, decided_by=decided_by)
            for replica in (game, second_game)
            for choice, decided_by in (("RED", PLAYER), ("BLACK", PLAYER), ("COLLECT", CLOSE))
            for _ in range(3)
        )
    )
    assert all(answer == acted[0] for answer in acted)
    assert len(acted[0].round.steps) == 1


async def test_a_round_of_an_unknown_definition_can_only_be_collected(game: Game, wallet: Wallet) -> None:
    round_ = await game.open(await wallet.open(balance=1000))
    async with game.engine.begin() as conn:
        await conn.execute(
            text("update round set definition_hash = 'older' where round_id = cast(:id as uuid)"),
            {"id": round_.round_id},
        )
    found = await game.get(round_.round_id, round_.account_id)
    assert list(found.choices) == ["COLLECT"]
    assert (await refused(game, round_, "RED")).reason == "CHOICE_UNKNOWN"
    await pay(game, wallet, await game.act(round_, "COLLECT"))
