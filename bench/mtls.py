"""`make bench-mtls`: what mutual TLS between the services costs a spin, of two meshes in turn."""

import argparse
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench import report
from bench.cells import measure
from bench.errors import BenchError
from bench.figures import Row, void_reasons
from bench.helpers import start_collector
from bench.load import Plan
from bench.reelmesh import Reelmesh
from deploy.local.errors import LocalError
from deploy.local.mesh import REPOSITORY

BUILD = REPOSITORY / "build"
PLAYERS = (16, 128)


def main() -> int:
    """Exit code 0: the figures stand. 1: the books do not, or the bench could not run."""
    parser = argparse.ArgumentParser(prog="bench-mtls", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short pass, for a first impression")
    passes, window_s = (1, 2.0) if parser.parse_args().quick else (7, 4.0)
    (BUILD / "bench").mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=BUILD / "bench"))
    # mkdtemp closes it to others, but as root PostgreSQL runs as another user.
    directory.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        try:
            return _run(stack, directory, passes, window_s)
        except (BenchError, LocalError) as problem:
            print(f"bench: {problem}", file=sys.stderr)
            return 1


def _run(stack: ExitStack, directory: Path, passes: int, window_s: float) -> int:
    collector_url = start_collector(stack)
    meshes = [Reelmesh(directory, collector_url=collector_url, tls=tls) for tls in (False, True)]
    for mesh in meshes:
        stack.callback(mesh.stop)
        mesh.start(max(PLAYERS))
    rows: list[Row] = []
    for pass_no in range(passes + 1):
        # Whose turn it is to be first changes, too.
        for mesh in meshes if pass_no % 2 else reversed(meshes):
            for players in PLAYERS:
                plan = Plan(port=mesh.port, tokens=mesh.tokens[:players], window_s=window_s)
                row = measure(mesh, plan, pass_no=pass_no, disk=directory)
                print(report.progress(row), flush=True)
                # The first pass warms up.
                rows += [row] if pass_no else []
    void = [reason for mesh in meshes for reason in void_reasons(mesh.books())]
    print(_table(rows, [mesh.name for mesh in meshes]))
    print("\n".join(f"void: {reason}" for reason in void))
    return 1 if void else 0


def _table(rows: list[Row], names: list[str]) -> str:
    lines = ["", "players   CPU-us per spin, median of passes   more, of pairs in one pass"]
    for players in PLAYERS:
        cost = {
            name: {
                row.pass_no: row.cpu_us_per_spin
                for row in rows
                if row.subject == name and row.players == players
            }
            for name in names
        }
        plain, tls = (cost[name] for name in names)
        more = median(tls[pass_no] / plain[pass_no] - 1 for pass_no in plain)
        figures = ", ".join(f"{name} {median(cost[name].values()):.0f}" for name in names)
        lines.append(f"{players:7}   {figures:36}  {100 * more:+.1f} %")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
