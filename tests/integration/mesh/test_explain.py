"""A round explained by the running mesh: what adds up, what does not, what is unknown, and who is told."""

import asyncio
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from deploy.local import explain as command
from deploy.local.mesh import REPOSITORY
from deploy.local.traces import TraceReceiver
from services.common.telemetry_names import REPLAYED, ROUND_ID
from tests.mesh.asking import Rest
from tests.mesh.players import Player, amount
from tests.mesh.stage import STAKE_MINOR, Stage, new_id, rest_act, rest_spin
from tests.meshes import API_KEY, OTHER_API_KEY
from tests.waiting import until

# Nobody keeps them.
FIRST = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
RETRY = "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-00"
UNKNOWN_ID = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6071"


async def explain(stage: Stage, round_id: str, *, key: str = API_KEY, replay: bool = True) -> dict[str, Any]:
    """The explanation over REST."""
    path = f"/v1/rounds/{round_id}/explanation{'?replay=1' if replay else ''}"
    explained: dict[str, Any] = await stage.answer(Rest("GET", path, key))
    return explained


def results(explained: dict[str, Any]) -> dict[str, str]:
    """What became of each promise."""
    return {check["name"]: check["result"] for check in explained["checks"]}


def off(explained: dict[str, Any]) -> set[str]:
    """The broken ones."""
    return {name for name, result in results(explained).items() if result == "OFF"}


async def settled(stage: Stage) -> tuple[Player, str, str]:
    """A player, a settled round and its request id; all of its events are stored."""
    player, request_id = await stage.player(), new_id()
    round_ = (await stage.answer(rest_spin(player, request_id)))["round"]
    await stage.books.wait_quiet()
    return player, round_["round_id"], request_id


async def test_each_kind_of_round_adds_up(stage: Stage) -> None:
    _, simple, _ = await settled(stage)
    gambler, opened = await stage.open_round()
    waiting = await explain(stage, opened["round_id"])
    await stage.answer(rest_act(gambler, opened, "RED"))
    poor = await stage.player(funds_minor=STAKE_MINOR - 1)
    await stage.refusal(rest_spin(poor, refused := new_id()))
    [stored] = await stage.books.rows(
        "game", "select round_id from round where request_id = :request_id", request_id=refused
    )
    abandoned = (await stage.play(await stage.player(), new_id())).round.round_id
    pending = await explain(stage, abandoned)

    async def voided() -> bool:
        state: str = (await explain(stage, abandoned))["game"]["round"]["state"]
        return state == "VOID"

    await until(voided)
    await stage.books.wait_quiet()
    for round_id in (simple, str(stored.round_id), abandoned):
        explained = await explain(stage, round_id)
        assert explained["adds_up"] and set(results(explained).values()) == {"OK"}, explained["checks"]
    assert waiting["adds_up"] and results(waiting)["not_pending"] == "NOT_YET"
    assert pending["adds_up"] and results(pending)["state_agrees"] == "NOT_YET"


async def change(stage: Stage, service: str, statement: str) -> None:
    """Changes a row as nobody may."""
    engine = create_async_engine(stage.mesh.database_urls[service], poolclass=NullPool)
    async with engine.begin() as conn:
        assert (await conn.execute(text(statement))).rowcount == 1
    await engine.dispose()


async def test_only_its_own_operator_is_told(stage: Stage) -> None:
    _, round_id, _ = await settled(stage)
    path = f"/v1/rounds/{round_id}/explanation"
    for request in (
        Rest("GET", path, OTHER_API_KEY),
        Rest("GET", path.replace(round_id, UNKNOWN_ID), API_KEY),
    ):
        assert (await stage.refusal(request)).reason == "ROUND_NOT_FOUND"
    assert (await stage.refusal(Rest("GET", path, "rk_no"))).reason == "API_KEY_INVALID"
    assert (await stage.refusal(Rest("GET", path.replace(round_id, "x"), API_KEY))).reason == "FIELD_INVALID"


async def test_a_retry_is_linked_to_the_first_execution(stage: Stage, trace_receiver: TraceReceiver) -> None:
    player, round_id, request_id = await settled(stage)
    first_id = (await explain(stage, round_id))["traces"][0]["trace_id"]
    again = await stage.answer(rest_spin(player, request_id))
    assert again["round"]["round_id"] == round_id

    def is_replay(span: Any) -> bool:
        return bool(span.attributes.get(ROUND_ID) == round_id and span.attributes.get(REPLAYED))

    spans = await asyncio.to_thread(
        trace_receiver.wait_for,
        lambda spans: any(is_replay(span) and span.name == "game.play" for span in spans),
    )
    [replayed] = [span for span in spans if is_replay(span) and span.name == "game.play"]
    assert first_id in {link.trace_id for link in replayed.links} and replayed.trace_id != first_id


