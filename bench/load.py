"""The load client: players over REST or WebSocket, in a process of their own that costs little.

Closed loop: a player spins again as soon as the last spin is answered. Open loop: spins come at random times
at a given mean rate; who waits for a free player waits too, for latency counts from the intended time. Flood:
as open, but who is refused for overload, or finds no free player, goes away: others are there already.
One plan comes in on stdin, "ready" goes out, a line comes in, one result goes out.
"""

import asyncio
import random
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Literal, cast

import msgspec
import uvloop

from bench.figures import percentile

# What a good client does with an answer that its id may be sent again.
RETRY_PAUSE_S = 0.05
FLOOD_TICK_S = 0.005
_AGAIN = (b'"class":"RETRY_SAME_ID"', b'"class":"NOT_YET"')
_OVERLOADED = b'"reason":"OVERLOADED"'
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_REASON = re.compile(rb'"reason":"([A-Z_]+)"')


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. Measured is a window in the middle; every spin that was begun is finished."""

    port: int
    tokens: list[str]
    """One player each."""
    mode: Literal["closed", "open", "flood"] = "closed"
    protocol: Literal["rest", "websocket"] = "rest"
    rate_per_s: float = 0.0
    """Open loop and flood: mean rate of the spins."""
    ramp_s: float = 0.5
    window_s: float = 3.0
    patience_s: float = 20.0
    """How long unanswered spins are repeated after the window."""
    currency_code: str = "EUR"
    stake_minor: int = 100
    seed: int = 1


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What the players saw. Latency is from the first (or intended) sending to the answer that settles it."""

    acknowledged: int
    """Rounds answered SETTLED from the first request to the last, ramp and end included."""
    answered_in_window: int
    spins_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    refused: dict[str, int]
    """Final answers that were not a settled round, by reason; in a flood also what was not repeated."""
    refused_p99_ms: float
    """In a flood, how long it takes to be refused."""
    repeated: int
    """Sendings of an id beyond its first."""
    unknown: int
    """Ids without an answer when patience ended."""
    seconds: float
    cpu_s: float
    """Of this process, connecting excluded."""


class Player(asyncio.Protocol):
    """One connection with one spin in flight at most."""

    def __init__(self, load: "Load", token: str) -> None:
        plan = load.plan
        tail = f'","stake":{{"currency_code":"{plan.currency_code}","amount_minor":{plan.stake_minor}}}}}'
        length = len('{"request_id":"') + 36 + len(tail)
        head = f"POST /v1/spins HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        self._head = (head + '{"request_id":"').encode()
        self._tail = tail.encode()
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self.request_id = b""
        """Empty while nothing is in flight."""
        self.start_s = 0.0
        self.sendings = 0

    def spin(self, start_s: float) -> None:
        """Begins a spin under a new id; its latency counts from start_s."""
        self.request_id, self.start_s, self.sendings = self._load.new_id(), start_s, 0
        self.send()

    def send(self) -> None:
        """Sends the id in flight; while there is no connection, as soon as there is one."""
        if self._transport is not None:
            self.sendings += 1
            self._transport.write(self._head + self.request_id + self._tail)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one, but does not say so.
        self._transport, self._received = cast(asyncio.Transport, transport), b""
        if self.request_id:
            self._load.repeated += 1
            self.send()

    def data_received(self, data: bytes) -> None:
        data = self._received + data if self._received else data
        end = data.find(b"\r\n\r\n")
        length = _LENGTH.search(data, 0, end) if end >= 0 else None
        if length is None or len(data) < end + 4 + int(length[1]):
            self._received = data
            return
        self._received = b""
        self._load.answered(self, int(data[9:12]), data[end + 4 :])

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._load.reconnect(self)


