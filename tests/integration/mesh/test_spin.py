"""One spin through five processes: refused, repeated, raced, chosen, closed, moved to a newer session."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from reelmesh.gateway.v1 import gateway_pb2

from deploy.local.mesh import Mesh
from services.gateway.edge import messages
from tests.invariants import check_wallet
from tests.mesh.asking import Grpc, Rest
from tests.mesh.players import Answer, Client, Heard, Player, amount
from tests.mesh.stage import (
    CHOICE_GAME_ID,
    OPENING_MINOR,
    STAKE_MINOR,
    Stage,
    money,
    new_id,
    rest_act,
    rest_spin,
)
from tests.meshes import API_KEY, OTHER_API_KEY

AT_ONCE = 50


async def test_a_refusal_for_lack_of_funds_stays_one_after_a_deposit(stage: Stage) -> None:
    player = await stage.player(funds_minor=STAKE_MINOR - 1)
    refused = await player.spin(STAKE_MINOR)
    assert (refused.status, refused.body["reason"]) == (422, "INSUFFICIENT_FUNDS")
    assert refused.body["metadata"] == {"balance_minor": str(STAKE_MINOR - 1), "currency_code": "USD"}
    await player.fund(OPENING_MINOR)
    again = await player.spin(STAKE_MINOR, player.spins[0].request_id)
    assert told(again) == told(refused)
    await stage.books.wait_quiet()
    once_more = await player.spin(STAKE_MINOR, player.spins[0].request_id)
    assert told(once_more) == told(refused)
    assert await player.balance_minor() == OPENING_MINOR + STAKE_MINOR - 1
    await stage.books.check([player])


async def test_a_spin_refused_by_a_freeze_is_read_as_that_wherever_it_is_read(stage: Stage) -> None:
    player = await stage.player()
    await stage.set_frozen(player, True)
    refused = await player.spin(STAKE_MINOR)
    assert (refused.status, refused.body["reason"]) == (422, "ACCOUNT_FROZEN")
    await stage.set_frozen(player, False)
    request_id = player.spins[0].request_id
    found = await stage.answer(Rest("GET", f"/v1/spins/{request_id}", player.token))
    history = await stage.answer(Rest("GET", "/v1/rounds", player.token))
    of_operator = await stage.answer(Rest("GET", f"/v1/rounds/{found['round_id']}", API_KEY))
    assert history["rounds"] == [found] == [of_operator]
    assert (found["state"], found["reason"], found["outcome"]) == ("REFUSED", "ACCOUNT_FROZEN", None)
    get = gateway_pb2.GetRoundRequest(round_id=found["round_id"])
    assert (await stage.answer(Grpc("gateway", "GetRound", get, player.token))).round.reason == found[
        "reason"
    ]
    await stage.books.wait_quiet()
    assert told(await player.spin(STAKE_MINOR, request_id)) == told(refused)
    await stage.books.check([player])
    assert (await player.spin(STAKE_MINOR)).status == 200


async def test_a_spin_in_a_mode_is_read_in_that_mode_wherever_it_is_read(stage: Stage) -> None:
    player = await stage.player(game_id="sure-bonus")
    request_id = new_id()
    body = {"request_id": request_id, "stake": amount(1_000), "mode": "bonus"}
    played = await stage.answer(Rest("POST", "/v1/spins", player.token, body))
    round_ = played["round"]
    assert (round_["mode"], round_["win"]["amount_minor"]) == ("bonus", 2 * 7 * 100)
    assert played["current_balance"]["amount_minor"] == OPENING_MINOR - 1_000 + 1_400
    assert await stage.answer(Rest("POST", "/v1/spins", player.token, body)) == played
    spin = gateway_pb2.SpinRequest(request_id=request_id, stake=money(1_000), mode="bonus")
    assert (await stage.answer(Grpc("gateway", "Spin", spin, player.token))).round.mode == "bonus"
    other = await stage.refusal(Rest("POST", "/v1/spins", player.token, body | {"mode": "ante"}))
    assert other.reason == "ID_REUSED"
    await stage.books.wait_quiet()
    found = await stage.answer(Rest("GET", f"/v1/rounds/{round_['round_id']}", API_KEY))
    assert (found["mode"], found["outcome"]) == ("bonus", round_["outcome"])
    games = await stage.answer(Rest("GET", "/v1/games"))
    [modes] = [game["modes"] for game in games["games"] if game["game_id"] == "sure-bonus"]
    assert [(mode["mode"], mode["cost"]) for mode in modes] == [
        ("base", "1"),
        ("ante", "1.5"),
        ("bonus", "10"),
    ]


async def test_the_outcome_of_a_refused_spin_is_shown_nowhere(stage: Stage) -> None:
    player = await stage.player(funds_minor=STAKE_MINOR - 1)
    refused = await player.spin(STAKE_MINOR)
    assert refused.status == 422
    found = await stage.answer(Rest("GET", f"/v1/spins/{player.spins[0].request_id}", player.token))
    history = await stage.answer(Rest("GET", "/v1/rounds", player.token))
    of_operator = await stage.answer(Rest("GET", f"/v1/rounds/{found['round_id']}", API_KEY))
    assert history["rounds"] == [found] == [of_operator]
    assert (found["state"], found["reason"]) == ("REFUSED", "INSUFFICIENT_FUNDS")
    assert found["outcome"] is None and found["win"] is None and found["at_risk"] is None
    assert found["balance_after"] == amount(STAKE_MINOR - 1)


async def test_a_spin_sent_fifty_times_at_once_is_one_round_for_ever(mesh: Mesh, stage: Stage) -> None:
    player = await stage.player()
    request_id = new_id()
    answers = await at_once(mesh, rest_spin(player, request_id))
    assert {answer.status for answer in answers} == {200}
    [round_] = unequal(answer.body["round"] for answer in answers)
    assert {answer.body["current_balance"]["amount_minor"] for answer in answers} == {
        round_["balance_after"]["amount_minor"]
    }
    await stage.books.wait_quiet()
    await played_once(stage, request_id)

    async def repeat(token: str) -> None:
        player.token = token
        repeated = await at_once(mesh, rest_spin(player, request_id), times=4)
        assert [answer.body.get("round") for answer in repeated] == 4 * [round_]

    replaced_token = player.token
    await player.launch()
    await repeat(player.token)
    await repeat(replaced_token)
    await stage.answer(Rest("POST", "/v1/sessions/close", (closed_token := player.token)))
    await player.launch(session_duration="1s", stake_max=amount(STAKE_MINOR))
    await until_expired(stage, player)
    await repeat(player.token)
    await repeat(closed_token)
    await played_once(stage, request_id)
    player.spins = [Heard(request_id, answers)]
    await stage.books.check([player])


async def test_a_spin_of_a_choice_game_sent_fifty_times_at_once_is_one_round(
    mesh: Mesh, stage: Stage
) -> None:
    player = await stage.player(game_id=CHOICE_GAME_ID)
    states: set[str] = set()
    # Until both have been seen: a round that is over, and one that waits for a choice.
    for _ in range(60):
        request_id = new_id()
        answers = await at_once(mesh, rest_spin(player, request_id), times=AT_ONCE if not states else 6)
        [round_] = unequal(answer.body["round"] for answer in answers)
        await played_once(stage, request_id)
        states.add(round_["state"])
        if round_["state"] == "OPEN":
            await player.act(round_["round_id"], 1, "COLLECT")
        if states == {"OPEN", "SETTLED"}:
            break
    assert states == {"OPEN", "SETTLED"}


async def test_rest_and_grpc_answer_one_spin_alike(stage: Stage) -> None:
    player = await stage.player()
    request_id = new_id()
    over_rest = await stage.answer(rest_spin(player, request_id))
    message = gateway_pb2.SpinRequest(request_id=request_id, stake=money(STAKE_MINOR))
    over_grpc = await stage.answer(Grpc("gateway", "Spin", message, player.token))
    assert played_json(over_grpc.round) == over_rest["round"]
    by_id = gateway_pb2.GetRoundRequest(round_id=over_rest["round"]["round_id"])
    found = await stage.answer(Grpc("gateway", "GetRound", by_id, player.token))
    assert played_json(found.round) == over_rest["round"]


async def test_two_tabs_that_choose_at_once_make_one_decision(mesh: Mesh, stage: Stage) -> None:
    for choices in (("RED", "BLACK"), ("RED", "COLLECT")):
        player, round_ = await stage.open_round()
        asks = [rest_act(player, round_, choice) for choice in choices * 4]
        answers = await all_at_once(mesh, asks)
        assert {answer.status for answer in answers} == {200}, answers
        [decided] = unequal(answer.body["round"] for answer in answers)
        [step] = decided["steps"]
        assert step["choice"] in choices and step["decided_by"] == "PLAYER"
        steps = await stage.books.rows(
            "game",
            "select step from round_step where round_id = cast(:round_id as uuid) and step > 0",
            round_id=round_["round_id"],
        )
        assert len(steps) == 1
        late = await stage.answer(rest_act(player, round_, choices[1]))
        assert late["round"] == decided
    await stage.books.wait_quiet()


async def test_a_payout_is_made_once_and_is_what_was_at_risk(mesh: Mesh, stage: Stage) -> None:
    player, round_ = await stage.open_round()
    before_minor = await player.balance_minor()
    balance = await stage.answer(Rest("GET", "/v1/balance", player.token))
    assert balance["open_rounds_at_risk"] == round_["at_risk"]
    answers = await all_at_once(mesh, [rest_act(player, round_, "COLLECT")] * 10)
    [settled] = unequal(answer.body["round"] for answer in answers)
    assert settled["state"] == "SETTLED" and settled["win"] == round_["at_risk"]
    assert await player.balance_minor() == before_minor + round_["at_risk"]["amount_minor"]
    await stage.books.wait_quiet()
    await stage.books.check([player])


async def test_close_collects_the_open_round_by_its_id(stage: Stage) -> None:
    player, round_ = await stage.open_round()
    closed = await stage.answer(Rest("POST", "/v1/sessions/close", player.token))
    assert closed["state"] == "CLOSED"
    [collected] = closed["collected_rounds"]
    assert collected["round_id"] == round_["round_id"] and collected["state"] == "SETTLED"
    assert [step["decided_by"] for step in collected["steps"]] == ["CLOSE"]
    assert collected["win"] == round_["at_risk"]
    again = await stage.answer(Rest("POST", "/v1/sessions/close", player.token))
    assert again["close_time"] == closed["close_time"] and again["collected_rounds"] == []
    # The player's own choice comes too late, and is told what was decided.
    late = await stage.answer(rest_act(player, round_, "RED"))
    assert late["round"] == collected


async def test_a_newer_session_takes_the_open_round_over(stage: Stage) -> None:
    player, round_ = await stage.open_round()
    old_token = player.token
    exchanged = await player.launch()
    assert exchanged.body["round"] == round_
    old_tab = Player(player.client, API_KEY, player.player_id, CHOICE_GAME_ID, token=old_token)
    refused = await stage.refusal(rest_act(old_tab, round_, "COLLECT"))
    assert refused.reason == "SESSION_REPLACED"
    closed = await stage.answer(Rest("POST", "/v1/sessions/close", old_token))
    assert closed["state"] == "REPLACED" and closed["collected_rounds"] == []
    collected = await stage.answer(rest_act(player, round_, "COLLECT"))
    assert collected["round"]["state"] == "SETTLED"


async def test_a_token_that_closed_once_closes_no_newer_session_s_round(stage: Stage) -> None:
    player = await stage.player(game_id=CHOICE_GAME_ID)
    closed_token = player.token
    closed = await stage.answer(Rest("POST", "/v1/sessions/close", closed_token))
    await player.launch()
    _, round_ = await stage.open_round(player)
    again = await stage.answer(Rest("POST", "/v1/sessions/close", closed_token))
    assert again == closed and again["collected_rounds"] == []
    found = await stage.answer(Rest("GET", f"/v1/rounds/{round_['round_id']}", player.token))
    assert found == round_ and found["state"] == "OPEN"
    collected = await stage.answer(rest_act(player, round_, "COLLECT"))
    assert collected["round"]["win"] == round_["at_risk"]


async def test_history_pages_newest_first_without_a_gap(stage: Stage) -> None:
    player = await stage.player()
    played = [(await player.spin(STAKE_MINOR)).body["round"] for _ in range(7)]
    pages, page_token = [], ""
    while True:
        query = f"?page_size=3&page_token={page_token}"
        page = await stage.answer(Rest("GET", f"/v1/rounds{query}", player.token))
        pages.append(page["rounds"])
        page_token = page["next_page_token"]
        if page_token is None:
            break
    await stage.books.wait_quiet()
    assert [len(page) for page in pages] == [3, 3, 1]
    listed = [round_["round_id"] for page in pages for round_ in page]
    assert listed == [round_["round_id"] for round_ in reversed(played)]
    # Finish has been by: what is listed is what was answered.
    whole = await stage.answer(Rest("GET", "/v1/rounds?page_size=100", player.token))
    assert whole["rounds"] == played[::-1] and whole["next_page_token"] is None


async def test_an_operator_reads_the_rounds_of_its_own_players_only(stage: Stage) -> None:
    player = await stage.player()
    round_ = (await player.spin(STAKE_MINOR)).body["round"]
    path = f"/v1/rounds/{round_['round_id']}"
    assert await stage.answer(Rest("GET", path, API_KEY)) == round_
    by_others = await stage.refusal(Rest("GET", path, OTHER_API_KEY))
    of_nobody = await stage.refusal(Rest("GET", f"/v1/rounds/{new_id()}", OTHER_API_KEY))
    # Whether the round exists cannot be told from the answer.
    assert (by_others.reason, by_others.message) == ("ROUND_NOT_FOUND", of_nobody.message)
    assert by_others.metadata == of_nobody.metadata


async def test_play_money_never_touches_real_money(stage: Stage) -> None:
    player = await stage.player()
    funded = await stage.answer(
        Rest(
            "POST",
            f"/v1/players/{player.player_id}/deposits",
            API_KEY,
            {"request_id": new_id(), "amount": amount(7_000), "kind": "DEMO"},
        )
    )
    assert funded["current_balance"] == amount(7_000)
    assert await player.balance_minor() == OPENING_MINOR
    real_token = player.token
    await player.launch(kind="DEMO")
    assert await player.balance_minor() == 7_000
    request_id = new_id()
    in_play = await stage.answer(rest_spin(player, request_id))
    assert in_play["current_balance"]["amount_minor"] - in_play["round"]["win"]["amount_minor"] == 6_900
    # Another account, so the real session goes on, and the same id is another round there (R10).
    player.token = real_token
    assert await player.balance_minor() == OPENING_MINOR
    in_earnest = await stage.answer(rest_spin(player, request_id))
    assert in_earnest["round"]["round_id"] != in_play["round"]["round_id"]
    await stage.books.wait_quiet()
    async with stage.books.connect("wallet") as conn:
        await check_wallet(conn)


async def test_the_books_see_a_payment_that_differs(stage: Stage) -> None:
    player, round_ = await stage.open_round()
    await player.act(round_["round_id"], 1, "COLLECT")
    other = await stage.player()
    fused = (await other.spin(STAKE_MINOR)).body["round"]
    await stage.books.wait_quiet()
    for tampered in (round_, fused):
        await pay_more(stage, tampered["round_id"], 1)
        # Without the players: it is not what they were told that gives it away.
        with pytest.raises(AssertionError, match=f"{tampered['round_id']}: .* the wallet paid"):
            await stage.books.check([])
        await pay_more(stage, tampered["round_id"], -1)
    await stage.books.check([player, other])


# What the tests are told with


async def pay_more(stage: Stage, round_id: str, more_minor: int) -> None:
    """A round's end as the wallet did not answer it."""
    await stage.sql(
        "game",
        """update round_end set paid_minor = paid_minor + :more_minor
           where round_id = cast(:round_id as uuid)""",
        more_minor=more_minor,
        round_id=round_id,
    )


