"""Play: one draw per (account, request id), and the refusals that game itself decides."""

import asyncio
import json
from typing import Any

import pytest
from reelmesh.game.v1 import game_pb2
from reelmesh.type.v1 import error_pb2
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text

from services.common import db
from services.common.errors import DomainError
from services.game import rounds, store
from services.game.engine import outcome, play, rng
from tests.integration.game.harness import (
    CONTEXT,
    GAMBLE,
    GAMES,
    PENDING,
    REFUSED,
    SETTLED,
    SPIN,
    VOID,
    Game,
    authorization,
    blocked_or_done,
    new_id,
    play_request,
)
from tests.integration.wallet.harness import Wallet
from tests.waiting import until


async def refused(game: Game, request: game_pb2.PlayRequest) -> DomainError:
    """The error of a Play that stores nothing."""
    with pytest.raises(DomainError) as caught:
        await game.handlers.Play(request, CONTEXT)
    return caught.value


async def test_a_spin_is_drawn_stored_pending_and_sealed(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    played = await game.play(account_id)
    assert played.round.state == PENDING
    assert (played.settle.step, played.settle.win.amount_minor) == (wallet_pb2.SETTLE_STEP_FUSED, 700)
    assert json.loads(played.hidden_outcome_json)["win_minor"] == 700
    settled = await game.settle(played)
    assert (settled.state, settled.win.amount_minor) == (SETTLED, 700)
    assert settled.balance_after.amount_minor == 1600
    assert settled.outcome_json == played.hidden_outcome_json


async def test_a_replay_finds_the_round_whatever_its_session_or_state(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    request_id = new_id()
    first = await game.play(account_id, request_id=request_id)
    again = await game.play(account_id, request_id=request_id, session_id=new_id(), mint=False)
    assert again == first
    await game.settle(first)
    settled = await game.play(account_id, request_id=request_id.upper())
    assert settled.round.state == SETTLED
    assert settled.settle == first.settle
    assert settled.hidden_outcome_json == first.hidden_outcome_json


async def test_the_same_id_under_another_account_is_another_round(game: Game, wallet: Wallet) -> None:
    request_id = new_id()
    rounds = [
        (await game.play(await wallet.open(balance=1000), request_id=request_id)).round for _ in range(2)
    ]
    assert rounds[0].round_id != rounds[1].round_id


async def test_the_stored_draws_re_derive_the_stored_outcome(game: Game, wallet: Wallet) -> None:
    for game_id in ("harbour-lights", "double-dawn"):
        for _ in range(10):
            played = await game.play(await wallet.open(), game_id=game_id)
            [row] = await game.rows(
                "select draws, outcome, win_minor, stake_minor from round where round_id = cast(:id as uuid)",
                id=played.round.round_id,
            )
            replayed = rng.ReplayedDraws(rng.decode_draws(row.draws))
            spin = play.spin(GAMES[game_id], bet_minor=row.stake_minor, draws=replayed)
            assert replayed.exhausted
            assert outcome.encode_outcome(spin.outcome) == row.outcome
            assert spin.win_minor == row.win_minor


async def test_an_unknown_id_that_may_not_mint_becomes_void_with_nothing_drawn(
    game: Game, wallet: Wallet
) -> None:
    account_id = await wallet.open(balance=1000)
    request_id = new_id()
    played = await game.play(account_id, request_id=request_id, mint=False)
    assert played.round.state == VOID
    assert played.round.reason == error_pb2.ERROR_REASON_ROUND_VOID
    assert not played.HasField("settle") and not played.hidden_outcome_json
    # Minting later does not bring it back: VOID is final.
    assert (await game.play(account_id, request_id=request_id)).round == played.round
    [row] = await game.rows(
        "select outcome, draws, win_minor from round where round_id = cast(:id as uuid)",
        id=played.round.round_id,
    )
    assert (row.outcome, row.draws, row.win_minor) == (None, None, 0)


@pytest.mark.parametrize(
    ("fields", "reason", "metadata"),
    [
        ({"stake": 101}, "STAKE_NOT_ON_LADDER", {"game_id": SPIN, "amount_minor": "101"}),
        ({"currency_code": "USD"}, "CURRENCY_NOT_OFFERED", {"game_id": SPIN, "currency_code": "USD"}),
        ({"game_id": "harbour-lights"}, "GAME_WITHDRAWN", {"game_id": "harbour-lights"}),
    ],
)
async def test_a_refusal_by_game_is_stored_and_stays(
    game_url: str, wallet: Wallet, fields: dict[str, Any], reason: str, metadata: dict[str, str]
) -> None:
    request_id, account_id = new_id(), await wallet.open(balance=1000)
    async with Game(game_url, wallet, withdrawn=("harbour-lights",)) as game:
        first = await game.play(account_id, request_id=request_id, **fields)
    assert first.round.state == REFUSED
    assert first.round.reason == error_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}")
    assert dict(first.round.reason_metadata) == metadata
    assert not first.HasField("settle")
    # The game is back and the body fits; the id keeps its answer (R5).
    async with Game(game_url, wallet) as game:
        assert (await game.play(account_id, request_id=request_id)).round == first.round
        told = await game.rows(
            "select payload from outbox where cast(payload as jsonb) -> 'round_ids' ? :id",
            id=first.round.round_id,
        )
        assert [row.payload["states"] for row in told] == [["REFUSED"]]


async def test_a_game_that_is_not_served_stores_nothing(game: Game) -> None:
    request = play_request(1, game_id="no-such-game")
    error = await refused(game, request)
    assert (error.reason, error.metadata) == ("GAME_NOT_FOUND", {"game_id": "no-such-game"})
    # The id may still be played: the class is NOT_YET.
    request.authorization.game_id = SPIN
    assert (await game.handlers.Play(request, CONTEXT)).round.state == PENDING


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("request_id", "", "FIELD_MISSING"),
        ("request_id", "42", "FIELD_INVALID"),
        ("account_id", 0, "FIELD_MISSING"),
        ("operator_id", "", "FIELD_MISSING"),
        ("player_id", "", "FIELD_MISSING"),
        ("game_id", "", "FIELD_MISSING"),
        ("kind", 0, "FIELD_MISSING"),
        ("session_id", "", "FIELD_MISSING"),
    ],
)
async def test_an_incomplete_authorisation_is_refused(
    game: Game, field: str, value: object, reason: str
) -> None:
    request = play_request(1)
    setattr(request.authorization, field, value)
    assert (await refused(game, request)).reason == reason


