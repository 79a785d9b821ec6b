"""Rows of the table: what is wrong with the request itself."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import account_kind_pb2
from reelmesh.wallet.v1 import wallet_pb2

from tests.mesh.asking import Grpc, Request, Rest
from tests.mesh.players import Player, amount
from tests.mesh.stage import STAKE_MINOR, Stage, money, new_id
from tests.meshes import API_KEY

Arrange = Callable[[Stage], Awaitable[Request]]

MIB = 2**20


class Row(NamedTuple):
    """One way to be refused. `arrange` prepares the mesh and returns the request that is refused then."""

    reason: str
    what: str
    arrange: Arrange
    # Once the mesh is whole again, the same request is answered for good.
    answered_later: bool = False


def anyone(request: Request) -> Arrange:
    """Asked by nobody in particular."""

    async def arrange(stage: Stage) -> Request:
        return request

    return arrange


def guest(make: Callable[[Player], Request]) -> Arrange:
    """Asked by a player with money and a session."""

    async def arrange(stage: Stage) -> Request:
        return make(stage.guest())

    return arrange


def player(make: Callable[[Player], Request], **options: Any) -> Arrange:
    """Asked by a new player of these options."""

    async def arrange(stage: Stage) -> Request:
        return make(await stage.player(**options))

    return arrange


def spin(**changes: Any) -> Arrange:
    """A spin over REST with these fields changed; None leaves a field out."""
    return guest(lambda player: rest_spin(player, **changes))


def rest_spin(player: Player, **changes: Any) -> Rest:
    """A spin over REST."""
    body = {"request_id": new_id(), "stake": amount(STAKE_MINOR)} | changes
    present = {key: value for key, value in body.items() if value is not None}
    return Rest("POST", "/v1/spins", player.token, present)


def spin_message(**changes: Any) -> Arrange:
    """A spin over gRPC with these fields changed."""
    return guest(lambda player: grpc_spin(player, **changes))


def grpc_spin(player: Player, **changes: Any) -> Grpc:
    """A spin over gRPC."""
    fields: dict[str, Any] = {"request_id": new_id(), "stake": money(STAKE_MINOR)} | changes
    return Grpc("gateway", "Spin", gateway_pb2.SpinRequest(**fields), player.token)


def deposit(amount_minor: Any = 500, *, player_id: str = "someone", **changes: Any) -> Arrange:
    """A deposit over REST with these fields changed."""
    body = {"request_id": new_id(), "amount": amount(amount_minor)} | changes
    return anyone(Rest("POST", f"/v1/players/{player_id}/deposits", API_KEY, body))


def deposit_message(**changes: Any) -> Arrange:
    """A deposit over gRPC with these fields changed."""
    fields: dict[str, Any] = {"request_id": new_id(), "player_id": "someone", "amount": money(500)}
    return anyone(Grpc("gateway", "FundPlayer", gateway_pb2.FundPlayerRequest(**fields | changes), API_KEY))


def new_session(**changes: Any) -> Arrange:
    """A session's creation over REST with these fields changed."""
    body = {
        "request_id": new_id(),
        "player_id": "someone",
        "game_id": "harbour-lights",
        "currency_code": "USD",
    } | changes
    return anyone(Rest("POST", "/v1/sessions", API_KEY, body))


def raw(content: bytes) -> Arrange:
    """A spin with such a body over REST."""
    return guest(lambda player: Rest("POST", "/v1/spins", player.token, content=content))


def spin_of(amount_minor: bytes) -> bytes:
    """A spin's body with the amount spelt like this: JSON knows more numbers than money has."""
    stake = b'{"currency_code": "USD", "amount_minor": %b}' % amount_minor
    return b'{"request_id": "%b", "stake": %b}' % (new_id().encode(), stake)


async def no_message(stage: Stage) -> Request:
    return stage.internal("wallet", "Settle", b"\xff\xff\xff\xff")


