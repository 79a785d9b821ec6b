"""R2: nobody can read the outcome of a round until its stake is known to be applied, and never if it was not.

Rounds of which some won and some lost must be told apart by nothing but names and times.
"""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reelmesh.game.v1 import game_pb2
from reelmesh.wallet.v1 import wallet_pb2

from deploy.local.databases import SERVICES
from deploy.local.mesh import Mesh
from deploy.local.traces import TraceReceiver
from tests.databases import Databases
from tests.integration.mesh.reads import Spun, masked, requests
from tests.mesh.asking import Told
from tests.mesh.players import Player, amount
from tests.mesh.stage import CHOICE_GAME_ID, SIMPLE_GAME_ID, Stage, new_id, rest_spin
from tests.meshes import running_mesh

# Wins are multiples of 100 then, and no other number is one that a log, event or span has reason to show.
STAKE_MINOR = 2_000
FUNDS_MINOR = 51_237
# What counts for it is read, too: the net position, and what may still be lost.
LOSS_LIMIT = amount(987_654_321)
_NUMBERS_SHOWN = {
    "server.port",
    "http.response.status_code",
    "reelmesh.batch.size",
    "messaging.batch.message_count",
}
PLAYERS = 6
WAVES_MAX = 12
# A spin goes on while the wallet is held and everything is read.
SPIN_DEADLINE_MS = 60_000


@pytest.fixture(scope="module")
def mesh(databases: Databases, trace_receiver: TraceReceiver) -> Iterator[Mesh]:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": trace_receiver.endpoint,
        "REELMESH_TRACE_RATIO": "1.0",
        "REELMESH_SPIN_DEADLINE_MS": str(SPIN_DEADLINE_MS),
    }
    with running_mesh(databases, environment=environment) as mesh:
        yield mesh


# The rounds that are paid at the end of the last test may show everything, so it is the last.


async def test_the_outcome_of_a_refused_round_stays_hidden(
    stage: Stage, trace_receiver: TraceReceiver
) -> None:
    players = await asyncio.gather(
        *(stage.player(funds_minor=STAKE_MINOR - 1, loss_limit=LOSS_LIMIT) for _ in range(PLAYERS))
    )
    refused: list[Spun] = []
    for _ in range(WAVES_MAX):
        if await wins_and_losses(stage, refused):
            break
        refused += await asyncio.gather(*(refuse(stage, player) for player in players))
    # Their stakes are given back to the limits: of all, or the sessions would differ.
    await stage.books.wait_counted(seconds_max=10)
    await check_hidden(stage, trace_receiver, refused)


async def test_the_outcome_of_a_voided_round_stays_hidden(
    stage: Stage, trace_receiver: TraceReceiver
) -> None:
    voided: list[Spun] = []
    for _ in range(WAVES_MAX):
        if await wins_and_losses(stage, voided):
            break
        voided += [await void(stage) for _ in range(PLAYERS)]
    await check_hidden(stage, trace_receiver, voided)


async def test_nothing_depends_on_the_outcome_while_the_wallet_is_held(
    mesh: Mesh, stage: Stage, trace_receiver: TraceReceiver, tmp_path: Path
) -> None:
    mark = tmp_path / "held"
    held_at_commit = {"REELMESH_FAIL": "before_commit@wallet.settle:1:hold", "REELMESH_FAIL_MARK": str(mark)}
    await asyncio.to_thread(mesh.restart, "wallet", environment=held_at_commit)
    spins: list[asyncio.Task[Any]] = []
    try:
        held = {
            game_id: await hold_rounds(stage, game_id, spins) for game_id in (SIMPLE_GAME_ID, CHOICE_GAME_ID)
        }
        assert mark.exists(), "the wallet is not held"
        for game_id, rounds in held.items():
            said = await read_all(stage, rounds)
            assert {name for name, texts in said.items() if len(texts) > 1} == set(), game_id
        beside = [
            await stage.refusal(rest_spin(one.player, new_id(), STAKE_MINOR)) for one in held[CHOICE_GAME_ID]
        ]
        assert {told.reason for told in beside} == {"ROUND_OPEN"}
        secrets = await secrets_of(stage, [*held[SIMPLE_GAME_ID], *held[CHOICE_GAME_ID]])
        await check_nothing_written(stage, trace_receiver, secrets)
        assert not any(spin.done() for spin in spins)
    finally:
        mark.unlink(missing_ok=True)
        answers = await asyncio.gather(*spins)
    # Released, everything is answered; and what was compared above does show an outcome that may be seen.
    assert all(answer["round"]["outcome"] for answer in answers)
    assert secrets.search(json.dumps(answers))
    await stage.books.wait_quiet()
    shown = await read_all(stage, held[SIMPLE_GAME_ID])
    assert {name for name, texts in shown.items() if len(texts) > 1} >= {
        "REST round of the spin",
        "REST history",
        "REST balance",
        "gRPC round",
        "game.GetRound",
        "wallet.GetSettlements",
        "events.ListEvents, round",
    }


