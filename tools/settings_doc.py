"""Writes docs/settings.md from the Config of each service; a test holds the page against it."""

import ast
import dataclasses
import importlib
import inspect
from pathlib import Path
from typing import NamedTuple, get_args

from services.common.config import ServiceConfig
from services.common.identity import call_graph

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/settings.md"

_HEAD = """\
# Settings

Made from services/common/config.py and services/*/config.py by `PYTHONPATH=.:gen python
tools/settings_doc.py`, not by hand.

A service reads the variable `REELMESH_<SERVICE>_<NAME>`, and where that is not set `REELMESH_<NAME>`:
`REELMESH_WALLET_DRAIN_WAIT_MS` before `REELMESH_DRAIN_WAIT_MS`. It reads them once, at its start: a changed
one takes effect when the process is started again. A missing or malformed one ends the start with a line that
names it. Numbers are not negative. `OTEL_*` variables are OpenTelemetry's own ([telemetry.md](telemetry.md)).

On Kubernetes they stand in deploy/k8s/base/*/settings.env, secret ones in Secrets. A changed settings.env
rolls the pods; after a changed Secret, `kubectl -n reelmesh rollout restart deployment` does.

| name | services | unit | default | restart | what it does |
|---|---|---|---|---|---|
"""
# By the end of a name; the longest that fits.
_UNITS = {
    "_ms": "ms",
    "_per_s": "per second",
    "_bytes_max": "bytes",
    "_burst": "requests",
    "_max": "number",
    "_size": "number",
    "_port": "port",
    "_ratio": "0 to 1",
    "_url": "URL",
    "_target": "gRPC target",
    "_path": "path",
    "_folder": "path",
    "_key": "text",
}
_LIVE = "read again when they change"


class Setting(NamedTuple):
    """A row of the table."""

    name: str
    services: str
    unit: str
    default: str
    restart: str
    what: str


def settings() -> list[Setting]:
    """Those of all services first, then each service's own; in the order of the code."""
    every = [_setting(field, "all", ServiceConfig) for field in dataclasses.fields(ServiceConfig)]
    common = {field.name for field in dataclasses.fields(ServiceConfig)}
    own: dict[str, Setting] = {}
    for service in call_graph():
        config = importlib.import_module(f"services.{service}.config").Config
        for field in dataclasses.fields(config):
            if field.name in common:
                continue
            row = _setting(field, service, config)
            # One name with two meanings would be two rows.
            twin = own.get(field.name)
            if twin is not None and twin._replace(services="") == row._replace(services=""):
                row = row._replace(services=f"{twin.services}, {service}")
                del own[field.name]
            own[field.name if field.name not in own else f"{service} {field.name}"] = row
    return every + list(own.values())


def page() -> str:
    """The page's text."""
    return _HEAD + "".join(_row(setting) for setting in settings())


def _row(setting: Setting) -> str:
    cells = (f"`{setting.name.upper()}`", *setting[1:])
    return f"| {' | '.join(cells)} |\n"


def _setting(field: "dataclasses.Field[object]", services: str, config: type) -> Setting:
    what = _comments(config)[field.name]
    restart = "yes; a changed file no" if _LIVE in what else "yes"
    secret = " Secret." if not field.repr else ""
    return Setting(field.name, services, _unit(field), _default(field), restart, f"{what}{secret}")


def _unit(field: "dataclasses.Field[object]") -> str:
    ends = [end for end in _UNITS if field.name.endswith(end)]
    if ends:
        return _UNITS[max(ends, key=len)]
    return " or ".join(get_args(field.type)) or "text"


def _default(field: "dataclasses.Field[object]") -> str:
    if field.default_factory is not dataclasses.MISSING:
        return "the host's name"
    if field.default is dataclasses.MISSING:
        return "**required**"
    if field.default == "":
        return "empty"
    number = (
        f"{field.default:,}" if isinstance(field.default, int) and field.default >= 10_000 else field.default
    )
    return f"`{str(number).replace(',', '_')}`"


def _comments(config: type) -> dict[str, str]:
    """The comment above each field; fields that follow without one of their own share it."""
    source = inspect.getsource(config)
    lines = source.splitlines()
    [definition] = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    found, last = {}, ""
    for node in definition.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        above: list[str] = []
        for line in reversed(lines[: node.lineno - 1]):
            if not line.strip().startswith("#"):
                break
            above.insert(0, line.strip().removeprefix("#").strip())
        last = " ".join(above) or last
        found[node.target.id] = last.replace("|", "\\|")
    assert all(found.values()), f"{config}: a setting without a comment"
    return found


if __name__ == "__main__":
    PAGE.write_text(page())
