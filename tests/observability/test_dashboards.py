"""Dashboards: what Grafana imports is made from the YAML, is whole, and queries only what is emitted."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.observability.promql import problems
from tools import dashboards

MADE = dashboards.made()
SUBJECTS = {"mesh", "money", "rounds", "rtp", "outbox", "postgresql"}


def test_there_is_one_for_each_subject_and_it_is_current() -> None:
    assert (
        {path.stem for path in dashboards.FOLDER.glob("*.json")} == {path.stem for path in MADE} == SUBJECTS
    )
    for path, text in MADE.items():
        assert path.read_text() == text, "run `make dashboards`"
    assert len({json.loads(text)["uid"] for text in MADE.values()}) == len(MADE)


def panels(path: Path) -> list[dict[str, Any]]:
    """The panels of one dashboard."""
    found: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return found


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.stem)
def test_panels_have_a_place_a_name_and_a_unit(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(path):
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and max(x for x, _ in cells) < dashboards.COLUMNS
        taken |= cells
        assert panel["title"] and panel["description"].endswith(".")
        if panel["type"] != "text":
            assert panel["fieldConfig"]["defaults"]["unit"] and panel["datasource"]["uid"] == "${datasource}"
    ids = [panel["id"] for panel in panels(path)]
    titles = [panel["title"] for panel in panels(path)]
    assert len(set(ids)) == len(ids) and len(set(titles)) == len(titles)


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.stem)
def test_queries_select_what_is_declared(path: Path) -> None:
    variables = {one["name"] for one in json.loads(path.read_text())["templating"]["list"]}
    for panel in panels(path):
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references)
        for target in panel.get("targets", ()):
            assert not problems(target["expr"]), panel["title"]
            assert "$service" not in target["expr"] or "service" in variables


def test_latency_leads_to_traces() -> None:
    for path in MADE:
        for panel in panels(path):
            for target in panel.get("targets", ()):
                of_buckets = "histogram_quantile" in target["expr"]
                assert target["exemplar"] is of_buckets, f"{path.stem}: {panel['title']}"
