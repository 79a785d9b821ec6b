"""Simulation: `make simulate GAME=harbour-lights SPINS=10000000 SEED=1` (docs/simulation.md)."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from services.game.engine import loading
from services.game.engine.definition import BASE, GameDefinition
from services.game.engine.rng import Draw, ReplayMismatch
from services.game.maths import blocks
from services.game.maths.kernel import draws
from services.game.maths.kernel.draws import FAULT, POSITION
from services.game.maths.result import Result

BLOCKS_MIN = 8
"""Before a precision is believed: the first blocks of a volatile game have not seen its rare wins."""


def simulate(game: GameDefinition, mode: str = BASE, *, spins: int, seed: int, processes: int = 1) -> Result:
    """Play rounds of a mode. The same game, mode, spins and seed give the same result on any `processes`.

    The first call may compile for half a minute. Errors: ValueError when the game has no such mode, is too
    large for whole coins (`kernel.tables.build`), or there is nothing to play.
    """
    *_, last = run(game, mode, spins=spins, seed=seed, processes=processes)
    return last


def run(
    game: GameDefinition,
    mode: str = BASE,
    *,
    spins: int,
    seed: int,
    processes: int = 1,
    precision: float | None = None,
) -> Generator[Result, None, None]:
    """The same, as a result after each block of spins; closing it ends the processes. With a precision it
    stops after the first block where the 99 % interval's half width is below it. Errors: as `simulate`."""
    if spins < 1 or processes < 1 or seed < 0:
        raise ValueError("spins and processes must be at least 1, the seed at least 0")
    played = blocks.play(game, mode, spins=spins, seed=seed, processes=processes)
    return _results(game, mode, seed, played, precision)


def _results(
    game: GameDefinition,
    mode: str,
    seed: int,
    played: Generator[blocks.Tally, None, None],
    precision: float | None,
) -> Generator[Result, None, None]:
    tally = None
    with contextlib.closing(played):
        for block, more in enumerate(played, start=1):
            tally = more if tally is None else tally + more
            result = _result(game, mode, seed, tally)
            yield result
            if precision is not None and block >= BLOCKS_MIN and result.half_width < precision:
                return


def _result(game: GameDefinition, mode: str, seed: int, tally: blocks.Tally) -> Result:
    played = game.modes_by_name[mode]
    return Result(
        game_id=game.game_id,
        version=game.version,
        definition_hash=game.canonical_hash,
        mode=mode,
        seed=seed,
        rtp_target=played.rtp_target,
        coins_per_bet=game.coins_per_bet,
        cost=played.cost,
        tally=tally,
    )


def replay(
    game: GameDefinition, mode: str, log: Sequence[Draw], *, player: blocks.Player | None = None
) -> Result:
    """One recorded spin, played by the kernel. A `player` of the same game and mode saves its tables.

    Errors: ReplayMismatch when the log asks for other draws, ends early or is not used up.
    """
    source = draws.replayed(log)
    tally = (player or blocks.Player(game, mode)).play(source, 1)
    if source.progress[FAULT]:
        raise ReplayMismatch(
            f"draw {source.progress[FAULT] - 1}: the kernel asks for another or a further one"
        )
    if source.progress[POSITION] != len(log):
        raise ReplayMismatch(f"the kernel used {source.progress[POSITION]} of {len(log)} draws")
    return _result(game, mode, 0, tally)


