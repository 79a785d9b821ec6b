"""The arithmetic of the bench: percentiles, medians, the ratio, and when a table says nothing."""

from dataclasses import dataclass

import msgspec
import pytest

from bench.figures import (
    Books,
    Floor,
    Row,
    cost_us,
    median_floors,
    medians,
    overload,
    per_spin_us,
    percentile,
    ratio_to_textbook,
    share_percent,
    void_reasons,
)

ROW = Row(
    subject="reelmesh",
    mode="closed",
    players=128,
    pass_no=1,
    spins=1000,
    seconds=3,
    quiet_s=0,
    spins_per_s=500,
    p50_ms=50,
    p99_ms=90,
    batch={"play": 40},
    cpu_us={"gateway": 200, "postgres": 300},
    cpu_us_per_spin=500,
    idle_us_per_spin=50,
    load_cpu_us=20,
    load_busy_percent=5,
    repeated=0,
    unknown=0,
    refused={},
    refused_p99_ms=0,
    steal_percent=1,
    idle_percent=10,
    foreign_percent=0,
    load_average=2,
    flush_us=150,
)
GOOD = Books(
    subject="reelmesh",
    acknowledged=1000,
    unknown=0,
    applied=1000,
    unbalanced=0,
    posting_sum_minor=0,
    accounts_off=0,
    pending=0,
    durability={"fsync": "on", "synchronous_commit": "on"},
)


def row(**changes: object) -> Row:
    return msgspec.structs.replace(ROW, **changes)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert [percentile(ordered, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7.0
    assert percentile([1.0, 2.0], 50) == 1.0
    assert percentile([1.0, 2.0], 51) == 2.0


def test_a_percentile_of_nothing_is_zero() -> None:
    assert percentile([], 99) == 0


def test_one_slow_pass_does_not_move_the_medians() -> None:
    rows = [
        row(pass_no=1),
        row(pass_no=2, cpu_us_per_spin=520, cpu_us={"gateway": 210, "postgres": 310}),
        row(pass_no=3, cpu_us_per_spin=9000, cpu_us={"gateway": 4000, "postgres": 5000}, p99_ms=900),
    ]
    [median] = medians(rows)
    assert median.cpu_us_per_spin == 520
    assert median.cpu_us == {"gateway": 210, "postgres": 310}
    assert median.p99_ms == 90
    assert median.spins == 3000


def test_cells_of_other_players_loops_and_meshes_stay_apart() -> None:
    rows = [row(), row(players=16), row(mode="open"), row(subject="textbook")]
    assert len(medians(rows)) == 4


def test_nothing_that_was_refused_repeated_or_unknown_is_lost_in_the_medians() -> None:
    rows = [row(refused={"OVERLOADED": 3}, repeated=2), row(refused={"OVERLOADED": 1, "503": 1}, unknown=1)]
    [median] = medians(rows)
    assert median.refused == {"OVERLOADED": 4, "503": 1}
    assert (median.repeated, median.unknown) == (2, 1)


def test_the_ratio_compares_within_a_pass() -> None:
    """A machine that slows down between passes slows both meshes: the ratio does not move."""
    rows = []
    for pass_no, slowness in ((1, 1.0), (2, 4.0), (3, 1.5)):
        rows.append(row(pass_no=pass_no, cpu_us_per_spin=500 * slowness))
        rows.append(row(pass_no=pass_no, subject="textbook", cpu_us_per_spin=10_000 * slowness))
    assert ratio_to_textbook(rows) == pytest.approx(20)


def test_the_ratio_is_of_closed_loops_with_128_players() -> None:
    theirs = row(subject="textbook", cpu_us_per_spin=10_000)
    other = [row(players=16, cpu_us_per_spin=1), row(mode="open", cpu_us_per_spin=1)]
    assert ratio_to_textbook([row(), theirs, *other]) == pytest.approx(20)


def test_without_both_meshes_there_is_no_ratio() -> None:
    assert ratio_to_textbook([row()]) is None
    assert ratio_to_textbook([row(pass_no=1), row(pass_no=2, subject="textbook")]) is None
    assert cost_us([row(players=16)], "reelmesh") is None


def test_floors_are_medians_by_name() -> None:
    floors = [
        Floor(name=name, pass_no=n, client_us=n, postgres_us=10 * n, items_per_s=1000)
        for name in ("settle", "play")
        for n in (1, 2, 9)
    ]
    assert [(one.name, one.client_us, one.postgres_us) for one in median_floors(floors)] == [
        ("settle", 2, 20),
        ("play", 2, 20),
    ]


def test_cpu_per_spin_divides_by_what_was_acknowledged() -> None:
    assert per_spin_us({"wallet": 0.5}, 1000) == {"wallet": 500}
    # Not a division by zero, and not a flattering nothing either.
    assert per_spin_us({"wallet": 0.5}, 0) == {"wallet": 500_000}
    assert share_percent(1, 4) == 25
    assert share_percent(1, 0) == 0


def test_books_that_agree_let_the_table_stand() -> None:
    assert void_reasons(GOOD) == []


@dataclass(frozen=True)
class Wrong:
    changes: dict[str, object]
    told: str


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong({"applied": 999}, "999 rounds applied, 1000 acknowledged"),
        Wrong({"applied": 1001}, "1001 rounds applied, 1000 acknowledged"),
        Wrong({"acknowledged": 0, "applied": 0}, "no round was acknowledged"),
        Wrong({"unknown": 1}, "1 spins were never answered"),
        Wrong({"unbalanced": 2}, "2 transactions unbalanced"),
        Wrong({"posting_sum_minor": -100}, "postings sum to -100"),
        Wrong({"accounts_off": 1}, "1 balances are not the sum"),
        Wrong({"pending": 3}, "3 rounds unfinished or untold"),
        Wrong({"durability": {"fsync": "off"}}, "fsync is off"),
        Wrong({"durability": {"synchronous_commit": "local"}}, "synchronous_commit is local"),
    ],
    ids=lambda wrong: wrong.told,
)
def test_a_table_is_void_when_anything_disagrees(wrong: Wrong) -> None:
    [reason] = void_reasons(msgspec.structs.replace(GOOD, **wrong.changes))
    assert reason.startswith("reelmesh: ")
    assert wrong.told in reason


def test_a_flood_is_held_against_the_peak_of_its_own_pass() -> None:
    rows = [
        row(players=128, spins_per_s=1000),
        row(players=512, spins_per_s=2000),
        row(mode="flood", players=1024, spins=900, spins_per_s=1700, refused={"OVERLOADED": 2700}),
        row(mode="after", players=128, spins_per_s=950),
        row(pass_no=2, players=128, spins_per_s=9999),
    ]
    found = overload(rows)
    assert found is not None
    assert (found.offered_per_s, found.kept, found.refused_share) == (1200, 0.85, 0.75)
    assert found.recovered == 0.95
    assert overload(rows[:2]) is None
