"""A constant load of spins over three protocols, until told to stop; nothing that was asked is given up."""

import asyncio
import random

from tests.mesh.players import Answer, Client, Player
from tests.mesh.stage import CHOICE_GAME_ID, SIMPLE_GAME_ID
from tests.meshes import API_KEY
from tests.rollout.fleet import Fleet
from tests.rollout.fronts import GrpcFront, RestFront, SocketFront
from tests.rollout.tallies import Tally

STAKE_MINOR = 100
OPENING_MINOR = 10_000_000
# Between a player's spins, on average: fast fingers.
PAUSE_S = 0.3


class Load:
    """Players who play for as long as the block lasts: `async with Load(fleet, tally):`."""

    def __init__(self, fleet: Fleet, tally: Tally, *, players: int = 8) -> None:
        """`players`: half over REST (one of them in a game with choices), the others by turns."""
        self.tally = tally
        self.rest = RestFront(fleet, tally)
        self.socket, self.grpc = SocketFront(fleet, tally), GrpcFront(fleet, tally)
        clients: list[Client] = [self.rest, self.socket, self.rest, self.grpc]
        self.players = [
            Player(clients[number % 4], API_KEY, f"r-{number}", SIMPLE_GAME_ID if number else CHOICE_GAME_ID)
            for number in range(players)
        ]
        self._stop = asyncio.Event()
        self._playing: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Load":
        await asyncio.gather(*(self._open(player) for player in self.players))
        self._playing = [asyncio.create_task(self._play(player)) for player in self.players]
        return self

    async def __aexit__(self, *_: object) -> None:
        """What is under way is still asked for until it is known. Errors: as the players failed"""
        self._stop.set()
        try:
            await asyncio.gather(*self._playing)
        finally:
            for client in (self.rest, self.socket, self.grpc):
                await client.close()

    async def _open(self, player: Player) -> None:
        funded = await player.fund(OPENING_MINOR)
        assert funded.status == 200, funded
        launched = await player.launch()
        assert launched.status == 200, launched

    async def _play(self, player: Player) -> None:
        choose = random.Random(player.player_id)
        while not self._stop.is_set():
            answer = await player.spin(STAKE_MINOR)
            self.tally.spins += 1
            self.tally.spins_retried += len(player.spins[-1].answers) > 1
            if answer.status != 200:
                self.tally.failures.append(f"{player.spins[-1].request_id} was never played: {answer}")
            await self._collect(player, answer)
            await asyncio.sleep(choose.uniform(0.5, 1.5) * PAUSE_S)

    async def _collect(self, player: Player, answer: Answer) -> None:
        """Takes what was won."""
        while answer.status == 200 and answer.body["round"]["state"] == "OPEN":
            round_ = answer.body["round"]
            answer = await player.act(round_["round_id"], round_["step_next"], "COLLECT")