async def check_hidden(stage: Stage, trace_receiver: TraceReceiver, rounds: list[Spun]) -> None:
    """Of rounds that ended without their stake."""
    assert await wins_and_losses(stage, rounds), "try again: they all won, or all lost"
    await stage.books.wait_quiet()
    # One round per account: the history of several is as long as they are many.
    one_each = list({one.account_id: one for one in rounds}.values())
    said = await read_all(stage, rounds)
    # The wallet keeps what it was asked for, and says so to game, which drew it.
    del said["wallet.GetSettlements"]
    told_by_account = {"REST history", "gRPC history", "game.ListRounds", "events.ListEvents"}
    for name in told_by_account:
        del said[name]
    assert {name for name, texts in said.items() if len(texts) > 1} == set()
    secrets = await secrets_of(stage, rounds)
    for one in one_each:
        for name in told_by_account:
            answer = await stage.answer(requests(stage, one)[name])
            check_shows_nothing(masked(answer), secrets, name)
    await check_nothing_written(stage, trace_receiver, secrets)


async def refuse(stage: Stage, player: Player) -> Spun:
    """A round whose stake the balance does not cover."""
    request_id = new_id()
    told = await stage.refusal(rest_spin(player, request_id, STAKE_MINOR))
    assert told.reason == "INSUFFICIENT_FUNDS"
    return await spun(stage, player, request_id)


async def void(stage: Stage) -> Spun:
    """A round that was drawn, and voided as the reconciler does it."""
    player, request_id = await stage.player(funds_minor=FUNDS_MINOR, loss_limit=LOSS_LIMIT), new_id()
    drawn = (await stage.play(player, request_id, STAKE_MINOR)).round
    ask = wallet_pb2.VoidRequest(round_id=drawn.round_id, account_id=drawn.account_id)
    answer = await stage.answer(stage.internal("wallet", "Void", ask, caller="game"))
    finish = game_pb2.FinishRequest(settlement=answer.settlement)
    finished = await stage.answer(stage.internal("game", "Finish", finish))
    assert finished.round.state == game_pb2.ROUND_STATE_VOID
    return await spun(stage, player, request_id)


async def hold_rounds(stage: Stage, game_id: str, spins: list[asyncio.Task[Any]]) -> list[Spun]:
    """Rounds of a game that are drawn and not settled: some won, some lost."""
    held: list[Spun] = []
    for _ in range(WAVES_MAX):
        if await wins_and_losses(stage, held):
            await relayed(stage)
            return held
        players = await asyncio.gather(
            *(
                stage.player(game_id=game_id, funds_minor=FUNDS_MINOR, loss_limit=LOSS_LIMIT)
                for _ in range(PLAYERS)
            )
        )
        sent = [(player, new_id()) for player in players]
        for player, request_id in sent:
            spins.append(asyncio.create_task(stage.answer(rest_spin(player, request_id, STAKE_MINOR))))
        for player, request_id in sent:
            held.append(await spun(stage, player, request_id))
    raise AssertionError("they all won, or all lost")