async def at_once(mesh: Mesh, ask: Rest, *, times: int = AT_ONCE) -> list[Answer]:
    """One request many times at once."""
    return await all_at_once(mesh, [ask] * times)


async def all_at_once(mesh: Mesh, asks: list[Rest]) -> list[Answer]:
    """Requests over two gateways, let go together on connections that are open already."""
    client = Client([mesh.rest_url("gateway"), mesh.rest_url("gateway-2")])
    ready = asyncio.Barrier(len(asks))

    async def send(number: int, ask: Rest) -> Answer:
        await client.call("GET", "/v1/games", gateway=number % 2)
        await ready.wait()
        heard = Heard("")
        return await client.until_known(
            ask.method, ask.path, credential=ask.credential, body=ask.body, heard=heard
        )

    try:
        return await asyncio.gather(*(send(number, ask) for number, ask in enumerate(asks)))
    finally:
        await client.close()


def unequal(bodies: Any) -> list[Any]:
    """Each of the different ones."""
    different: list[Any] = []
    for body in bodies:
        if body not in different:
            different.append(body)
    return different


def played_json(played: gateway_pb2.PlayedRound) -> dict[str, Any]:
    """A round told over gRPC, as REST tells it."""
    decoded: dict[str, Any] = json.loads(msgspec.json.encode(messages.round_json(played)))
    return decoded


def told(answer: Answer) -> dict[str, Any]:
    """All that was said but the trace, which is the call's own."""
    return {key: value for key, value in answer.body.items() if key != "trace_id"}


async def played_once(stage: Stage, request_id: str) -> None:
    """One authorisation, one round, one settlement of its stake."""
    one = [(1,)]
    authorized = "select 1 from spin_authorization where request_id = cast(:request_id as uuid)"
    assert await stage.books.rows("session", authorized, request_id=request_id) == one
    drawn = (
        "select cast(round_id as text) as round_id from round where request_id = cast(:request_id as uuid)"
    )
    [round_] = await stage.books.rows("game", drawn, request_id=request_id)
    settled = "select 1 from settlement where round_id = :round_id"
    assert await stage.books.rows("wallet", settled, round_id=round_.round_id) == one


async def until_expired(stage: Stage, player: Player) -> None:
    """Returns when the session takes no new spin; asks with a stake above its limit, which never plays."""
    async with asyncio.timeout(5):
        while True:
            refused = await stage.refusal(rest_spin(player, new_id(), 2 * STAKE_MINOR))
            if refused.reason == "SESSION_EXPIRED":
                return
            await asyncio.sleep(0.1)
