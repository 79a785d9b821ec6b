"""No operator sees or touches another's anything: every operation of the door, over REST, gRPC and
WebSocket, and every RPC of the services behind it, asked by one operator about another's things.

What it is told is what it would be told of things that do not exist; and nothing of the other's has moved.
"""

import re
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from google.protobuf import descriptor_pool, json_format
from google.protobuf.message import Message
from reelmesh.events.v1 import events_pb2
from reelmesh.game.v1 import game_pb2
from reelmesh.session.v1 import session_pb2
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from websockets.asyncio.client import connect

from services.common import identity
from services.gateway.operations import BY_NAME
from services.gateway.operators import keys
from tests.integration.door.strangers import Things, alike, nothing, requests
from tests.mesh.asking import Grpc, Request, Rest, Told
from tests.mesh.players import Player
from tests.mesh.protocols import OverWebSocket, Refused, Socket
from tests.mesh.stage import CHOICE_GAME_ID, SIMPLE_GAME_ID, STAKE_MINOR, Stage, new_id

BEHIND = ("session", "wallet", "game", "events")
# RPCs whose requests name no operator: what stands in its place. Only a service's identity may call them.
NAME_NO_OPERATOR = {
    "session": {
        "ExchangeCode": "a one-time code, a secret",
        "Authorize": "a token, a secret",
        "BatchAuthorize": "as Authorize",
        "KeepAlive": "a token, a secret",
        "AcknowledgeRealityCheck": "a token, a secret",
        "ListPolicies": "everybody's",
        "BatchCountReturns": "what rounds returned, by the ids of their authorisations",
    },
    "wallet": {
        "Settle": "game's seal over the account",
        "BatchSettle": "as Settle",
        "Void": "only game may call it",
        "BatchVoid": "only game may call it",
        "GetSettlements": "only game may call it",
        "RollbackRound": "only game may call it",
        "RollbackBet": "only game may call it",
        "ReportOpenRounds": "only game may call it",
    },
    "game": {
        "ListGames": "everybody's",
        "Play": "the account of session's authorisation",
        "BatchPlay": "as Play",
        "Finish": "what the wallet answered, under its checks",
        "BatchFinish": "as Finish",
        "Act": "the account of the player's session",
        "ListRounds": "the account of the player's session",
        "ListOpenRounds": "the account of the player's session",
    },
    "events": {"Append": "the identity of the source"},
}
# Tells that a round is another's: of an unknown one it opens a review. Only make reconcile asks it.
TELLS_ANOTHERS = "OpenReview"


OWN_SESSION = ("CloseSession", "GetSession", "KeepAlive", "AcknowledgeRealityCheck")


async def of_dev(stage: Stage) -> tuple[Things, Things, Player]:
    """Things of operator dev, with the request id of a deposit and with that of a spin."""
    player, open_round = await stage.open_round(await stage.player(game_id=CHOICE_GAME_ID))
    session = await stage.session(player)
    webhook = events_pb2.CreateWebhookRequest(
        operator_id="dev",
        request_id=new_id(),
        url="https://dev-casino.example/events",
        secret="whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
    )
    created = await stage.answer(stage.internal("events", "CreateWebhook", webhook))
    things = Things(
        player.player_id,
        session.account_id,
        session.session_id,
        open_round["round_id"],
        created.webhook.webhook_id,
        player.funds[0].request_id,
    )
    return things, things._replace(request_id=open_round["request_id"]), player


async def stands(stage: Stage, things: Things) -> list[Any]:
    """Everything of dev that somebody could have touched, as dev sees it."""
    webhooks = events_pb2.ListWebhooksRequest(operator_id="dev")
    session = session_pb2.GetSessionRequest(session_id=things.session_id, operator_id="dev")
    round_ = game_pb2.GetRoundRequest(operator_id="dev", round_id=things.round_id)
    own = (
        "select account_id, balance_minor, version, frozen from account where operator_id = 'dev' order by 1"
    )
    found = await stage.answer(stage.internal("events", "ListWebhooks", webhooks))
    # How far it has come is not for anybody to touch.
    return [
        [(one.webhook_id, one.state, one.url) for one in found.webhooks],
        await stage.answer(stage.internal("session", "GetSession", session)),
        await stage.answer(stage.internal("game", "GetRound", round_)),
        [tuple(row) for row in await stage.books.rows("wallet", own)],
    ]


