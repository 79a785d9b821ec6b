"""The sums of what rounds returned: theory and its variance, stated or seen."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from services.common import telemetry_names as names
from services.game.records import Kind, Round, State
from services.game.returns import Returns


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    returns.observe_with(provider.get_meter("test"))
    yield reader
    provider.shutdown()


returns = Returns({("stated", "base"): (0.96, 5.0), ("seen", "base"): (0.9, None)})


def round_of(game_id: str, *, stake: int, win: int, state: State = State.PENDING) -> Any:
    """As much of a round as is counted."""
    fields: dict[str, Any] = dict.fromkeys(Round.__struct_fields__)
    fields |= {"kind": Kind.REAL, "state": state, "gateway": "one", "operator_id": "dev", "game_id": game_id}
    return Round(**{**fields, "mode": "base", "currency_code": "EUR", "stake_minor": stake, "win_minor": win})


def test_variance_is_of_the_definition_or_else_of_the_rounds(reader: InMemoryMetricReader) -> None:
    for game_id in ("stated", "seen"):
        returns.record(round_of(game_id, stake=100, win=0), State.VOID)
        returns.record(round_of(game_id, stake=200, win=500), State.VOID)
        returns.record(round_of(game_id, stake=200, win=500, state=State.VOID), State.VOID)  # told before
    # PromQL's increase() sees no first value: each series starts at 0, also when all of it came at once.
    first = read(reader)
    assert first.keys() == {"stated", "seen"}
    assert {value for values in first.values() for value in values.values()} == {0}
    shown = read(reader)
    assert shown == read(reader)
    for game_id, theory, variance in (
        ("stated", 288.0, 500.0**2 + 1000.0**2),
        ("seen", 270.0, 90.0**2 + 320.0**2),
    ):
        assert shown[game_id][names.ROUND_COUNT] == 2
        assert shown[game_id][names.ROUND_WIN] == 500
        assert shown[game_id][names.ROUND_WIN_THEORY] == pytest.approx(theory)
        assert shown[game_id][names.ROUND_WIN_VARIANCE] == pytest.approx(variance)


def read(reader: InMemoryMetricReader) -> dict[str, dict[str, float]]:
    """What is exported now: by game, then metric."""
    shown: dict[str, dict[str, float]] = {}
    data = reader.get_metrics_data()
    assert data is not None
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            assert point.attributes is not None and not hasattr(point, "bucket_counts")
            values = shown.setdefault(str(point.attributes[names.GAME_ID]), {})
            values[metric.name] = point.value  # type: ignore[union-attr]
    return shown
