"""docs/operators.md says what the code does: scopes, settings and limits."""

import re
from dataclasses import fields
from pathlib import Path

from services.gateway.config import Config
from services.gateway.edge.reading import Limits
from services.gateway.operators.scopes import EVERYTHING, SCOPES

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "operators.md").read_text()
DEFAULTS = {item.name: item.default for item in fields(Config)}
SETTINGS = (ROOT / "deploy/k8s/base/gateway/settings.env").read_text()
DEPLOYED = dict(re.findall(r"^(\w+)=(.*)$", SETTINGS, re.MULTILINE))


def test_every_scope_is_there_and_no_other() -> None:
    rows = dict(re.findall(r"^\| `([a-z.*]+)` \| (.*) \|$", DOCUMENT, re.MULTILINE))
    assert rows.pop(EVERYTHING)
    assert rows == SCOPES


def test_rates_are_those_of_the_code_and_of_the_deployment() -> None:
    rows = re.findall(
        r"^\| `(RATE_\w+)`, `(RATE_\w+)` \| (\d+), (\d+) \| (\d+), (\d+) \|$", DOCUMENT, re.MULTILINE
    )
    assert len(rows) == 3
    for per_s, burst, *numbers in rows:
        own = [DEFAULTS[name.lower()] for name in (per_s, burst)]
        deployed = [int(DEPLOYED[f"REELMESH_GATEWAY_{name}"]) for name in (per_s, burst)]
        assert [int(number) for number in numbers] == own + deployed


def test_limits_are_those_of_the_code() -> None:
    limits = Limits(body_size_bytes_max=65_536)
    said = {
        "head of a request (URL, headers)": f"{limits.head_size_bytes_max // 1024} KiB",
        "body over REST": f"`BODY_SIZE_BYTES_MAX`, {limits.body_size_bytes_max // 1024} KiB, by bytes read",
        "from the first byte to the end of the head": f"{limits.head_timeout_s:.0f} s",
        "from there to the last byte of the body": f"{limits.request_timeout_s:.0f} s",
        "without a request, or with answers that nobody takes": f"{limits.idle_timeout_s:.0f} s",
        "TLS handshake": f"{limits.handshake_timeout_s:.0f} s",
        "requests that wait behind one": str(limits.pipelined_max),
    }
    for what, limit in said.items():
        assert f"| {what} | {limit} |" in DOCUMENT
    assert DEFAULTS["body_size_bytes_max"] == limits.body_size_bytes_max
    assert DEFAULTS["connections_per_address_max"] == limits.connections_max == 10_000