async def spun(stage: Stage, player: Player, request_id: str) -> Spun:
    """The round of a spin, as soon as it is drawn."""
    async with asyncio.timeout(10):
        while True:
            rows = await stage.books.rows(
                "game",
                """select cast(round_id as text) as round_id, account_id from round
                   where request_id = cast(:request_id as uuid)""",
                request_id=request_id,
            )
            if rows:
                return Spun(player, request_id, rows[0].round_id, rows[0].account_id)
            await asyncio.sleep(0.05)


async def drawn(stage: Stage, rounds: list[Spun]) -> list[Any]:
    """What was drawn, from the one place that holds it."""
    return await stage.books.rows(
        "game",
        """select cast(round_id as text) as round_id, win_minor, outcome from round
           where cast(round_id as text) = any(:round_ids)""",
        round_ids=[one.round_id for one in rounds],
    )


async def wins_and_losses(stage: Stage, rounds: list[Spun]) -> bool:
    """Whether some lost, and some won an amount that is no other number of theirs; of nothing, False."""
    wins = {row.win_minor for row in await drawn(stage, rounds)}
    return 0 in wins and bool(wins - {0, STAKE_MINOR})


async def secrets_of(stage: Stage, rounds: list[Spun]) -> re.Pattern[str]:
    """What would give an outcome away: any part of one, or the amount of a win as a number of its own."""
    rows = await drawn(stage, rounds)
    wins = {str(row.win_minor) for row in rows} - {"0", str(STAKE_MINOR)}
    # The wallet's events always have a win; it is 0 unless the stake was taken.
    keys = {key for row in rows for key in json.loads(row.outcome)} - {"win_minor"}
    assert wins and keys
    parts = [rf'\\?"{re.escape(key)}\\?":' for key in sorted(keys)]
    # Of its own: no part of an id, and not the minutes of a time.
    amounts = [rf"(?<![\w.-])(?<!\d:){win}(?![\w.-])(?!:\d)" for win in wins]
    return re.compile("|".join([*parts, r'win_minor\\?": ?[1-9]', *amounts]))


async def relayed(stage: Stage) -> None:
    """Returns when everything that was written down so far is an event."""
    async with asyncio.timeout(10):
        for service in set(SERVICES) - {"events"}:
            while await stage.books.unsent(service):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def read_all(stage: Stage, rounds: list[Spun]) -> dict[str, set[str]]:
    """The different answers to each read."""
    said: dict[str, set[str]] = defaultdict(set)
    for one in rounds:
        asks = requests(stage, one)
        answers = await asyncio.gather(*(stage.send(ask) for ask in asks.values()))
        for name, answer in zip(asks, answers, strict=True):
            assert not isinstance(answer, Told), (name, answer)
            said[name].add(masked(answer))
    for one in rounds:
        # Last, because it ends the session before.
        exchanged = await one.player.launch()
        said["REST exchange"].add(masked({**exchanged.body, "token": ""}))
    reviews = game_pb2.ListReviewsRequest(operator_id="dev")
    assert not (await stage.answer(stage.internal("game", "ListReviews", reviews))).rounds
    return said


async def check_nothing_written(
    stage: Stage, trace_receiver: TraceReceiver, secrets: re.Pattern[str]
) -> None:
    """Logs, outboxes, events and spans say nothing."""
    for name in stage.mesh.names:
        check_shows_nothing(stage.mesh.log(name), secrets, f"log of {name}")
    for service in set(SERVICES) - {"events"}:
        for row in await stage.books.rows(service, "select cast(payload as text) as payload from outbox"):
            check_shows_nothing(row.payload, secrets, f"outbox of {service}")
    for row in await stage.books.rows("events", "select cast(payload as text) as payload from event"):
        check_shows_nothing(row.payload, secrets, "event")
    for span in trace_receiver.spans():
        shown = {key: value for key, value in span.attributes.items() if key not in _NUMBERS_SHOWN}
        check_shows_nothing(f"{span.name} {shown}", secrets, f"span of {span.service}")


def check_shows_nothing(text: str, secrets: re.Pattern[str], where: str) -> None:
    """Fails with the place, and with what stands there."""
    found = secrets.search(text)
    assert found is None, f"{where}: {text[max(0, found.start() - 200) : found.end() + 50]}"
