"""The way of an error over the wire: nothing of it is lost, and nothing else comes along."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import AioRpcError, Metadata
from reelmesh.type.v1 import error_pb2

from services.common import errors
from services.game import errors as game_errors
from services.gateway import errors as gateway_errors
from services.session import errors as session_errors


class RoundOpen(errors.DomainError):
    """The last round still waits."""

    reason = "ROUND_OPEN"


def rpc_error(code: grpc.StatusCode, details: str, *trailing: tuple[str, bytes]) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(*trailing), details)


def test_the_contract_gives_code_class_and_http_status() -> None:
    error = RoundOpen(round_id="r", request_id="q")
    assert (error.code, error.error_class, error.http_status) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "FINAL",
        409,
    )
    assert error.message == "The last round still waits."


def test_every_reason_of_the_contract_has_class_code_and_http_status() -> None:
    for value in error_pb2.ErrorReason.DESCRIPTOR.values[1:]:
        spec = errors.spec_of(value.name.removeprefix("ERROR_REASON_"))
        assert getattr(spec, "class") != error_pb2.ERROR_CLASS_UNSPECIFIED, value.name
        assert grpc.StatusCode[spec.grpc_code] and 400 <= spec.http_status < 600, value.name


def test_every_generic_class_names_a_reason_of_the_contract() -> None:
    generic = [cls for cls in errors.DomainError.__subclasses__() if cls.__module__ == errors.__name__]
    reasons = {cls.reason for cls in generic if cls is not errors.RemoteError}
    assert len(reasons) == 16
    for reason in reasons:
        errors.spec_of(reason)


@pytest.mark.parametrize("name", ["SessionClosed", "SessionExpired", "SessionReplaced"])
def test_a_session_that_plays_no_more_is_told_alike_by_every_service(name: str) -> None:
    assert len({getattr(m, name)().message for m in (gateway_errors, session_errors, game_errors)}) == 1


def test_a_refused_choice_or_stake_tells_where_the_right_ones_are() -> None:
    assert "`choices`" in game_errors.ChoiceUnknown(choice="GREEN").message
    assert "GET /v1/games" in gateway_errors.StakeNotOnLadder(game_id="g", amount_minor=1).message


def test_documented_metadata_may_not_be_forgotten() -> None:
    with pytest.raises(TypeError, match="request_id"):
        RoundOpen(round_id="r")


def test_long_metadata_is_cut() -> None:
    assert len(errors.CurrencyUnknown(currency_code="X" * 5000).metadata["currency_code"]) == 128


def test_a_batch_item_carries_the_whole_error() -> None:
    found = errors.from_proto(RoundOpen(round_id="r", request_id="q").to_proto())
    assert isinstance(found, errors.RemoteError)
    assert (found.reason, found.error_class, found.message) == (
        "ROUND_OPEN",
        "FINAL",
        "The last round still waits.",
    )
    assert found.metadata == {"round_id": "r", "request_id": "q"}


def test_a_status_carries_exactly_one_error_info() -> None:
    status = errors.to_status(errors.IdReused(request_id="q"))
    (detail,) = status.details
    info = error_details_pb2.ErrorInfo()
    assert detail.Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == ("ID_REUSED", "reelmesh", {"request_id": "q"})
    assert status.code == grpc.StatusCode.ALREADY_EXISTS.value[0]


def test_a_failed_call_is_read_back_as_what_the_peer_answered() -> None:
    details = errors.to_status(errors.IdReused(request_id="q")).SerializeToString()
    failed = rpc_error(grpc.StatusCode.ALREADY_EXISTS, "text", (errors.STATUS_DETAILS_KEY, details))
    found = errors.from_rpc_error(failed)
    assert (found.reason, found.metadata) == ("ID_REUSED", {"request_id": "q"})


def test_a_peers_unavailable_is_caught_by_its_class() -> None:
    assert isinstance(errors.from_proto(errors.Unavailable().to_proto()), errors.Unavailable)
    assert isinstance(errors.from_proto(errors.DeadlineExceeded().to_proto()), errors.DeadlineExceeded)


@pytest.mark.parametrize(
    ("code", "details", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "connection refused", "UNAVAILABLE"),
        (grpc.StatusCode.CANCELLED, "the server went away", "UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!", "OVERLOADED"),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "SERVER: Received message larger than max (1048590 vs. 262144)",
            "BODY_TOO_LARGE",
        ),
        (grpc.StatusCode.UNKNOWN, "postgresql://wallet:secret@db", "INTERNAL"),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", "INTERNAL"),
    ],
)
def test_a_failure_of_the_transport_has_a_reason_of_ours(
    code: grpc.StatusCode, details: str, reason: str
) -> None:
    found = errors.from_rpc_error(rpc_error(code, details))
    assert found.reason == reason
    assert "secret" not in str(found)


def test_an_unknown_reason_and_a_foreign_domain_become_internal() -> None:
    assert errors.from_proto(error_pb2.Error(reason=9999)).reason == "INTERNAL"  # type: ignore[arg-type]
    foreign = status_pb2.Status(code=13, message="text")
    foreign.details.add().Pack(error_details_pb2.ErrorInfo(reason="ID_REUSED", domain="elsewhere"))
    trailer = (errors.STATUS_DETAILS_KEY, foreign.SerializeToString())
    assert errors.from_rpc_error(rpc_error(grpc.StatusCode.INTERNAL, "text", trailer)).reason == "INTERNAL"