class Call(NamedTuple):
    """A request over a WebSocket that has shown its credential."""

    socket: Socket
    method: str
    params: dict[str, Any]


async def answered(call: Call) -> Any:
    """The result, or what was Told instead."""
    try:
        return await call.socket.ask(call.method, call.params)
    except Refused as refused:
        return Told(refused.told["reason"], "", refused.told["metadata"], "", str(refused.told))


async def heard(stage: Stage, request: Request | Call, things: Things, wanted: Things) -> str:
    """What is said, fit to be compared. Errors: AssertionError when it names one of the wanted things."""
    said = await (answered(request) if isinstance(request, Call) else stage.send(request))
    if isinstance(said, Told):
        assert said.reason not in ("INTERNAL", "UNAVAILABLE"), said
        if said.reason == "DEADLINE_EXCEEDED":
            return said.reason  # a stream that goes on; how its end is worded is the transport's affair
        return alike(f"{said.reason} {said.message} {sorted(said.metadata.items())}", things)
    text = str(said)
    for name in ("session_id", "webhook_id"):
        assert getattr(wanted, name) not in text, (request, text)
    return alike(text, things)


async def asked_behind(stage: Stage, things: Things, dev: Things) -> dict[str, str]:
    """Every RPC of the services, in the name of an operator that has nothing."""
    operator_id, said = f"o-{uuid.uuid4().hex}", {}
    for service in BEHIND:
        graph = identity.call_graph()[service]
        for name in sorted(graph.methods.keys() - NAME_NO_OPERATOR[service].keys() - {TELLS_ANOTHERS}):
            method = descriptor_pool.Default().FindMethodByName(f"{graph.grpc_service}.{name}")
            assert "operator_id" in method.input_type.fields_by_name, (
                f"{service}.{name}: see NAME_NO_OPERATOR"
            )
            [caller, *_] = sorted(graph.methods[name].callers & {"gateway"}) or sorted(
                graph.methods[name].callers
            )
            for number, request in enumerate(requests(method.input_type, things, operator_id)):
                call = stage.internal(service, name, request, caller=caller)
                said[f"{service}.{name} {number}"] = await heard(stage, call, things, dev)
    return said


async def asked_at_the_door(stage: Stage, things: Things, dev: Things) -> dict[str, str]:
    """Every operation, over each protocol, by another operator and by one of its players."""
    said = {}
    service = identity.call_graph()["gateway"]
    sockets = OverWebSocket(stage.mesh.rest_url())
    for protocol in ("grpc", "rest", "websocket"):
        key, player = await another(stage)
        for who, credential in (("operator", key), ("player", player.token)):
            socket = await sockets.socket(credential)
            for name in service.methods:
                method = descriptor_pool.Default().FindMethodByName(f"{service.grpc_service}.{name}")
                if method.client_streaming:
                    continue  # of Spin and Act, which are asked for themselves
                if who == "player" and name in OWN_SESSION:
                    continue  # name none: it is the session of its own token, which has a clock
                for number, request in enumerate(requests(method.input_type, things, "")):
                    for call in calls(protocol, name, request, credential, socket):
                        key_ = f"{protocol} {who} {name} {number} {getattr(call, 'path', '')}"
                        said[alike(key_, things)] = await heard(stage, call, things, dev)
    await sockets.close()
    return said


def calls(
    protocol: str, name: str, request: Message, credential: str, socket: Socket
) -> Sequence[Request | Call]:
    """The request as an RPC, as the REST requests that it is, or as a call over the credential's socket."""
    if protocol == "grpc":
        return [Grpc("gateway", name, request, credential)]
    fields = json_format.MessageToDict(request, preserving_proto_field_name=True)
    for field, value in request.ListFields():
        if field.enum_type is not None:
            prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", field.enum_type.name).upper() + "_"
            fields[field.name] = fields[field.name].removeprefix(prefix)
        elif field.name in ("amount", "stake"):
            fields[field.name]["amount_minor"] = value.amount_minor
        elif field.name == "events":
            fields[field.name][0]["type"] = "GAME_LOADED"
    if protocol == "websocket":
        return [Call(socket, BY_NAME[name].method, fields)] if BY_NAME[name].routes else []
    found: list[Request] = []
    for route in BY_NAME[name].routes:
        if all(one in fields for one in route.parameters):
            body = {key: value for key, value in fields.items() if key not in route.parameters}
            bare = route.http_method == "GET" or route.bodiless
            path = route.path.format(**fields)
            if route.http_method == "GET" and not route.bodiless:
                path += "?" + urlencode({key: value for key, value in body.items() if isinstance(value, str)})
            found.append(Rest(route.http_method, path, credential, None if bare else body))
    return found


