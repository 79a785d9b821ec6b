"""Rows of the table: sessions, money and rounds that do not allow what is asked."""

from collections.abc import Callable
from typing import Any

from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.wallet.v1 import wallet_pb2

from tests.contract.rows_fields import Arrange, Row, anyone, grpc_spin, guest, new_session, player, rest_spin
from tests.mesh.asking import Grpc, Request, Rest
from tests.mesh.players import Player, amount
from tests.mesh.stage import (
    CHOICE_GAME_ID,
    OPENING_MINOR,
    STAKE_MINOR,
    WITHDRAWN_GAME_ID,
    Stage,
    money,
    new_id,
)
from tests.meshes import API_KEY, OTHER_API_KEY

AMOUNT_MINOR_MAX = 2**53


def transfer(player: Player, way: str, amount_minor: int, **changes: Any) -> Rest:
    """A deposit ("deposits") or withdrawal ("withdrawals") of a player."""
    body = {"request_id": new_id(), "amount": amount(amount_minor)} | changes
    return Rest("POST", f"/v1/players/{player.player_id}/{way}", API_KEY, body)


# Used ids


async def other_stake(stage: Stage) -> Request:
    player = await stage.player()
    request_id = new_id()
    await stage.answer(rest_spin(player, request_id=request_id))
    return rest_spin(player, request_id=request_id, stake=amount(2 * STAKE_MINOR))


async def other_stake_of_a_refusal(stage: Stage) -> Request:
    player = await stage.player(funds_minor=0)
    request_id = new_id()
    await stage.refusal(grpc_spin(player, request_id=request_id))
    return grpc_spin(player, request_id=request_id, stake=money(2 * STAKE_MINOR))


async def other_mode(stage: Stage) -> Request:
    player = await stage.player()
    request_id = new_id()
    await stage.answer(grpc_spin(player, request_id=request_id))
    return grpc_spin(player, request_id=request_id, mode="bonus")


async def other_deposit(stage: Stage) -> Request:
    player = await stage.player()
    request = transfer(player, "deposits", 500)
    await stage.answer(request)
    return transfer(player, "deposits", 501, request_id=request.body["request_id"])


async def other_player_s_deposit(stage: Stage) -> Request:
    first, second = await stage.player(), await stage.player()
    request = transfer(first, "deposits", 500)
    await stage.answer(request)
    return transfer(second, "deposits", 500, request_id=request.body["request_id"])


async def withdrawal_under_a_deposit_s_id(stage: Stage) -> Request:
    player = await stage.player()
    request = transfer(player, "deposits", 500)
    await stage.answer(request)
    return transfer(player, "withdrawals", 500, request_id=request.body["request_id"])


async def other_game(stage: Stage) -> Request:
    request_id = new_id()
    await stage.answer(await new_session(request_id=request_id)(stage))
    return await new_session(request_id=request_id, game_id=CHOICE_GAME_ID)(stage)


# Money


async def withdrawal_of_a_real_account(stage: Stage) -> Request:
    player = await stage.player()
    request = gateway_pb2.WithdrawPlayerRequest(
        request_id=new_id(), player_id=player.player_id, amount=money(OPENING_MINOR + 1)
    )
    return Grpc("gateway", "WithdrawPlayer", request, API_KEY)


async def withdrawal_of_play_money(stage: Stage) -> Request:
    player = await stage.player()
    await stage.answer(transfer(player, "deposits", 500, kind="DEMO"))
    return transfer(player, "withdrawals", 500, kind="DEMO")


async def deposit_above_the_largest_balance(stage: Stage) -> Request:
    return transfer(stage.guest(), "deposits", AMOUNT_MINOR_MAX)


def frozen(make: Callable[[Player], Request], *, again: bool = False, **options: Any) -> Arrange:
    """Asked by a new player whose account is frozen; `again`: was, when the same was asked before."""

    async def arrange(stage: Stage) -> Request:
        player = await stage.player(**options)
        await stage.set_frozen(player, True)
        request = make(player)
        if again:
            await stage.refusal(request)
            await stage.set_frozen(player, False)
        return request

    return arrange


async def account_of_another_operator(stage: Stage) -> Request:
    session = await stage.session(stage.guest())
    request = wallet_pb2.GetAccountRequest(account_id=session.account_id, operator_id="other")
    return stage.internal("wallet", "GetAccount", request)


async def deposit_to_no_account(stage: Stage) -> Request:
    request = wallet_pb2.DepositRequest(
        operator_id="dev", request_id=new_id(), account_id=2**60, amount=money(500)
    )
    return stage.internal("wallet", "Deposit", request)


# Sessions


async def closed_by_another_operator(stage: Stage) -> Request:
    return Rest("POST", f"/v1/sessions/{stage.guest().session_id}/close", OTHER_API_KEY)


async def unknown_session(stage: Stage) -> Request:
    request = gateway_pb2.CloseSessionRequest(session_id=new_id())
    return Grpc("gateway", "CloseSession", request, API_KEY)


