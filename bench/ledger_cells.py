"""The ways to settle that `make bench-wallet` compares, each with the machine to itself."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop
from reelmesh.type.v1 import money_pb2
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from bench import machine
from bench.errors import BenchError
from bench.figures import percentile
from bench.ledger_rounds import (
    CURRENCY_CODE,
    GAME_ID,
    books_off,
    insert_accounts,
    insert_history,
    items,
)
from bench.reelmesh import Reelmesh
from bench.servers import value
from deploy.local.databases import role_name
from services.common import db
from services.common.client import GuardedChannel
from services.common.migrate import migrate
from services.wallet import ledger, seal
from services.wallet.records import Item, Settlement, Status

BATCH = 200
ACCOUNTS = 4_000
SINGLE_PROCESSES, SINGLE_CONNECTIONS = 2, 16
SINGLE, STATEMENT, PAST = "one transaction per bet", "statement of 200", "statement of 200, with a past"
BATCHES, UNARY = "BatchSettle of 200", "Settle"
# Two gateways: one alone would wait for its own encoding between two batches.
BATCH_CALLS, UNARY_CALLERS = 2, (32, 128)


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One way to settle, for a while."""

    name: str
    pass_no: int
    settlements: int
    per_s: float
    python_us: float
    """CPU per settlement of whoever talks to PostgreSQL: the bench itself, or the wallet's process."""
    postgres_us: float
    p50_ms: float
    p99_ms: float
    """Of a call; 0 where none is timed."""

    @property
    def cpu_us(self) -> float:
        """Both."""
        return self.python_us + self.postgres_us


