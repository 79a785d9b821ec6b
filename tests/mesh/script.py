"""A script that is asked over the three protocols, step by step, and must be answered alike."""

import itertools
import json
import re
from typing import Any

from deploy.local.mesh import Mesh
from tests.mesh.protocols import Json, OverGrpc, OverRest, OverWebSocket, Protocol, Refused
from tests.mesh.stage import new_id
from tests.meshes import API_KEY, OTHER_API_KEY


class Script:
    """Asks every step over all three; whose turn it is to be first changes with every step."""

    def __init__(self, mesh: Mesh) -> None:
        ca_file = mesh.tls.ca_file if mesh.tls else None
        self.protocols: list[Protocol] = [
            OverGrpc(f"127.0.0.1:{mesh.ports('gateway').grpc}", ca_file=ca_file),
            OverRest(mesh.rest_url(), ca_file=ca_file),
            OverWebSocket(mesh.rest_url(), ca_file=ca_file),
        ]
        self._first = itertools.cycle(range(3))
        self.asked: set[str] = set()

    async def ask(
        self, name: str, credential: str = API_KEY, /, *, moves: bool = False, **fields: Any
    ) -> Json:
        """The answer of all three; of a refusal what was told. `moves`: it tells of the moment, too."""
        self.asked.add(name)
        first = next(self._first)
        answers = []
        for protocol in self.protocols[first:] + self.protocols[:first]:
            try:
                answers.append(await protocol.ask(name, credential, fields))
            except Refused as refused:
                answers.append(refused.told)
        for answer in answers:
            answer.get("transfer", {}).pop("replayed", None)
            # Moves by itself while it is active.
            answer.get("webhook", {}).pop("position", None)
        if moves:
            answers = [plain(answer) for answer in answers]
        assert answers[0] == answers[1] == answers[2], (name, fields)
        return answers[0]

    async def refused(self, because: str, name: str, credential: str = API_KEY, /, **fields: Any) -> None:
        """All three refuse it for this reason."""
        assert (await self.ask(name, credential, **fields)).get("reason") == because, (name, fields)

    async def explain(self, round_id: str) -> None:
        """Read at three moments: what it says of the round is the same, what waits to be sent may not be."""
        told = []
        for protocol in self.protocols:
            answer = await protocol.ask("ExplainRound", API_KEY, {"round_id": round_id})
            told.append((answer["game"]["round"], answer["wallet"]["steps"], answer.keys()))
        assert told[0] == told[1] == told[2]
        await self.refused("ROUND_NOT_FOUND", "ExplainRound", OTHER_API_KEY, round_id=round_id)

    async def launch(self, player_id: str, game_id: str) -> str:
        """A session's token; the code works once, so each protocol exchanges one of its own player."""
        shapes = []
        token = ""
        for protocol in self.protocols:
            who = player_id if protocol is self.protocols[0] else f"{player_id}-{type(protocol).__name__}"
            created = await protocol.ask(
                "CreateSession",
                API_KEY,
                {"request_id": new_id(), "player_id": who, "game_id": game_id, "currency_code": "USD"},
            )
            exchanged = await protocol.ask("ExchangeCode", "", {"launch_code": created["launch_code"]})
            token = token or exchanged["token"]
            shapes.append(plain({**created, **exchanged, "balance": None}))
        assert shapes[0] == shapes[1] == shapes[2]
        self.asked |= {"CreateSession", "ExchangeCode"}
        return token


def plain(answer: Json) -> Json:
    """Without the ids and times that differ from player to player."""
    text = re.sub(r'"[0-9A-Za-z_-]{30,}"|"[0-9T:.-]{19,}Z"|"[0-9.]+s"', '"*"', json.dumps(answer))
    found: Json = json.loads(text)
    return found | {"launch_url": "*"}


def shown(round_id: str = "", **changes: Any) -> Json:
    """A spin that was shown to its end."""
    return {
        "type": "SPIN_SHOWN",
        "client_time": "2026-11-30T12:00:00.123Z",
        "round_id": round_id,
        "data": {"duration_ms": 2400, "skipped": False},
        **changes,
    }