async def make_explain(stage: Stage, traces_url: str, round_id: str, path: Path) -> tuple[bool, str, Any]:
    """Whether it adds up, what the command prints, and the JSON that it writes."""
    return await asyncio.to_thread(_make_explain, stage.mesh.rest_url(), traces_url, round_id, path)


def _make_explain(rest_url: str, traces_url: str, round_id: str, path: Path) -> tuple[bool, str, Any]:
    shown = io.StringIO()
    adds_up = command.explain(
        Console(file=shown, width=80),
        round_id=round_id,
        rest_url=rest_url,
        api_key=API_KEY,
        traces_url=traces_url,
        replay=True,
        json_path=path,
    )
    return adds_up, shown.getvalue(), json.loads(path.read_text())


async def test_the_command_follows_traces_and_does_without(
    stage: Stage, trace_receiver: TraceReceiver, tmp_path: Path
) -> None:
    player, round_id, request_id = await settled(stage)
    await stage.answer(rest_spin(player, request_id))
    path, traces_url = tmp_path / "round.json", trace_receiver.endpoint

    def kept(spans: Any) -> bool:
        of_round = [span for span in spans if span.attributes.get(ROUND_ID) == round_id]
        return {True, False} <= {
            span.attributes.get(REPLAYED) for span in of_round if span.name == "game.play"
        }

    await asyncio.to_thread(trace_receiver.wait_for, kept)
    adds_up, page, explained = await make_explain(stage, traces_url, round_id, path)
    assert adds_up and page.endswith("explain: it adds up\n") and results(explained)["trace_agrees"] == "OK"
    assert "first execution: POST /v1/spins" in page and "linked to the first execution" in page
    [retry] = [one for one in explained["trace_store"]["traces"] if one["replayed"]]
    assert retry["linked_to_first"] and not retry["first"]
    # Nobody answers there: SQL tells the rest.
    adds_up, page, explained = await make_explain(stage, "http://127.0.0.1:9", round_id, path)
    assert adds_up and results(explained)["trace_agrees"] == "UNKNOWN" and "does not answer" in page
    # Another draw than the trace tells of.
    await change(stage, "game", f"update round set draws = '\\x00' where round_id = '{round_id}'")
    adds_up, page, explained = await make_explain(stage, traces_url, round_id, path)
    assert not adds_up and {"trace_agrees", "replayed"} <= off(explained) and "does not add up" in page


async def test_a_round_that_was_not_sampled_is_explained_from_sql(
    stage: Stage, trace_receiver: TraceReceiver, tmp_path: Path
) -> None:
    player = await stage.player()
    headers, spin = {"traceparent": FIRST}, {"request_id": new_id(), "stake": amount(STAKE_MINOR)}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{stage.mesh.rest_url()}/v1/spins",
            headers={**headers, "authorization": f"Bearer {player.token}"},
            json=spin,
        )
        await stage.books.wait_quiet()
        round_id = answer.json()["round"]["round_id"]
        await client.post(
            f"{stage.mesh.rest_url()}/v1/spins",
            headers={"traceparent": RETRY, "authorization": f"Bearer {player.token}"},
            json=spin,
        )
        page_headers = {"authorization": f"Bearer {API_KEY}", "accept": "text/html,*/*"}
        shown = await client.get(
            f"{stage.mesh.rest_url()}/v1/rounds/{round_id}/explanation", headers=page_headers
        )
    assert shown.headers["content-type"].startswith("text/html") and f"{round_id} adds up" in shown.text
    adds_up, page, explained = await make_explain(
        stage, trace_receiver.endpoint, round_id, tmp_path / "round.json"
    )
    assert page.endswith("nothing is off, of what can be told: 15 OK, 1 UNKNOWN\n")
    assert adds_up and "not sampled, so never kept" in page
    assert {name for name, result in results(explained).items() if result != "OK"} == {"trace_agrees"}
    # Of a retry, too, nothing was sampled; what it repeats is told all the same.
    spans = await asyncio.to_thread(
        trace_receiver.wait_for, lambda spans: any(span.trace_id == RETRY[3:35] for span in spans)
    )
    [kept] = [s for s in spans if s.trace_id == RETRY[3:35] and s.attributes.get(ROUND_ID) == round_id]
    assert kept.name == "game.play" and kept.attributes[REPLAYED] is True
    assert [link.trace_id for link in kept.links] == [FIRST[3:35]]


async def test_while_the_wallet_is_away_nothing_of_the_outcome_is_told(stage: Stage) -> None:
    player = await stage.player()
    played = await stage.play(player, new_id())
    await stage.kill("wallet")
    explained = await explain(stage, played.round.round_id)
    assert explained["adds_up"] and results(explained)["state_agrees"] == "UNKNOWN"
    assert [gap["part"] for gap in explained["missing"]] == ["wallet"]
    assert explained["game"]["round"]["outcome_json"] is None and explained["game"]["drawn_win"] is None
    assert not explained["game"]["replay_checks"] and explained["game"]["replay_problem"]
    assert "outcome" not in json.dumps(explained).replace('"outcome_json"', "")