class LedgerBench:
    """One run: one PostgreSQL, fsync on, the wallet as it is deployed."""

    def __init__(self, directory: Path, *, collector_url: str, window_s: float, rounds: int) -> None:
        """`rounds`: how many the past of one of the databases has."""
        self._window_s, self._rounds = window_s, rounds
        self._reelmesh = Reelmesh(directory, collector_url=collector_url)
        self._start_s = time.monotonic()
        self._unmeasured = 0
        self.cells: list[Cell] = []

    def start(self) -> None:
        """Three databases: of the wallet, one for the statement alone, one with a past."""
        self._say("starting the mesh")
        self._reelmesh.start(0)
        server = self._reelmesh.postgres.server
        self._urls = {
            name: server.create_database("wallet", f"bench_{name}") for name in ("empty", "past", "single")
        }
        for url in self._urls.values():
            migrate("wallet", url)
        databases = [*(f"bench_{name}" for name in self._urls), role_name("wallet")]
        self._readers = {name: self._reelmesh.postgres.reader(name) for name in databases}
        for reader in self._readers.values():
            self._accounts = insert_accounts(reader, ACCOUNTS)
            reader.execute("vacuum analyze account")
        self._say(f"writing {self._rounds:,} rounds of the past")
        insert_history(self._readers["bench_past"], self._accounts, self._rounds)

    def run_pass(self, pass_no: int) -> None:
        """Every cell once, each with the machine to itself."""
        self._add(self._single(pass_no))
        for name, url in ((STATEMENT, self._urls["empty"]), (PAST, self._urls["past"])):
            self._add(uvloop.run(self._statement(name, url, pass_no)))
        self._add(uvloop.run(self._served(BATCHES, pass_no, calls=BATCH_CALLS, one=False)))
        for callers in UNARY_CALLERS:
            self._add(
                uvloop.run(self._served(f"{UNARY}, {callers} callers", pass_no, calls=callers, one=True))
            )

    def void(self) -> list[str]:
        """Why the figures say nothing; empty when they stand."""
        found = [f"{name}: {off}" for name, reader in self._readers.items() for off in books_off(reader)]
        made = self._unmeasured + sum(cell.settlements for cell in self.cells)
        stored = sum(
            int(value(reader, "select count(*) from settlement where status = 1"))
            for reader in self._readers.values()
        )
        if stored - self._rounds != made:
            found.append(f"{stored - self._rounds} settlements stored, {made} acknowledged")
        durability = self._reelmesh.postgres.durability()
        return found + [f"{name} is {value}" for name, value in durability.items() if value != "on"]

    def stop(self) -> None:
        """Ends everything; nothing is kept."""
        self._reelmesh.stop()

    def flush_us(self) -> float:
        """Of the disk that holds the databases."""
        return machine.flush_us(self._reelmesh.postgres.directory)

    def _say(self, text: str) -> None:
        """A line of progress."""
        print(f"{time.monotonic() - self._start_s:6.1f} s  {text}", flush=True)

    def _add(self, cell: Cell) -> None:
        self.cells.append(cell)
        latency = f"  p50 {cell.p50_ms:.1f} p99 {cell.p99_ms:.1f} ms" if cell.p99_ms else ""
        self._say(
            f"{cell.name:38} {cell.per_s:8.0f}/s  Python {cell.python_us:5.0f}  "
            f"PostgreSQL {cell.postgres_us:5.0f} us{latency}"
        )

    def _single(self, pass_no: int) -> Cell:
        url = self._urls["single"].replace("postgresql+psycopg://", "postgresql://")
        arguments = [SINGLE_CONNECTIONS, self._window_s, self._accounts.start, len(self._accounts)]
        command = [sys.executable, "-m", "bench.ledger_single", *map(str, arguments)]
        postgres_s = self._reelmesh.postgres.cpu_s()
        clients = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(SINGLE_PROCESSES)
        ]
        try:
            for client in clients:
                assert client.stdin is not None
                client.stdin.write(url + "\n")
                client.stdin.flush()
            answers = [client.communicate(timeout=60 + self._window_s)[0].split() for client in clients]
        finally:
            for client in clients:
                client.kill()
                client.wait()
        return _cell(
            SINGLE,
            pass_no,
            sum(int(made) for made, _ in answers),
            self._window_s,
            python_s=sum(float(cpu_s) for _, cpu_s in answers),
            postgres_s=self._reelmesh.postgres.cpu_s() - postgres_s,
        )

    async def _statement(self, name: str, url: str, pass_no: int) -> Cell:
        engine = db.create_engine(url, pool_size=2, application_name="bench")
        chance = random.Random(pass_no)
        try:
            await _settle_once(engine, items(chance, self._batch(chance)))
            self._unmeasured += BATCH
            postgres_s, python_s = self._reelmesh.postgres.cpu_s(), time.process_time()
            start_s, made = time.monotonic(), 0
            while time.monotonic() < start_s + self._window_s:
                await _settle_once(engine, items(chance, self._batch(chance)))
                made += BATCH
            return _cell(
                name,
                pass_no,
                made,
                time.monotonic() - start_s,
                python_s=time.process_time() - python_s,
                postgres_s=self._reelmesh.postgres.cpu_s() - postgres_s,
            )
        finally:
            await engine.dispose()

    async def _served(self, name: str, pass_no: int, *, calls: int, one: bool) -> Cell:
        """Through the wallet's process. Every caller has accounts of its own and one call in flight."""
        mesh = self._reelmesh.mesh
        channel = GuardedChannel(
            f"127.0.0.1:{mesh.ports('wallet').grpc}",
            caller="gateway",
            identity_key=mesh.key("identity_key"),
            retry=False,
        )
        stub = channel.stub(wallet_pb2_grpc.WalletServiceStub)
        seal_key, pid = mesh.key("seal_key"), mesh.pid("wallet")
        times_s: list[float] = []
        made = 0

        async def caller(number: int, until_s: float) -> None:
            nonlocal made
            chance, own = random.Random(f"{pass_no}/{number}"), self._accounts[number::calls]
            while time.monotonic() < until_s:
                batch = items(chance, [chance.choice(own)] if one else chance.sample(own, BATCH))
                requests = [_request(item, seal_key) for item in batch]
                sent_s = time.monotonic()
                if one:
                    answer = await stub.Settle(requests[0])
                    settled = [answer.settlement]
                else:
                    results = await stub.BatchSettle(wallet_pb2.BatchSettleRequest(requests=requests))
                    settled = [result.settlement for result in results.results]
                times_s.append(time.monotonic() - sent_s)
                applied = sum(step.status == wallet_pb2.SETTLEMENT_STATUS_APPLIED for step in settled)
                if applied != len(requests):
                    raise BenchError(f"{name}: {len(requests) - applied} were not applied")
                made += applied

        try:
            await asyncio.gather(*(caller(number, time.monotonic() + 0.3) for number in range(calls)))
            self._unmeasured += made
            made = 0
            times_s.clear()
            postgres_s, python_s = self._reelmesh.postgres.cpu_s(), machine.process_cpu_s(pid)
            start_s = time.monotonic()
            await asyncio.gather(*(caller(number, start_s + self._window_s) for number in range(calls)))
            seconds = time.monotonic() - start_s
            return _cell(
                name,
                pass_no,
                made,
                seconds,
                python_s=machine.process_cpu_s(pid) - python_s,
                postgres_s=self._reelmesh.postgres.cpu_s() - postgres_s,
                times_s=times_s,
            )
        finally:
            await channel.close()

    def _batch(self, chance: random.Random) -> Sequence[int]:
        return chance.sample(self._accounts, BATCH)


async def _settle_once(engine: AsyncEngine, batch: list[Item]) -> None:
    answers = await ledger.settle_batch(engine, batch)
    if not all(isinstance(one, Settlement) and one.status is Status.APPLIED for one in answers):
        raise BenchError("a settlement was not applied")


def _request(item: Item, seal_key: str) -> wallet_pb2.SettleRequest:
    return wallet_pb2.SettleRequest(
        round_id=item.round_id,
        step=wallet_pb2.SETTLE_STEP_FUSED,
        account_id=item.account_id,
        stake=money_pb2.Money(currency_code=CURRENCY_CODE, amount_minor=item.stake_minor),
        win=money_pb2.Money(currency_code=CURRENCY_CODE, amount_minor=item.win_minor),
        game_id=GAME_ID,
        seal=seal.seal_of(item, key=seal_key),
        traceparent=item.traceparent,
    )


def _cell(
    name: str,
    pass_no: int,
    made: int,
    seconds: float,
    *,
    python_s: float,
    postgres_s: float,
    times_s: Sequence[float] = (),
) -> Cell:
    ordered = sorted(times_s)
    return Cell(
        name=name,
        pass_no=pass_no,
        settlements=made,
        per_s=made / seconds,
        python_us=python_s * 1e6 / max(1, made),
        postgres_us=postgres_s * 1e6 / max(1, made),
        p50_ms=1000 * percentile(ordered, 50),
        p99_ms=1000 * percentile(ordered, 99),
    )