async def another(stage: Stage) -> tuple[str, Player]:
    """A new operator's API key, and a player of its own with money and a session."""
    operator_id = f"o-{uuid.uuid4().hex[:20]}"
    engine = create_async_engine(stage.mesh.database_urls["gateway"], poolclass=NullPool)
    await keys.create_operator(engine, operator_id=operator_id, display_name="x", jurisdiction="none")
    key = await stage.key(operator_id=operator_id)
    player = Player(stage._client, key.api_key, f"own-{uuid.uuid4().hex}", SIMPLE_GAME_ID)
    assert (await player.fund(10_000)).status == 200 and (await player.launch()).status == 200
    return key.api_key, player


def test_every_rpc_without_an_operator_says_why() -> None:
    for service, without in NAME_NO_OPERATOR.items():
        graph = identity.call_graph()[service]
        assert without.keys() <= graph.methods.keys()
        for name, why in without.items():
            if why == "only game may call it":
                assert graph.methods[name].callers == {"game"}
            assert identity.PUBLIC not in graph.methods[name].callers


async def test_another_operator_is_told_of_things_what_it_is_told_of_nothing(stage: Stage) -> None:
    deposit, spin, player = await of_dev(stage)
    before = await stands(stage, deposit)
    empty = nothing()
    for ask in (asked_behind, asked_at_the_door):
        expected = await ask(stage, empty._replace(request_id=new_id()), deposit)
        for things in (deposit, spin):
            said = await ask(stage, things, deposit)
            assert said.keys() == expected.keys()
            differs = {what: (told, expected[what]) for what, told in said.items() if told != expected[what]}
            assert not differs
    review = game_pb2.OpenReviewRequest(operator_id="other", round_id=deposit.round_id, problem="x")
    assert (await stage.refusal(stage.internal("game", TELLS_ANOTHERS, review))).reason == "ROUND_NOT_FOUND"
    assert await stands(stage, deposit) == before
    # And dev goes on as if nobody had asked: its round takes its own choice.
    acted = await player.client.call(
        "POST",
        f"/v1/rounds/{deposit.round_id}/steps",
        credential=player.token,
        body={"step": 1, "choice": "COLLECT"},
    )
    assert acted.status == 200, acted
    assert acted.body["round"]["stake"]["amount_minor"] in (STAKE_MINOR, str(STAKE_MINOR))


async def test_a_socket_s_events_are_its_own_operator_s(stage: Stage) -> None:
    """Also where both call a player by the same name, and the filter is that name."""
    sockets = OverWebSocket(stage.mesh.rest_url())
    key, own = await another(stage)
    dev = await stage.player()
    same = Player(stage._client, key, dev.player_id, SIMPLE_GAME_ID)
    with pytest.raises(Refused, match="API_KEY_INVALID"):
        await (await sockets.socket(own.token)).ask("events", {"player_id": dev.player_id})
    for params in ({}, {"player_id": dev.player_id}):
        following = Socket(await connect(sockets.url, proxy=None))
        await following.ask("authenticate", {"credential": key})
        # No field names an operator.
        with pytest.raises(Refused, match="BODY_MALFORMED"):
            await following.ask("events", {**params, "operator_id": "dev"})
        await following.ask("events", params)
        # Those of dev come first: what is told of the last was told of them.
        assert (await dev.fund(STAKE_MINOR)).status == 200
        assert (await same.fund(STAKE_MINOR)).status == 200
        last = same.funds[-1].request_id
        found: list[Any] = []
        while not any(last in str(one) for one in found):
            told = await following.notice(lambda notice: notice["method"] == "events")
            found += told["params"]["events"]
        assert {one["operator_id"] for one in found} == {found[0]["operator_id"]} != {"dev"}
        await following.close()
    await sockets.close()
