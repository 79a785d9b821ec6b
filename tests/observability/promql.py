"""What series there are by the contract, under Prometheus's names, and whether an expression knows them."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser as promql
import yaml

from tools.dashboards import dashboards
from tools.telemetry_contract import ROOT, Attribute, contract

FOLDER = ROOT / "deploy/observability"
RULES = sorted((FOLDER / "rules").glob("*.yaml"))
Labels = frozenset[str]

_UNITS = {"s": "seconds", "By": "bytes"}


class Rule(NamedTuple):
    """One rule, as its file says it."""

    file: Path
    name: str
    alerts: bool
    fields: Mapping[str, Any]

    @property
    def expr(self) -> str:
        """What it evaluates."""
        return str(self.fields["expr"])


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule, in the order of the files."""
    return tuple(
        Rule(path, rule.get("alert") or rule["record"], "alert" in rule, rule)
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    )


def alerts() -> dict[str, Rule]:
    """The alerts by name."""
    return {rule.name: rule for rule in rules() if rule.alerts}


def name_of(metric: str) -> str:
    """The series' name by UnderscoreEscapingWithSuffixes, without a histogram's _bucket, _sum, _count.

    A unit in braces is a word and no suffix; a gauge of unit 1 is a ratio; a suffix that is there stays one.
    """
    declared = contract().metrics[metric]
    name = metric.replace(".", "_")
    parts = name.split("_")
    suffix = _UNITS.get(declared.unit, "")
    if declared.instrument == "gauge" and declared.unit == "1":
        suffix = "ratio"
    if suffix and suffix not in parts:
        name += f"_{suffix}"
    return f"{name}_total" if declared.instrument == "counter" else name


def series_of(metric: str) -> Iterator[tuple[str, Labels]]:
    """Names and labels of a metric's series, those of its process aside."""
    name, labels = name_of(metric), frozenset(map(label_of, contract().metrics[metric].attributes))
    if contract().metrics[metric].instrument == "histogram":
        yield f"{name}_bucket", labels | {"le"}
        yield f"{name}_sum", labels
        yield f"{name}_count", labels
    else:
        yield name, labels


def label_of(attribute: str) -> str:
    """An attribute as a label."""
    return attribute.replace(".", "_")


@cache
def of_the_process() -> Labels:
    """Labels that every series has: what Prometheus makes of the resource, and what it is told to promote."""
    told = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["otlp"]
    assert told["translation_strategy"] == "UnderscoreEscapingWithSuffixes"
    assert set(told["promote_resource_attributes"]) <= contract().resource.keys()
    return frozenset({"job", "instance", *map(label_of, told["promote_resource_attributes"])})


@cache
def known() -> Mapping[str, Labels]:
    """Every series: of the contract, and what rules record of them."""
    found = {
        name: labels | of_the_process() for metric in contract().metrics for name, labels in series_of(metric)
    }
    for rule in rules():
        if not rule.alerts:
            labels = Check(found).labels(promql.parse(rule.expr)) | rule.fields.get("labels", {}).keys()
            found[rule.name] = found.get(rule.name, frozenset()) | labels
    return found


def metric_of(series: str) -> str | None:
    """The declared metric behind a series; None for a recorded one."""
    return next((one for one in contract().metrics if series in dict(series_of(one))), None)


def expressions() -> list[str]:
    """Every expression of rules and dashboards."""
    of_panels = [expr for one in dashboards() for panel in one.panels for expr in panel.queries.values()]
    return [rule.expr for rule in rules()] + of_panels


def parse(expr: str) -> Any:
    """An expression, Grafana's interval in it too. Errors: ValueError."""
    return promql.parse(expr.replace("$__rate_interval", "5m"))


def selections(expr: str) -> Iterator[tuple[str, str]]:
    """The series that it selects, each with "" and with every label that is asked of it."""
    check = Check(known())
    check.labels(parse(expr))
    for name, labels in check.selected.items():
        yield from ((name, label) for label in {"", *labels})


def problems(expr: str) -> list[str]:
    """What an expression wants that nobody emits."""
    check = Check(known())
    check.labels(parse(expr))
    return check.problems


class Check:
    """Goes through an expression: which series it selects, and what it asks of labels that are not there."""

    def __init__(self, series: Mapping[str, Labels]) -> None:
        self._series = series
        self.selected: dict[str, set[str]] = {}
        """Series, and the labels that are asked of each."""
        self.problems: list[str] = []

    def labels(self, expr: Any) -> Labels:
        """The labels that its result may have."""
        match expr:
            case promql.VectorSelector():
                return self._select(expr)
            case promql.MatrixSelector():
                return self._select(expr.vector_selector)
            case promql.AggregateExpr():
                return self._aggregate(expr)
            case promql.BinaryExpr():
                return self._binary(expr)
            case promql.Call():
                return frozenset[str]().union(*map(self.labels, expr.args))
            case promql.ParenExpr() | promql.UnaryExpr():
                return self.labels(expr.expr)
            case promql.NumberLiteral() | promql.StringLiteral():
                return frozenset()
        raise NotImplementedError(type(expr))

    def _select(self, selector: promql.VectorSelector) -> Labels:
        name = selector.name or ""
        if name not in self._series:
            self.problems.append(f"{name} is no series")
            return frozenset()
        asked = self.selected.setdefault(name, set())
        for matcher in selector.matchers.matchers:
            asked.add(matcher.name)
            if matcher.name not in self._series[name]:
                self.problems.append(f"{name} has no label {matcher.name}")
            if matcher.op in (promql.MatchOp.Equal, promql.MatchOp.Re):
                self.problems += _wrong_values(matcher.name, matcher.value)
        return self._series[name]

    def _aggregate(self, expr: promql.AggregateExpr) -> Labels:
        inside = self.labels(expr.expr)
        if expr.modifier is None:
            return frozenset()
        assert expr.modifier.type == promql.AggModifierType.By, "rules here say what they keep"
        return self._need(expr.modifier.labels, inside)

    def _binary(self, expr: promql.BinaryExpr) -> Labels:
        left, right = self.labels(expr.lhs), self.labels(expr.rhs)
        if expr.modifier is not None and expr.modifier.matching is not None:
            for side in (left, right):
                if expr.modifier.matching.type == promql.LabelModifierType.Include:
                    self._need(expr.modifier.matching.labels, side)
        return left | right if str(expr.op) == "or" else left or right

    def _need(self, labels: list[str], there: Labels) -> Labels:
        self.problems += [f"there is no label {label} to go by" for label in labels if label not in there]
        return frozenset(labels)


def _wrong_values(label: str, value: str) -> list[str]:
    """Values that the contract does not allow; of a pattern only one that is a plain list."""
    attribute = _attributes().get(label)
    values = value.split("|")
    if attribute is None or attribute.type != "string" or not all(map(_PLAIN.fullmatch, values)):
        return []
    return [f"{label} is never {one}" for one in values if one and not attribute.allows(one)]


_PLAIN = re.compile(r"[\w.\-/{} ]*")


@cache
def _attributes() -> dict[str, Attribute]:
    return {label_of(key): attribute for key, attribute in contract().attributes.items()}
