"""The table and build/bench.json."""

import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench import machine
from bench.figures import (
    RATIO_PLAYERS,
    REELMESH,
    Books,
    Floor,
    Overload,
    Row,
    cost_us,
    median_floors,
    medians,
    ratio_to_textbook,
)
from deploy.local import binaries

# Beyond this the load client may have measured itself.
LOAD_BUSY_PERCENT_MAX = 85
_PROCESSES = ("gateway", "session", "game", "wallet", "events", "postgres")
_HOPS = ("authorize", "play", "settle", "finish")


def facts(directory: Path) -> dict[str, str]:
    """What the figures were taken on."""
    packages = ("grpcio", "httptools", "psycopg", "sqlalchemy", "uvloop")
    return {
        "commit": _commit(),
        "machine": f"{machine.processor()}, {platform.system()} {platform.release()}",
        "disk": machine.filesystem(directory),
        "python": platform.python_version(),
        "postgresql": str(binaries.find().major),
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
    }


def _commit() -> str:
    if shutil.which("git") is None:
        return "unknown"
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


class Found(NamedTuple):
    """All that a run found."""

    rows: Sequence[Row]
    floors: Sequence[Floor]
    overload: Overload | None
    books: Sequence[Books]
    void: Sequence[str]
    facts: dict[str, str]


def write(path: Path, found: Found) -> None:
    """Every row of every pass; at the top what a gate reads."""
    document = {
        "cpu_us_per_spin": cost_us(found.rows, REELMESH),
        "ratio_to_textbook": ratio_to_textbook(found.rows),
        "players": RATIO_PLAYERS,
        "medians": medians(found.rows),
        **found._asdict(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def progress(row: Row) -> str:
    """One cell in a line."""
    batch = "/".join(f"{row.batch[hop]:.0f}" for hop in _HOPS if hop in row.batch) or "-"
    return (
        f"{row.subject:8} {row.mode:6} {row.players:3} players  {row.spins_per_s:6.0f}/s "
        f"p50 {row.p50_ms:6.1f} p99 {row.p99_ms:6.1f} ms  batch {batch}  {row.cpu_us_per_spin:6.0f} us"
        f"  (foreign {row.foreign_percent:.0f} %, steal {row.steal_percent:.0f} %)"
        + (f"  refused {row.refused}" if row.refused else "")
        + (f"  repeated {row.repeated}" if row.repeated else "")
    )


def idle(cores: Mapping[str, float]) -> str:
    """What a mesh spends when nobody plays."""
    each = ", ".join(f"{name} {100 * share:.1f}" for name, share in cores.items())
    return f"{100 * sum(cores.values()):.1f} % of a core ({each})"


def table(found: Found) -> str:
    """Everything, as Markdown."""
    heads = ["mesh", "loop", "players", "spins/s", "p50 ms", "p99 ms", "batch", *_PROCESSES]
    heads += ["CPU-us/spin", "of it idle"]
    cells = [_cells(row) for row in medians(found.rows)]
    parts = ["", _markdown(heads, cells), "", _floor_table(found.floors), "", _verdict(found.rows)]
    parts += [_overload(found.overload)] if found.overload is not None else []
    parts += [*_weather(found.rows), *(f"{name}: {text}" for name, text in found.facts.items())]
    parts += [_book_line(book) for book in found.books]
    parts += [f"VOID: {reason}" for reason in found.void]
    return "\n".join(parts)


def _overload(flood: Overload) -> str:
    return (
        f"overload: {flood.offered_per_s:.0f} spins/s offered to a peak of {flood.peak_per_s:.0f}; "
        f"{100 * flood.kept:.0f} % of the peak kept, {100 * flood.refused_share:.0f} % refused "
        f"(p99 {flood.refused_p99_ms:.0f} ms); quiet {flood.quiet_s:.1f} s after the last answer, "
        f"then {100 * flood.recovered:.0f} % of the rate before"
    )


def _cells(row: Row) -> list[str]:
    batch = "/".join(f"{row.batch[hop]:.0f}" for hop in _HOPS if hop in row.batch) or "-"
    costs = [f"{row.cpu_us[name]:.0f}" if name in row.cpu_us else "-" for name in _PROCESSES]
    figures = [f"{row.spins_per_s:.0f}", f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}"]
    total = f"**{row.cpu_us_per_spin:.0f}**"
    return [
        row.subject,
        row.mode,
        str(row.players),
        *figures,
        batch,
        *costs,
        total,
        f"{row.idle_us_per_spin:.0f}",
    ]


def _floor_table(floors: Sequence[Floor]) -> str:
    found = median_floors(floors)
    cells = [
        [one.name, f"{one.items_per_s:.0f}", f"{one.client_us:.1f}", f"{one.postgres_us:.1f}"]
        for one in found
    ]
    total = [sum(one.client_us for one in found), sum(one.postgres_us for one in found)]
    cells.append(["all of them", "", *(f"{value:.1f}" for value in total)])
    return _markdown(["floor", "items/s", "Python us", "PostgreSQL us"], cells)


def _verdict(rows: Sequence[Row]) -> str:
    cost, ratio = cost_us(rows, REELMESH), ratio_to_textbook(rows)
    spin = f"{cost or 0:.0f} CPU-us per spin, {ratio or 0:.1f}x less than the textbook mesh"
    return f"{RATIO_PLAYERS} players: {spin}"


def _weather(rows: Sequence[Row]) -> list[str]:
    """What else the machine did, and whether the load client was the bottleneck."""

    def spread(name: str) -> str:
        values = sorted(float(getattr(row, name)) for row in rows)
        return f"{values[len(values) // 2]:.1f} ({values[0]:.1f} to {values[-1]:.1f})"

    lines = [
        f"load average {spread('load_average')}, steal {spread('steal_percent')} %, "
        f"idle {spread('idle_percent')} %, foreign work {spread('foreign_percent')} %",
        f"disk flush {spread('flush_us')} us, load client {spread('load_cpu_us')} us per spin "
        f"(in no figure), {spread('load_busy_percent')} % of a core",
    ]
    busy = [row for row in rows if row.load_busy_percent > LOAD_BUSY_PERCENT_MAX]
    lines += [f"the load client was busy in {row.subject} {row.mode} {row.players}" for row in busy]
    return lines


def _book_line(book: Books) -> str:
    durable = ", ".join(f"{name} {value}" for name, value in book.durability.items())
    return (
        f"{book.subject}: {book.acknowledged} rounds acknowledged, {book.applied} applied, "
        f"postings sum to {book.posting_sum_minor}; {durable}"
    )


def _markdown(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[place]) for line in (heads, *cells)) for place in range(len(heads))]

    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(text.rjust(width) for text, width in zip(texts, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return "\n".join([line(heads), rule, *(line(texts) for texts in cells)])
