"""One script over gRPC, REST and JSON-RPC: each step is asked over all three, with the same ids, and answered
field by field the same: ids, times and traces are stored facts. Only `replayed` tells of the call itself.
"""

import asyncio
import itertools
from collections.abc import Iterator
from decimal import Decimal

import pytest

from deploy.local.mesh import Mesh
from services.gateway.operations import OPERATIONS
from tests.databases import Databases
from tests.mesh.protocols import Json
from tests.mesh.script import Script, shown
from tests.mesh.stage import CHOICE_GAME_ID, SIMPLE_GAME_ID, SPINS_TO_WIN_MAX, STAKE_MINOR, Stage, new_id
from tests.meshes import API_KEY, OTHER_API_KEY, running_mesh

AMOUNT = {"currency_code": "USD", "amount_minor": STAKE_MINOR}
WHO: Json = {"actor": "ann@desk", "reason": "asked by the player"}


@pytest.fixture(scope="module")
def mesh(databases: Databases) -> Iterator[Mesh]:
    """Untraced, like most."""
    with running_mesh(databases) as mesh:
        yield mesh
        assert set(mesh.stop().values()) == {0}


async def test_one_script_is_answered_alike_over_the_three(script: Script) -> None:
    player_id = f"p-{new_id()}"
    account: Json = {"player_id": player_id, "currency_code": "USD"}
    await script.refused("ACCOUNT_NOT_FOUND", "GetPlayerBalance", **account)
    await money_in(script, player_id)
    token = await script.launch(player_id, SIMPLE_GAME_ID)
    won, lost = await spins(script, token)
    await client_events(script, token, won)
    await refused_spins(script, token)
    await gamble(script, player_id)
    await back_office(script, account, won, lost)
    await webhooks(script)
    await endings(script, player_id, token, won)
    assert script.asked >= {operation.name for operation in OPERATIONS if operation.routes}


async def money_in(script: Script, player_id: str) -> None:
    amount = {"currency_code": "USD", "amount_minor": 1_000_000}
    fund: Json = {"request_id": new_id(), "player_id": player_id, "amount": amount}
    funded = await script.ask("FundPlayer", **fund)
    assert funded["balance_after"] == amount
    await script.refused("ID_REUSED", "FundPlayer", **{**fund, "amount": AMOUNT})
    lower = AMOUNT | {"currency_code": "eur"}
    await script.refused("CURRENCY_UNKNOWN", "FundPlayer", **fund | {"amount": lower})
    await script.refused("API_KEY_INVALID", "FundPlayer", "rk_nobody", **fund)
    await script.ask("WithdrawPlayer", request_id=new_id(), player_id=player_id, amount=AMOUNT)
    too_much = {"currency_code": "USD", "amount_minor": 2**50}
    await script.refused(
        "INSUFFICIENT_FUNDS", "WithdrawPlayer", request_id=new_id(), player_id=player_id, amount=too_much
    )
    assert (await script.ask("GetTransactions", request_id=fund["request_id"]))["transactions"]
    await script.ask("ListGames", "")


async def spins(script: Script, token: str) -> tuple[Json, Json]:
    """A round that won and one that lost, each asked for by the three."""
    won: Json = {}
    lost: Json = {}
    for _ in range(SPINS_TO_WIN_MAX):
        played = await script.ask("Spin", token, request_id=new_id(), stake=AMOUNT)
        round_ = played["round"]
        assert round_["state"] == "SETTLED" and round_["outcome"]
        if round_["win"]["amount_minor"]:
            won = round_
        else:
            lost = round_
        if won and lost:
            break
    for credential in (token, API_KEY):
        assert await script.ask("GetRound", credential, round_id=won["round_id"]) == won
    assert await script.ask("GetRound", token, request_id=lost["request_id"]) == lost
    await script.ask("GetBalance", token)
    moving: list[tuple[str, Json]] = [
        ("GetSession", {}),
        ("KeepAlive", {}),
        ("AcknowledgeRealityCheck", {"choice": "CONTINUE"}),
    ]
    for name, fields in moving:
        await script.ask(name, token, moves=True, **fields)
    page = await script.ask("ListRounds", token, page_size=1)
    await script.ask("ListRounds", token, page_size=1, page_token=page["next_page_token"])
    return won, lost


