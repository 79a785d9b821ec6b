"""What a request's fields may be, and what becomes of them."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import account_kind_pb2, money_pb2

from services.common.errors import DomainError
from services.session import store
from services.session.messages import parse_launch, parse_spin
from services.session.sessions import launch_code, secret_hash

REQUEST_ID = "018f0000-0000-7000-8000-000000000001"


def create_request(**changes: Any) -> session_pb2.CreateSessionRequest:
    facts: dict[str, Any] = {
        "operator_id": "acme",
        "request_id": REQUEST_ID,
        "player_id": "alice",
        "game_id": "sunrise",
        "currency_code": "USD",
        "kind": account_kind_pb2.ACCOUNT_KIND_REAL,
    }
    return session_pb2.CreateSessionRequest(**(facts | changes))


def usd(amount_minor: int, currency_code: str = "USD") -> money_pb2.Money:
    return money_pb2.Money(currency_code=currency_code, amount_minor=amount_minor)


def test_what_is_absent_gets_its_documented_default() -> None:
    launch = parse_launch(create_request())
    assert (launch.language_code, launch.jurisdiction, launch.stake_max_minor) == ("en", "", None)
    assert (launch.cycle_min_ms, launch.session_life_ms) == (0, None)


def test_a_fraction_of_a_millisecond_makes_a_cycle_longer_never_shorter() -> None:
    request = create_request(cycle_min_duration=Duration(seconds=2, nanos=500_000_001))
    assert parse_launch(request).cycle_min_ms == 2501


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"operator_id": ""}, "FIELD_MISSING", "operator_id"),
        ({"request_id": ""}, "FIELD_MISSING", "request_id"),
        ({"request_id": "42"}, "FIELD_INVALID", "request_id"),
        ({"player_id": ""}, "FIELD_MISSING", "player_id"),
        ({"player_id": "x" * 129}, "FIELD_INVALID", "player_id"),
        ({"player_id": "a\0b"}, "FIELD_INVALID", "player_id"),
        ({"game_id": ""}, "FIELD_MISSING", "game_id"),
        ({"currency_code": ""}, "FIELD_MISSING", "currency_code"),
        ({"currency_code": "usd"}, "CURRENCY_UNKNOWN", None),
        ({"kind": 0}, "FIELD_MISSING", "kind"),
        ({"kind": 9}, "FIELD_INVALID", "kind"),
        ({"language_code": "english please"}, "FIELD_INVALID", "language_code"),
        ({"jurisdiction": "x" * 17}, "FIELD_INVALID", "jurisdiction"),
        ({"stake_max": usd(0)}, "AMOUNT_NOT_POSITIVE", "stake_max"),
        ({"stake_max": usd(2**53 + 1)}, "AMOUNT_TOO_LARGE", "stake_max"),
        ({"stake_max": usd(1, "EUR")}, "FIELD_INVALID", "stake_max"),
        ({"cycle_min_duration": Duration(nanos=-1_000_000)}, "FIELD_INVALID", "cycle_min_duration"),
        ({"cycle_min_duration": Duration(seconds=60, nanos=1)}, "FIELD_INVALID", "cycle_min_duration"),
        ({"session_duration": Duration(nanos=999_000_000)}, "FIELD_INVALID", "session_duration"),
        ({"session_duration": Duration(seconds=86401)}, "FIELD_INVALID", "session_duration"),
    ],
)
def test_a_wrong_field_of_a_launch_is_named(changes: dict[str, Any], reason: str, field: str | None) -> None:
    with pytest.raises(DomainError) as refusal:
        parse_launch(create_request(**changes))
    assert (refusal.value.reason, refusal.value.metadata.get("field")) == (reason, field)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"token": ""}, "TOKEN_INVALID"),
        ({"request_id": ""}, "FIELD_MISSING"),
        ({"request_id": "00000000-0000-0000-0000-000000000000"}, "FIELD_INVALID"),
        ({"stake": None}, "FIELD_MISSING"),
        ({"stake": usd(0)}, "AMOUNT_NOT_POSITIVE"),
        ({"stake": usd(-1)}, "AMOUNT_NOT_POSITIVE"),
        ({"stake": usd(2**53 + 1)}, "AMOUNT_TOO_LARGE"),
        ({"stake": usd(100, "XXX")}, "CURRENCY_UNKNOWN"),
    ],
)
def test_a_wrong_field_of_a_spin_is_refused(changes: dict[str, Any], reason: str) -> None:
    facts: dict[str, Any] = {"token": "t", "request_id": REQUEST_ID, "stake": usd(100)}
    with pytest.raises(DomainError) as refusal:
        parse_spin(session_pb2.AuthorizeRequest(**(facts | changes)))
    assert refusal.value.reason == reason


def test_a_request_id_is_the_same_in_either_case() -> None:
    spins = [
        parse_spin(session_pb2.AuthorizeRequest(token="t", request_id=request_id, stake=usd(1)))
        for request_id in (REQUEST_ID, REQUEST_ID.upper())
    ]
    assert spins[0] == spins[1]


def test_a_launch_code_has_256_bits_and_needs_the_key() -> None:
    code = launch_code("key", REQUEST_ID)
    assert len(code) == 43
    assert code == launch_code("key", REQUEST_ID)
    assert code != launch_code("other key", REQUEST_ID)
    assert len(secret_hash(code)) == 32


def test_the_states_of_the_store_are_those_of_the_contract() -> None:
    contract = {name: number for name, number in session_pb2.SessionState.items() if number}
    assert {f"SESSION_STATE_{state.name}": state.value for state in store.State} == contract
