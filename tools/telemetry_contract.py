"""Makes constants and docs/telemetry.md from services/telemetry.yaml; a test holds both against it.

Refuses a contract that names an undeclared attribute, or puts one of high cardinality on a metric.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = ROOT / "services/telemetry.yaml"
PAGE = ROOT / "docs/telemetry.md"
CONVENTIONS = ROOT / "services/tracing/conventions.py"
OURS = ROOT / "services/common/telemetry_names.py"

# The page above this line is written by hand.
MARK = "<!-- From here on made from services/telemetry.yaml by `make telemetry`. -->"
REQUIRED = "required"
PREFIX = "reelmesh."
_TYPES: dict[str, type] = {"string": str, "int": int, "double": float, "bool": bool}
_IN_BRACES = re.compile(r"\{([a-z0-9_.]+)\}")


class Attribute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand under a key."""

    type: Literal["string", "int", "double", "bool"]
    meaning: str
    values: tuple[str, ...] = ()
    pattern: str = ""
    cardinality: Literal["low", "high"] = "low"
    constant: str = ""

    def allows(self, value: object) -> bool:
        """Whether it is of the type, and one of the values or of the pattern where there are any."""
        if type(value) is not _TYPES[self.type]:
            return False
        if self.values:
            return value in self.values
        return not self.pattern or re.fullmatch(self.pattern, str(value)) is not None


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A span, or several that differ by name only."""

    kind: Literal["SERVER", "CLIENT", "PRODUCER", "CONSUMER", "INTERNAL"]
    where: str
    meaning: str
    attributes: dict[str, str]
    name: str = ""
    names: tuple[str, ...] = ()
    constant: str = ""

    def is_named(self, name: str, attributes: Mapping[str, object]) -> bool:
        """Whether a span of these attributes is called so."""
        if self.names:
            return name in self.names
        # An attribute that is absent must not make its own braces a name.
        return name == _IN_BRACES.sub(lambda found: str(attributes.get(found[1], "\0")), self.name)


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An instrument."""

    instrument: Literal["histogram", "counter", "updowncounter", "gauge"]
    unit: str
    where: str
    meaning: str
    attributes: dict[str, str]


class LogField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key of a log line."""

    type: Literal["string"]
    level: str
    meaning: str


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it."""

    schema_url: str
    attributes: dict[str, Attribute]
    resource: dict[str, str]
    spans: tuple[Span, ...]
    metrics: dict[str, Metric]
    log_fields: dict[str, LogField]

    def problems(self) -> list[str]:
        """What is wrong with the contract itself."""
        used = [("the resource", self.resource)]
        used += [(f"span {span.name or span.names[0]}", span.attributes) for span in self.spans]
        used += [(f"metric {name}", metric.attributes) for name, metric in self.metrics.items()]
        found = [
            f"{user}: {key} is not declared"
            for user, keys in used
            for key in keys
            if key not in self.attributes
        ]
        found += [
            f"metric {name}: {key} is of high cardinality"
            for name, metric in self.metrics.items()
            for key in metric.attributes
            if key in self.attributes and self.attributes[key].cardinality == "high"
        ]
        unused = self.attributes.keys() - {key for _, keys in used for key in keys}
        return found + [f"{key} is used nowhere" for key in sorted(unused)]

    def wrong(self, declared: Mapping[str, str], attributes: Mapping[str, object]) -> list[str]:
        """How emitted attributes differ from the declared ones."""
        found = [f"{key} is not declared" for key in attributes if key not in declared]
        absent = (key for key, level in declared.items() if level == REQUIRED and key not in attributes)
        found += [f"{key} is missing" for key in absent]
        return found + [
            f"{key} is {value!r}"
            for key, value in attributes.items()
            if key in declared and not self.attributes[key].allows(value)
        ]

    def wrong_span(self, name: str, kind: str, attributes: Mapping[str, object]) -> list[str]:
        """How an emitted span differs from the declared ones of its name and kind; empty when it is one."""
        candidates = [span for span in self.spans if span.kind == kind and span.is_named(name, attributes)]
        found = [self.wrong(span.attributes, attributes) for span in candidates]
        return min(found, key=len) if found else ["no such span is declared"]


