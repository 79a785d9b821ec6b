"""`make review` against a running mesh: what waits is listed, and a verdict reaches wallet and game alike."""

import asyncio
import io
import os
import subprocess
import sys

import pytest
from reelmesh.game.v1 import game_pb2
from reelmesh.wallet.v1 import wallet_pb2
from rich.console import Console

from deploy.local.errors import LocalError
from deploy.local.mesh import REPOSITORY
from deploy.local.review import decision, review
from tests.mesh.players import Player
from tests.mesh.stage import SPINS_TO_WIN_MAX, STAKE_MINOR, Stage, money, new_id


async def make_review(
    stage: Stage, *, game: str = "game", round_id: str = "", verdict: str = "", reason: str = "looked at it"
) -> str:
    """What the command prints; without a verdict the list. `game`: the service taken for it."""
    shown = io.StringIO()
    decided = decision(
        round_id=round_id,
        verdict=verdict,
        actor="anna" if verdict else "",
        reason=reason if verdict else "",
    )
    await asyncio.to_thread(
        review,
        Console(file=shown, width=80),
        decided,
        keys_path=stage.mesh.directory / "keys.json",
        game_target=f"dns:///127.0.0.1:{stage.mesh.ports(game).grpc}",
        wallet_target=f"dns:///127.0.0.1:{stage.mesh.ports('wallet').grpc}",
        operator_id="dev",
    )
    return shown.getvalue()


async def won(stage: Stage) -> tuple[Player, str, int]:
    """A player, a settled round of theirs that won more than it cost, and how much more."""
    player = await stage.player()
    for _ in range(SPINS_TO_WIN_MAX):
        round_ = (await player.spin(STAKE_MINOR)).body["round"]
        gain = round_["win"]["amount_minor"] - STAKE_MINOR
        if gain > 0:
            return player, round_["round_id"], gain
    raise AssertionError("no win")


async def empty(player: Player) -> None:
    """Takes everything from the account."""
    assert (await player.withdraw(await player.balance_minor())).status == 200


async def contradict(stage: Stage, round_id: str) -> game_pb2.Round:
    """Game is told of another stake, which nobody can explain."""
    settlement = wallet_pb2.Settlement(
        round_id=round_id, status=wallet_pb2.SETTLEMENT_STATUS_APPLIED, account_id=2**40, stake=money(1)
    )
    finish = game_pb2.FinishRequest(settlement=settlement)
    finished = await stage.answer(stage.internal("game", "Finish", finish))
    assert finished.round.state == game_pb2.ROUND_STATE_NEEDS_REVIEW
    round_: game_pb2.Round = finished.round
    return round_


async def roll_back(stage: Stage, player: Player, round_id: str) -> wallet_pb2.Settlement:
    """Game asks the wallet for a round."""
    request = wallet_pb2.RollbackRoundRequest(
        round_id=round_id,
        account_id=(await stage.session(player)).account_id,
        actor="game",
        reason="a test",
    )
    answer = await stage.answer(stage.internal("wallet", "RollbackRound", request, caller="game"))
    settlement: wallet_pb2.Settlement = answer.settlement
    return settlement


async def state(stage: Stage, round_id: str) -> str:
    """A round's state at game."""
    [row] = await stage.books.rows(
        "game", "select state from round_view where round_id = cast(:id as uuid)", id=round_id
    )
    found: str = row.state
    return found


async def review_events(stage: Stage, round_id: str) -> list[str]:
    """What the events service was told of a round's review, in its order."""
    await stage.books.wait_quiet()
    rows = await stage.books.rows(
        "events",
        """select event_type from event
           where round_id = cast(:id as uuid) and event_type like 'review.%' order by position""",
        id=round_id,
    )
    return [row.event_type for row in rows]


async def test_a_round_that_game_does_not_understand_is_listed_and_voided(stage: Stage) -> None:
    played = await stage.play(await stage.player(), new_id())
    round_id = played.round.round_id
    await contradict(stage, round_id)
    text = await make_review(stage)
    assert f"{round_id}\n  game: the wallet has it under another account (account " in text
    assert "stake 1.00 USD)" in text
    with pytest.raises(LocalError, match="VERDICT_NOT_ALLOWED"):
        await make_review(stage, round_id=round_id, verdict="settled")
    assert await make_review(stage, round_id=round_id, verdict="void") == f"{round_id} is VOID\n"
    assert round_id not in await make_review(stage)
    # The same again is done already; another verdict comes too late.
    assert await make_review(stage, round_id=round_id, verdict="void") == f"{round_id} is VOID\n"
    with pytest.raises(LocalError, match=r"ROUND_NOT_IN_REVIEW: .* state VOID"):
        await make_review(stage, round_id=round_id, verdict="reversed")


async def test_a_spent_win_stays_in_review_until_it_is_covered(stage: Stage) -> None:
    player, round_id, gain = await won(stage)
    await contradict(stage, round_id)
    await empty(player)
    with pytest.raises(LocalError, match=f"^{round_id} stays in review"):
        await make_review(stage, round_id=round_id, verdict="reversed")
    text = await make_review(stage)
    takes = f"its rollback takes {gain // 100}.{gain % 100:02d} USD, the balance was 0.00 USD"
    assert f"  wallet: {takes}" in text and "asked by anna: looked at it)" in text
    assert (await player.fund(gain)).status == 200
    assert await make_review(stage, round_id=round_id, verdict="reversed") == f"{round_id} is REVERSED\n"
    assert round_id not in await make_review(stage)
    assert (await player.balance_minor(), await state(stage, round_id)) == (0, "REVERSED")


async def test_a_round_that_only_the_wallet_has_in_review_is_decided_there(stage: Stage) -> None:
    for verdict, becomes, expected in (
        ("settled", "APPLIED at the wallet", "SETTLED"),
        ("reversed", "REVERSED at the wallet", "REVERSED"),
    ):
        player, round_id, gain = await won(stage)
        await empty(player)
        settlement = await roll_back(stage, player, round_id)
        assert settlement.status == wallet_pb2.SETTLEMENT_STATUS_NEEDS_REVIEW
        assert f"{round_id}\n  wallet: its rollback takes" in await make_review(stage)
        with pytest.raises(LocalError, match="ROUND_NOT_IN_REVIEW"):
            await make_review(stage, round_id=round_id, verdict="void")
        await player.fund(gain)
        assert await make_review(stage, round_id=round_id, verdict=verdict) == f"{round_id} is {becomes}\n"
        assert round_id not in await make_review(stage)
        assert await state(stage, round_id) == expected
        assert await review_events(stage, round_id) == ["review.opened", "review.resolved"]


async def test_what_cannot_be_carried_out_says_why(stage: Stage) -> None:
    with pytest.raises(LocalError, match="ROUND_NOT_FOUND"):
        await make_review(stage, round_id=new_id(), verdict="settled")
    with pytest.raises(LocalError, match=r"FIELD_INVALID: .*round_id"):
        await make_review(stage, round_id="first", verdict="settled")
    with pytest.raises(LocalError, match="a verdict needs all of it: make review ROUND="):
        await make_review(stage, round_id=new_id(), verdict="kept")
    await stage.kill("wallet")
    with pytest.raises(LocalError, match="does not answer: is `make run` running"):
        await make_review(stage)


def test_the_command_fails_with_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "review", "--round-id", "one", "--verdict", "settled"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": ".:gen"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("reelmesh: a verdict needs all of it") and done.stderr.count("\n") == 1
