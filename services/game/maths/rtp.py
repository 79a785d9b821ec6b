"""The exact return of a game: `make rtp GAME=harbour-lights` prints and writes it (docs/maths.md)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from services.game.engine import loading
from services.game.maths.report import ModeReport, Report, Value, report_of

_FIGURES_MAX = 60
"""Longest fraction that is printed; the JSON has all of them."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    game: Annotated[str, typer.Argument(help="Id of a shipped game, or a path to a .yaml.")],
    mode: Annotated[str, typer.Option(help="One mode; otherwise all.")] = "",
    json_path: Annotated[Path | None, typer.Option("--json", help="Default: build/rtp/<game>.json.")] = None,
) -> None:
    """Print and write what a game returns."""
    try:
        definition = loading.find(game)
    except ValueError as error:
        sys.exit(f"rtp: {error}")
    if mode and mode not in definition.modes_by_name:
        sys.exit(f"rtp: {definition.game_id} has no mode {mode}, but {', '.join(definition.modes_by_name)}")
    try:
        report = report_of(definition, (mode,) if mode else ())
    except ValueError as error:  # what has no exact method is simulated, where its amounts are not too large
        sys.exit(f"rtp: {error}")
    path = json_path or Path("build/rtp") / f"{definition.game_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    print_report(Console(), report)
    print(f"written: {path}")


def print_report(console: Console, report: Report) -> None:
    """All modes as tables."""
    console.print(
        f"[bold]{report.game_id}[/] version {report.version}, {report.coins_per_bet} coins a bet, "
        f"definition {report.definition_hash[:16]}"
    )
    for mode in report.modes:
        console.print(f"\n[bold]mode {mode.mode}[/], cost {mode.cost} x bet; {mode.method}")
        console.print(_figures(mode))
        for table in (_symbols(mode), _bands(mode), _spread(mode)):
            if table.row_count:
                console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def _share(value: Value) -> str:
    shown = f"{value.value:.8%}"
    if value.interval_99:
        shown += f", 99 % interval {value.interval_99[0]:.4%} .. {value.interval_99[1]:.4%}"
    if value.fraction and len(value.fraction) <= _FIGURES_MAX:
        shown += f" = {value.fraction}"
    return shown


def _figures(mode: ModeReport) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    rows = [("RTP", _share(mode.rtp)), ("target", f"{float(mode.rtp_target):.4%}")]
    rows += [(f"  {name.replace('_', ' ')}", _share(value)) for name, value in mode.features.items()]
    if mode.hit_frequency:
        rows.append(("hit frequency", _share(mode.hit_frequency)))
    if mode.win_frequency is not None:
        rows.append(("rounds that pay", _share(mode.win_frequency)))
    for name, rate in mode.triggers.items():
        rows.append((f"{name.replace('_', ' ')} once in", f"{1 / rate.value:,.3f}"))
    if mode.free_spins_mean:
        rows.append(("free spins a round", f"{mode.free_spins_mean.value:.6f}"))
    if mode.volatility:
        found = mode.volatility
        rows.append(("standard deviation", f"{found.deviation:.4f} x stake, {found.volatility_class}"))
        rows.append(("volatility index", ", ".join(f"{z} %: {v:.3f}" for z, v in found.index.items())))
    rows += _ends(mode)
    for name, value in rows:
        table.add_row(name, value)
    return table


def _ends(mode: ModeReport) -> list[tuple[str, str]]:
    rows = []
    if mode.highest_seen is not None:
        rows.append((f"highest of {mode.simulated_spins:,}", f"{mode.highest_seen:,.2f} x stake"))
    if mode.max_win:
        win = mode.max_win
        chance = f"at most {win.probability_bound:.2e}"
        if win.probability is not None:
            chance = f"{win.probability.value:.4e}"
        rows.append(("highest win", f"{win.multiple:,.2f} x bet{' (cap)' if win.is_cap else ''}, {chance}"))
    if mode.cap_effect:
        chance_bound, rtp_bound = mode.cap_effect
        rows.append(("above the cap", f"at most {chance_bound:.2e}; takes at most {rtp_bound:.2e} of RTP"))
    if mode.spins_max_effect is not None:
        rows.append(("limit of free spins", f"takes at most {mode.spins_max_effect:.2e} of RTP"))
    if mode.bands_error:
        rows.append(("bands", f"right to {mode.bands_error:.1e}"))
    return rows


def _symbols(mode: ModeReport) -> Table:
    """One row per symbol, RTP by count, paid screen and free spins together."""
    counts = sorted({row.count for row in mode.symbols})
    table = _table("RTP by symbol", *(str(count) for count in counts), "all")
    by_symbol: dict[str, dict[int, float]] = {}
    for row in mode.symbols:
        by_symbol.setdefault(row.symbol, {})[row.count] = row.paid + row.free
    for symbol, by_count in sorted(by_symbol.items(), key=lambda item: -sum(item[1].values())):
        cells = [f"{by_count[count]:.4%}" if count in by_count else "" for count in counts]
        table.add_row(symbol, *cells, f"{sum(by_count.values()):.4%}")
    return table


def _bands(mode: ModeReport) -> Table:
    table = _table("win x stake", "rounds", "once in", "RTP")
    for band in mode.bands:
        name = f"{band.low} .. {band.high}" if band.high is not None else f"{band.low} .."
        if band.high == 0:
            name = "none"
        known = band.probability > (mode.bands_error or 0)
        once_in = f"{1 / band.probability:,.1f}" if known else "not resolved" if mode.bands_error else ""
        table.add_row(name, f"{band.probability:.8%}", once_in, f"{band.rtp:.4%}" if known else "")
    return table


def _spread(mode: ModeReport) -> Table:
    table = _table("spins", "RTP of 95 % of players, from", "to")
    for spins, (low, high) in (mode.volatility.rtp_spread if mode.volatility else {}).items():
        table.add_row(f"{int(spins):,}", f"{max(low, 0):.2%}", f"{high:.2%}")
    return table


if __name__ == "__main__":
    app()