@cache
def contract() -> Contract:
    """The declared list. Errors: msgspec.ValidationError, ValueError when it contradicts itself."""
    loaded = msgspec.yaml.decode(CONTRACT.read_bytes(), type=Contract)
    if problems := loaded.problems():
        raise ValueError("; ".join(problems))
    return loaded


def constants(ours: bool) -> Iterator[tuple[str, str]]:
    """Names and values of one module's constants, in the contract's order."""
    declared = contract()
    for key, attribute in declared.attributes.items():
        if key.startswith(PREFIX) is ours:
            yield attribute.constant or _constant(key), key
    for name in declared.metrics:
        if name.startswith(PREFIX) is ours:
            yield _constant(name), name
    for span in declared.spans if ours else ():
        if span.constant:
            yield span.constant, span.names[0]


def _constant(name: str) -> str:
    return name.removeprefix(PREFIX).replace(".", "_").upper()


_MADE = "Made from services/telemetry.yaml by `make telemetry`, not by hand."


def conventions_module() -> str:
    """OpenTelemetry's names, for services/tracing."""
    lines = [f'{name}: Final = "{value}"' for name, value in constants(ours=False)]
    head = [f'"""OpenTelemetry\'s names. {_MADE}"""', "", "from typing import Final", ""]
    return "\n".join([*head, f'SCHEMA_URL: Final = "{contract().schema_url}"', *lines, ""])


def ours_module() -> str:
    """Ours, beside the others."""
    lines = [f'{name}: Final = "{value}"' for name, value in constants(ours=True)]
    head = [f'"""All names of the contract. {_MADE}"""', "", "from typing import Final", ""]
    return "\n".join(
        [
            *head,
            "from services.tracing.conventions import *  # noqa: F403 - all names here",
            "",
            *lines,
            "",
        ]
    )


def page() -> str:
    """docs/telemetry.md: what is written by hand, and the lists."""
    declared = contract()
    parts = [PAGE.read_text().partition(MARK)[0] + MARK, "", *_spans(declared), *_metrics(declared)]
    parts += ["## Log fields", "", "| field | when | meaning |", "|---|---|---|"]
    parts += [f"| `{name}` | {one.level} | {one.meaning} |" for name, one in declared.log_fields.items()]
    return "\n".join([*parts, "", *_attributes(declared), ""])


def _spans(declared: Contract) -> list[str]:
    lines = ["## Spans", ""]
    for span in declared.spans:
        names = ", ".join(f"`{name}`" for name in span.names or (span.name,))
        lines += [f"**{names}** ({span.kind}; {span.where}). {span.meaning}", "", *_used(span.attributes), ""]
    return lines


def _metrics(declared: Contract) -> list[str]:
    lines = ["## Metrics", ""]
    for name, metric in declared.metrics.items():
        head = f"**`{name}`** ({metric.instrument}, `{metric.unit}`; {metric.where}). {metric.meaning}"
        lines += [head, "", *_used(metric.attributes), *([""] if metric.attributes else [])]
    return lines


def _used(attributes: Mapping[str, str]) -> list[str]:
    return [f"- `{key}`: {level}" for key, level in attributes.items()]


def _attributes(declared: Contract) -> list[str]:
    lines = ["## Attributes", "", "| attribute | type | meaning | allowed |", "|---|---|---|---|"]
    for key, one in declared.attributes.items():
        allowed = ", ".join(f"`{value}`" for value in one.values)
        if one.pattern:
            allowed = f"`{one.pattern}`".replace("|", "\\|")
        if one.cardinality == "high":
            allowed = f"{allowed} never on a metric".strip()
        lines.append(f"| `{key}` | {one.type} | {one.meaning} | {allowed} |")
    return lines


def made() -> dict[Path, str]:
    """Every file that is made from the contract, with its text."""
    return {CONVENTIONS: conventions_module(), OURS: ours_module(), PAGE: page()}


def main(*arguments: Any) -> None:
    """Writes them; with "check" only says which are stale, and exits with 1."""
    stale = [path for path, text in made().items() if not path.exists() or path.read_text() != text]
    if "check" in arguments:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(f"telemetry: stale, run `make telemetry`: {names}" if stale else 0)
    for path in stale:
        path.write_text(made()[path])


if __name__ == "__main__":
    main(*sys.argv[1:])
