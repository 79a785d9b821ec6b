"""The picture of a simulation: return over spins, its interval, and the target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure


class Point(NamedTuple):
    """Where a simulation stood."""

    spins: int
    rtp: float
    half_width: float
    """Of the 99 % interval."""


def draw(points: Sequence[Point], *, target: float, title: str, path: Path) -> None:
    """Write a PNG. `points` in the order of the spins, at least one; folders are made."""
    figure = Figure(figsize=(10, 5.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    spins = [point.spins for point in points]
    rtps = [point.rtp for point in points]
    low = [point.rtp - point.half_width for point in points]
    high = [point.rtp + point.half_width for point in points]
    axes.fill_between(spins, low, high, color="#4c78a8", alpha=0.25, linewidth=0, label="99 % interval")
    axes.plot(
        spins, rtps, color="#1f3f66", linewidth=1.4, marker="o" if len(points) == 1 else "", label="RTP"
    )
    axes.axhline(target, color="#c23b22", linewidth=1.2, linestyle="--", label=f"target {target:.6f}")
    if spins[-1] > spins[0]:
        axes.set_xscale("log")
    # The first blocks of a volatile game would flatten all the rest.
    later = points[len(points) // 10 :]
    reach = max(max(abs(point.rtp - target) + point.half_width for point in later), 1e-9)
    axes.set_ylim(target - 1.1 * reach, target + 1.1 * reach)
    axes.set_title(title)
    axes.set_xlabel("spins")
    axes.set_ylabel("win / stake")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")
