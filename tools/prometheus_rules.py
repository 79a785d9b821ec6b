"""Makes PrometheusRules for deploy/k8s from deploy/observability/rules; a test holds them against it.

kustomize cannot wrap a file's content in a resource's spec.
"""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "deploy/observability/rules"
TARGET = ROOT / "deploy/k8s/components/monitoring/prometheus-rules.yaml"


def resource(path: Path) -> dict[str, Any]:
    """The PrometheusRule of one file of rules."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": f"reelmesh-{path.stem}"},
        "spec": yaml.safe_load(path.read_text()),
    }


def rendered() -> str:
    """What TARGET has to be."""
    documents = [resource(path) for path in sorted(SOURCE.glob("*.yaml"))]
    text: str = yaml.safe_dump_all(documents, sort_keys=False, width=100)
    return f"# Made by `make dashboards` from deploy/observability/rules.\n{text}"


if __name__ == "__main__":
    TARGET.write_text(rendered())