async def client_events(script: Script, token: str, won: Json) -> None:
    """Stored once, whoever repeats it over which protocol."""
    report: Json = {"request_id": new_id(), "events": [shown(won["round_id"]), {**shown(), "data": None}]}
    taken = await script.ask("SendClientEvents", token, **report)
    assert taken["receive_time"]
    await script.refused("ID_REUSED", "SendClientEvents", token, **report | {"events": [shown()]})
    unknown = {"request_id": new_id(), "events": [shown(new_id())]}
    await script.refused("ROUND_NOT_FOUND", "SendClientEvents", token, **unknown)
    for reason, events in [
        ("FIELD_MISSING", []),
        ("FIELD_MISSING", [shown(client_time=None)]),
        ("FIELD_INVALID", [shown()] * 21),
        ("FIELD_INVALID", [shown(), shown(data={"nested": {}})]),
    ]:
        await script.refused(reason, "SendClientEvents", token, request_id=new_id(), events=events)
    await script.refused("TOKEN_INVALID", "SendClientEvents", "st_nobody", **report)


async def refused_spins(script: Script, token: str) -> None:
    spin: Json = {"request_id": new_id(), "stake": AMOUNT}
    for reason, fields in [
        ("STAKE_NOT_ON_LADDER", {**spin, "stake": AMOUNT | {"amount_minor": 7}}),
        ("AMOUNT_NOT_POSITIVE", {**spin, "request_id": new_id(), "stake": AMOUNT | {"amount_minor": -1}}),
        ("CURRENCY_MISMATCH", {**spin, "request_id": new_id(), "stake": AMOUNT | {"currency_code": "JPY"}}),
        ("FIELD_INVALID", {**spin, "request_id": "7"}),
        ("FIELD_MISSING", {"request_id": new_id()}),
    ]:
        await script.refused(reason, "Spin", token, **fields)
    await script.refused("TOKEN_INVALID", "Spin", "st_nobody", **spin | {"request_id": new_id()})
    create = {"request_id": new_id(), "player_id": "p", "game_id": "nothing", "currency_code": "USD"}
    await script.refused("GAME_NOT_FOUND", "CreateSession", **create)
    await script.refused("LAUNCH_CODE_INVALID", "ExchangeCode", "", launch_code="spent")
    await script.refused("ROUND_NOT_FOUND", "GetRound", token, round_id=new_id())
    await script.refused("PAGE_TOKEN_INVALID", "ListRounds", token, page_token="nonsense")


async def gamble(script: Script, player_id: str) -> None:
    token = await script.launch(player_id, CHOICE_GAME_ID)
    for _ in range(SPINS_TO_WIN_MAX):
        played = await script.ask("Spin", token, request_id=new_id(), stake=AMOUNT)
        if played["round"]["state"] == "OPEN":
            break
    round_id = played["round"]["round_id"]
    await script.refused("ROUND_OPEN", "Spin", token, request_id=new_id(), stake=AMOUNT)
    await script.refused("CHOICE_UNKNOWN", "Act", token, round_id=round_id, step=1, choice="BLUE")
    await script.refused("STEP_OUT_OF_ORDER", "Act", token, round_id=round_id, step=5, choice="RED")
    collected = await script.ask("Act", token, round_id=round_id, step=1, choice="COLLECT")
    assert collected["round"]["state"] == "SETTLED"


