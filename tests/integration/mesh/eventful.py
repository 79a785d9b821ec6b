"""An eventful day of a mesh: all that may leave a span, a metric or a log line, with values easy to find."""

import asyncio
import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import uuid_utils
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common import identity
from services.gateway.operators.signing import SIGNATURE_HEADER
from tests.integration.mesh.reads import Spun, requests
from tests.mesh.asking import Grpc, Request, Rest
from tests.mesh.players import Player, amount
from tests.mesh.signed import signed_rest
from tests.mesh.stage import CHOICE_GAME_ID, STAKE_MINOR, Stage, money, new_id, rest_act, rest_spin
from tests.meshes import API_KEY, OTHER_API_KEY

# No id, port or time has these digits.
FUNDS_MINOR = 7_654_321_987
WITHDRAWN_MINOR = 4_321_987_654
ADJUSTED_MINOR = 3_219_876_543
UNKEPT = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00"


class Known(NamedTuple):
    """What must not be seen outside, and players."""

    secrets: set[str]
    amounts: set[str]
    players: set[str]


async def live(stage: Stage) -> Known:
    """Everything once; nothing is checked here but that it happened."""
    player = await stage.player(funds_minor=FUNDS_MINOR, loss_limit=amount(10 * FUNDS_MINOR))
    other = await stage.player(game_id=CHOICE_GAME_ID)
    spun = await spin_in_all_ways(stage, player)
    gambler, round_ = await stage.open_round(other)
    await stage.send(rest_act(gambler, round_, "RED"))
    await move_money(stage, player, spun)
    await void_unkept(stage, spun)
    for request in requests(stage, spun).values():
        await stage.answer(request)
    await be_refused(stage, player)
    signed = await sign(stage, player)
    # Drawn, and nobody settles it: the reconciler's.
    abandoned = await stage.play(player, new_id())
    await break_down(stage, player)
    await wait_ended(stage, abandoned.round.round_id)
    await stage.send(Rest("POST", "/v1/sessions/close", player.token, body={}))
    await stage.books.wait_quiet()
    return Known(
        secrets(stage, player, gambler) | signed,
        {str(FUNDS_MINOR), str(WITHDRAWN_MINOR), str(ADJUSTED_MINOR)},
        {player.player_id, gambler.player_id},
    )


async def spin_in_all_ways(stage: Stage, player: Player) -> Spun:
    """Over REST, replayed, in a trace that its caller does not keep, over gRPC, many at once."""
    request_id = new_id()
    played = await player.spin(STAKE_MINOR, request_id=request_id)
    await stage.answer(rest_spin(player, request_id))
    async with httpx.AsyncClient(base_url=stage.mesh.rest_url(), verify=False) as http:
        for ask in (rest_spin(player, request_id), rest_spin(player, new_id())):
            headers = {"authorization": f"Bearer {player.token}", "traceparent": UNKEPT}
            await http.post(ask.path, headers=headers, json=ask.body)
        await http.request("BREW", "/v1/pot")
        await http.request("OPTIONS", "/v1/games")
    spin = gateway_pb2.SpinRequest(request_id=new_id(), stake=money(STAKE_MINOR))
    await stage.answer(Grpc("gateway", "Spin", spin, player.token))
    for one in await asyncio.gather(*(stage.player() for _ in range(4))):
        await one.spin(STAKE_MINOR)
    account_id = (await stage.session(player)).account_id
    return Spun(player, request_id, played.body["round"]["round_id"], account_id)


async def move_money(stage: Stage, player: Player, spun: Spun) -> None:
    """What an operator does with an account."""
    path = f"/v1/players/{player.player_id}"
    taken = {"request_id": new_id(), "amount": amount(WITHDRAWN_MINOR)}
    for _ in range(2):
        await stage.answer(Rest("POST", f"{path}/withdrawals", API_KEY, body=taken))
    who: dict[str, Any] = {
        "operator_id": "dev",
        "account_id": spun.account_id,
        "actor": "ann",
        "reason": "a test",
    }
    adjust = wallet_pb2.AdjustRequest(**who, request_id=new_id(), amount=money(ADJUSTED_MINOR))
    await stage.send(stage.internal("wallet", "Adjust", adjust))
    await stage.set_frozen(player, True)
    await stage.refusal(rest_spin(player, new_id()))
    await stage.set_frozen(player, False)
    give_back = wallet_pb2.RollbackRoundRequest(
        round_id=spun.round_id, account_id=spun.account_id, actor="game", reason="a test"
    )
    await stage.answer(stage.internal("wallet", "RollbackRound", give_back, caller="game"))


