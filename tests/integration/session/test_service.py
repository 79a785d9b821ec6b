"""The session service as a process, with the wallet's and the events' processes beside it."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from reelmesh.events.v1 import events_pb2, events_pb2_grpc
from reelmesh.session.v1 import session_pb2, session_pb2_grpc
from reelmesh.type.v1 import account_kind_pb2, error_pb2, money_pb2
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc

from deploy.local.mesh import Mesh
from services.common.client import GuardedChannel
from services.common.errors import DomainError
from services.session.policy import load_policies

REAL = account_kind_pb2.ACCOUNT_KIND_REAL
OPEN, CLOSED = session_pb2.SESSION_STATE_OPEN, session_pb2.SESSION_STATE_CLOSED
REPLACED = session_pb2.SESSION_STATE_REPLACED


@pytest.fixture
async def session(gateway_channels: dict[str, GuardedChannel]) -> AsyncIterator[Any]:
    yield gateway_channels["session"].stub(session_pb2_grpc.SessionServiceStub)


def create_request(**changes: Any) -> session_pb2.CreateSessionRequest:
    facts: dict[str, Any] = {
        "operator_id": "acme",
        "request_id": str(uuid.uuid4()),
        "player_id": f"player-{uuid.uuid4()}",
        "game_id": "sunrise",
        "currency_code": "USD",
        "kind": REAL,
        "jurisdiction": "none",
    }
    return session_pb2.CreateSessionRequest(**(facts | changes))


def authorize_request(token: str, **changes: Any) -> session_pb2.AuthorizeRequest:
    facts: dict[str, Any] = {
        "token": token,
        "request_id": str(uuid.uuid4()),
        "stake": money_pb2.Money(currency_code="USD", amount_minor=100),
    }
    return session_pb2.AuthorizeRequest(**(facts | changes))


async def enter(session: Any, request: session_pb2.CreateSessionRequest) -> session_pb2.ExchangeCodeResponse:
    created = await session.CreateSession(request)
    entered = await session.ExchangeCode(session_pb2.ExchangeCodeRequest(launch_code=created.launch_code))
    assert isinstance(entered, session_pb2.ExchangeCodeResponse)
    return entered


async def test_the_account_is_the_wallets(session: Any, gateway_channels: dict[str, GuardedChannel]) -> None:
    request = create_request()
    created = await session.CreateSession(request)
    wallet: Any = gateway_channels["wallet"].stub(wallet_pb2_grpc.WalletServiceStub)
    opened = await wallet.OpenAccount(
        wallet_pb2.OpenAccountRequest(
            operator_id="acme", player_id=request.player_id, currency_code="USD", kind=REAL
        )
    )
    assert created.session.account_id == opened.account.account_id


async def test_a_session_is_what_was_asked_for(session: Any) -> None:
    request = create_request(
        jurisdiction="GB",
        currency_code="GBP",
        language_code="en-GB",
        stake_max=money_pb2.Money(currency_code="GBP", amount_minor=200),
        session_duration=Duration(seconds=600),
    )
    created = (await session.CreateSession(request)).session
    assert created.state == OPEN
    assert (created.operator_id, created.player_id) == ("acme", request.player_id)
    assert (created.kind, created.currency_code, created.language_code) == (REAL, "GBP", "en-GB")
    assert created.stake_max == request.stake_max
    assert created.cycle_min_duration == Duration(seconds=2, nanos=500_000_000)
    assert created.expire_time.ToMilliseconds() - created.create_time.ToMilliseconds() == 600_000
    assert not created.HasField("close_time")


async def test_a_replayed_create_returns_the_code_until_it_is_spent(session: Any) -> None:
    request = create_request()
    created = await session.CreateSession(request)
    assert await session.CreateSession(request) == created
    await session.ExchangeCode(session_pb2.ExchangeCodeRequest(launch_code=created.launch_code))
    replayed = await session.CreateSession(request)
    assert (replayed.session, replayed.launch_code) == (created.session, "")


async def test_a_spin_is_authorised_and_found_again_after_the_close(session: Any) -> None:
    entered = await enter(session, create_request())
    request = authorize_request(entered.token)
    first = (await session.Authorize(request)).authorization
    assert (first.mint, first.account_id) == (True, entered.session.account_id)
    assert first.stake == request.stake
    closed = await session.CloseSession(session_pb2.CloseSessionRequest(token=entered.token))
    assert closed.session.state == CLOSED
    assert first.authorize_time.ToNanoseconds() < closed.session.close_time.ToNanoseconds()
    again = await session.CloseSession(session_pb2.CloseSessionRequest(token=entered.token))
    assert again == closed
    found = (await session.Authorize(request)).authorization
    first.mint = False
    assert found == first


async def test_a_relaunched_player_finds_the_spin_of_the_replaced_session(session: Any) -> None:
    request = create_request()
    older = await enter(session, request)
    spin = authorize_request(older.token)
    first = (await session.Authorize(spin)).authorization
    newer = await enter(session, create_request(player_id=request.player_id))
    found = (
        await session.Authorize(authorize_request(newer.token, request_id=spin.request_id))
    ).authorization
    assert (found.session_id, found.mint) == (first.session_id, False)
    got = await session.GetSession(session_pb2.GetSessionRequest(token=older.token))
    assert got.session.state == REPLACED


async def test_a_batch_is_answered_in_order_item_by_item(session: Any) -> None:
    entered = [await enter(session, create_request()) for _ in range(3)]
    same = authorize_request(entered[0].token)
    requests = [
        same,
        authorize_request(entered[1].token, stake=money_pb2.Money(currency_code="EUR", amount_minor=1)),
        authorize_request("unknown"),
        authorize_request(entered[2].token, stake=None),
        same,
        authorize_request(entered[2].token),
    ]
    answer = await session.BatchAuthorize(session_pb2.BatchAuthorizeRequest(requests=requests))
    reasons = [error_pb2.ErrorReason.Name(result.error.reason) for result in answer.results]
    assert [reason.removeprefix("ERROR_REASON_") for reason in reasons] == [
        "UNSPECIFIED",
        "CURRENCY_MISMATCH",
        "TOKEN_INVALID",
        "FIELD_MISSING",
        "UNSPECIFIED",
        "UNSPECIFIED",
    ]
    assert answer.results[0].authorization == answer.results[4].authorization
    assert answer.results[5].authorization.account_id == entered[2].session.account_id


async def test_a_batch_has_two_hundred_items_at_most(session: Any) -> None:
    request = session_pb2.BatchAuthorizeRequest(requests=[authorize_request("unknown")] * 201)
    with pytest.raises(DomainError) as refusal:
        await session.BatchAuthorize(request)
    assert refusal.value.reason == "FIELD_INVALID"
    answer = await session.BatchAuthorize(session_pb2.BatchAuthorizeRequest())
    assert len(answer.results) == 0


async def test_the_policies_are_those_of_the_file(session: Any) -> None:
    answer = await session.ListPolicies(session_pb2.ListPoliciesRequest())
    expected = {name: one.policy.version for name, one in load_policies().items()}
    assert {one.name: one.version for one in answer.policies} == expected
    assert [one.name for one in answer.policies] == sorted(expected) and "default" in expected


async def test_a_session_is_found_by_its_own_operator_only(session: Any) -> None:
    entered = await enter(session, create_request())
    session_id = entered.session.session_id
    for call, request_type in (
        (session.GetSession, session_pb2.GetSessionRequest),
        (session.CloseSession, session_pb2.CloseSessionRequest),
    ):
        keys: list[dict[str, Any]] = [{"session_id": session_id}, {"token": entered.token}]
        for key in keys:
            with pytest.raises(DomainError) as refusal:
                await call(request_type(operator_id="other", **key))
            assert refusal.value.reason == "SESSION_NOT_FOUND"
    got = await session.GetSession(session_pb2.GetSessionRequest(session_id=session_id, operator_id="acme"))
    assert got.session == entered.session


@pytest.mark.parametrize(
    ("method", "request_message", "reason"),
    [
        ("GetSession", session_pb2.GetSessionRequest(), "FIELD_MISSING"),
        ("GetSession", session_pb2.GetSessionRequest(token="unknown"), "TOKEN_INVALID"),
        ("GetSession", session_pb2.GetSessionRequest(token=""), "TOKEN_INVALID"),
        ("GetSession", session_pb2.GetSessionRequest(session_id=str(uuid.uuid4())), "FIELD_MISSING"),
        (
            "GetSession",
            session_pb2.GetSessionRequest(session_id=str(uuid.uuid4()), operator_id="acme"),
            "SESSION_NOT_FOUND",
        ),
        ("CloseSession", session_pb2.CloseSessionRequest(token="unknown"), "TOKEN_INVALID"),
        ("ExchangeCode", session_pb2.ExchangeCodeRequest(), "LAUNCH_CODE_INVALID"),
        ("ExchangeCode", session_pb2.ExchangeCodeRequest(launch_code="unknown"), "LAUNCH_CODE_INVALID"),
        ("Authorize", authorize_request("unknown"), "TOKEN_INVALID"),
        ("CreateSession", create_request(currency_code="XXX"), "CURRENCY_UNKNOWN"),
        ("CreateSession", create_request(jurisdiction="GB"), "POLICY_FORBIDDEN"),
    ],
)
async def test_a_wrong_request_is_refused_with_its_reason(
    session: Any, method: str, request_message: Any, reason: str
) -> None:
    with pytest.raises(DomainError) as refusal:
        await getattr(session, method)(request_message)
    assert refusal.value.reason == reason


async def test_a_create_id_with_another_body_opens_no_account(
    session: Any, gateway_channels: dict[str, GuardedChannel]
) -> None:
    request = create_request()
    await session.CreateSession(request)
    changed = create_request(request_id=request.request_id)
    with pytest.raises(DomainError) as refusal:
        await session.CreateSession(changed)
    assert refusal.value.reason == "ID_REUSED"


async def test_what_happened_reaches_events_once(
    session: Any, gateway_channels: dict[str, GuardedChannel]
) -> None:
    operator_id = f"operator-{uuid.uuid4()}"
    request = create_request(operator_id=operator_id)
    await session.CreateSession(request)
    newer = await enter(session, create_request(operator_id=operator_id, player_id=request.player_id))
    closed = await session.CloseSession(session_pb2.CloseSessionRequest(token=newer.token))
    events: Any = gateway_channels["events"].stub(events_pb2_grpc.EventServiceStub)
    listed: list[events_pb2.Event] = []
    async with asyncio.timeout(10):
        while len(listed) < 4:
            await asyncio.sleep(0.05)
            answer = await events.ListEvents(events_pb2.ListEventsRequest(operator_id=operator_id))
            listed = list(answer.events)
    assert [event.event_type for event in listed] == [
        "session.created",
        "session.replaced",
        "session.created",
        "session.closed",
    ]
    assert listed[0].session_id == listed[1].session_id != listed[2].session_id == newer.session.session_id
    assert {event.account_id for event in listed} == {newer.session.account_id}
    facts = [json.loads(event.payload_json) for event in listed]
    assert facts[0]["player_id"] == request.player_id
    assert facts[3]["close_time"].startswith(closed.session.close_time.ToJsonString()[:19])


async def test_neither_token_nor_code_is_logged(session: Any, mesh: Mesh) -> None:
    created = await session.CreateSession(create_request())
    entered = await session.ExchangeCode(session_pb2.ExchangeCodeRequest(launch_code=created.launch_code))
    request = authorize_request(entered.token)
    await session.Authorize(request)
    for call in (
        session.ExchangeCode(session_pb2.ExchangeCodeRequest(launch_code=created.launch_code)),
        session.Authorize(authorize_request(entered.token, stake=None)),
        session.Authorize(
            authorize_request(
                entered.token,
                request_id=request.request_id,
                stake=money_pb2.Money(currency_code="USD", amount_minor=7),
            )
        ),
    ):
        with pytest.raises(DomainError):
            await call
    log = mesh.log("session")
    assert "serves on" in log
    assert created.launch_code not in log
    assert entered.token not in log


async def test_without_the_wallet_no_session_is_opened_and_the_same_id_works_later(
    session: Any, mesh: Mesh
) -> None:
    request = create_request()
    mesh.kill("wallet")
    with pytest.raises(DomainError) as refusal:
        await session.CreateSession(request)
    assert refusal.value.error_class == "RETRY_SAME_ID"
    mesh.start("wallet")
    async with asyncio.timeout(10):
        while True:
            try:
                created = await session.CreateSession(request)
                break
            except DomainError as error:
                assert error.error_class == "RETRY_SAME_ID"
                await asyncio.sleep(0.1)
    assert created.session.state == OPEN
