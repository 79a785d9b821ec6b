"""What the protos say to readers: comments of messages and fields, the errors that an operation names."""

import re
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from grpc_tools import protoc
from reelmesh.type.v1 import error_pb2

ROOT = Path(__file__).resolve().parents[1]
PROTOS = ROOT / "protos"

_ERRORS = re.compile(r"^Errors: *(.*)$", re.MULTILINE)
_REASON = re.compile(r"\b[A-Z][A-Z_]*[A-Z]\b(?!/)")
_REFERENCE = re.compile(r"\b(?:(\w+Service)\.)?([A-Z][a-z]\w+)\b")
_REASONS = {name.removeprefix("ERROR_REASON_") for name in error_pb2.ErrorReason.keys()}
# Numbers of descriptor.proto by which a comment's place is told; within each of them 2 are its parts.
_SERVICE, _MESSAGE, _ENUM = 6, 4, 5


@cache
def comments() -> dict[str, str]:
    """By full name, of everything in the protos."""
    found: dict[str, str] = {}
    for file in _descriptors().file:
        if not file.package.startswith("reelmesh"):
            continue
        by_path = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        kinds: list[tuple[int, Any]] = [(_SERVICE, file.service), (_MESSAGE, file.message_type)]
        kinds.append((_ENUM, file.enum_type))
        for kind, things in kinds:
            for number, thing in enumerate(things):
                name = f"{file.package}.{thing.name}"
                found[name] = _clean(by_path.get((kind, number), ""))
                parts = getattr(thing, {_SERVICE: "method", _MESSAGE: "field", _ENUM: "value"}[kind])
                for index, part in enumerate(parts):
                    found[f"{name}.{part.name}"] = _clean(by_path.get((kind, number, 2, index), ""))
    return found


def told(full_name: str) -> str:
    """A comment without its Errors lines, on one line."""
    return " ".join(_ERRORS.sub("", comments()[full_name]).split())


@cache
def reasons(method: str) -> frozenset[str]:
    """The reasons that an RPC names, and those of the RPCs that it refers to. `method`: its full name."""
    service, _, _ = method.rpartition(".")
    text = " ".join(_ERRORS.findall(comments()[method]))
    found = {word for word in _REASON.findall(text) if word in _REASONS}
    for named_service, rpc in _REFERENCE.findall(text):
        other = f"{_package(named_service)}.{rpc}" if named_service else f"{service}.{rpc}"
        if other in comments() and other != method:
            found |= reasons(other)
            service = other.rpartition(".")[0] if named_service else service
    return frozenset(found)


def _package(service: str) -> str:
    [name] = [name for name in comments() if name.endswith(f".{service}")]
    return name


def _clean(comment: str) -> str:
    return "\n".join(line.strip() for line in comment.strip().splitlines())


@cache
def _descriptors() -> descriptor_pb2.FileDescriptorSet:
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "set.bin"
        arguments = ["protoc", f"-I{PROTOS}", f"-I{_google()}", f"--descriptor_set_out={output}"]
        if protoc.main([*arguments, "--include_imports", "--include_source_info", *files]):  # type: ignore[no-untyped-call]
            sys.exit("protoc failed")
        return descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())


def _google() -> Path:
    return Path(protoc.__file__).parent / "_proto"