async def another_message(stage: Stage) -> Request:
    """A message that the method does not take, and that cannot be read as the one it takes."""
    player = stage.guest()
    other = gateway_pb2.FundPlayerRequest(request_id=new_id(), player_id="someone")
    return Grpc("gateway", "Spin", other, player.token)


async def round_id_spelt_wrong(stage: Stage) -> Request:
    player = stage.guest()
    return Rest("GET", "/v1/rounds/not-a-round", player.token)


async def forged_page(stage: Stage) -> Request:
    player = stage.guest()
    return Rest("GET", "/v1/rounds?page_token=eyJmb3JnZWQiOjF9", player.token)


async def page_of_another_player(stage: Stage) -> Request:
    first, second = await stage.player(), await stage.player()
    for _ in range(2):
        await first.spin(STAKE_MINOR)
    page = await stage.answer(Rest("GET", "/v1/rounds?page_size=1", first.token))
    request = gateway_pb2.ListRoundsRequest(page_size=1, page_token=page["next_page_token"])
    return Grpc("gateway", "ListRounds", request, second.token)


async def deeply_nested_page(stage: Stage) -> Request:
    token = base64.urlsafe_b64encode(b"[" * 300).decode()
    return Rest("GET", f"/v1/rounds?page_token={token}", stage.guest().token)


async def endless_page(stage: Stage) -> Request:
    token = base64.urlsafe_b64encode(b"[" * 9000).decode()
    request = gateway_pb2.ListRoundsRequest(page_token=token)
    return Grpc("gateway", "ListRounds", request, stage.guest().token)


async def empty_settle(stage: Stage) -> Request:
    """What grpc.aio makes of a dict or None: a message without fields (docs/traps.md, 1)."""
    return stage.internal("wallet", "Settle", wallet_pb2.SettleRequest())


async def unknown_kind(stage: Stage) -> Request:
    open_account = wallet_pb2.OpenAccountRequest(
        operator_id="dev", player_id="p", currency_code="USD", kind=account_kind_pb2.AccountKind.ValueType(7)
    )
    return stage.internal("wallet", "OpenAccount", open_account)


async def empty_session(stage: Stage) -> Request:
    return stage.internal("session", "GetSession", session_pb2.GetSessionRequest())


