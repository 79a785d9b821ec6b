"""Errors as the contract defines them: one class per reason, and their way over the wire and back.

A subclass's docstring is its message; its name in upper snake case is its reason, unless it sets another.
Class, gRPC code, HTTP status and metadata keys come from protos/reelmesh/type/v1/error.proto.
"""

import inspect
import re
import traceback
from functools import cache
from pathlib import Path
from typing import ClassVar

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from reelmesh.type.v1 import error_pb2

DOMAIN = "reelmesh"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
METADATA_VALUE_LENGTH_MAX = 128

_REASON_PREFIX = "ERROR_REASON_"
_CLASS_PREFIX = "ERROR_CLASS_"


@cache
def spec_of(reason: str) -> error_pb2.ErrorSpec:
    """What the contract fixes for a reason (without its prefix). Errors: KeyError when it lists no such."""
    value = error_pb2.ErrorReason.DESCRIPTOR.values_by_name[_REASON_PREFIX + reason]
    spec: error_pb2.ErrorSpec = value.GetOptions().Extensions[error_pb2.error_spec]
    return spec


def described(error: Exception) -> str:
    """An error nobody expected, in one line, with where it was raised: for a command that ends with it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {words} ({Path(place.filename).name}:{place.lineno})"


class DomainError(Exception):
    """An operation was refused."""

    reason: ClassVar[str]
    # Set by the client on an UNAVAILABLE that its channel has already repeated (retry at one layer only).
    repeated: bool = False

    def __init_subclass__(cls) -> None:
        if "reason" not in cls.__dict__:
            cls.reason = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).upper()

    def __init__(self, **metadata: object) -> None:
        """Takes the metadata keys that the reason documents. Errors: TypeError when one of them is absent."""
        self.message = inspect.cleandoc(type(self).__doc__ or "")
        # Values may repeat what a caller sent: bounded, so that no error outgrows the header limits.
        self.metadata = {key: str(value)[:METADATA_VALUE_LENGTH_MAX] for key, value in metadata.items()}
        absent = [key for key in spec_of(self.reason).metadata_keys if key not in self.metadata]
        if absent:
            raise TypeError(f"{type(self).__name__} lacks the metadata {', '.join(absent)}")
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message} {self.metadata or ''}".rstrip()

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status code."""
        return grpc.StatusCode[spec_of(self.reason).grpc_code]

    @property
    def error_class(self) -> str:
        """What the caller may conclude: FINAL, NOT_YET, RETRY_SAME_ID, ALREADY_DONE or NEEDS_REVIEW."""
        number = getattr(spec_of(self.reason), "class")
        return error_pb2.ErrorClass.Name(number).removeprefix(_CLASS_PREFIX)

    @property
    def http_status(self) -> int:
        """The status over REST."""
        return spec_of(self.reason).http_status

    def to_proto(self) -> error_pb2.Error:
        """The error as an item of a batch carries it."""
        reason = error_pb2.ErrorReason.Value(_REASON_PREFIX + self.reason)
        return error_pb2.Error(reason=reason, message=self.message, metadata=self.metadata)


class RemoteError(DomainError):
    """An error that a peer answered, with the peer's own reason, message and metadata."""

    reason: str  # type: ignore[misc]  # per instance here

    def __init__(self, reason: str, message: str, metadata: dict[str, str]) -> None:
        """Asks for no metadata: the error of a peer of another version is still its error."""
        Exception.__init__(self, message)
        self.reason, self.message, self.metadata = reason, message, metadata


class Internal(DomainError):
    """Something unexpected failed inside; the trace id leads to the log."""


class Unavailable(DomainError):
    """A service or its database did not answer; send the same id again."""


class DeadlineExceeded(DomainError):
    """The deadline passed first; send the same id again."""


class Overloaded(DomainError):
    """Too many requests are waiting; send the same id again later."""


class CallerUnknown(DomainError):
    """The call carries no valid service identity."""


class CallerForbidden(DomainError):
    """This identity may not call this method."""


class BodyTooLarge(DomainError):
    """The message is larger than the limit."""


class BodyMalformed(DomainError):
    """The body is not what this operation takes."""


class FieldMissing(DomainError):
    """A required field is absent."""


class FieldInvalid(DomainError):
    """A field is outside its documented range or form."""


class PageTokenInvalid(DomainError):
    """The page token was not given out for this query."""


class CurrencyUnknown(DomainError):
    """The currency code is not registered; codes are upper case."""


class CurrencyMismatch(DomainError):
    """The currency is not the one of the session or account."""


class AmountNotPositive(DomainError):
    """The amount must be above zero."""


class AmountTooLarge(DomainError):
    """The amount is above 2^53 minor units."""


class IdReused(DomainError):
    """This id belongs to another request, whose result stands; this body moved nothing."""


def from_proto(error: error_pb2.Error) -> DomainError:
    """The error of a batch item; a reason this version does not know becomes INTERNAL."""
    try:
        name = error_pb2.ErrorReason.Name(error.reason).removeprefix(_REASON_PREFIX)
    except ValueError:
        return Internal()
    return _remote(name, error.message, dict(error.metadata))


def to_status(error: DomainError) -> status_pb2.Status:
    """google.rpc.Status with exactly one ErrorInfo."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    detail = any_pb2.Any()
    detail.Pack(info)
    return status_pb2.Status(code=error.code.value[0], message=error.message, details=[detail])


def from_rpc_error(error: grpc.aio.AioRpcError) -> DomainError:
    """What a failed call means: the peer's reason, or, when the transport failed, the nearest of ours."""
    for key, value in error.trailing_metadata():
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            found = _from_status(status_pb2.Status.FromString(value))
            if found is not None:
                return found
    match error.code():
        # CANCELLED without our cancelling: the server went away before it answered.
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return Unavailable()
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded()
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            # gRPC's own text: "CLIENT: Sent message larger than max (1048576 vs. 262144)".
            details = error.details() or ""
            if details.startswith("CLIENT: Received"):  # the answer: it may have taken effect
                return Internal()
            size = re.search(r"larger than max \(\d+ vs\. (\d+)\)", details)
            return BodyTooLarge(size_bytes_max=size[1]) if size else Overloaded(retry_after_ms=100)
        case _:
            return Internal()


def _from_status(status: status_pb2.Status) -> DomainError | None:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            return _remote(info.reason, status.message, dict(info.metadata))
    return None


def _remote(reason: str, message: str, metadata: dict[str, str]) -> DomainError:
    if reason == "UNSPECIFIED" or _REASON_PREFIX + reason not in error_pb2.ErrorReason.keys():
        return Internal()
    # What callers catch by its class, whichever side of the wire found it.
    for known in (Internal, Unavailable, DeadlineExceeded):
        if reason == known.reason:
            return known()
    return RemoteError(reason, message, metadata)