async def back_office(script: Script, account: Json, won: Json, lost: Json) -> None:
    balance = await script.ask("GetPlayerBalance", **account)
    assert not balance["frozen"]
    await script.ask("GetPlayerBalance", **account, read_time=lost["create_time"])
    statement: Json = {**account, "page_size": 2, "types": ["BET", "DEPOSIT"]}
    page = await script.ask("ListTransactions", **statement)
    await script.ask("ListTransactions", **statement, page_token=page["next_page_token"])
    limits: Json = {**account, "request_id": new_id(), "limits": {}}
    await script.ask("SetPlayerLimits", moves=True, **limits)
    await script.ask("GetPlayerLimits", moves=True, **account)
    await script.explain(won["round_id"])
    moved = await script.ask("GetTransactions", transaction_id=won["round_id"])
    assert sum(posting["amount"]["amount_minor"] for posting in moved["postings"]) == 0
    await script.ask("GetDailyTotals", day=won["create_time"][:10], currency_code="USD")
    await script.ask("ListPlayerRounds", **account, game_id=SIMPLE_GAME_ID)
    adjust = {"request_id": new_id(), "player_id": account["player_id"], "amount": AMOUNT, **WHO}
    assert (await script.ask("AdjustBalance", **adjust))["transfer"]["actor"] == WHO["actor"]
    assert (await script.ask("FreezeAccount", **account, **WHO))["account"]["frozen"]
    await script.refused(
        "ACCOUNT_FROZEN",
        "WithdrawPlayer",
        request_id=new_id(),
        player_id=account["player_id"],
        amount=AMOUNT,
    )
    assert not (await script.ask("UnfreezeAccount", **account, **WHO))["account"]["frozen"]
    rolled = await script.ask("RollbackBet", round_id=won["round_id"], **WHO)
    assert rolled["unchanged"] and rolled["round"]["state"] == "SETTLED"
    rolled = await script.ask("RollbackRound", round_id=lost["round_id"], **WHO)
    assert rolled["round"]["state"] == "REVERSED"
    for name in ("ListReviews", "ListRollbackReviews", "ListStuckCalls"):
        await script.ask(name, page_size=10)
    resolve = {"round_id": won["round_id"], "verdict": "SETTLED", **WHO}
    await script.refused("ROUND_NOT_IN_REVIEW", "ResolveReview", **resolve)
    await script.refused(
        "ROUND_NOT_FOUND", "ResolveStuckCall", round_id=new_id(), step="STAKE", action="FORCE", **WHO
    )
    for name, fields in [
        ("GetPlayerBalance", account),
        ("ListTransactions", account),
        ("ListPlayerRounds", account),
        ("FreezeAccount", {**account, **WHO}),
    ]:
        await script.refused("ACCOUNT_NOT_FOUND", name, OTHER_API_KEY, **fields)
    for name in ("RollbackRound", "RollbackBet"):
        await script.refused("ROUND_NOT_FOUND", name, OTHER_API_KEY, round_id=won["round_id"], **WHO)
    await script.refused("ROUND_NOT_FOUND", "ResolveReview", OTHER_API_KEY, **resolve)
    await script.refused(
        "TRANSACTION_NOT_FOUND", "GetTransactions", OTHER_API_KEY, transaction_id=won["round_id"]
    )


async def webhooks(script: Script) -> None:
    hook: Json = {"request_id": new_id(), "url": "http://127.0.0.1:9/events", "secret": "whsec_" + "YQ" * 22}
    hook["secret"] = "whsec_" + "YWFh" * 8
    made = await script.ask("CreateWebhook", **hook, event_types=["round.settled"])
    which: Json = {"webhook_id": made["webhook"]["webhook_id"]}
    assert (await script.ask("PauseWebhook", **which))["webhook"]["state"] == "PAUSED"
    await script.ask("RotateWebhookSecret", **which, secret="whsec_" + "YmJi" * 8)
    await script.refused("ID_REUSED", "CreateWebhook", **hook, event_types=["round.settled"])
    assert (await script.ask("ListWebhooks"))["webhooks"]
    assert (await script.ask("ListWebhooks", OTHER_API_KEY))["webhooks"] == []
    await script.ask("ListDeadLetters", **which)
    await script.ask("RedeliverDeadLetters", **which)
    for name in ("PauseWebhook", "ResumeWebhook", "DeleteWebhook", "ListDeadLetters", "RedeliverDeadLetters"):
        await script.refused("WEBHOOK_NOT_FOUND", name, OTHER_API_KEY, **which)
    # Started and stopped again before anything is sent.
    await script.ask("ResumeWebhook", **which)
    await script.ask("PauseWebhook", **which)
    await script.protocols[0].ask("DeleteWebhook", API_KEY, which)
    await script.refused("WEBHOOK_NOT_FOUND", "DeleteWebhook", **which)


