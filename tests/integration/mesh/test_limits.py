"""Policies and limits in a running mesh: pace over two gateways, the loss to the cent, what nobody told."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from reelmesh.session.v1 import session_pb2

from deploy.local.mesh import Mesh
from services.session.policy import POLICIES_FILE
from tests.databases import Databases
from tests.mesh.asking import Rest
from tests.mesh.players import CURRENCY, Player, amount
from tests.mesh.stage import CHOICE_GAME_ID, STAKE_MINOR, Stage, new_id, rest_spin
from tests.meshes import API_KEY, running_mesh
from tests.waiting import until

# A round that nobody ends is ended after two of it, and its return is looked for after three.
SPIN_DEADLINE_MS = 1_000
CYCLE_MS = 2_500
# As Malta, but that a second launch joins; of this installation's own file.
JOINING = """
XJ:
  version: 1
  cycle_min_ms: 0
  autoplay: true
  turbo: true
  bonus_buy: true
  reality_check_ms: null
  idle_max_ms: null
  on_relaunch: join
  display: []
"""


@pytest.fixture(scope="module")
def mesh(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two gateways, two sessions, and policies of its own."""
    path: Path = tmp_path_factory.mktemp("policies") / "policies.yaml"
    path.write_text(POLICIES_FILE.read_text() + JOINING)
    environment = {
        "REELMESH_SPIN_DEADLINE_MS": str(SPIN_DEADLINE_MS),
        "REELMESH_SESSION_POLICIES_PATH": str(path),
        "REELMESH_SESSION_RECOUNT_INTERVAL_MS": "200",
    }
    with running_mesh(databases, replicas={"gateway": 2, "session": 2}, environment=environment) as mesh:
        yield mesh


@pytest.fixture
async def stage(mesh: Mesh) -> AsyncIterator[Stage]:
    stage = Stage(mesh)
    yield stage
    await stage.restore()
    await stage.close()


async def status(stage: Stage, player: Player) -> dict[str, Any]:
    """What the player is to be shown."""
    answer = await stage.answer(Rest("GET", "/v1/session", player.token))
    play: dict[str, Any] = answer["play"]
    return play


async def net_minor(stage: Stage, player: Player) -> int:
    return int((await status(stage, player))["net_position"]["amount_minor"])


async def until_net(stage: Stage, player: Player, expected_minor: int) -> None:
    """Returns when what is known of the player's rounds has arrived."""

    async def known() -> bool:
        return await net_minor(stage, player) == expected_minor

    await until(known)


def limits_of(player: Player, **changes: Any) -> Rest:
    body = {"request_id": new_id(), "currency_code": CURRENCY, **changes}
    return Rest("POST", f"/v1/players/{player.player_id}/limits", API_KEY, body)


async def test_bursts_over_two_gateways_keep_the_pace_by_the_server_s_clock(stage: Stage) -> None:
    player = await stage.player(jurisdiction="SE", cycle_min_duration=f"{CYCLE_MS / 1000}s")
    session = await stage.session(player)
    taken = 0
    async with asyncio.timeout(60):
        while taken < 3:
            bodies = [{"request_id": new_id(), "stake": amount(STAKE_MINOR)} for _ in range(20)]
            answers = await asyncio.gather(
                *(
                    player.client.call(
                        "POST", "/v1/spins", credential=player.token, body=body, gateway=number % 2
                    )
                    for number, body in enumerate(bodies)
                )
            )
            refused = {one.body["reason"] for one in answers if one.status != 200}
            assert refused <= {"SPIN_TOO_EARLY"}, refused
            taken += sum(one.status == 200 for one in answers)
    rows = await stage.books.rows(
        "session",
        """select extract(epoch from authorize_time - lag(authorize_time) over (order by authorize_time))
             as gap_s from spin_authorization where account_id = :account_id""",
        account_id=session.account_id,
    )
    gaps = [float(row.gap_s) for row in rows if row.gap_s is not None]
    # Sweden's own cycle is longer than what the launch asked for.
    assert len(rows) == taken and min(gaps) >= 3.0


