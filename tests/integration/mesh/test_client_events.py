"""What a game's client reports, and what operators ask for: told by events, and never more than that."""

import asyncio
from collections.abc import Iterator

import pytest

from deploy.local.mesh import Mesh
from tests.databases import Databases
from tests.mesh.protocols import Json, Refused
from tests.mesh.script import Script, shown
from tests.mesh.stage import SIMPLE_GAME_ID, STAKE_MINOR, Stage, new_id
from tests.meshes import API_KEY, running_mesh

WHO: Json = {"actor": "ann@desk", "reason": "asked by the player"}


@pytest.fixture(scope="module")
def mesh(databases: Databases) -> Iterator[Mesh]:
    """Untraced, with one gateway: its memory counts all that a session reports."""
    with running_mesh(databases) as mesh:
        yield mesh
        assert set(mesh.stop().values()) == {0}


async def test_client_events_are_told_once_as_the_clients_word(script: Script, stage: Stage) -> None:
    player = await stage.player()
    other, session = await stage.player(), await stage.session(player)
    round_ = (await player.spin(STAKE_MINOR)).body["round"]
    report: Json = {"request_id": new_id(), "events": [shown(round_["round_id"]), shown(type="GAME_ERROR")]}
    asks = [protocol.ask("SendClientEvents", player.token, report) for protocol in script.protocols]
    answers = await asyncio.gather(*asks)
    assert answers[0] == answers[1] == answers[2]
    # A round of another account is none, and nothing of such a batch is stored.
    await script.refused(
        "ROUND_NOT_FOUND",
        "SendClientEvents",
        other.token,
        request_id=new_id(),
        events=[shown(), shown(round_["round_id"])],
    )
    await stage.books.wait_quiet()
    told = await script.ask("ListEvents", session_id=player.session_id)
    events = [event for event in told["events"] if event["event_type"].startswith("client.")]
    assert [event["event_type"] for event in events] == ["client.spin_shown", "client.game_error"]
    assert {(event["source"], event["account_id"], event["player_id"]) for event in events} == {
        ("gateway", session.account_id, player.player_id)
    }
    assert events[0]["round_id"] == round_["round_id"] and events[1]["round_id"] is None
    assert events[0]["event_time"] == answers[0]["receive_time"]
    assert events[0]["payload"] == {
        "request_id": report["request_id"],
        "game_id": SIMPLE_GAME_ID,
        "client_time": "2026-11-30T12:00:00.123000+00:00",
        "data": {"duration_ms": 2400, "skipped": False},
    }
    assert not (await script.ask("ListEvents", session_id=other.session_id, event_type="client.spin_shown"))[
        "events"
    ]
    explained = await script.protocols[1].ask("ExplainRound", API_KEY, {"round_id": round_["round_id"]})
    assert explained["adds_up"] and not explained["missing"], explained["checks"]
    assert "stored client.spin_shown: the client's word" in [
        moment["text"] for moment in explained["timeline"]
    ]
    # An ended session says no more.
    await script.protocols[0].ask("CloseSession", player.token, {})
    await script.refused("SESSION_CLOSED", "SendClientEvents", player.token, **report)


async def test_client_events_are_few_and_their_ids_are_forgotten(script: Script, stage: Stage) -> None:
    player, other = await stage.player(), await stage.player()
    old = {"request_id": new_id(), "events": [shown()]}
    [rest] = script.protocols[1:2]
    await rest.ask("SendClientEvents", player.token, old)
    await stage.sql("gateway", "update client_report set create_time = create_time - interval '3 days'")
    refused: Json = {}
    for _ in range(50):
        try:
            await rest.ask("SendClientEvents", player.token, {"request_id": new_id(), "events": [shown()]})
        except Refused as refusal:
            refused = refusal.told
            break
    assert (refused["reason"], refused["class"]) == ("RATE_LIMITED", "NOT_YET")
    assert refused["metadata"]["limit"] == "client_events"
    assert 0 < int(refused["metadata"]["retry_after_ms"]) <= 1000
    await rest.ask("SendClientEvents", other.token, {"request_id": new_id(), "events": [shown()]})
    await player.spin(STAKE_MINOR)
    kept = await stage.books.rows("gateway", "select cast(request_id as text) as id from client_report")
    assert old["request_id"] not in {row.id for row in kept} and len(kept) > 1


async def test_what_operators_ask_to_change_is_written_down(script: Script, stage: Stage) -> None:
    """Also what has no request id of its own; a read is not, a repeated id is once, and no secret ever."""
    player = await stage.player()
    round_ = (await player.spin(STAKE_MINOR)).body["round"]
    account: Json = {"player_id": player.player_id, "currency_code": "USD"}
    # Of events that do not come about here: what is delivered changes how the webhook stands.
    hook: Json = {
        "request_id": new_id(),
        "url": "http://127.0.0.1:9/",
        "secret": "whsec_" + "YWFh" * 8,
        "event_types": ["session.replaced"],
    }
    made = await script.ask("CreateWebhook", **hook)
    which = {"webhook_id": made["webhook"]["webhook_id"]}
    asked: list[tuple[str, Json]] = [
        ("FreezeAccount", account | WHO),
        ("UnfreezeAccount", account | WHO),
        ("RollbackRound", {"round_id": round_["round_id"], **WHO}),
        ("DeleteWebhook", which),
    ]
    for name, fields in asked:
        await script.protocols[0].ask(name, API_KEY, fields)
    await script.ask("ListWebhooks")
    # Refused, and written down all the same.
    await script.refused("WEBHOOK_NOT_FOUND", "DeleteWebhook", **which)
    await stage.books.wait_quiet()
    told = await script.ask("ListEvents", event_type="operator.requested", page_size=500)
    mine = [event for event in told["events"] if event["payload"]["action"] not in _OF_THE_STAGE]
    facts = [event["payload"] for event in mine]
    names = ["CreateWebhook", *(name for name, _ in asked), *["DeleteWebhook"] * 3]
    assert [fact["action"] for fact in facts] == names
    assert facts[0]["request_id"] == hook["request_id"] and "YWFh" not in str(mine)
    assert all(fact.items() >= WHO.items() for fact in facts[1:4])
    assert {fact["player_id"] for fact in facts[1:3]} == {player.player_id}
    assert mine[3]["round_id"] == round_["round_id"]
    assert {fact["webhook_id"] for fact in facts[4:]} == {which["webhook_id"]}


_OF_THE_STAGE = {"FundPlayer", "CreateSession"}
