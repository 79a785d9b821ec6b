"""`make bench`: Reelmesh, the textbook mesh and the floors, alternating; a table and build/bench.json."""

import argparse
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import machine, report
from bench.cells import LoadClient, Subject, idle_cores, measure
from bench.errors import BenchError
from bench.figures import RATIO_PLAYERS, Floor, Row, overload, void_reasons
from bench.floors import Floors
from bench.helpers import start, start_collector
from bench.load import Plan
from bench.reelmesh import TRACE_RATIO, Reelmesh
from bench.yardstick import Textbook
from deploy.local.errors import LocalError
from deploy.local.mesh import REPOSITORY
from deploy.local.ports import free_ports

BUILD = REPOSITORY / "build"
OPEN_SHARE = 0.7
# More players than the gateway has spins in flight, so that the flood is refused and does not queue at home.
FLOOD_FACTOR, FLOOD_PLAYERS = 3.0, 1_024
# The edge with an empty mesh behind it.
EDGE_FLOORS: dict[Literal["rest", "websocket"], str] = {
    "rest": "edge, no hops",
    "websocket": "WebSocket, no hops",
}
EDGE_PLAYERS = 128


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is run."""

    passes: int
    players: tuple[int, ...]
    textbook_players: tuple[int, ...]
    """Not 512: the textbook's queue is then longer than anybody waits, its cost per spin the same."""
    window_s: float
    open_window_s: float
    floor_batches: int


FULL = Scope(3, (1, 16, 128, 512), (1, 16, 128), 3.0, 5.0, 20)
QUICK = Scope(1, (16, 128), (128,), 2.0, 2.0, 5)