def test_the_command_says_in_one_line_what_it_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "explain"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": ".:gen"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "explain: which round? make explain ROUND=...\n"


async def test_the_examples_of_the_page_are_what_is_answered(stage: Stage) -> None:
    _, round_id, _ = await settled(stage)
    page = await asyncio.to_thread((REPOSITORY / "docs" / "explain.md").read_text)
    [example] = re.findall(r"```sh\n(curl.*?)```", page, re.DOTALL)
    environment = {"API": stage.mesh.rest_url(), "KEY": API_KEY, "ROUND": round_id}
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-ec", example],
        env={**os.environ, **environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "adds up: True" and len(lines) >= 14
    assert all(line.startswith("OK") for line in lines), lines


# The last one: the wallet's auditor sees it, too, and then takes no stake.
# What was stored otherwise, by which statement, and which promises are then broken.
TAMPERED = [
    ("wallet", "update settlement set win_minor = win_minor + 1 where round_id = '{}'", {"win_agrees"}),
    ("wallet", "update settlement set stake_minor = stake_minor + 1 where round_id = '{}'", {"stake_agrees"}),
    (
        "wallet",
        "update settlement set account_id = (select max(account_id) from account where type = 1)"
        " where round_id = '{}'",
        {"account_agrees"},
    ),
    ("wallet", "delete from posting where transaction_id = '{}' and leg = 1", {"postings_balance"}),
    ("wallet", "delete from settlement where round_id = '{}'", {"state_agrees", "win_agrees"}),
    (
        "game",
        "update round_end set account_version = account_version + 1 where round_id = '{}'",
        {"versions_agree"},
    ),
    ("game", "update round_end set state = 'VOID', paid_minor = 0 where round_id = '{}'", {"state_agrees"}),
    (
        "game",
        "update round set definition_hash = 'ab' where round_id = '{}'",
        {"definition_known", "replayed"},
    ),
    ("game", "update round set win_minor = win_minor + 1 where round_id = '{}'", {"win_agrees", "replayed"}),
    ("game", "delete from round where round_id = '{}'", {"round_known"}),
    ("session", "delete from spin_authorization where request_id = '{}'", {"authorised"}),
    ("events", "delete from event where round_id = '{}' and event_type = 'wallet.settled'", {"wallet_told"}),
    (
        "events",
        "update event set account_id = account_id + 2"
        " where round_id = '{}' and event_type = 'wallet.settled'",
        {"account_agrees"},
    ),
    (
        "events",
        "update event set payload = cast(jsonb_set(cast(payload as jsonb), '{{currency_code}}', '\"NOK\"')"
        " as json) where round_id = '{}' and event_type = 'round.settled'",
        {"account_agrees"},
    ),
    (
        "events",
        "update event set payload = cast(jsonb_set(cast(payload as jsonb), '{{stake_minor}}', '7') as json)"
        " where round_id = '{}' and event_type = 'round.settled'",
        {"game_told"},
    ),
    (
        "events",
        "update event set payload = cast(jsonb_set(cast(payload as jsonb), '{{balance_after_minor}}', '7')"
        " as json) where round_id = '{}' and event_type = 'round.settled'",
        {"game_told"},
    ),
    ("events", "delete from event where round_id = '{}' and event_type = 'round.settled'", {"game_told"}),
]


async def test_what_was_changed_behind_its_back_is_named(stage: Stage) -> None:
    player, _ = await stage.player(), await stage.player()
    rounds = []
    for _ in TAMPERED:
        request_id = new_id()
        round_ = (await stage.answer(rest_spin(player, request_id)))["round"]
        rounds.append((round_["round_id"], request_id))
    await stage.books.wait_quiet()
    for (service, statement, broken), (round_id, request_id) in zip(TAMPERED, rounds, strict=True):
        assert not off(await explain(stage, round_id))
        await change(stage, service, statement.format(request_id if service == "session" else round_id))
        if service == "events":
            await make_older(stage, round_id)
        explained = await explain(stage, round_id)
        assert broken <= off(explained) and not explained["adds_up"], (statement, explained["checks"])


async def make_older(stage: Stage, round_id: str) -> None:
    """So that none of its events can be on its way any more."""
    for service, table, column in (
        ("wallet", "settlement", "create_time"),
        ("game", "round_end", "end_time"),
        ("game", "round", "create_time"),
    ):
        older = f"{column} = {column} - interval '1 minute'"
        await change(stage, service, f"update {table} set {older} where round_id = '{round_id}'")
