"""Makes Grafana's dashboards from deploy/observability/dashboards.yaml; a test holds them against it.

Grafana's own form says everything forty times and is no reading; what differs between panels is in the YAML.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "deploy/observability/dashboards.yaml"
FOLDER = SOURCE.with_suffix("")
COLUMNS = 24
TEXT_ROWS, PANEL_ROWS, STAT_ROWS = 3, 8, 5
# Grafana 11, which later ones migrate from.
SCHEMA_VERSION = 39
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Panel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One panel: queries by their legend."""

    title: str
    text: str
    unit: str
    queries: dict[str, str]
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = COLUMNS // 2
    exemplars: bool = False


class Dashboard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One dashboard. `service`: panels are of the services chosen in $service."""

    uid: str
    title: str
    text: str
    panels: tuple[Panel, ...]
    service: bool = False


@cache
def dashboards() -> tuple[Dashboard, ...]:
    """The declared ones. Errors: msgspec.ValidationError."""
    return msgspec.yaml.decode(SOURCE.read_bytes(), type=tuple[Dashboard, ...])


def grafana(dashboard: Dashboard) -> dict[str, Any]:
    """The model that Grafana imports, and provisioning reads."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.text,
        "tags": ["reelmesh"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "timezone": "utc",
        "links": [{"type": "dashboards", "title": "Reelmesh", "tags": ["reelmesh"], "asDropdown": True}],
        "templating": {"list": _variables(dashboard)},
        "annotations": {"list": [_alerts()]},
        "panels": _panels(dashboard),
    }


def _variables(dashboard: Dashboard) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    ]
    if dashboard.service:
        query = "label_values(process_cpu_time_seconds_total, service_name)"
        found.append(
            {
                "name": "service",
                "label": "Service",
                "type": "query",
                "datasource": DATASOURCE,
                "query": {"query": query, "refId": "service"},
                "multi": True,
                "includeAll": True,
                "allValue": ".+",
                "current": {"text": "All", "value": "$__all"},
                "refresh": 2,
            }
        )
    return found


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing", severity=~"page|ticket"}',
        "titleFormat": "{{alertname}}",
    }


def _panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    head = {
        "id": 1,
        "type": "text",
        "title": "What this is",
        "description": "How to read this dashboard.",
        "gridPos": {"x": 0, "y": 0, "w": COLUMNS, "h": TEXT_ROWS},
        "options": {"mode": "markdown", "content": dashboard.text},
    }
    found, x, y, rows = [head], 0, TEXT_ROWS, 0
    for number, panel in enumerate(dashboard.panels, start=2):
        if x + panel.width > COLUMNS:
            x, y, rows = 0, y + rows, 0
        height = STAT_ROWS if panel.kind == "stat" else PANEL_ROWS
        place = {"x": x, "y": y, "w": panel.width, "h": height}
        found.append({"id": number, "gridPos": place, **_panel(panel)})
        x, rows = x + panel.width, max(rows, height)
    return found


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "expr": expr,
            "legendFormat": legend,
            "exemplar": panel.exemplars,
            "instant": panel.kind == "stat",
        }
        for place, (legend, expr) in enumerate(panel.queries.items())
    ]
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": DATASOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0 if panel.unit != "short" else None}},
    }


def made() -> dict[Path, str]:
    """Every file that is made, with its text."""
    return {
        FOLDER / f"{one.uid.removeprefix('reelmesh-')}.json": json.dumps(grafana(one), indent=1) + "\n"
        for one in dashboards()
    }


def main() -> None:
    """Writes them."""
    FOLDER.mkdir(exist_ok=True)
    for path, content in made().items():
        path.write_text(content)


if __name__ == "__main__":
    main()