class Bench:
    """One run. Everything that it starts is on the stack and ends with it."""

    def __init__(self, stack: ExitStack, directory: Path, scope: Scope) -> None:
        self._stack, self._scope = stack, scope
        self._start_s = time.monotonic()
        [self._edge_port] = free_ports(1)
        self._collector_url = start_collector(stack)
        self._reelmesh = Reelmesh(directory, collector_url=self._collector_url)
        self._textbook = Textbook(directory, collector_url=self._collector_url)
        self._floors = Floors(self._textbook.postgres)
        self._edge_pid = 0
        self._idle: dict[str, dict[str, float]] = {}
        self.rows: list[Row] = []
        self.floors: list[Floor] = []

    def start(self) -> None:
        """Both meshes, the floors' databases and the empty edge."""
        self._say("starting Reelmesh")
        self._stack.callback(self._reelmesh.stop)
        self._reelmesh.start(FLOOD_PLAYERS)
        self._say(f"starting the textbook mesh; {len(self._reelmesh.tokens)} players have a session")
        self._stack.callback(self._textbook.stop)
        self._textbook.start(max(self._scope.textbook_players))
        self._stack.callback(self._floors.stop)
        self._floors.start()
        self._edge_pid = start(
            self._stack,
            "bench.edge",
            str(self._edge_port),
            TRACE_RATIO,
            port=self._edge_port,
            environment={"OTEL_EXPORTER_OTLP_ENDPOINT": self._collector_url},
        )

    def warm_up(self) -> None:
        """What a process does once (imports, connections, plans) is in no figure."""
        self._say("warming up")
        for subject in (self._reelmesh, self._textbook):
            plan = Plan(port=subject.port, tokens=subject.tokens[:64], ramp_s=0, window_s=1.5)
            self._cell(subject, plan, pass_no=0)
        self._measure_edge(pass_no=0, window_s=0.5, protocol="rest")
        for subject in (self._reelmesh, self._textbook):
            self._idle[subject.name] = idle_cores(subject)
            self._say(f"{subject.name} idle: {report.idle(self._idle[subject.name])}")

    def run_pass(self, pass_no: int) -> None:
        """Every cell once."""
        done: list[Row] = []
        for subject, counts in (
            (self._reelmesh, self._scope.players),
            (self._textbook, self._scope.textbook_players),
        ):
            for players in counts:
                plan = Plan(port=subject.port, tokens=subject.tokens[:players], window_s=self._scope.window_s)
                done.append(self._cell(subject, plan, pass_no=pass_no))
        plan = Plan(
            port=self._reelmesh.port,
            tokens=self._reelmesh.tokens[:RATIO_PLAYERS],
            protocol="websocket",
            window_s=self._scope.window_s,
        )
        socket = self._cell(self._reelmesh, plan, pass_no=pass_no, mode="socket")
        ours = [row for row in done if row.subject == self._reelmesh.name]
        peak = max(ours, key=lambda row: row.spins_per_s)
        plan = Plan(
            port=self._reelmesh.port,
            tokens=self._reelmesh.tokens[: max(self._scope.players)],
            mode="open",
            rate_per_s=max(1.0, OPEN_SHARE * peak.spins_per_s),
            ramp_s=1.0,
            window_s=self._scope.open_window_s,
            seed=pass_no,
        )
        done.append(self._cell(self._reelmesh, plan, pass_no=pass_no))
        done.append(socket)
        done += self._flood(peak.spins_per_s, pass_no=pass_no)
        self.rows += done
        self.floors += self._floors.measure(self._scope.floor_batches, pass_no=pass_no)
        for protocol in EDGE_FLOORS:
            self.floors.append(
                self._measure_edge(pass_no=pass_no, window_s=self._scope.window_s / 2, protocol=protocol)
            )

    def _flood(self, peak_per_s: float, *, pass_no: int) -> list[Row]:
        """More than the mesh can take, and how it is afterwards."""
        flood = Plan(
            port=self._reelmesh.port,
            tokens=self._reelmesh.tokens,
            mode="flood",
            rate_per_s=FLOOD_FACTOR * peak_per_s,
            ramp_s=1.0,
            window_s=self._scope.open_window_s,
            seed=pass_no,
        )
        tokens = self._reelmesh.tokens[:RATIO_PLAYERS]
        after = Plan(port=self._reelmesh.port, tokens=tokens, ramp_s=0.5, window_s=self._scope.window_s)
        return [
            self._cell(self._reelmesh, flood, pass_no=pass_no),
            self._cell(self._reelmesh, after, pass_no=pass_no, mode="after"),
        ]

    def finish(self, directory: Path) -> int:
        """Holds the books against the answers, prints the table; the exit code."""
        books = [self._reelmesh.books(), self._textbook.books()]
        void = [reason for book in books for reason in void_reasons(book)]
        facts = report.facts(directory)
        facts |= {f"{name} idle": report.idle(cores) for name, cores in self._idle.items()}
        facts["seconds"] = f"{time.monotonic() - self._start_s:.0f}"
        found = report.Found(
            rows=self.rows,
            floors=self.floors,
            overload=overload(self.rows),
            books=books,
            void=void,
            facts=facts,
        )
        report.write(BUILD / "bench.json", found)
        print(report.table(found))
        return 1 if void else 0

    def _cell(self, subject: Subject, plan: Plan, *, pass_no: int, mode: str = "") -> Row:
        row = measure(
            subject,
            plan,
            pass_no=pass_no,
            disk=subject.postgres.directory,
            idle_cores=sum(self._idle.get(subject.name, {}).values()),
            mode=mode,
        )
        self._say(report.progress(row))
        return row

    def _measure_edge(
        self, *, pass_no: int, window_s: float, protocol: Literal["rest", "websocket"]
    ) -> Floor:
        tokens = ["none"] * EDGE_PLAYERS
        plan = Plan(port=self._edge_port, tokens=tokens, protocol=protocol, ramp_s=0, window_s=window_s)
        client = LoadClient(plan)
        try:
            start_s = machine.process_cpu_s(self._edge_pid)
            client.start()
            result = client.result()
            spent_s = machine.process_cpu_s(self._edge_pid) - start_s
        finally:
            client.close()
        if result.refused or not result.acknowledged:
            raise BenchError(f"the empty edge answers {result.refused or 'nothing'}")
        return Floor(
            name=EDGE_FLOORS[protocol],
            pass_no=pass_no,
            client_us=spent_s * 1e6 / result.acknowledged,
            postgres_us=0,
            items_per_s=result.spins_per_s,
        )

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._start_s:6.1f} s  {text}", flush=True)


def main() -> int:
    """Exit code 0: the table stands. 1: it is void, or the bench could not run."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short pass, for a first impression")
    scope = QUICK if parser.parse_args().quick else FULL
    (BUILD / "bench").mkdir(parents=True, exist_ok=True)
    # Figures of an earlier run must not be taken for those of one that failed.
    (BUILD / "bench.json").unlink(missing_ok=True)
    directory = Path(tempfile.mkdtemp(dir=BUILD / "bench"))
    # mkdtemp closes it to others, but as root PostgreSQL runs as another user.
    directory.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        bench = Bench(stack, directory, scope)
        try:
            bench.start()
            bench.warm_up()
            for pass_no in range(1, scope.passes + 1):
                bench.run_pass(pass_no)
            return bench.finish(directory)
        except (BenchError, LocalError) as problem:
            print(f"bench: {problem}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