async def session_of_another_operator(stage: Stage) -> Request:
    request = session_pb2.GetSessionRequest(session_id=stage.guest().session_id, operator_id="other")
    return stage.internal("session", "GetSession", request)


async def expired(stage: Stage) -> Request:
    player = await stage.player()
    await stage.sql(
        "session",
        """update session set create_time = create_time - interval '2 h', expire_time = clock_timestamp()
           where session_id = cast(:session_id as uuid)""",
        session_id=player.session_id,
    )
    return rest_spin(player)


async def closed(stage: Stage) -> Request:
    player = await stage.player()
    await stage.answer(Rest("POST", "/v1/sessions/close", player.token))
    return grpc_spin(player)


async def replaced(stage: Stage) -> Request:
    player = await stage.player()
    old_token = player.token
    await player.launch()
    player.token = old_token
    return rest_spin(player)


async def spent_code(stage: Stage) -> Request:
    created = await stage.answer(await new_session()(stage))
    request = Rest("POST", "/v1/sessions/exchange", body={"launch_code": created["launch_code"]})
    await stage.answer(request)
    return request


async def second_spin(stage: Stage) -> Request:
    player = await stage.player(cycle_min_duration="60s")
    await stage.answer(rest_spin(player))
    return rest_spin(player)


# Games and rounds


async def session_of_a_withdrawn_game(stage: Stage) -> Request:
    return await new_session(game_id=WITHDRAWN_GAME_ID)(stage)


async def spin_of_an_unknown_game(stage: Stage) -> Request:
    token = await stage.session_of_game("no-such-game")
    return Rest("POST", "/v1/spins", token, {"request_id": new_id(), "stake": amount(STAKE_MINOR)})


async def spin_of_a_withdrawn_game(stage: Stage) -> Request:
    token = await stage.session_of_game(WITHDRAWN_GAME_ID)
    return Rest("POST", "/v1/spins", token, {"request_id": new_id(), "stake": amount(STAKE_MINOR)})


async def currency_without_ladder(stage: Stage) -> Request:
    created = await stage.answer(await new_session(currency_code="SEK")(stage))
    code = {"launch_code": created["launch_code"]}
    exchanged = await stage.answer(Rest("POST", "/v1/sessions/exchange", body=code))
    spin = {"request_id": new_id(), "stake": amount(STAKE_MINOR, "SEK")}
    return Rest("POST", "/v1/spins", exchanged["token"], spin)


async def spin_beside_an_open_round(stage: Stage) -> Request:
    player, _ = await stage.open_round()
    return rest_spin(player)


async def late_spin(stage: Stage) -> Request:
    """Authorised, then its session was closed before anything was drawn (R4)."""
    player = await stage.player()
    request_id = new_id()
    await stage.authorize(player, request_id)
    await stage.answer(Rest("POST", "/v1/sessions/close", player.token))
    return rest_spin(player, request_id=request_id)


async def unknown_spin(stage: Stage) -> Request:
    player = stage.guest()
    return Rest("GET", f"/v1/spins/{new_id()}", player.token)


async def another_player_s_round(stage: Stage) -> Request:
    first, second = await stage.player(), stage.guest()
    played = await first.spin(STAKE_MINOR)
    request = gateway_pb2.GetRoundRequest(round_id=played.body["round"]["round_id"])
    return Grpc("gateway", "GetRound", request, second.token)


async def another_operator_s_round(stage: Stage) -> Request:
    player = await stage.player()
    played = await player.spin(STAKE_MINOR)
    return Rest("GET", f"/v1/rounds/{played.body['round']['round_id']}", OTHER_API_KEY)


async def choice_in_another_player_s_round(stage: Stage) -> Request:
    _, round_ = await stage.open_round()
    return choice(stage.guest(), round_["round_id"], 1, "COLLECT")


async def choice_in_a_settled_round(stage: Stage) -> Request:
    player = await stage.player()
    played = await player.spin(STAKE_MINOR)
    return choice(player, played.body["round"]["round_id"], 1, "COLLECT")


async def step_too_far(stage: Stage) -> Request:
    player, round_ = await stage.open_round()
    return choice(player, round_["round_id"], round_["step_next"] + 1, "RED")


async def green(stage: Stage) -> Request:
    player, round_ = await stage.open_round()
    return choice(player, round_["round_id"], round_["step_next"], "GREEN")


def choice(player: Player, round_id: str, step: int, choice: str) -> Rest:
    """A choice over REST."""
    return Rest("POST", f"/v1/rounds/{round_id}/steps", player.token, {"step": step, "choice": choice})


