"""Signed requests at a running gateway: right ones are carried out once, copies and changed ones never."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from reelmesh.gateway.v1 import gateway_pb2

from services.gateway.operators import signing
from tests.mesh.asking import Rest, Told
from tests.mesh.signed import signed_grpc, signed_rest
from tests.mesh.stage import Stage, money, new_id

COPIES = 12


def deposit(player_id: str = "p-signed", **changes: Any) -> Rest:
    """A request whose body a serialiser would write in another way."""
    content = (
        b'{ "amount":{"amount_minor":100,"currency_code":"USD"},\n"kind":"\\u0052EAL", "request_id":"%s"}'
        % new_id().encode()
    )
    return Rest("POST", f"/v1/players/{player_id}/deposits", content=content, **changes)


async def test_a_signed_request_is_carried_out_over_both_protocols(stage: Stage) -> None:
    key = await stage.key("wallet.write", signed=True)
    answer = await stage.answer(signed_rest(key, deposit()))
    fund = gateway_pb2.FundPlayerRequest(request_id=new_id(), player_id="p-signed", amount=money(5))
    answered = await stage.answer(signed_grpc(key, "FundPlayer", fund))
    before = answer["balance_after"]["amount_minor"]
    assert answered.balance_after.amount_minor == int(before) + 5


async def test_of_copies_at_once_over_two_gateways_one_is_carried_out(stage: Stage) -> None:
    key = await stage.key(signed=True)
    request = signed_rest(key, deposit())
    before = await stage.money()
    told = await asyncio.gather(*(stage.send(request) for _ in range(COPIES)))
    refused = [one for one in told if isinstance(one, Told)]
    assert len(refused) == COPIES - 1 and {one.reason for one in refused} == {"REQUEST_REPLAYED"}
    after = await stage.money()
    assert after != before
    # The retry of a client whose answer was lost: signed anew, the same request id.
    content = request.content
    again = await stage.answer(signed_rest(key, replace(deposit(), content=content)))
    assert again == next(one for one in told if not isinstance(one, Told))
    assert await stage.money() == after


async def test_a_captured_rpc_changes_nothing_the_second_time(stage: Stage) -> None:
    key = await stage.key(signed=True)
    fund = gateway_pb2.FundPlayerRequest(request_id=new_id(), player_id="p-signed", amount=money(5))
    request = signed_grpc(key, "FundPlayer", fund)
    await stage.answer(request)
    before = await stage.money()
    assert (await stage.refusal(request)).reason == "REQUEST_REPLAYED"
    fund.amount.amount_minor = 500_000
    changed = replace(request, request=fund.SerializeToString())
    assert (await stage.refusal(changed)).reason == "SIGNATURE_INVALID"
    assert await stage.money() == before


@pytest.mark.parametrize(
    "header, value, problem",
    [
        (signing.SIGNATURE_HEADER, "v1=" + "0" * 64, "signature"),
        (signing.SIGNATURE_HEADER, "v2=" + "0" * 64, "signature"),
        (signing.SIGNATURE_HEADER, "x", "signature"),
        (signing.TIMESTAMP_HEADER, "", "timestamp"),
        (signing.TIMESTAMP_HEADER, "0", "timestamp"),
        (signing.TIMESTAMP_HEADER, "9" * 12, "timestamp"),
        (signing.TIMESTAMP_HEADER, "9" * 5_000, "timestamp"),
        (signing.TIMESTAMP_HEADER, "-1", "timestamp"),
        (signing.TIMESTAMP_HEADER, "1e3", "timestamp"),
        (signing.NONCE_HEADER, "", "nonce"),
        (signing.NONCE_HEADER, "short", "nonce"),
        (signing.NONCE_HEADER, "n" * 65, "nonce"),
        (signing.NONCE_HEADER, "a nonce with spaces", "nonce"),
    ],
)
async def test_what_is_not_right_is_named(stage: Stage, header: str, value: str, problem: str) -> None:
    # A key that does not ask for signatures: one that is shown must be right.
    request = signed_rest(await stage.key(), deposit())
    told = await stage.refusal(replace(request, headers=request.headers | {header: value}))
    assert told.reason == "SIGNATURE_INVALID" and problem in told.metadata["problem"]


async def test_another_key_s_secret_does_not_do(stage: Stage) -> None:
    mine, other = await stage.key(), await stage.key(operator_id="other")
    request = signed_rest(other, deposit())
    told = await stage.refusal(replace(request, credential=mine.api_key))
    assert told.reason == "SIGNATURE_INVALID"


async def test_the_target_is_signed_as_it_was_sent(stage: Stage) -> None:
    key = await stage.key(signed=True)
    path = "/v1/players/Jos%C3%A9%20%5bx/deposits?b=2&a=%31"
    request = signed_rest(key, replace(deposit(), path=path))
    await stage.answer(request)
    moved = replace(signed_rest(key, replace(deposit(), path=path)), path=path.replace("%31", "1"))
    assert (await stage.refusal(moved)).reason == "SIGNATURE_INVALID"