async def endings(script: Script, player_id: str, token: str, won: Json) -> None:
    events = await script.ask("ListEvents", player_id=player_id, event_type="round.settled", page_size=1)
    assert events["events"][0]["round_id"] and "outcome" in events["events"][0]["payload"]
    await script.refused("FIELD_INVALID", "ListEvents", player_id=player_id, event_type="round.setled")
    # Of another operator only what it asked itself, in vain, of the player that it named.
    strangers = (await script.ask("ListEvents", OTHER_API_KEY, player_id=player_id))["events"]
    assert {(event["operator_id"], event["payload"]["action"]) for event in strangers} == {
        ("other", "FreezeAccount")
    }
    closed = await script.ask("CloseSession", token)
    assert closed["state"] == "CLOSED"
    await script.refused("SESSION_NOT_FOUND", "CloseSession", OTHER_API_KEY, session_id=closed["session_id"])
    assert await script.ask("CloseSession", session_id=closed["session_id"]) == closed
    await script.refused("SESSION_CLOSED", "GetBalance", token)
    await script.refused("SESSION_CLOSED", "Spin", token, request_id=new_id(), stake=AMOUNT)
    # A known id is answered whatever has become of the session (R4).
    again = await script.ask("Spin", token, request_id=won["request_id"], stake=AMOUNT)
    assert again["round"] == won


async def test_every_game_and_mode_is_recalled_whole_over_the_three(script: Script) -> None:
    """Also what is bought, and the choices of a gamble."""
    player_id = f"p-{new_id()}"
    amount = {"currency_code": "USD", "amount_minor": 10_000_000}
    await script.ask("FundPlayer", request_id=new_id(), player_id=player_id, amount=amount)
    asks = itertools.cycle(script.protocols)
    for game in (await script.ask("ListGames", ""))["games"]:
        token = await script.launch(player_id, game["game_id"])
        [ladder] = [one for one in game["bet_ladders"] if one["currency_code"] == "USD"]
        for mode in game["modes"]:
            minor = Decimal(mode["cost"]) * ladder["stakes_minor"][0]
            spin: Json = {
                "request_id": new_id(),
                "mode": mode["mode"],
                "stake": {"currency_code": "USD", "amount_minor": int(minor)},
            }
            asked = next(asks)
            round_ = (await asked.ask("Spin", token, spin))["round"]
            while round_["state"] == "OPEN":
                # A card first, so that there is more than one step to recall.
                choice = "COLLECT" if round_["step_next"] > 1 else "RED"
                act = {"round_id": round_["round_id"], "step": round_["step_next"], "choice": choice}
                round_ = (await next(asks).ask("Act", token, act))["round"]
            assert round_["state"] == "SETTLED" and round_["outcome"], round_
            assert (round_["game_id"], round_["mode"]) == (game["game_id"], mode["mode"])
            assert round_["game_version"] == game["game_version"]
            assert await script.ask("GetRound", token, request_id=spin["request_id"]) == round_
            for credential in (token, API_KEY):
                assert await script.ask("GetRound", credential, round_id=round_["round_id"]) == round_
            assert (await script.ask("ListRounds", token, page_size=1))["rounds"] == [round_]


async def test_an_abandoned_round_is_closed_by_itself_and_recalled_alike(
    script: Script, stage: Stage
) -> None:
    gambler, round_ = await stage.open_round()
    which = {"round_id": round_["round_id"]}
    assert await script.ask("GetRound", gambler.token, **which) == round_
    await stage.sql(
        "game",
        "update round_step set create_time = create_time - interval '1 h' where round_id = cast(:id as uuid)",
        id=round_["round_id"],
    )
    async with asyncio.timeout(20):
        closed = round_
        while closed["state"] != "SETTLED":
            await asyncio.sleep(0.1)
            closed = await script.protocols[0].ask("GetRound", gambler.token, which)
    assert await script.ask("GetRound", gambler.token, **which) == closed
    assert [step["decided_by"] for step in closed["steps"]] == ["TIMEOUT"]
    assert closed["win"] == round_["at_risk"] and closed["outcome"] == round_["outcome"]
