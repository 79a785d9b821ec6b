"""A bounded load of well-behaved players: spins, gambles, deposits, relaunches, until told to stop."""

import asyncio
import random

from tests.mesh.players import Answer, Client, Player
from tests.meshes import API_KEY

GAMES = ("harbour-lights", "double-dawn")
STAKE_MINOR = 100
OPENING_MINOR = 100_000
ITERATIONS_MAX = 2_000


async def open_players(client: Client, count: int, *, prefix: str) -> list[Player]:
    """Funded players with a session each; every third plays the game that offers a gamble."""
    players = [
        Player(client, API_KEY, f"{prefix}-{number}", GAMES[number % 3 == 2]) for number in range(count)
    ]
    await asyncio.gather(*(_open(player) for player in players))
    return players


async def _open(player: Player) -> None:
    funded = await player.fund(OPENING_MINOR)
    assert funded.status == 200, funded
    launched = await player.launch()
    assert launched.status == 200, launched


async def play_until(stop: asyncio.Event, players: list[Player], *, seed: int) -> None:
    """Every player plays until `stop`; what is in flight then is still asked until it is known."""
    await asyncio.gather(
        *(_play(stop, player, random.Random(f"{seed}/{player.player_id}")) for player in players)
    )


async def _play(stop: asyncio.Event, player: Player, choose: random.Random) -> None:
    for _ in range(ITERATIONS_MAX):
        if stop.is_set():
            return
        draw = choose.random()
        if draw < 0.08:
            await player.fund(1_000)
        elif draw < 0.12:
            await player.withdraw(100)
        elif draw < 0.20:
            await player.launch()
        else:
            answer = await player.spin(STAKE_MINOR)
            await _gamble(player, answer, choose)
            if answer.status == 0 or answer.status >= 500:
                await asyncio.sleep(0.1)


async def _gamble(player: Player, answer: Answer, choose: random.Random) -> None:
    """Takes the offered gamble, or collects, until the round is over."""
    while answer.status == 200 and answer.body["round"]["state"] == "OPEN":
        round_ = answer.body["round"]
        choice = choose.choice(["RED", "BLACK", "COLLECT", "COLLECT"])
        answer = await player.act(round_["round_id"], round_["step_next"], choice)