ROWS = [
    # Where the gateway is told no operator of them; with one: tests/integration/page.
    Row("DEMO_NOT_OFFERED", "a demo session", anyone(Rest("POST", "/v1/demo/sessions", body={}))),
    Row("API_KEY_INVALID", "no key", anyone(Rest("POST", "/v1/sessions", body={}))),
    Row("API_KEY_INVALID", "an unknown key", anyone(Rest("POST", "/v1/sessions", f"rk_{'x' * 43}", {}))),
    Row(
        "API_KEY_INVALID",
        "a player's token for a key",
        guest(lambda p: Rest("POST", f"/v1/players/{p.player_id}/deposits", p.token, {})),
    ),
    Row(
        "API_KEY_INVALID",
        "an unknown key over gRPC",
        anyone(Grpc("gateway", "FundPlayer", gateway_pb2.FundPlayerRequest(), f"rk_{'y' * 43}")),
    ),
    Row("TOKEN_INVALID", "no token", anyone(Rest("GET", "/v1/balance"))),
    Row("TOKEN_INVALID", "an unknown token", anyone(Rest("GET", "/v1/balance", "x" * 43))),
    Row("TOKEN_INVALID", "a key for a token", anyone(Rest("POST", "/v1/spins", API_KEY, {}))),
    Row(
        "TOKEN_INVALID",
        "an unknown token's spin",
        anyone(Rest("POST", "/v1/spins", "x" * 43, {"request_id": new_id(), "stake": amount(STAKE_MINOR)})),
    ),
    Row(
        "TOKEN_INVALID",
        "no token over gRPC",
        anyone(Grpc("gateway", "GetBalance", gateway_pb2.GetBalanceRequest())),
    ),
    Row("ROUTE_NOT_FOUND", "no such path", anyone(Rest("GET", "/v1/jackpots"))),
    Row("ROUTE_NOT_FOUND", "a slash too many", anyone(Rest("POST", "/v1/spins/", body={}))),
    Row("METHOD_NOT_ALLOWED", "a spin by GET", anyone(Rest("DELETE", "/v1/spins"))),
    Row("UPGRADE_REQUIRED", "no handshake", anyone(Rest("GET", "/v1/ws"))),
    Row("URL_TOO_LONG", "20 KB", anyone(Rest("GET", f"/v1/rounds/{'x' * 20_000}"))),
    Row("HEAD_TOO_LARGE", "20 KB", anyone(Rest("GET", "/v1/games", headers={"x-a": "x" * 20_000}))),
    Row("BODY_TOO_LARGE", "1 MiB", raw(b'{"request_id": "' + b"x" * MIB + b'"}')),
    Row("BODY_TOO_LARGE", "1 MiB over gRPC", spin_message(request_id="x" * MIB)),
    Row("BODY_MALFORMED", "no JSON", raw(b'{"request_id": ')),
    Row("BODY_MALFORMED", "no body", raw(b"")),
    Row("BODY_MALFORMED", "no UTF-8", raw(b'{"request_id": "\xff\xfe"}')),
    Row("BODY_MALFORMED", "no object", raw(b"[1, 2, 3]")),
    Row("BODY_MALFORMED", "another operation's body", spin(player_id="p")),
    Row("BODY_MALFORMED", "an amount in text", spin(stake={"currency_code": "USD", "amount_minor": "100"})),
    Row("BODY_MALFORMED", "half a minor unit", spin(stake={"currency_code": "USD", "amount_minor": 0.5})),
    Row("BODY_MALFORMED", "an exponent", raw(spin_of(b"1e2"))),
    Row("BODY_MALFORMED", "17 decimals", raw(spin_of(b"100.00000000000000001"))),
    Row("BODY_MALFORMED", "17 decimals, all zero", raw(spin_of(b"100.00000000000000000"))),
    Row("BODY_MALFORMED", "an exponent bomb", raw(spin_of(b"1E2000000000"))),
    Row("BODY_MALFORMED", "an exponent bomb below zero", raw(spin_of(b"1E-2000000000"))),
    Row("BODY_MALFORMED", "an exponent bomb in text", raw(spin_of(b'"1E2000000000"'))),
    Row("BODY_MALFORMED", "a deep nest", raw(b"[" * 60_000)),
    Row("BODY_MALFORMED", "another message", another_message),
    Row("BODY_MALFORMED", "no message at all", no_message),
    Row("FIELD_MISSING", "no request id", spin(request_id=None)),
    Row("FIELD_MISSING", "no stake", spin(stake=None)),
    Row("FIELD_MISSING", "no currency", spin(stake={"amount_minor": 100})),
    Row("FIELD_MISSING", "no request id over gRPC", spin_message(request_id="")),
    Row("FIELD_MISSING", "no stake over gRPC", spin_message(stake=None)),
    Row("FIELD_MISSING", "no game", new_session(game_id="")),
    Row("FIELD_MISSING", "an empty settle", empty_settle),
    Row("FIELD_MISSING", "an empty look-up of a session", empty_session),
    Row("FIELD_INVALID", "an id that is no UUID", spin(request_id="1234")),
    Row("FIELD_INVALID", "a mode of 33 characters", spin(mode="m" * 33)),
    Row("FIELD_INVALID", "a mode with a NUL", spin_message(mode="ba\0se")),
    Row("FIELD_INVALID", "the nil UUID", spin(request_id="00000000-0000-0000-0000-000000000000")),
    Row("FIELD_INVALID", "a round that is no UUID", round_id_spelt_wrong),
    Row("FIELD_INVALID", "a kind between real and demo", deposit(kind="BOTH")),
    Row("FIELD_INVALID", "an unknown enum value", unknown_kind),
    Row("FIELD_INVALID", "a player id of 129 characters", deposit(player_id="p" * 129)),
    Row("FIELD_INVALID", "a NUL in the player id", deposit(player_id="p%00q")),
    Row("FIELD_INVALID", "a player id in Latin-1", deposit(player_id="Jos%e9")),
    Row("FIELD_INVALID", "a duration in words", new_session(session_duration="an hour")),
    Row("FIELD_INVALID", "a duration with a blank", new_session(session_duration=" 5s")),
    Row("FIELD_INVALID", "a duration with an underscore", new_session(session_duration="1_0s")),
    Row("FIELD_INVALID", "a duration in other digits", new_session(session_duration="\u0661\u0660s")),
    Row("FIELD_INVALID", "a duration beyond nanoseconds", new_session(session_duration="5.0000000001s")),
    Row("FIELD_INVALID", "a session of a week", new_session(session_duration="604800s")),
    Row("PAGE_TOKEN_INVALID", "a forged token", forged_page),
    Row("PAGE_TOKEN_INVALID", "another player's token", page_of_another_player),
    Row("PAGE_TOKEN_INVALID", "deeply nested", deeply_nested_page),
    Row("PAGE_TOKEN_INVALID", "without end", endless_page),
    Row("CURRENCY_UNKNOWN", "an unregistered code", spin(stake=amount(STAKE_MINOR, "XXX"))),
    Row("CURRENCY_UNKNOWN", "lower case", spin(stake=amount(STAKE_MINOR, "usd"))),
    Row("CURRENCY_UNKNOWN", "lower case over gRPC", spin_message(stake=money(STAKE_MINOR, "usd"))),
    Row("CURRENCY_UNKNOWN", "a deposit in lower case", deposit_message(amount=money(500, "usd"))),
    Row("CURRENCY_UNKNOWN", "an unregistered code over gRPC", spin_message(stake=money(1, "XXX"))),
    Row("CURRENCY_UNKNOWN", "a deposit of nothing known", deposit(amount=amount(500, "DOGE"))),
    Row("CURRENCY_UNKNOWN", "a session in nothing known", new_session(currency_code="US")),
    Row("AMOUNT_NOT_POSITIVE", "a negative stake", spin(stake=amount(-STAKE_MINOR))),
    Row("AMOUNT_NOT_POSITIVE", "a stake of zero", spin(stake=amount(0))),
    Row("AMOUNT_NOT_POSITIVE", "a stake of zero over gRPC", spin_message(stake=money(0))),
    Row("AMOUNT_NOT_POSITIVE", "a negative stake over gRPC", spin_message(stake=money(-STAKE_MINOR))),
    Row("AMOUNT_NOT_POSITIVE", "-2^63", spin_message(stake=money(-(2**63)))),
    Row("AMOUNT_NOT_POSITIVE", "below -2^63", spin(stake=amount(-(2**63) - 1))),
    Row("AMOUNT_NOT_POSITIVE", "a negative deposit", deposit(-500)),
    Row("AMOUNT_NOT_POSITIVE", "a deposit of zero", deposit_message(amount=money(0))),
    Row("AMOUNT_TOO_LARGE", "2^53 + 1", spin(stake=amount(2**53 + 1))),
    Row("AMOUNT_TOO_LARGE", "2^53 + 1 over gRPC", spin_message(stake=money(2**53 + 1))),
    Row("AMOUNT_TOO_LARGE", "2^63", spin(stake=amount(2**63))),
    Row("AMOUNT_TOO_LARGE", "2^64", deposit(2**64)),
    Row("AMOUNT_TOO_LARGE", "a googol", deposit(10**100)),
    Row("AMOUNT_TOO_LARGE", "2^63 - 1 over gRPC", deposit_message(amount=money(2**63 - 1))),
]
