"""Writes docs/errors.md from protos/reelmesh/type/v1/error.proto; a test holds the page against it."""

import re
from pathlib import Path

from reelmesh.type.v1 import error_pb2

ROOT = Path(__file__).resolve().parents[1]
PROTO = ROOT / "protos/reelmesh/type/v1/error.proto"
PAGE = ROOT / "docs/errors.md"

_HEAD = """\
# Errors

Made from [error.proto](../protos/reelmesh/type/v1/error.proto) by `PYTHONPATH=gen python
tools/errors_doc.py`, not by hand.

gRPC: a `google.rpc.Status` with exactly one `google.rpc.ErrorInfo` of domain `reelmesh`, its `reason` and
`metadata` as below, and the trace id in the trailing metadata `x-trace-id`. REST: `application/problem+json`
(RFC 9457) with the same `reason`, `class`, `metadata` and `trace_id`. The metadata keys of a reason are
always present, as text. A gRPC message above 4 MiB is refused by gRPC itself, without an ErrorInfo.

## Classes

| class | what it means |
|---|---|
"""
_REASONS_HEAD = """
## Reasons

| reason | class | gRPC | HTTP | metadata | meaning |
|---|---|---|---|---|---|
"""
# The comment lines above an enum value.
_COMMENTED = re.compile(r"((?:^ *//.*\n)+) *(ERROR_(?:REASON|CLASS)_\w+) = ", re.MULTILINE)


def page() -> str:
    """The page's text."""
    meanings = {
        name: " ".join(line.strip().removeprefix("//").strip() for line in comment.strip().splitlines())
        for comment, name in _COMMENTED.findall(PROTO.read_text())
    }
    classes = [
        f"| `{name.removeprefix('ERROR_CLASS_')}` | {meanings[name]} |\n"
        for name, number in error_pb2.ErrorClass.items()
        if number
    ]
    reasons = [
        _row(value.name, value.GetOptions().Extensions[error_pb2.error_spec], meanings[value.name])
        for value in error_pb2.ErrorReason.DESCRIPTOR.values
        if value.number
    ]
    return "".join([_HEAD, *classes, _REASONS_HEAD, *reasons])


def _row(name: str, spec: error_pb2.ErrorSpec, meaning: str) -> str:
    error_class = error_pb2.ErrorClass.Name(getattr(spec, "class")).removeprefix("ERROR_CLASS_")
    keys = ", ".join(f"`{key}`" for key in spec.metadata_keys)
    cells = (f"`{name.removeprefix('ERROR_REASON_')}`", error_class, spec.grpc_code, spec.http_status, keys)
    return f"| {' | '.join(map(str, cells))} | {meaning} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