async def loses_to_the_limit(stage: Stage, limit_minor: int) -> bool:
    """Plays a new player down to the limit, each step to the cent; False if luck carries it away."""
    player = await stage.player(loss_limit=amount(limit_minor))
    net = 0
    while net < 3 * limit_minor:
        answer = await player.spin(STAKE_MINOR)
        assert answer.status == 200, answer.body
        net += int(answer.body["round"]["win"]["amount_minor"]) - STAKE_MINOR
        assert net >= -limit_minor
        await until_net(stage, player, net)
        room = (await status(stage, player))["loss_room"]["amount_minor"]
        assert room == limit_minor + net
        if room < STAKE_MINOR:
            refused = await stage.refusal(rest_spin(player, new_id()))
            assert (refused.reason, refused.metadata["window"]) == ("LOSS_LIMIT_REACHED", "session")
            assert refused.metadata["amount_minor_max"] == str(room)
            return True
    return False


async def test_the_loss_limit_holds_to_the_cent_while_events_are_down(stage: Stage) -> None:
    await stage.kill("events")
    # More than half of all players lose ten stakes before they win thirty.
    for _ in range(30):
        if await loses_to_the_limit(stage, 10 * STAKE_MINOR):
            return
    pytest.fail("thirty players in a row won")


async def test_what_was_not_taken_is_given_back(stage: Stage) -> None:
    poor = await stage.player(funds_minor=0, loss_limit=amount(10 * STAKE_MINOR))
    player = await stage.player(loss_limit=amount(10 * STAKE_MINOR))
    for _ in range(2):
        assert (await stage.refusal(rest_spin(poor, new_id()))).reason == "INSUFFICIENT_FUNDS"
        assert (await stage.refusal(rest_spin(player, new_id(), 101))).reason == "STAKE_NOT_ON_LADDER"
    await until_net(stage, poor, 0)
    await until_net(stage, player, 0)
    assert (await status(stage, player))["staked"]["amount_minor"] == 2 * 101


async def test_what_nobody_told_is_looked_for(stage: Stage) -> None:
    """A gateway died after authorising, after the draw, and after the wallet took the stake."""
    player = await stage.player(loss_limit=amount(100 * STAKE_MINOR))
    forgotten = new_id()
    await stage.authorize(player, forgotten)
    await stage.play(player, new_id())
    settled = (await stage.play(player, new_id())).settle
    await stage.answer(stage.internal("wallet", "Settle", settled))
    assert await net_minor(stage, player) == -3 * STAKE_MINOR
    await until_net(stage, player, settled.win.amount_minor - STAKE_MINOR)
    # Its stake was given back, so it may never be taken.
    assert (await stage.refusal(rest_spin(player, forgotten))).reason == "ROUND_VOID"
    # A spin of another test may be told of just now.
    await stage.books.wait_counted()


async def test_an_abandoned_round_is_collected_and_counts_when_it_is_over(stage: Stage) -> None:
    player = await stage.player(game_id=CHOICE_GAME_ID, loss_limit=amount(1000 * STAKE_MINOR))
    player, round_ = await stage.open_round(player)
    before = await net_minor(stage, player)
    await stage.sql(
        "game",
        "update round_step set create_time = create_time - interval '1 h' where round_id = cast(:id as uuid)",
        id=round_["round_id"],
    )
    async with asyncio.timeout(20):
        while True:
            read = await stage.answer(Rest("GET", f"/v1/rounds/{round_['round_id']}", player.token))
            if read["state"] == "SETTLED":
                break
            await asyncio.sleep(0.1)
    assert read["steps"][-1]["decided_by"] == "TIMEOUT"
    await until_net(stage, player, before + read["win"]["amount_minor"])


async def test_a_choice_and_a_close_count_when_the_round_is_over(stage: Stage) -> None:
    for how in ("act", "close"):
        player = await stage.player(game_id=CHOICE_GAME_ID, loss_limit=amount(1000 * STAKE_MINOR))
        player, round_ = await stage.open_round(player)
        before = await net_minor(stage, player)
        if how == "act":
            won = (await player.act(round_["round_id"], 1, "COLLECT")).body["round"]["win"]
        else:
            quit_ = Rest("POST", "/v1/session/reality_check", player.token, {"choice": "QUIT"})
            closed = (await stage.answer(quit_))["closed"]
            assert closed["state"] == "CLOSED"
            [collected] = closed["collected_rounds"]
            won = collected["win"]
        await until_net(stage, player, before + won["amount_minor"])