async def test_an_empty_request_is_refused(game: Game) -> None:
    assert (await refused(game, game_pb2.PlayRequest())).reason == "FIELD_MISSING"
    with pytest.raises(DomainError):
        await game.handlers.BatchPlay(game_pb2.BatchPlayRequest(), CONTEXT)


async def test_names_may_hold_anything_but_control_characters(game: Game, wallet: Wallet) -> None:
    for player_id in ('a"b', "a\\b", "{a,b}", "NULL", " ", "\\x00", "ünïcode 🎰", "'; drop table round; --"):
        request = play_request(await wallet.open(balance=1000))
        request.authorization.player_id = player_id
        played = await game.handlers.Play(request, CONTEXT)
        assert played.round.player_id == player_id
        assert (await game.settle(played)).player_id == player_id


async def test_a_batch_answers_each_item_for_itself(game: Game, wallet: Wallet) -> None:
    request_id, account_id = new_id(), await wallet.open()
    requests = [
        play_request(account_id, request_id=request_id),
        play_request(account_id, game_id="no-such-game"),
        play_request(account_id, stake=101),
        game_pb2.PlayRequest(),
        play_request(account_id, request_id=request_id),
        play_request(account_id, game_id=GAMBLE),
    ]
    answer = await game.handlers.BatchPlay(game_pb2.BatchPlayRequest(requests=requests), CONTEXT)
    states = [result.play.round.state if result.HasField("play") else None for result in answer.results]
    assert states == [PENDING, None, REFUSED, None, PENDING, PENDING]
    reasons = [error_pb2.ErrorReason.Name(r.error.reason) for r in answer.results if r.HasField("error")]
    assert reasons == ["ERROR_REASON_GAME_NOT_FOUND", "ERROR_REASON_FIELD_MISSING"]
    assert answer.results[0] == answer.results[4]


async def test_fifty_duplicates_over_two_replicas_make_one_round(
    game: Game, second_game: Game, wallet: Wallet
) -> None:
    account_id = await wallet.open(balance=1000)
    request = play_request(account_id, game_id="harbour-lights")
    played = await asyncio.gather(*(r.handlers.Play(request, CONTEXT) for r in [game, second_game] * 25))
    assert all(answer == played[0] for answer in played)
    [count] = await game.rows(
        "select count(*) as rounds, count(distinct draws) as draws from round where account_id = :account_id",
        account_id=account_id,
    )
    assert (count.rounds, count.draws) == (1, 1)
    states = {(await game.settle(answer)).state for answer in played}
    assert states == {SETTLED}
    assert await wallet.balance(account_id) == 1000 - 100 + played[0].settle.win.amount_minor


@pytest.mark.parametrize("unique", [True, False])
async def test_two_replicas_that_draw_for_one_id_at_once_keep_one_draw(
    own_game_url: str, wallet: Wallet, unique: bool
) -> None:
    """Both have drawn before either commits. Without the unique key each keeps its own round."""
    async with Game(own_game_url, wallet) as game, Game(own_game_url, wallet) as other:
        if not unique:
            async with game.engine.begin() as conn:
                await conn.execute(text("alter table round drop constraint round_account_id_request_id_key"))
        item = authorization(await wallet.open())
        first, second = (rounds.draft_round(game.catalogue, item) for _ in range(2))
        assert first is not None and second is not None
        async with db.transaction(game.engine, "first") as conn:
            await store.append_rounds(conn, [first])
            late = asyncio.create_task(rounds.play_batch(other.engine, other.catalogue, [item]))
            # With the key the other one waits for us; without it, it is through.
            await until(lambda: blocked_or_done(game, late))
        [answer] = await late
        assert isinstance(answer, rounds.Played)
        [count] = await game.rows("select count(*) as rounds from round")
        assert count.rounds == (1 if unique else 2)
        assert (answer.round.round_id == first.round.round_id) is unique
