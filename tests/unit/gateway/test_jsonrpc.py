"""A batch over a WebSocket is so many calls: it passes neither the limit of rates nor that of calls."""

import asyncio
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from services.gateway.edge import jsonrpc
from services.gateway.edge.jsonrpc import Conversation, Served
from services.gateway.operations import BY_NAME
from services.gateway.protection.rates import Taken
from tests.waiting import until


class Rates:
    """Refuses every third time, and counts what it lets through."""

    def __init__(self) -> None:
        self.asked = self.taken = 0

    def take(self, credential: str, address: str) -> tuple[None, Taken]:
        self.asked += 1
        refused = self.asked % 3 == 0
        self.taken += not refused
        return None, Taken(0, 1, 0.001 if refused else 0.0)


class Socket:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: bytes) -> None:
        self.sent.append(json.loads(message))

    def mind_reading(self) -> None:
        pass

    def answered(self) -> None:
        pass


class Balances:
    """Answers when it is let, and knows how many were under way at once."""

    def __init__(self) -> None:
        self.under_way = self.most = self.answered = 0

    async def call(self, credential: str, params: bytes, path: Mapping[str, str]) -> dict[str, Any]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.001)
        self.under_way -= 1
        self.answered += 1
        return {}


def batch_of(size: int, method: str) -> bytes:
    return json.dumps([{"jsonrpc": "2.0", "id": number, "method": method} for number in range(size)]).encode()


def talking(balances: Balances) -> tuple[Conversation, Rates, Socket]:
    rates, socket = Rates(), Socket()
    methods = {"balance": Served(BY_NAME["GetBalance"], balances.call)}
    shared = SimpleNamespace(rates=rates, loop=asyncio.get_running_loop(), methods=methods)
    return Conversation(cast(Any, shared), cast(Any, socket)), rates, socket


async def test_each_call_of_a_batch_counts_and_waits_for_its_turn() -> None:
    conversation, rates, socket = talking(Balances())
    conversation.told(batch_of(jsonrpc.BATCH_SIZE_MAX, "balance"))
    await until(lambda: bool(socket.sent))
    assert [answer["id"] for answer in socket.sent[0]] == [*range(jsonrpc.BATCH_SIZE_MAX)]
    assert rates.taken == jsonrpc.BATCH_SIZE_MAX


async def test_batches_are_no_way_round_the_number_of_calls_under_way() -> None:
    balances = Balances()
    conversation, _, socket = talking(balances)
    for _ in range(jsonrpc.CALLS_MAX):
        conversation.told(batch_of(jsonrpc.BATCH_SIZE_MAX, "balance"))
    assert conversation.full
    await until(lambda: len(socket.sent) == jsonrpc.CALLS_MAX)
    assert balances.answered == jsonrpc.CALLS_MAX * jsonrpc.BATCH_SIZE_MAX
    assert balances.most <= jsonrpc.CALLS_MAX