ROWS = [
    Row("ID_REUSED", "another stake", other_stake),
    Row("ID_REUSED", "another stake under a refused id", other_stake_of_a_refusal),
    Row("ID_REUSED", "another mode", other_mode),
    Row("ID_REUSED", "another amount", other_deposit),
    Row("ID_REUSED", "another player", other_player_s_deposit),
    Row("ID_REUSED", "a withdrawal under a deposit's id", withdrawal_under_a_deposit_s_id),
    Row("ID_REUSED", "a session in another game", other_game),
    Row("ACCOUNT_NOT_FOUND", "another operator's account", account_of_another_operator),
    Row("ACCOUNT_NOT_FOUND", "no account at all", deposit_to_no_account),
    Row("INSUFFICIENT_FUNDS", "a spin without money", player(rest_spin, funds_minor=STAKE_MINOR - 1)),
    Row("INSUFFICIENT_FUNDS", "the same over gRPC", player(grpc_spin, funds_minor=STAKE_MINOR - 1)),
    Row(
        "INSUFFICIENT_FUNDS",
        "the stake of a choice game",
        player(rest_spin, funds_minor=STAKE_MINOR - 1, game_id=CHOICE_GAME_ID),
    ),
    Row("INSUFFICIENT_FUNDS", "a withdrawal", withdrawal_of_a_real_account),
    Row("ACCOUNT_FROZEN", "a spin", frozen(rest_spin)),
    Row("ACCOUNT_FROZEN", "a spin over gRPC", frozen(grpc_spin)),
    Row("ACCOUNT_FROZEN", "the stake of a choice game", frozen(rest_spin, game_id=CHOICE_GAME_ID)),
    Row("ACCOUNT_FROZEN", "a spin refused before the unfreeze", frozen(rest_spin, again=True)),
    Row("ACCOUNT_FROZEN", "a withdrawal", frozen(lambda p: transfer(p, "withdrawals", 500))),
    Row(
        "ACCOUNT_FROZEN",
        "a withdrawal refused before the unfreeze",
        frozen(lambda p: transfer(p, "withdrawals", 500), again=True),
    ),
    Row("BALANCE_TOO_LARGE", "a deposit above 2^53", deposit_above_the_largest_balance),
    Row("DEMO_WITHDRAWAL", "play money taken out", withdrawal_of_play_money),
    Row("SESSION_NOT_FOUND", "another operator's session", closed_by_another_operator),
    Row("SESSION_NOT_FOUND", "no session at all", unknown_session),
    Row("SESSION_NOT_FOUND", "another operator's session, asked inside", session_of_another_operator),
    Row("SESSION_EXPIRED", "a spin after the end", expired),
    Row("SESSION_CLOSED", "a spin after the close", closed),
    Row("SESSION_REPLACED", "a spin in the old tab", replaced),
    Row(
        "LAUNCH_CODE_INVALID",
        "an unknown code",
        anyone(Rest("POST", "/v1/sessions/exchange", body={"launch_code": "x" * 43})),
    ),
    Row("LAUNCH_CODE_INVALID", "a code for the second time", spent_code),
    Row(
        "CURRENCY_MISMATCH",
        "euros in a session of dollars",
        guest(lambda p: rest_spin(p, stake=amount(STAKE_MINOR, "EUR"))),
    ),
    Row(
        "STAKE_ABOVE_LIMIT",
        "a stake above the session's",
        player(rest_spin, stake_max=amount(STAKE_MINOR - 1)),
    ),
    Row("SPIN_TOO_EARLY", "two spins in a minute", second_spin),
    Row("POLICY_FORBIDDEN", "dollars in Great Britain", new_session(jurisdiction="GB")),
    Row("GAME_NOT_FOUND", "a session in no game", new_session(game_id="no-such-game")),
    Row("GAME_NOT_FOUND", "a session in a withdrawn game", session_of_a_withdrawn_game),
    Row("GAME_NOT_FOUND", "a spin of no game", spin_of_an_unknown_game),
    Row("GAME_WITHDRAWN", "a spin of a withdrawn game", spin_of_a_withdrawn_game),
    Row("CURRENCY_NOT_OFFERED", "kronor without a ladder", currency_without_ladder),
    Row("STAKE_NOT_ON_LADDER", "a stake between two steps", guest(lambda p: rest_spin(p, stake=amount(101)))),
    Row("STAKE_NOT_ON_LADDER", "2^53", guest(lambda p: rest_spin(p, stake=amount(2**53)))),
    Row("MODE_UNKNOWN", "a mode of no game", guest(lambda p: rest_spin(p, mode="no_such_mode"))),
    Row("ROUND_OPEN", "a spin beside an open round", spin_beside_an_open_round),
    Row("ROUND_VOID", "an authorised spin after the close", late_spin),
    Row("ROUND_NOT_FOUND", "no such spin", unknown_spin),
    Row("ROUND_NOT_FOUND", "another player's round", another_player_s_round),
    Row("ROUND_NOT_FOUND", "another operator's round", another_operator_s_round),
    Row("ROUND_NOT_FOUND", "a choice in another player's round", choice_in_another_player_s_round),
    Row("ROUND_NOT_OPEN", "a choice in a settled round", choice_in_a_settled_round),
    Row("STEP_OUT_OF_ORDER", "the step after the next", step_too_far),
    Row("CHOICE_UNKNOWN", "neither red nor black", green),
]
