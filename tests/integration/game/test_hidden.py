"""R2: while a round is PENDING nothing that anybody can read depends on its outcome."""

import json
import logging
import uuid
from collections.abc import Callable

import pytest
from google.protobuf.message import Message
from reelmesh.game.v1 import game_pb2

from services.common import telemetry, telemetry_names
from services.game.engine import rng
from services.tracing import logs
from services.tracing.spans import Tracer
from tests.integration.game.harness import (
    CONTEXT,
    GAMBLE,
    PENDING,
    SETTLED,
    SPIN,
    Game,
    new_id,
    play_request,
)
from tests.integration.wallet.harness import SEAL_KEY, Wallet
from tests.spans import Kept, shown

STAKE = 2022
WIN = 7 * STAKE


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def assert_blind(what: str, content: bytes) -> None:
    """Neither the drawn symbols nor the win, as text or as protobuf."""
    for secret in (b"HIDDENSYMBOL", str(WIN).encode(), varint(WIN)):
        assert secret not in content, f"{what} shows the outcome"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Every span that is made."""
    kept = Kept()
    monkeypatch.setattr(telemetry, "tracer", Tracer(1, kept))
    return kept


@pytest.fixture
def spans(kept: Kept) -> Callable[[], bytes]:
    """Everything that was recorded on them."""
    return lambda: shown(*kept.finished)


@pytest.mark.parametrize("game_id", [SPIN, GAMBLE])
async def test_a_pending_round_shows_its_state_only(
    game: Game,
    wallet: Wallet,
    caplog: pytest.LogCaptureFixture,
    spans: Callable[[], bytes],
    game_id: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    account_id, request_id = await wallet.open(balance=10_000), new_id()
    request = play_request(account_id, game_id=game_id, stake=STAKE, request_id=request_id)
    with telemetry.span("spin"):
        played = await game.handlers.Play(request, CONTEXT)
        answers: list[Message] = [
            played.round,
            (await game.handlers.Play(request, CONTEXT)).round,
            await game.get(played.round.round_id, account_id),
            await game.handlers.GetRound(
                game_pb2.GetRoundRequest(operator_id="acme", round_id=played.round.round_id), CONTEXT
            ),
            await game.handlers.ListRounds(game_pb2.ListRoundsRequest(account_id=account_id), CONTEXT),
            await game.handlers.ListOpenRounds(
                game_pb2.ListOpenRoundsRequest(account_id=account_id), CONTEXT
            ),
        ]
        if game_id == GAMBLE:
            blocked = await game.play(account_id, game_id=game_id, stake=STAKE)
            assert blocked.round.reason_metadata["request_id"] == request_id
            answers.append(blocked)
            assert played.settle.win.amount_minor == 0
    assert played.round.state == PENDING
    assert json.loads(played.hidden_outcome_json)["win_minor"] == WIN
    for answer in answers:
        assert_blind(type(answer).__name__, answer.SerializeToString())
    outbox = await game.rows("select payload from outbox")
    assert_blind("the outbox", json.dumps([row.payload for row in outbox]).encode())
    assert_blind("the log", caplog.text.encode())
    assert_blind("a span", spans())
    assert b"reelmesh.draw.hash" in spans()
    # The scan would have seen it: now that the stake is applied the round shows it.
    settled = await game.settle(played)
    with pytest.raises(AssertionError):
        assert_blind("the round", settled.SerializeToString())


async def test_the_hash_of_a_draw_says_nothing_to_who_has_no_key(
    game: Game, wallet: Wallet, kept: Kept
) -> None:
    """There are few outcomes: an unkeyed hash would be looked up in a table of them."""
    with telemetry.span("spin"):
        played = await game.play(await wallet.open(balance=1000))
    [drawn] = await game.rows(
        "select draws from round where round_id = cast(:round_id as uuid)", round_id=played.round.round_id
    )
    [span] = [span for span in kept.finished if span.name == "spin"]
    round_id_bytes = uuid.UUID(played.round.round_id).bytes
    keyed, unkeyed = [
        rng.draw_hash(key=key, round_id_bytes=round_id_bytes, draws_bytes=drawn.draws)
        for key in (SEAL_KEY.encode(), b"")
    ]
    assert span.attributes[telemetry_names.DRAW_HASH] == keyed != unkeyed


async def test_a_failed_insert_does_not_log_what_was_drawn(
    own_game_url: str, wallet: Wallet, caplog: pytest.LogCaptureFixture
) -> None:
    async with Game(own_game_url, wallet) as game:
        async with game.engine.begin() as conn:
            await conn.exec_driver_sql("alter table round add check (stake_minor <> 2022)")
        answers = await game.handlers.BatchPlay(
            game_pb2.BatchPlayRequest(
                requests=[
                    play_request(account_id, stake=stake) for account_id, stake in ((1, 2022), (3, 100))
                ]
            ),
            CONTEXT,
        )
    # One poison item fails alone.
    assert [result.WhichOneof("result") for result in answers.results] == ["error", "play"]
    assert_blind("the answer", answers.results[0].SerializeToString())
    lines = [logs.LogFormatter("game", "json").format(record) for record in caplog.records]
    assert any("failed" in line for line in lines)
    for line in lines:
        assert_blind("the log", line.encode())


async def test_a_read_of_a_pending_round_asks_the_wallet_and_never_voids(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=10_000)
    played = await game.play(account_id)
    assert (await game.get(played.round.round_id, account_id)).state == PENDING
    assert set(game.stub.calls) == {"GetSettlements"}
    game.stub.silent = True
    assert (await game.get(played.round.round_id, account_id)).state == PENDING
    game.stub.silent = False
    await wallet.send(played.settle)  # it was on its way
    found = await game.get(played.round.round_id, account_id)
    assert (found.state, found.win.amount_minor) == (SETTLED, 700)
    assert (await game.stored(played.round.round_id)).paid_minor == 700