class SocketPlayer(Player):
    """The same over a WebSocket, whose frames are masked with zeros: that costs the server the same."""

    def __init__(self, load: "Load", token: str) -> None:
        super().__init__(load, token)
        plan = load.plan
        self._greeting = (
            f"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ).encode()
        self._authenticate = _frame(
            b'{"jsonrpc":"2.0","id":0,"method":"authenticate","params":{"credential":"%b"}}' % token.encode()
        )
        head = b'{"jsonrpc":"2.0","id":1,"method":"spin","params":{"request_id":"'
        tail = self._tail + b"}"
        self._head = _frame_head(len(head) + 36 + len(tail)) + head
        self._tail = tail
        self._wire: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not ours to spin over before it is authenticated.
        self._wire, self._received = cast(asyncio.Transport, transport), b""
        self._wire.write(self._greeting + self._authenticate)

    def data_received(self, data: bytes) -> None:
        data = self._received + data
        if self._transport is None and data.startswith(b"HTTP/1.1 101"):
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._received = head
                return
        while len(data) >= 4:
            short = data[1] & 127
            start = 2 if short < 126 else 4
            length = short if short < 126 else int.from_bytes(data[2:4], "big")
            if len(data) < start + length:
                break
            self._message(data[start : start + length])
            data = data[start + length :]
        self._received = data

    def _message(self, message: bytes) -> None:
        if self._transport is None:
            assert self._wire is not None
            if b'"error":' in message:
                self._load.later(partial(self._wire.write, self._authenticate))
            else:
                super().connection_made(self._wire)
        elif b'"id":1,' in message:
            self._load.answered(self, 200 if b'"result":' in message else 400, message)


def _frame_head(length: int) -> bytes:
    """Of a masked text message."""
    size = bytes([128 | length]) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
    return b"\x81" + size + bytes(4)


def _frame(message: bytes) -> bytes:
    return _frame_head(len(message)) + message


class Load:
    """All players of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        kind = SocketPlayer if plan.protocol == "websocket" else Player
        self.players = [kind(self, token) for token in plan.tokens]
        self.repeated = 0
        self._loop = asyncio.get_running_loop()
        self._random = random.Random(plan.seed)
        # Nobody guesses them here, and the system's generator would be a call into the kernel for each.
        self._ids = random.Random(random.SystemRandom().getrandbits(128))
        self._idle: deque[Player] = deque()
        self._due: deque[float] = deque()
        self._next_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._latencies_s: list[float] = []
        self._refusals_s: list[float] = []
        self._acknowledged = self._answered = self._in_flight = 0
        self._refused: Counter[str] = Counter()
        self._finished = asyncio.Event()
        self._window_s = (0.0, 0.0)

    def new_id(self) -> bytes:
        """A random UUID (version 4), never sent before."""
        text = f"{self._ids.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}".encode()

    def later(self, callback: Callable[[], None]) -> None:
        """After the pause of whoever repeats."""
        self._loop.call_later(RETRY_PAUSE_S, callback)

    async def connect(self) -> None:
        """Opens every player's connection."""
        for first in range(0, len(self.players), 64):
            await asyncio.gather(*(self._connect(player) for player in self.players[first : first + 64]))

    async def run(self) -> Result:
        """Plays until the window is over and every spin is answered, or patience ends."""
        cpu_s, begin_s = time.process_time(), self._loop.time()
        first_s = begin_s + self.plan.ramp_s
        self._window_s = (first_s, first_s + self.plan.window_s)
        if self.plan.mode == "closed":
            for player in self.players:
                self._begin(player, begin_s)
        else:
            self._idle.extend(self.players)
            self._next_s = begin_s
            self._arrive()
        try:
            await asyncio.wait_for(
                self._finished.wait(), self.plan.ramp_s + self.plan.window_s + self.plan.patience_s
            )
        except TimeoutError:
            pass
        self._latencies_s.sort()
        self._refusals_s.sort()
        return Result(
            acknowledged=self._acknowledged,
            answered_in_window=self._answered,
            spins_per_s=self._answered / self.plan.window_s,
            p50_ms=percentile(self._latencies_s, 50) * 1000,
            p99_ms=percentile(self._latencies_s, 99) * 1000,
            max_ms=percentile(self._latencies_s, 100) * 1000,
            refused=dict(self._refused),
            refused_p99_ms=percentile(self._refusals_s, 99) * 1000,
            repeated=self.repeated,
            unknown=self._in_flight + len(self._due),
            seconds=self._loop.time() - begin_s,
            cpu_s=time.process_time() - cpu_s,
        )

    def answered(self, player: Player, status: int, body: bytes) -> None:
        """An answer for the player's id in flight."""
        now_s = self._loop.time()
        # What was sent before may have taken effect: only a first sending is given up.
        given_up = self.plan.mode == "flood" and player.sendings == 1 and _OVERLOADED in body
        if given_up:
            self._refusals_s.append(now_s - player.start_s)
        elif status != 200 and any(word in body for word in _AGAIN):
            self.repeated += 1
            self._loop.call_later(RETRY_PAUSE_S, player.send)
            return
        settled = status == 200 and b'"state":"SETTLED"' in body and player.request_id in body
        player.request_id = b""
        self._in_flight -= 1
        if settled:
            self._acknowledged += 1
            self._count(player.start_s, now_s)
        else:
            reason = _REASON.search(body)
            self._refused[reason[1].decode() if reason else str(status)] += 1
        self._next(player, now_s)

    def reconnect(self, player: Player) -> None:
        """Opens a lost connection again; the server closes those that idle."""
        if not self._finished.is_set():
            task = asyncio.ensure_future(self._connect(player))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, player: Player) -> None:
        while not self._finished.is_set():
            try:
                await self._loop.create_connection(lambda: player, "127.0.0.1", self.plan.port)
                return
            except OSError:
                await asyncio.sleep(RETRY_PAUSE_S)

    def _begin(self, player: Player, start_s: float) -> None:
        self._in_flight += 1
        player.spin(start_s)

    def _count(self, start_s: float, now_s: float) -> None:
        """The rate counts what was answered in the window; open-loop latency what was due in it."""
        first_s, end_s = self._window_s
        if first_s <= now_s < end_s:
            self._answered += 1
        if first_s <= (now_s if self.plan.mode == "closed" else start_s) < end_s:
            self._latencies_s.append(now_s - start_s)

    def _next(self, player: Player, now_s: float) -> None:
        if self.plan.mode != "closed" and self._due:
            self._begin(player, self._due.popleft())
        elif self.plan.mode == "closed" and now_s < self._window_s[1]:
            self._begin(player, now_s)
        else:
            self._idle.append(player)
            if self._in_flight == 0 and now_s >= self._window_s[1]:
                self._finished.set()

    def _arrive(self) -> None:
        """Every spin that is due by now, then the next one's timer."""
        now_s = self._loop.time()
        while self._next_s <= now_s and self._next_s < self._window_s[1]:
            if self._idle:
                self._begin(self._idle.popleft(), self._next_s)
            elif self.plan.mode == "open":
                self._due.append(self._next_s)
            self._next_s += self._random.expovariate(self.plan.rate_per_s)
        if self._next_s < self._window_s[1]:
            # A timer for each of ten thousand a second would cost more than sending them.
            tick_s = FLOOD_TICK_S if self.plan.mode == "flood" else 0.0
            self._loop.call_at(max(self._next_s, now_s + tick_s), self._arrive)
        else:
            self._loop.call_at(self._window_s[1], self._end)

    def _end(self) -> None:
        if self._in_flight == 0 and not self._due:
            self._finished.set()


async def _main() -> None:
    load = Load(msgspec.json.decode(sys.stdin.readline(), type=Plan))
    await load.connect()
    print("ready", flush=True)
    # Nothing is in flight yet, so the loop may stand still.
    sys.stdin.readline()
    result = await load.run()
    print(msgspec.json.encode(result).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(_main())
