"""Every way to read about a round, and what such a reading says when names and times are masked."""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from reelmesh.events.v1 import events_pb2
from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.wallet.v1 import wallet_pb2

from tests.mesh.asking import Grpc, Request, Rest, Told
from tests.mesh.players import Player
from tests.mesh.stage import Stage
from tests.meshes import API_KEY

# Differ between any two rounds, whatever was drawn.
_NAMES = re.compile(
    r"(_ids?|^time|_time|_times|token|trace_id|traceparent|elapsed_duration|launch_\w+|position|batch_no|draw_hash)$"
)
# The same within a sentence.
_NAMES_IN_TEXT = re.compile(r"account \d+|since [\d:]+|from [\d-]+ [\d:]+ UTC|\[[\d, ]+\]")


@dataclass(frozen=True, slots=True)
class Spun:
    """A spin that was sent, and its round."""

    player: Player
    request_id: str
    round_id: str
    account_id: int


def requests(stage: Stage, spun: Spun) -> dict[str, Request]:
    """Reads of the public API and of every service, by name."""
    token, account_id = spun.player.token, spun.account_id
    by_round = gateway_pb2.GetRoundRequest(round_id=spun.round_id)
    in_game = game_pb2.GetRoundRequest(account_id=account_id, round_id=spun.round_id)
    of_account = events_pb2.ListEventsRequest(operator_id="dev", account_id=account_id)
    of_round = events_pb2.ListEventsRequest(operator_id="dev", round_id=spun.round_id)
    explained = gateway_pb2.ExplainRoundRequest(round_id=spun.round_id, replay=True)
    account = wallet_pb2.GetAccountRequest(account_id=account_id, operator_id="dev")
    settlements = wallet_pb2.GetSettlementsRequest(round_id=spun.round_id)
    return {
        "REST round of the spin": Rest("GET", f"/v1/spins/{spun.request_id}", token),
        "REST round": Rest("GET", f"/v1/rounds/{spun.round_id}", token),
        "REST round, operator": Rest("GET", f"/v1/rounds/{spun.round_id}", API_KEY),
        "REST history": Rest("GET", "/v1/rounds", token),
        "REST balance": Rest("GET", "/v1/balance", token),
        "REST session": Rest("GET", "/v1/session", token),
        "gRPC round": Grpc("gateway", "GetRound", by_round, token),
        "gRPC history": Grpc("gateway", "ListRounds", gateway_pb2.ListRoundsRequest(), token),
        "gRPC balance": Grpc("gateway", "GetBalance", gateway_pb2.GetBalanceRequest(), token),
        "REST explanation": Rest("GET", f"/v1/rounds/{spun.round_id}/explanation?replay=1", API_KEY),
        "gRPC explanation": Grpc("gateway", "ExplainRound", explained, API_KEY),
        "game.GetRound": stage.internal("game", "GetRound", in_game),
        "game.ListRounds": stage.internal(
            "game", "ListRounds", game_pb2.ListRoundsRequest(account_id=account_id)
        ),
        "game.ListOpenRounds": stage.internal(
            "game", "ListOpenRounds", game_pb2.ListOpenRoundsRequest(account_id=account_id)
        ),
        "wallet.GetAccount": stage.internal("wallet", "GetAccount", account),
        "wallet.GetSettlements": stage.internal("wallet", "GetSettlements", settlements, caller="game"),
        "session.GetSession": stage.internal(
            "session", "GetSession", session_pb2.GetSessionRequest(token=token, play_wanted=True)
        ),
        "events.ListEvents": stage.internal("events", "ListEvents", of_account),
        "events.ListEvents, round": stage.internal("events", "ListEvents", of_round),
    }


def masked(answer: Any) -> str:
    """An answer or refusal as text without names and times: equal for rounds that differ in those only."""
    if isinstance(answer, Told):
        answer = {"reason": answer.reason, "message": answer.message, "metadata": answer.metadata}
    if isinstance(answer, Message):
        answer = MessageToDict(answer, preserving_proto_field_name=True)
    return json.dumps(_mask(answer), sort_keys=True)


def _mask(value: Any, key: str = "") -> Any:
    if key == "payload_json" and isinstance(value, str):
        value = json.loads(base64.b64decode(value))
    if isinstance(value, dict):
        return {name: _mask(item, name) for name, item in value.items()}
    if isinstance(value, list):
        items = [_mask(item, key) for item in value]
        # Which source's relay is faster is chance; which clock's tick comes first, too.
        return sorted(items, key=json.dumps) if key in ("events", "timeline", "traces") else items
    if isinstance(value, str) and key in ("detail", "text"):
        return _NAMES_IN_TEXT.sub("masked", value)
    # Null and absent stay: that something is there may say something.
    return "masked" if _NAMES.search(key) and value is not None and key != "game_id" else value