def print_report(console: Console, result: Result) -> None:
    """The figures of a result as tables."""
    tally = result.tally
    figures = Table(show_header=False, box=None, pad_edge=False)
    for name, value in [
        ("spins", f"{result.spins:,}"),
        ("RTP", f"{float(result.rtp):.4%} ± {result.half_width:.4%} (99 %)"),
        ("target", f"{float(result.rtp_target):.4%}, {_distance(result)}"),
        *(
            (f"  {part.replace('_', ' ')}", f"{float(share):.4%}")
            for part, share in result.parts.items()
            if share
        ),
        ("hit frequency", f"{result.hits / result.spins:.4%}"),
        ("standard deviation", f"{result.deviation:.3f} x stake"),
        ("highest win", f"{float(result.win_max):,.2f} x stake"),
        ("capped", _rate(tally["capped"], result.spins)),
        ("free spins", _rate(tally["free_spins_rounds"], result.spins)),
        ("  spins each", _mean(tally["free_spins_played"], tally["free_spins_rounds"])),
        ("hold-and-win", _rate(tally["hold_and_win_rounds"], result.spins)),
        ("  respins each", _mean(tally["respins"], tally["hold_and_win_rounds"])),
        ("  full", _rate(tally["full_rounds"], result.spins)),
        ("pick", _rate(tally["pick_rounds"], result.spins)),
        ("falls a round", f"{tally['falls'] / result.spins:.4f}" if tally["falls"] else ""),
    ]:
        if value:
            figures.add_row(name, value)
    console.print(figures)
    bands = Table("win x stake", "rounds", "share", box=None, pad_edge=False)
    for name, count in result.bands:
        if count:
            bands.add_row(name, f"{count:,}", f"{count / result.spins:.5%}")
    console.print(bands)


def _distance(result: Result) -> str:
    error = result.half_width
    distance = float(result.rtp) - float(result.rtp_target)
    return f"{distance:+.4%} away" + ("" if abs(distance) <= error else ": outside the interval")


def _rate(count: int, spins: int) -> str:
    return f"{count:,} rounds, 1 in {spins / count:,.1f}" if count else ""


def _mean(count: int, of: int) -> str:
    return f"{count / of:.2f}" if of and count else ""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    game: Annotated[str, typer.Argument(help="Id of a shipped game, or a path to a .yaml.")],
    mode: Annotated[str, typer.Option(help="A mode of the game.")] = BASE,
    spins: Annotated[int, typer.Option(min=1, help="Rounds to play, at most.")] = 10_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw.")] = 1,
    processes: Annotated[int, typer.Option(min=1, help="They do not change the result.")] = 1,
    precision: Annotated[
        float | None, typer.Option(help="Stop when ± of the RTP is below, as 0.001.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Write the plot of the convergence.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Simulate a mode of a game."""
    console = Console(soft_wrap=True)
    results: list[Result] = []
    try:
        definition = loading.find(game)
        played = run(definition, mode, spins=spins, seed=seed, processes=processes, precision=precision)
        console.print(f"simulate: {definition.game_id} v{definition.version}, mode {mode}, seed {seed}")
        _watch(console, played, spins, results)
        interrupted = False
    except ValueError as error:
        sys.exit(f"simulate: {error}")
    except KeyboardInterrupt:
        if not results:
            sys.exit("simulate: interrupted before the first block of spins was complete")
        console.print("interrupted: the figures are of the blocks of spins that were complete")
        interrupted = True
    print_report(console, results[-1])
    if png:
        _draw(results, png)
    if json_path:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(results[-1].as_json(), indent=2) + "\n", encoding="utf-8")
    sys.exit(130 if interrupted else 0)


def _watch(
    console: Console, played: Generator[Result, None, None], spins: int, results: list[Result]
) -> None:
    """Append every result, with a progress bar. `played` is closed also when Ctrl-C ends it."""
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[running]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress, contextlib.closing(played):
        task = progress.add_task("", total=spins, running="compiling, where it is the first time")
        for result in played:
            results.append(result)
            seconds = progress.tasks[0].elapsed or 1.0
            running = f"RTP {float(result.rtp):.4%} ± {result.half_width:.4%}"
            rate = f"{result.spins / seconds / 1e6:.2f} M spins/s"
            progress.update(task, completed=result.spins, running=f"{running}, {rate}")


def _draw(results: Sequence[Result], path: Path) -> None:
    from services.game.maths import convergence  # a second of imports, which the processes must not pay

    last = results[-1]
    points = [convergence.Point(r.spins, float(r.rtp), r.half_width) for r in results]
    title = f"{last.game_id} v{last.version} {last.mode}: {last.spins:,} spins, seed {last.seed}"
    convergence.draw(points, target=float(last.rtp_target), title=title, path=path)


if __name__ == "__main__":
    app()
