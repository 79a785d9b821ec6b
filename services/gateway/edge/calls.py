"""An operation asked for in JSON, whichever way the JSON came: REST and JSON-RPC answer alike."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from google.protobuf.message import Message
from reelmesh.gateway.v1 import gateway_pb2

from services.common.errors import FieldInvalid
from services.gateway.door import Door, player_token
from services.gateway.edge import explanation, mapping, messages
from services.gateway.operations import Operation, Route

Json = dict[str, Any]
# Credential as it was shown, body, the path's parameters.
Call: TypeAlias = Callable[[str, bytes, Mapping[str, str]], Awaitable[Json]]

# Answers with a form of their own, which the OpenAPI document leaves open.
WRITERS: dict[str, Callable[[Any], Json]] = {"ExplainRound": explanation.explanation_json}


class Calls:
    """The operations of the door for JSON."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._hot: dict[str, Call] = {"Spin": self._spin, "Act": self._act}

    def body_call(self, operation: Operation, route: Route | None = None) -> Call:
        """How to call it with a body. `route`: some of its fields come with the path instead."""
        if operation.hot:
            return self._hot[operation.name]
        credential = route.credential if route else operation.credential
        elsewhere = operation.elsewhere(route) if route else ()
        shape = mapping.shape(operation.descriptor.input_type, elsewhere)

        async def call(shown: str, body: bytes, path: Mapping[str, str]) -> Json:
            caller = await self._door.admit(credential, shown, operation.scope)
            request = _request(operation, path)
            shape.decode(body, request)
            return answer_json(operation, await self._door.call(operation, caller, request))

        return call

    async def query_call(
        self,
        operation: Operation,
        route: Route,
        shown: str,
        path: Mapping[str, str],
        query: Mapping[str, Sequence[str]],
    ) -> Any:
        """Its answer as a message, called with a query."""
        caller = await self._door.admit(route.credential, shown, operation.scope)
        request = _request(operation, path)
        mapping.shape(operation.descriptor.input_type, operation.elsewhere(route)).read(query, request)
        return await self._door.call(operation, caller, request)

    async def _spin(self, shown: str, body: bytes, path: Mapping[str, str]) -> Json:
        self._door.rounds.require_room()
        token = player_token(shown)
        asked = messages.decode(body, messages.Spin)
        stake = messages.money(asked.stake, "stake")
        played = await self._door.rounds.spin(
            token, asked.request_id, stake, asked.mode, autoplay=asked.autoplay, turbo=asked.turbo
        )
        return messages.played_json(played)

    async def _act(self, shown: str, body: bytes, path: Mapping[str, str]) -> Json:
        token = player_token(shown)
        choice: messages.Choice
        if path:
            choice, round_id = messages.decode(body, messages.Choice), path["round_id"]
        else:
            of_round = messages.decode(body, messages.ChoiceOfRound)
            choice, round_id = of_round, of_round.round_id
        if not 0 <= choice.step < 2**31:
            raise FieldInvalid(field="step", problem="must be 1 or more")
        act = gateway_pb2.ActRequest(round_id=round_id, step=choice.step, choice=choice.choice)
        return messages.played_json(await self._door.rounds.act(token, act))


def _request(operation: Operation, path: Mapping[str, str]) -> Message:
    request = mapping.new_request(operation.descriptor.input_type)
    for name, text in path.items():
        mapping.set_text(request, name, text)
    return request


def answer_json(operation: Operation, answer: Any) -> Json:
    """An operation's answer as JSON."""
    if operation.name in WRITERS:
        return WRITERS[operation.name](answer)
    return mapping.answer_json(getattr(answer, operation.bare) if operation.bare else answer)
