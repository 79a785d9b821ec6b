"""`make bench-telemetry`: what tracing and durations add to a gRPC call, ours beside contrib's beside none.

A table, and build/bench-telemetry.json. Blocks of all subjects in turn, in an order that changes; every
difference is between two blocks of the same turn.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median, quantiles

import msgspec

from bench import report
from bench.errors import BenchError
from bench.helpers import start_collector
from bench.yardstick import PACKAGES
from deploy.local.guard import Guard
from deploy.local.mesh import REPOSITORY

BUILD = REPOSITORY / "build"
OUTPUT = BUILD / "bench-telemetry.json"
# Short blocks: what the machine does beside them changes within seconds.
TURNS, CALLS = 60, 400
QUICK_TURNS, QUICK_CALLS = 10, 300
SEED = 6
NONE = "none"
# Name of a subject: what traces, and the share of traces kept.
SUBJECTS = {
    NONE: ("none", 0.0),
    "none again": ("none", 0.0),
    "ours 10 %": ("ours", 0.1),
    "ours 100 %": ("ours", 1.0),
    "contrib 10 %": ("contrib", 0.1),
    "contrib 100 %": ("contrib", 1.0),
}
# What is to be reached at 10 %: the cost, and its share of contrib's.
COST_US_MAX, SHARE_MAX = 190.0, 0.5


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate reads."""

    base_us: float
    """CPU of a call, client and server, with no telemetry."""
    cost_10_us: float
    """What ours adds to it at a ratio of 10 %; medians of paired differences, as the others."""
    cost_100_us: float
    contrib_cost_10_us: float
    contrib_cost_100_us: float
    share_10: float
    """Ours of contrib's."""
    share_100: float
    reached: bool


class Worker:
    """A subject in a process of its own."""

    def __init__(self, stack: ExitStack, name: str, *, collector_url: str) -> None:
        kind, ratio = SUBJECTS[name]
        # Contrib asks for an OpenTelemetry release of its own; the lock keeps the two apart.
        paths = [str(REPOSITORY), str(REPOSITORY / "gen")]
        paths[:0] = [str(PACKAGES)] if kind == "contrib" else []
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector_url,
            "OTEL_SERVICE_NAME": "bench",
            # A block's spans are sent in the block; durations by this clock, in whichever block it strikes.
            "OTEL_METRIC_EXPORT_INTERVAL": "5000",
            "no_proxy": "127.0.0.1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.telemetry_worker", kind, str(ratio)],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        guard = Guard("KILL")
        guard.watch([self._process.pid])
        stack.callback(guard.close)
        stack.callback(self._process.wait)
        stack.callback(self._process.kill)
        self._name = name
        self.floors: dict[str, float] = json.loads(self._line())

    def block(self, calls: int) -> float:
        """CPU-us per call of so many calls. Errors: BenchError when the process is gone."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"{self._name} ended")
        return line


Turns = Sequence[dict[str, float]]


def added(turns: Turns, name: str) -> list[float]:
    """What a subject costs more than no telemetry, in each turn."""
    return [turn[name] - turn[NONE] for turn in turns]


def figures(turns: Turns) -> Figures:
    """Medians of the turns."""
    cost = {name: median(added(turns, name)) for name in SUBJECTS}
    share_10, share_100 = (
        cost[f"ours {ratio} %"] / max(1e-9, cost[f"contrib {ratio} %"]) for ratio in (10, 100)
    )
    return Figures(
        base_us=median(turn[NONE] for turn in turns),
        cost_10_us=cost["ours 10 %"],
        cost_100_us=cost["ours 100 %"],
        contrib_cost_10_us=cost["contrib 10 %"],
        contrib_cost_100_us=cost["contrib 100 %"],
        share_10=share_10,
        share_100=share_100,
        reached=cost["ours 10 %"] <= COST_US_MAX and share_10 <= SHARE_MAX,
    )


def table(turns: Turns) -> str:
    """Medians and quartiles, as Markdown."""
    lines = ["| telemetry | CPU-us per call | added | quartiles of the added |", "|---|---|---|---|"]
    for name in SUBJECTS:
        more = added(turns, name)
        low, _, high = quantiles(more, n=4)
        spread = "" if name == NONE else f"{low:+.0f} .. {high:+.0f}"
        shown = "" if name == NONE else f"{median(more):+.0f}"
        lines.append(f"| {name} | {median(turn[name] for turn in turns):.0f} | {shown} | {spread} |")
    return "\n".join(lines)


def measure(stack: ExitStack, turns: int, calls: int) -> tuple[Turns, dict[str, float]]:
    """All turns, and the floors."""
    collector_url = start_collector(stack)
    workers = {name: Worker(stack, name, collector_url=collector_url) for name in SUBJECTS}
    shuffle = random.Random(SEED).sample
    measured = []
    for _ in range(turns):
        order = shuffle(list(SUBJECTS), len(SUBJECTS))
        measured.append({name: workers[name].block(calls) for name in order})
    return measured, workers["ours 100 %"].floors


def main() -> int:
    """Exit code 1: the bench could not run."""
    parser = argparse.ArgumentParser(prog="bench-telemetry", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few short blocks, for a first impression")
    quick = parser.parse_args().quick
    BUILD.mkdir(exist_ok=True)
    # Figures of an earlier run must not be taken for those of one that failed.
    OUTPUT.unlink(missing_ok=True)
    with ExitStack() as stack:
        try:
            turns, floors = measure(stack, QUICK_TURNS if quick else TURNS, QUICK_CALLS if quick else CALLS)
        except BenchError as problem:
            print(f"bench-telemetry: {problem}", file=sys.stderr)
            return 1
    found, facts = figures(turns), report.facts(BUILD)
    document = {
        **msgspec.to_builtins(found),
        "floors_us": floors,
        "turns": turns,
        "seed": SEED,
        "facts": facts,
    }
    OUTPUT.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    print(f"\n{table(turns)}\n")
    print("floors, CPU-us: " + ", ".join(f"{name} {us:.1f}" for name, us in floors.items()))
    print(
        f"at 10 %: {found.cost_10_us:.0f} CPU-us per call (at most {COST_US_MAX:.0f}), "
        f"{found.share_10:.2f} of contrib's (at most {SHARE_MAX}): "
        f"{'reached' if found.reached else 'MISSED'}; "
        f"at 100 %: {found.cost_100_us:.0f}, {found.share_100:.2f}"
    )
    print("\n".join(f"{name}: {text}" for name, text in facts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
