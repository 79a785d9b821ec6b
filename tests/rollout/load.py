"""A constant load of spins over every protocol, until told to stop; nothing that was asked is given up."""

import asyncio
import random
from collections.abc import Sequence

from tests.mesh.players import Answer, Player
from tests.mesh.stage import CHOICE_GAME_ID, SIMPLE_GAME_ID
from tests.meshes import API_KEY
from tests.rollout.fleet import Fleet
from tests.rollout.fronts import GrpcFront, RestFront, SocketFront
from tests.rollout.streams import FeedReader, PlayFront
from tests.rollout.tallies import Tally

STAKE_MINOR = 100
OPENING_MINOR = 10_000_000
FRONTS = (RestFront, SocketFront, PlayFront, GrpcFront)


class Load:
    """Players who play for as long as the block lasts: `async with Load(fleet, tally):`."""

    def __init__(
        self,
        fleet: Fleet,
        tally: Tally,
        *,
        players: int = 8,
        fronts: Sequence[type[RestFront]] = FRONTS,
        feed: bool = True,
    ) -> None:
        """`players`: by turns over each of `fronts`; the first plays a game with choices.

        `feed`: the operator reads its events meanwhile.
        """
        self.tally = tally
        self.fronts = [front(fleet, tally) for front in fronts]
        self.feed = FeedReader(fleet, tally, api_key=API_KEY, operator_id="dev") if feed else None
        self.players = [
            Player(
                self.fronts[number % len(self.fronts)],
                API_KEY,
                f"r-{number}",
                SIMPLE_GAME_ID if number else CHOICE_GAME_ID,
            )
            for number in range(players)
        ]
        self._stop = asyncio.Event()
        self._playing: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Load":
        if self.feed is not None:
            self.feed.start()
        await asyncio.gather(*(self._open(player) for player in self.players))
        self._playing = [
            asyncio.create_task(self._play(player, self.fronts[number % len(self.fronts)].pause_s))
            for number, player in enumerate(self.players)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """What is under way is still asked for until it is known. Errors: as the players failed"""
        self._stop.set()
        try:
            await asyncio.gather(*self._playing)
        finally:
            for front in self.fronts:
                await front.close()

    async def _open(self, player: Player) -> None:
        funded = await player.fund(OPENING_MINOR)
        assert funded.status == 200, funded
        launched = await player.launch()
        assert launched.status == 200, launched

    async def _play(self, player: Player, pause_s: float) -> None:
        choose = random.Random(player.player_id)
        while not self._stop.is_set():
            answer = await player.spin(STAKE_MINOR)
            self.tally.spins += 1
            self.tally.spins_retried += len(player.spins[-1].answers) > 1
            if answer.status != 200:
                self.tally.failures.append(f"{player.spins[-1].request_id} was never played: {answer}")
            await self._collect(player, answer)
            await asyncio.sleep(choose.uniform(0.5, 1.5) * pause_s)

    async def _collect(self, player: Player, answer: Answer) -> None:
        """Takes what was won."""
        while answer.status == 200 and answer.body["round"]["state"] == "OPEN":
            round_ = answer.body["round"]
            answer = await player.act(round_["round_id"], round_["step_next"], "COLLECT")