async def be_refused(stage: Stage, player: Player) -> None:
    """Refusals of every kind of place."""
    poor = await stage.player(funds_minor=0)
    stranger = Rest("GET", "/v1/balance", "st_" + "x" * 43)
    too_much = {"request_id": new_id(), "amount": amount(10 * FUNDS_MINOR)}
    asked: list[Request] = [
        rest_spin(poor, new_id()),
        stranger,
        Rest("GET", "/v1/nothing"),
        Rest("DELETE", "/v1/spins"),
        Rest("POST", "/v1/sessions", API_KEY, content=b"{"),
        Rest("GET", f"/v1/rounds/{uuid.uuid4()}", OTHER_API_KEY),
        Rest("POST", f"/v1/players/{player.player_id}/withdrawals", API_KEY, body=too_much),
        Grpc("gateway", "GetBalance", gateway_pb2.GetBalanceRequest(), "st_" + "y" * 43),
        Grpc("wallet", "GetAccount", wallet_pb2.GetAccountRequest(), token="nobody"),
        stage.internal("wallet", "Void", wallet_pb2.VoidRequest()),
    ]
    for ask in asked:
        await stage.refusal(ask)
    await call(stage, "gateway", "/reelmesh.gateway.v1.GatewayService/Jackpot", b"", [])


async def call(stage: Stage, service: str, path: str, body: bytes, metadata: list[tuple[str, str]]) -> None:
    """A raw call, however it ends."""
    target = f"127.0.0.1:{stage.mesh.ports(service).grpc}"
    async with grpc.aio.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        start: Any = channel.unary_unary(path)
        await start(body, metadata=metadata, timeout=5).code()


async def void_unkept(stage: Stage, spun: Spun) -> None:
    """A round that the wallet does not know is void, and its caller does not keep the trace."""
    void = wallet_pb2.VoidRequest(round_id=str(uuid_utils.uuid7()), account_id=spun.account_id)
    metadata = [(identity.METADATA_KEY, stage.token("game")), ("traceparent", UNKEPT)]
    path = f"/{identity.call_graph()['wallet'].grpc_service}/Void"
    await call(stage, "wallet", path, void.SerializeToString(), metadata)


async def break_down(stage: Stage, player: Player) -> None:
    """Tables are lost under calls that carry money, keys and players."""
    deposit = {"request_id": new_id(), "amount": amount(FUNDS_MINOR)}
    for service, table, ask in (
        (
            "wallet",
            "account",
            Rest("POST", f"/v1/players/{player.player_id}/deposits", API_KEY, body=deposit),
        ),
        ("session", "session", Rest("GET", "/v1/balance", player.token)),
        ("game", "round", rest_spin(player, new_id())),
        ("gateway", "api_key", Rest("GET", f"/v1/rounds/{uuid.uuid4()}", API_KEY)),
    ):
        await stage.lose_table(service, table)
        await stage.refusal(ask)
        await stage.restore()


async def wait_ended(stage: Stage, round_id: str) -> None:
    """Until the reconciler has spoken."""
    async with asyncio.timeout(20):
        while True:
            query = "select state from round_view where round_id = cast(:id as uuid)"
            [row] = await stage.books.rows("game", query, id=round_id)
            if row.state != "PENDING":
                return
            await asyncio.sleep(0.1)


async def sign(stage: Stage, player: Player) -> set[str]:
    """A deposit by a key that must sign: right, replayed, unsigned, wrong. Its secrets."""
    key = await stage.key(signed=True)
    body = {"request_id": new_id(), "amount": amount(1)}
    ask = Rest("POST", f"/v1/players/{player.player_id}/deposits", body=body)
    right = signed_rest(key, ask)
    await stage.answer(right)
    signature = right.headers[SIGNATURE_HEADER]
    wrong = replace(right, headers=right.headers | {SIGNATURE_HEADER: signature[:-4] + "0000"})
    for refused in (right, replace(ask, credential=key.api_key), wrong):
        await stage.refusal(refused)
    await stage.refusal(replace(ask, credential=player.token, headers={"origin": "https://evil.example"}))
    return {key.api_key, key.secret, signature}


def secrets(stage: Stage, *players: Player) -> set[str]:
    """Keys, passwords, tokens."""
    keys = json.loads(Path(stage.mesh.directory / "keys.json").read_text())
    passwords = {url.split(":")[2].partition("@")[0] for url in stage.mesh.database_urls.values()}
    return {*keys.values(), *passwords, API_KEY, OTHER_API_KEY, *(player.token for player in players)}
