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
(RFC 9457) with the same `reason`, `class`, `metadata` and `trace_id`; JSON-RPC: an error whose `data` is that
problem, its code as [api.md](api.md) says. The metadata keys of a reason are
always present, as text. A gRPC message above 4 MiB is refused by gRPC itself, without an ErrorInfo.

## Classes

| class | what it means |
|---|---|
"""
_REASONS_HEAD = """
## Reasons

| reason | class | gRPC | HTTP | metadata | meaning | what to do |
|---|---|---|---|---|---|---|
"""
# By class; a reason that says when asks to wait so long.
_TO_DO = {
    "FINAL": "Nothing was taken: ask under a new id, when the cause is gone.",
    "NOT_YET": "Put right what is wrong, then ask again; the same id may be used.",
    "RETRY_SAME_ID": "Send the same id and body again, after growing pauses, until it is answered.",
    "ALREADY_DONE": "Nothing more: read how it stands.",
    "NEEDS_REVIEW": "Wait for the operator's verdict, then read how it stands.",
}
_TO_DO_AFTER = {
    "NOT_YET": "Wait `retry_after_ms`, then ask again; the same id may be used.",
    "RETRY_SAME_ID": "Wait `retry_after_ms`, then send the same id and body again.",
}
# Where the class does not say enough. Of ID_REUSED the id's first body may have taken effect.
_TO_DO_OF = {
    "ID_REUSED": "Take a new id for another body; send the first body to learn what became of it.",
    "API_KEY_INVALID": "Show a live key of the operator; operators.md says how they are listed and made.",
    "TOKEN_INVALID": "Show the token of `POST /v1/sessions/exchange`; without one, launch the game again.",
    "SCOPE_MISSING": "Make a key with this scope (operators.md); the same id may be used.",
    "LAUNCH_CODE_INVALID": "Create a new session and use its code at once; an open round moves to it.",
    "SESSION_EXPIRED": "Launch the game again; what was sent before is still answered under its id.",
    "SESSION_CLOSED": "Launch the game again; what was sent before is still answered under its id.",
    "SESSION_REPLACED": "Go on in the newer session, or launch again; known ids are still answered here.",
    "REALITY_CHECK_DUE": "Show it, then `POST /v1/session/reality_check`; the same id may be used.",
    "LAUNCH_INCOMPLETE": "Name `field` in `POST /v1/sessions` (policies.md); the same id may be used.",
    "POLICY_FORBIDDEN": "Launch under another jurisdiction, or what this one allows (policies.md).",
    "FEATURE_FORBIDDEN": "Spin without it; `play` of the session says beforehand what is allowed.",
    "MODE_FORBIDDEN": "Spin in another mode; `play.modes_allowed` of the session lists them, none: all.",
    "ROUND_OPEN": "Decide `round_id` (`POST /v1/rounds/{round_id}/steps`) or wait; then a new id.",
    "STAKE_NOT_ON_LADDER": "Ask under a new id with a stake of `GET /v1/games`, times the mode's cost.",
    "ORIGIN_FORBIDDEN": 'Add the page\'s origin: `make operators DO="origins ..."` (operators.md).',
    "ACCOUNT_NOT_FOUND": "The first deposit or session makes it; look at player, currency and kind.",
    "DEMO_NOT_OFFERED": 'Create the session with an API key: `POST /v1/sessions`, `"kind": "DEMO"`.',
}
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
    to_do = (_TO_DO_AFTER if "retry_after_ms" in spec.metadata_keys else _TO_DO)[error_class]
    to_do = _TO_DO_OF.get(name.removeprefix("ERROR_REASON_"), to_do)
    return f"| {' | '.join(map(str, cells))} | {meaning} | {to_do} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
