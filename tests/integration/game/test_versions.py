"""Versions: what was served under one never changes, and a round finishes under the one that drew it."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import text

from services.common.errors import DomainError
from services.game import definitions
from services.game.catalogue import Catalogue, Declared
from services.game.definitions import VersionRefused
from services.game.engine import loading
from services.game.engine.definition import GameDefinition
from tests.integration.game.harness import (
    GAMBLE,
    GAMES,
    OPEN,
    PENDING,
    SETTLED,
    SETTLING,
    SPIN,
    Game,
    blocked_or_done,
    new_id,
)
from tests.integration.wallet.harness import Wallet
from tests.waiting import until

ROOT = Path(__file__).parents[3]
GAME = GAMES[GAMBLE]


def other(game: GameDefinition = GAME, **changes: Any) -> GameDefinition:
    """The game with these fields changed, nothing derived kept from before."""
    return replace(game, **changes)


def games(*changed: GameDefinition) -> Mapping[str, GameDefinition]:
    return {**GAMES, **{game.game_id: game for game in changed}}


async def record(game: Game, *served: GameDefinition) -> None:
    await definitions.record(game.engine, Catalogue(map(Declared, served)))


async def refusal(game: Game, *served: GameDefinition) -> str:
    with pytest.raises(VersionRefused) as caught:
        await record(game, *served)
    return str(caught.value)


async def stored(game: Game) -> list[tuple[str, int, str]]:
    rows = await game.rows("select game_id, version, definition_hash from game_definition order by 1, 2")
    return [tuple(row) for row in rows]


async def test_a_changed_file_under_a_used_version_is_refused(own_game_url: str, wallet: Wallet) -> None:
    async with Game(own_game_url, wallet, games={GAMBLE: GAME}) as game:
        before = await stored(game)
        assert before == [(GAMBLE, 1, GAME.canonical_hash)]
        changed = other(name="Surer Gamble")
        # Not even what stands beside it is recorded.
        line = await refusal(game, GAMES[SPIN], changed)
        assert line == (
            f"sure-gamble.yaml: version 1 was served as {GAME.canonical_hash}, "
            f"and now the file is {changed.canonical_hash}: raise version"
        )
        assert await stored(game) == before
        await record(game, other(name="Surer Gamble", version=2))
        assert [version for _, version, _ in await stored(game)] == [1, 2]


async def test_an_older_version_is_served_again_but_no_new_one_below(
    own_game_url: str, wallet: Wallet
) -> None:
    async with Game(own_game_url, wallet, games={GAMBLE: other(version=2)}) as game:
        await record(game, other(version=5))
        await record(game, other(version=2))
        line = await refusal(game, other(version=4))
        assert line == "sure-gamble.yaml: version 4 was never served, but version 5 was: raise version"
        assert [version for _, version, _ in await stored(game)] == [2, 5]


async def test_of_two_replicas_with_different_files_one_is_refused(own_game_url: str, wallet: Wallet) -> None:
    async with Game(own_game_url, wallet, games={}) as game, Game(own_game_url, wallet, games={}) as second:
        async with game.engine.connect() as conn:
            # The first has inserted, and not committed, when the second comes.
            await conn.execute(
                text("insert into game_definition values (:game_id, 1, 'first', '{}', '', '{}')"),
                {"game_id": GAMBLE},
            )
            late = asyncio.create_task(record(second, GAME))
            await until(lambda: blocked_or_done(game, late))
            await conn.commit()
        with pytest.raises(VersionRefused, match="was served as first"):
            await late


async def test_a_round_finishes_under_the_version_that_drew_it(own_game_url: str, wallet: Wallet) -> None:
    """The new version offers one step of gamble, not two, and takes other stakes."""
    assert GAME.gamble is not None
    newer = other(version=2, gamble=replace(GAME.gamble, steps_max=1), stakes_minor={"EUR": (200,)})
    won = False
    while not won:
        account_id = await wallet.open(balance=1000)
        async with Game(own_game_url, wallet) as game:
            round_ = await game.open(account_id)
        async with Game(own_game_url, wallet, games=games(newer)) as game:
            assert game.catalogue.games[GAMBLE].version == 2
            found = await game.get(round_.round_id, account_id)
            assert (found.game_version, list(found.choices)) == (1, ["COLLECT", "RED", "BLACK"])
            acted = await game.act(round_, "RED")
            won = acted.round.state == OPEN
            if won:
                # After one step won the new version would offer no more.
                assert list(acted.round.choices) == ["COLLECT", "RED", "BLACK"]
                acted = await game.act(acted.round, "BLACK", step=2)
            assert acted.round.state == SETTLING
            settled = await game.finish(await wallet.send(acted.payout))
            assert (settled.state, settled.game_version) == (SETTLED, 1)
            after = await game.settle(await game.play(account_id, game_id=GAMBLE, stake=200))
            assert after.game_version == 2


async def test_a_replica_of_before_finishes_what_a_newer_one_drew(own_game_url: str, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    async with Game(own_game_url, wallet) as game:
        async with Game(own_game_url, wallet, games=games(other(version=2))) as newer:
            round_ = await newer.open(account_id)
        assert round_.game_version == 2
        assert list((await game.get(round_.round_id, account_id)).choices) == ["COLLECT", "RED", "BLACK"]


@pytest.mark.parametrize("changed", ["replace(canonical_json, '40', '41')", "'{\"grid\": 1}'"])
async def test_under_a_stored_definition_that_was_changed_a_round_is_only_collected(
    own_game_url: str, wallet: Wallet, changed: str
) -> None:
    account_id = await wallet.open(balance=1000)
    async with Game(own_game_url, wallet) as game:
        round_ = await game.open(account_id)
        async with game.engine.begin() as conn:
            await conn.execute(text(f"update game_definition set canonical_json = {changed}"))
    async with Game(own_game_url, wallet) as game:
        assert list((await game.get(round_.round_id, account_id)).choices) == ["COLLECT"]
        with pytest.raises(DomainError) as caught:
            await game.act(round_, "RED")
        assert caught.value.reason == "CHOICE_UNKNOWN"


def test_every_definition_reads_back_as_it_was_served() -> None:
    for game in GAMES.values():
        thawed = definitions.thaw(game.canonical_json.decode(), definition_hash=game.canonical_hash)
        assert thawed is not None
        assert thawed.canonical_json == game.canonical_json
    assert definitions.thaw("{}", definition_hash=GAME.canonical_hash) is None


@pytest.mark.parametrize("late", [False, True])
async def test_the_process_ends_with_one_line(
    own_game_url: str, wallet: Wallet, tmp_path: Path, late: bool
) -> None:
    """Also when its database is migrated only while it waits for it: it is up then, and draws nothing."""
    source = Path(__file__).parent / "games" / "sure-spin.yaml"
    (tmp_path / "sure-spin.yaml").write_text(source.read_text().replace("{2: 7}", "{2: 8}"))
    changed = loading.load(tmp_path / "sure-spin.yaml")
    async with Game(own_game_url, wallet) as game:
        if late:
            await execute(game, "alter table game_definition rename to later")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.game"),
            env=environment(own_game_url) | {"REELMESH_GAME_GAMES_FOLDER": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            if late:
                while b"wait for the database" not in await process.stdout.readline():
                    pass
                await execute(game, "alter table later rename to game_definition")
            _, said = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
    assert process.returncode == 1
    assert said.decode().splitlines() == [
        f"game: sure-spin.yaml: version 1 was served as {GAMES[SPIN].canonical_hash}, "
        f"and now the file is {changed.canonical_hash}: raise version"
    ]


async def execute(game: Game, query: str) -> None:
    async with game.engine.begin() as conn:
        await conn.execute(text(query))


async def test_nothing_is_drawn_before_the_versions_are_recorded(game: Game, wallet: Wallet) -> None:
    game.catalogue.recorded = False
    account_id, request_id = await wallet.open(balance=1000), new_id()
    with pytest.raises(DomainError) as caught:
        await game.play(account_id, request_id=request_id)
    assert caught.value.reason == "UNAVAILABLE"
    game.catalogue.recorded = True
    assert (await game.play(account_id, request_id=request_id)).round.state == PENDING


def environment(url: str) -> dict[str, str]:
    return dict(os.environ) | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
        "REELMESH_GAME_DATABASE_URL": url,
        "REELMESH_GAME_GRPC_PORT": "0",
        "REELMESH_GAME_ADMIN_PORT": "0",
        "REELMESH_IDENTITY_KEY": "k" * 32,
        "REELMESH_SEAL_KEY": "s" * 32,
        "REELMESH_WALLET_TARGET": "dns:///127.0.0.1:1",
        "REELMESH_EVENTS_TARGET": "dns:///127.0.0.1:1",
    }
