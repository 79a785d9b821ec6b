"""Modes: the stake is the bet times the mode's cost, and a mode that a game has not is refused for good."""

import json
from typing import Any

import pytest
from reelmesh.game.v1 import game_pb2
from reelmesh.type.v1 import error_pb2
from sqlalchemy import text

from services.common.outbox import OutboxRow
from services.game.handlers import to_events
from tests.integration.game.harness import BONUS, CONTEXT, PENDING, REFUSED, SETTLED, SPIN, Game, new_id
from tests.integration.wallet.harness import Wallet


async def test_a_bought_round_costs_its_mode_and_pays_by_its_bet(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=5_000)
    played = await game.play(account_id, game_id=BONUS, mode="bonus", stake=2_000)
    assert (played.round.state, played.round.mode) == (PENDING, "bonus")
    assert (played.settle.stake.amount_minor, played.settle.win.amount_minor) == (2_000, 2 * 7 * 200)
    shown = json.loads(played.hidden_outcome_json)
    assert (shown["base"], len(shown["free_spins"])) == (None, 2)
    settled = await game.settle(played)
    assert (settled.state, settled.mode) == (SETTLED, "bonus")
    assert await wallet.balance(account_id) == 5_000 - 2_000 + 2_800
    assert (await game.get(settled.round_id, account_id)).mode == "bonus"
    listed = game_pb2.ListRoundsRequest(account_id=account_id)
    assert [r.mode for r in (await game.handlers.ListRounds(listed, CONTEXT)).rounds] == ["bonus"]


async def test_the_events_of_a_round_tell_its_mode(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=5_000)
    settled = await game.settle(await game.play(account_id, game_id=BONUS, mode="ante", stake=150))
    rows = await game.rows(
        "select outbox_id, kind, payload, create_time from outbox"
        " where cast(payload as jsonb) -> 'round_ids' ? :id",
        id=settled.round_id,
    )
    async with game.engine.connect() as conn:
        [events] = await to_events(conn, [OutboxRow(*row) for row in rows])
    told = [json.loads(event.payload_json) for event in events if event.round_id == settled.round_id]
    assert [(facts["mode"], facts["stake_minor"]) for facts in told] == [("ante", 150)]


@pytest.mark.parametrize(
    ("fields", "reason", "metadata"),
    [
        ({"mode": "gold"}, "MODE_UNKNOWN", {"game_id": BONUS, "mode": "gold"}),
        ({"mode": "bonus", "game_id": SPIN}, "MODE_UNKNOWN", {"game_id": SPIN, "mode": "bonus"}),
        # Steps of the ladder, but not of the ladder times the cost; and the other way round.
        ({"mode": "bonus"}, "STAKE_NOT_ON_LADDER", {"game_id": BONUS, "amount_minor": "100"}),
        ({"mode": "ante", "stake": 151}, "STAKE_NOT_ON_LADDER", {"game_id": BONUS, "amount_minor": "151"}),
        ({"stake": 1_000}, "STAKE_NOT_ON_LADDER", {"game_id": BONUS, "amount_minor": "1000"}),
    ],
)
async def test_what_no_mode_offers_is_refused_and_stays_so(
    game: Game, wallet: Wallet, fields: dict[str, Any], reason: str, metadata: dict[str, str]
) -> None:
    request_id, account_id = new_id(), await wallet.open(balance=5_000)
    first = await game.play(account_id, request_id=request_id, **({"game_id": BONUS} | fields))
    assert first.round.state == REFUSED
    assert first.round.reason == error_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}")
    assert dict(first.round.reason_metadata) == metadata
    assert not first.HasField("settle") and not first.hidden_outcome_json
    assert first.round.mode == fields.get("mode", "base")
    assert (await game.play(account_id, request_id=request_id)).round == first.round


async def test_a_mode_that_is_not_named_is_base(game: Game, wallet: Wallet) -> None:
    """Also of a session of before modes, and in the rows of before."""
    account_id = await wallet.open(balance=1_000)
    unnamed = await game.settle(await game.play(account_id))
    named = await game.settle(await game.play(account_id, mode="base"))
    assert (unnamed.mode, named.mode) == ("base", "base")
    async with game.engine.begin() as conn:
        columns = await conn.execute(
            text(
                "select column_default from information_schema.columns where column_name = 'mode'"
                " and table_name = 'round'"
            )
        )
        assert columns.scalar_one() == "'base'::text"


async def test_the_catalogue_lists_the_modes_of_a_game(game: Game) -> None:
    answer = await game.handlers.ListGames(game_pb2.ListGamesRequest(), CONTEXT)
    modes = {g.game_id: [(m.mode, m.cost, m.rtp_target) for m in g.modes] for g in answer.games}
    assert modes[BONUS] == [("base", "1", "0.5"), ("ante", "1.5", "0.5"), ("bonus", "10", "0.5")]
    assert modes["double-dawn"] == [("base", "1", "0.959183")]
