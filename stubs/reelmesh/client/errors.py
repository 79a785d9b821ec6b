"""Why a call failed, in the words of the contract (reelmesh/type/v1/error.proto)."""

import re

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import Metadata
from reelmesh.type.v1 import error_pb2

_DOMAIN = "reelmesh"
_REASON_PREFIX, _CLASS_PREFIX = "ERROR_REASON_", "ERROR_CLASS_"
# What a failed transport means where no service answered. CANCELLED: the server went away before it answered.
_TRANSPORT = {
    grpc.StatusCode.UNAVAILABLE: "UNAVAILABLE",
    grpc.StatusCode.CANCELLED: "UNAVAILABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
}
# gRPC's own text: "CLIENT: Sent message larger than max (1048576 vs. 262144)".
_TOO_LARGE = re.compile(r"larger than max \(\d+ vs\. (\d+)\)")
_RETRY_AFTER_MS = "100"


class CallError(grpc.aio.AioRpcError):
    """A refusal, or no answer: all that grpc.aio tells of it, and what the contract makes of it.

    `reason`: a name of ErrorReason without its prefix, e.g. "INSUFFICIENT_FUNDS".
    `error_class`: what to do. FINAL: nothing was taken, send a new id. NOT_YET: this id may still be used.
    RETRY_SAME_ID: unknown, send the same id and body again. ALREADY_DONE. NEEDS_REVIEW.
    A reason that is newer than this package is RETRY_SAME_ID, which never moves money twice.
    `metadata`: the keys that the reason documents. `message`: one sentence for people.
    `trace_id`: leads to the trace of the call; empty when no service answered.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        initial_metadata: Metadata | None = None,
        trailing_metadata: Metadata | None = None,
        details: str | None = None,
        debug_error_string: str | None = None,
    ) -> None:
        super().__init__(code, initial_metadata, trailing_metadata, details, debug_error_string)
        trailing = dict(trailing_metadata or ())
        self.trace_id = str(trailing.get("x-trace-id", ""))
        self.message = details or ""
        self.reason, self.metadata = _told(trailing.get("grpc-status-details-bin")) or _transport(
            code, self.message
        )
        self.error_class = _class_of(self.reason)

    @classmethod
    def of(cls, failure: grpc.aio.AioRpcError) -> "CallError":
        """What grpc.aio raised, in the contract's words."""
        return cls(
            failure.code(),
            failure.initial_metadata(),
            failure.trailing_metadata(),
            failure.details(),
            failure.debug_error_string(),
        )

    def __str__(self) -> str:
        traced = f" (trace {self.trace_id})" if self.trace_id else ""
        return f"{self.reason}, {self.error_class}: {self.message} {self.metadata or ''}".rstrip() + traced


def _told(details: str | bytes | None) -> tuple[str, dict[str, str]] | None:
    """Reason and metadata that a service sent with its status."""
    if not isinstance(details, bytes):
        return None
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(details).details:
        if detail.Unpack(info) and info.domain == _DOMAIN:
            return info.reason, dict(info.metadata)
    return None


def _transport(code: grpc.StatusCode, text: str) -> tuple[str, dict[str, str]]:
    """The nearest reason where gRPC itself failed the call."""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        size = _TOO_LARGE.search(text)
        if size is not None:
            return "BODY_TOO_LARGE", {"size_bytes_max": size[1]}
        return "OVERLOADED", {"retry_after_ms": _RETRY_AFTER_MS}
    return _TRANSPORT.get(code, "INTERNAL"), {}


def _class_of(reason: str) -> str:
    value = error_pb2.ErrorReason.DESCRIPTOR.values_by_name.get(_REASON_PREFIX + reason)
    if value is None:
        return "RETRY_SAME_ID"
    number = getattr(value.GetOptions().Extensions[error_pb2.error_spec], "class")
    return error_pb2.ErrorClass.Name(number).removeprefix(_CLASS_PREFIX)