async def test_italy_keeps_an_open_round_for_the_next_session(stage: Stage) -> None:
    player = await stage.player(game_id=CHOICE_GAME_ID, jurisdiction="IT")
    player, round_ = await stage.open_round(player)
    closed = await stage.answer(Rest("POST", "/v1/sessions/close", player.token))
    assert closed["state"] == "CLOSED" and closed["collected_rounds"] == []
    relaunched = (await player.launch(jurisdiction="IT")).body
    assert (relaunched["round"]["round_id"], relaunched["round"]["state"]) == (round_["round_id"], "OPEN")
    assert relaunched["round"]["request_id"] == round_["request_id"]
    assert relaunched["play"]["display_duties"] == ["RTP"]
    assert relaunched["play"]["idle_end_time"] is not None


async def test_a_second_launch_joins_where_the_policy_says_so(stage: Stage) -> None:
    player = await stage.player(jurisdiction="XJ")
    first_token, session_id = player.token, player.session_id
    await player.launch(jurisdiction="XJ")
    assert player.session_id == session_id and player.token != first_token
    for token in (first_token, player.token):
        player.token = token
        assert (await player.spin(STAKE_MINOR)).status == 200
        assert (await stage.answer(Rest("GET", "/v1/session", token)))["state"] == "OPEN"


async def test_a_reality_check_is_shown_acknowledged_and_played_on(stage: Stage) -> None:
    player = await stage.player()
    set_ = await stage.answer(limits_of(player, limits={"reality_check_interval": "60s"}))
    assert set_["limits"]["reality_check_interval"] == "60s"
    won = (await player.spin(STAKE_MINOR)).body["round"]["win"]["amount_minor"]
    await until_net(stage, player, won - STAKE_MINOR)
    session = await stage.session(player)
    await stage.sql(
        "session",
        "update account_play set check_time = check_time - interval '60 s' where account_id = :account_id",
        account_id=session.account_id,
    )
    due = await stage.refusal(rest_spin(player, new_id()))
    assert due.reason == "REALITY_CHECK_DUE"
    assert due.metadata["net_position_minor"] == str(won - STAKE_MINOR)
    assert (await status(stage, player))["reality_check_in_duration"] == "0s"
    check = Rest("POST", "/v1/session/reality_check", player.token, {"choice": "CONTINUE"})
    play = (await stage.answer(check))["play"]
    assert re.fullmatch(r"(5\d|60)(\.\d+)?s", play["reality_check_in_duration"])
    assert (await player.spin(STAKE_MINOR)).status == 200


async def test_limits_of_a_player_are_read_as_they_were_set(stage: Stage) -> None:
    player = await stage.player()
    strict = {"loss_day_max": amount(500), "stake_max": amount(200), "session_max_duration": "3600s"}
    await stage.answer(limits_of(player, limits=strict))
    await stage.answer(limits_of(player, limits={"loss_day_max": amount(400)}))
    read = Rest("GET", f"/v1/players/{player.player_id}/limits?currency_code={CURRENCY}", API_KEY)
    told = await stage.answer(read)
    assert told["limits"]["loss_day_max"] == amount(400)
    assert told["limits"]["stake_max"] == amount(200)
    assert told["next_limits"]["stake_max"] is None and told["next_limits"]["loss_day_max"] == amount(400)
    assert told["next_time"] > (await status(stage, player))["current_time"]


async def test_who_reads_the_limits_of_nobody_opens_no_account(stage: Stage) -> None:
    nobody = f"/v1/players/{new_id()}"
    told = await stage.answer(Rest("GET", f"{nobody}/limits?currency_code={CURRENCY}", API_KEY))
    assert told["next_limits"] is None and not any(told["limits"].values())
    refused = await stage.refusal(Rest("GET", f"{nobody}/balance?currency_code={CURRENCY}", API_KEY))
    assert refused.reason == "ACCOUNT_NOT_FOUND"


async def test_a_session_shows_what_its_policy_wants(stage: Stage) -> None:
    player = await stage.player(jurisdiction="SE")
    play = await status(stage, player)
    assert (play["jurisdiction"], play["policy_version"]) == ("SE", 1)
    assert play["display_duties"] == ["NET_POSITION", "ELAPSED_TIME"]
    assert (play["autoplay_allowed"], play["turbo_allowed"]) == (True, False)
    assert play["modes_allowed"] == ["base"]
    assert (await player.client.call("POST", "/v1/session/keep_alive", credential=player.token)).body["play"][
        "idle_end_time"
    ] >= play["idle_end_time"]
    internal = session_pb2.GetSessionRequest(token=player.token, play_wanted=True)
    found = await stage.answer(stage.internal("session", "GetSession", internal))
    assert found.session.policy_hash == play["policy_hash"] and len(play["policy_hash"]) == 64
