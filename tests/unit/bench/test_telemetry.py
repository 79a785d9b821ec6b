"""The figures of `make bench-telemetry`: differences within a turn, and when the aims are met."""

import pytest

from bench.telemetry import NONE, SUBJECTS, figures, table


def turn(base: float, ours: float, contrib: float) -> dict[str, float]:
    """A turn on a machine on which a call costs so much, and telemetry adds so much at any ratio."""
    added = {"none": 0.0, "ours": ours, "contrib": contrib}
    return {name: base + added[kind] for name, (kind, _) in SUBJECTS.items()}


def test_a_machine_that_slows_down_between_turns_changes_nothing() -> None:
    found = figures([turn(400, 100, 300), turn(900, 100, 300), turn(500, 100, 300)])
    assert (found.base_us, found.cost_10_us, found.contrib_cost_100_us) == (500, 100, 300)
    assert found.share_10 == found.share_100 == pytest.approx(1 / 3)
    assert found.reached


@pytest.mark.parametrize(("ours", "contrib"), [(191, 500), (160, 300)], ids=["too dear", "over half"])
def test_an_aim_that_is_missed_is_told(ours: float, contrib: float) -> None:
    assert not figures([turn(400, ours, contrib)] * 3).reached


def test_the_table_has_a_row_per_subject() -> None:
    rows = table([turn(400, 100, 300), turn(420, 110, 310)]).splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(SUBJECTS)
    assert rows[0].startswith(f"| {NONE} | 410 |")
