"""A simulation: its draws, its exact sums, the same on any number of processes, and its command."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from services.game.engine import rng
from services.game.maths import blocks, simulate
from services.game.maths.kernel import draws, tables
from services.game.maths.kernel.rounds import TOTALS
from services.game.maths.result import PARTS, Result
from tests.unit.maths import shipped

HARBOUR = shipped.GAMES["harbour-lights"]
DAWN = shipped.GAMES["double-dawn"]
pytestmark = pytest.mark.timeout(900)  # see test_kernel
MANY = 2 * blocks.BLOCK_SPINS + 1000


def drawn(source: draws.Source, bound: int, number: int) -> list[int]:
    with np.errstate(over="ignore"):  # words wrap around
        return [int(draws.below.py_func(source, bound)) for _ in range(number)]  # type: ignore[attr-defined]


def test_the_generator_is_xoshiro256_starstar() -> None:
    # The reference implementation's first words from the state 1, 2, 3, 4 (prng.di.unimi.it).
    words = [
        11520,
        0,
        1509978240,
        1215971899390074240,
        1216172134540287360,
        607988272756665600,
        16172922978634559625,
        8476171486693032832,
        10595114339597558777,
        2904607092377533576,
    ]
    source = draws.generated(1, 0)._replace(state=np.array([1, 2, 3, 4], np.uint64))
    assert drawn(source, 2**32, 10) == [word >> 32 for word in words]


def test_no_value_of_a_large_bound_is_favoured() -> None:
    # Without rejection a third of the values would come twice as often as the others.
    counts = Counter(value % 3 for value in drawn(draws.generated(7, 0), 3 << 30, 6000))
    assert all(abs(counts[rest] - 2000) < 200 for rest in range(3))


def test_streams_differ_by_seed_and_by_block() -> None:
    streams = [drawn(draws.generated(seed, block), 2**32, 4) for seed in (1, 2) for block in (0, 1)]
    assert len({value for stream in streams for value in stream}) == 16


def test_the_number_of_processes_does_not_change_the_result() -> None:
    one = simulate.simulate(HARBOUR, spins=MANY, seed=5)
    assert simulate.simulate(HARBOUR, spins=MANY, seed=5, processes=2) == one
    assert simulate.simulate(HARBOUR, spins=MANY, seed=6) != one


def test_a_shorter_run_is_the_beginning_of_a_longer_one() -> None:
    running = list(simulate.run(HARBOUR, spins=MANY, seed=5))
    assert [result.spins for result in running] == [blocks.BLOCK_SPINS, 2 * blocks.BLOCK_SPINS, MANY]
    assert simulate.simulate(HARBOUR, spins=2 * blocks.BLOCK_SPINS, seed=5) == running[1]


def test_the_sums_are_those_of_the_rounds_one_by_one() -> None:
    game = msgspec.structs.replace(HARBOUR, max_win_multiple=20)
    player = blocks.Player(game, "base")
    source = draws.generated(3, 0)
    rounds = [player.play(source, 1) for _ in range(3000)]
    together = player.play_block(3, 0, 3000)
    wins = [tally["win"] for tally in rounds]
    assert together["win"] == sum(wins)
    assert together.win_squares == sum(win**2 for win in wins)
    assert together["hits"] == sum(win > 0 for win in wins) == 3000 - together.histogram[0]
    assert together["win_max"] == max(wins) == 20 * game.coins_per_bet
    assert together["capped"] == sum(tally["capped"] for tally in rounds) > 0
    assert sum(together.histogram) == 3000
    parts = sum(together[part] for part in PARTS)
    assert together["win"] == parts - together["cut"] < parts


def test_squares_stay_exact_beyond_64_bits() -> None:
    huge = blocks.Tally(1, tuple(2**62 if name == "squares_high" else 7 for name in TOTALS), (0, 1))
    assert huge.win_squares == 7 + (2**62 << 32)
    assert (huge + huge).win_squares == 2 * huge.win_squares


@pytest.mark.long
def test_thirty_seeds_are_outside_the_interval_as_often_as_it_says() -> None:
    seeds = [simulate.simulate(HARBOUR, spins=2_000_000, seed=seed) for seed in range(100, 130)]
    outside = [r for r in seeds if abs(float(r.rtp) - float(r.rtp_target)) > r.half_width]
    assert len(outside) <= 2


def test_a_precision_ends_a_run_before_its_spins() -> None:
    running = list(simulate.run(DAWN, spins=10**9, seed=1, precision=0.005))
    widths = [result.half_width for result in running[simulate.BLOCKS_MIN - 1 :]]
    assert widths[-1] < 0.005 <= min(widths[:-1])
    wide = list(simulate.run(DAWN, spins=10**9, seed=1, precision=0.5))
    assert len(wide) == simulate.BLOCKS_MIN


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda log: log[:-1], "asks for another"),
        (lambda log: [*log, (2, 1)], "used 5 of 6"),
        (lambda log: [(log[0][0] + 1, log[0][1]), *log[1:]], "draw 0"),
        (lambda log: [], "draw 0"),
    ],
)
def test_a_log_of_other_draws_is_no_replay(change: object, problem: str) -> None:
    log = [(length, 0) for length in map(len, HARBOUR.strips["base"])]
    assert simulate.replay(HARBOUR, "base", log).spins == 1
    with pytest.raises(rng.ReplayMismatch, match=problem):
        simulate.replay(HARBOUR, "base", change(log))  # type: ignore[operator]


def test_a_game_whose_amounts_are_too_large_is_refused() -> None:
    game = msgspec.structs.replace(HARBOUR, max_win_multiple=2**31)
    with pytest.raises(ValueError, match="too large to simulate"):
        tables.build(game)
    with pytest.raises(ValueError, match="has no mode 'ante'"):
        simulate.simulate(HARBOUR, "ante", spins=1, seed=1)
    with pytest.raises(ValueError, match="at least 1"):
        simulate.simulate(HARBOUR, spins=0, seed=1)


def test_the_command_writes_its_figures_and_its_plot(tmp_path: Path) -> None:
    png, figures = tmp_path / "plots" / "dawn.png", tmp_path / "dawn.json"
    arguments = ["double-dawn", "--spins", "300000", "--png", str(png), "--json", str(figures)]
    answer = CliRunner().invoke(simulate.app, arguments)
    assert answer.exit_code == 0, answer.output
    assert "hit frequency" in answer.output
    assert png.read_bytes().startswith(b"\x89PNG")
    found = json.loads(figures.read_text())
    expected = simulate.simulate(DAWN, spins=300_000, seed=1)
    assert found["sums"]["win"] == expected.win_coins
    assert found["definition_hash"] == DAWN.canonical_hash


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["no-such-game"], "no-such-game: no game of this name"),
        (["double-dawn", "--mode", "x"], "no mode 'x'"),
    ],
)
def test_the_command_says_in_a_line_what_is_wrong(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = CliRunner().invoke(simulate.app, arguments)
    assert problem in str(answer.exception)
    assert answer.exit_code != 0


def test_ctrl_c_ends_every_process_without_a_traceback() -> None:
    command = [sys.executable, "-m", "services.game.maths.simulate", "harbour-lights"]
    process = subprocess.Popen(
        [*command, "--spins", "1000000000000", "--processes", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs this in the background has told its children to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("simulate: harbour-lights")
        process.send_signal(signal.SIGINT)
        # The pipes close when the last process that holds them has ended.
        _, errors = process.communicate(timeout=300)
    finally:
        # Or it would play for ever.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode in (1, 130)
    assert "Traceback" not in errors


def test_ctrl_c_while_processes_are_started_is_not_lost() -> None:
    started = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), blocks._processes_without_interrupts():
            signal.raise_signal(signal.SIGINT)
            started.append(True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert started


def test_what_was_complete_at_ctrl_c_is_kept() -> None:
    closed = []

    def played() -> Generator[Result, None, None]:
        try:
            yield simulate.simulate(DAWN, spins=1000, seed=1)
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    results: list[Result] = []
    with pytest.raises(KeyboardInterrupt):
        simulate._watch(Console(quiet=True), played(), 2000, results)
    assert [result.spins for result in results] == [1000]
    assert closed
