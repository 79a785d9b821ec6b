"""The figures of `make bench-wallet`."""

import pytest

from bench.ledger import figures, table
from bench.ledger_cells import BATCHES, PAST, SINGLE, STATEMENT, Cell


def cell(name: str, *, pass_no: int, per_s: float, cpu_us: float = 40.0, p99_ms: float = 0.0) -> Cell:
    return Cell(
        name=name,
        pass_no=pass_no,
        settlements=1000,
        per_s=per_s,
        python_us=cpu_us / 4,
        postgres_us=3 * cpu_us / 4,
        p50_ms=p99_ms / 2,
        p99_ms=p99_ms,
    )


def run(pass_no: int, *, slow: float = 1.0) -> list[Cell]:
    return [
        cell(SINGLE, pass_no=pass_no, per_s=1000 / slow),
        cell(STATEMENT, pass_no=pass_no, per_s=8000 / slow, cpu_us=40 * slow),
        cell(PAST, pass_no=pass_no, per_s=8000 / slow, cpu_us=44 * slow),
        cell(BATCHES, pass_no=pass_no, per_s=5000 / slow, p99_ms=10.0),
    ]


def test_a_pass_is_held_against_itself() -> None:
    found = figures([*run(1), *run(2, slow=5.0), *run(3)])
    assert found.statement_to_single == pytest.approx(8)
    assert found.batches_to_single == pytest.approx(5)
    assert found.past_to_empty == pytest.approx(1.1)
    assert found.statement_cpu_us == pytest.approx(40)


def test_the_table_shows_each_way_once_and_no_latency_that_was_not_timed() -> None:
    lines = table([*run(1), *run(2)]).splitlines()
    assert len(lines) == 2 + 4
    assert lines[3] == f"| {STATEMENT} | 8000 | 10 | 30 | 40 | - | - |"
    assert lines[5].endswith("| 5.0 | 10.0 |")
