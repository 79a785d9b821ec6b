"""Rows of the table: what a jurisdiction's policy or a player's own limits do not allow."""

from typing import Any

from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.session.v1 import session_pb2

from tests.contract.rows_fields import Arrange, Row, anyone, new_session, player, rest_spin
from tests.mesh.asking import Grpc, Request, Rest
from tests.mesh.players import Player, amount
from tests.mesh.stage import STAKE_MINOR, Stage, money, new_id
from tests.meshes import API_KEY

# Sweden takes any currency and stake; it forbids turbo and bought modes.
SE = {"jurisdiction": "SE"}
# Its modes are free spins at 26 bets.
BOUGHT_GAME_ID, BOUGHT_MODE = "sky-orchard", "buy"


def limits(player: Player, **changes: Any) -> Rest:
    """A player's limits over REST."""
    body = {"request_id": new_id(), "currency_code": "USD", **changes}
    return Rest("POST", f"/v1/players/{player.player_id}/limits", API_KEY, body)


async def bought_mode(stage: Stage) -> Request:
    player = await stage.player(game_id=BOUGHT_GAME_ID, **SE)
    return rest_spin(player, mode=BOUGHT_MODE, stake=amount(26 * STAKE_MINOR))


async def reality_check(stage: Stage) -> Request:
    """An hour of play, told as if it had begun an hour ago."""
    player = await stage.player(**SE)
    await stage.answer(rest_spin(player))
    session = await stage.session(player)
    await stage.sql(
        "session",
        "update account_play set check_time = check_time - interval '1 h' where account_id = :account_id",
        account_id=session.account_id,
    )
    return rest_spin(player)


async def cooling_off(stage: Stage) -> Request:
    player = await stage.player()
    await stage.answer(limits(player, cool_off_duration="3600s"))
    return rest_spin(player)


def over_the_loss_limit(**options: Any) -> Arrange:
    """A stake above what may be lost in this session, or on this day."""
    return player(rest_spin, **options)


async def over_the_day(stage: Stage) -> Request:
    player = await stage.player()
    await stage.answer(limits(player, limits={"loss_day_max": amount(STAKE_MINOR - 1)}))
    return rest_spin(player)


async def over_the_players_stake(stage: Stage) -> Request:
    player = await stage.player()
    await stage.answer(limits(player, limits={"stake_max": amount(STAKE_MINOR - 1)}))
    return rest_spin(player)


async def other_limits_under_a_used_id(stage: Stage) -> Request:
    player, request_id = await stage.player(), new_id()
    await stage.answer(limits(player, request_id=request_id, limits={"stake_max": amount(500)}))
    return limits(player, request_id=request_id, limits={"stake_max": amount(600)})


async def kept_alive_after_the_close(stage: Stage) -> Request:
    player = await stage.player()
    await stage.answer(Rest("POST", "/v1/sessions/close", player.token))
    return Rest("POST", "/v1/session/keep_alive", player.token)


async def silent_for_too_long(stage: Stage) -> Request:
    player = await stage.player(**SE)
    await stage.sql(
        "session",
        "update session set create_time = create_time - interval '30 min' "
        "where session_id = cast(:session_id as uuid)",
        session_id=player.session_id,
    )
    return Grpc("gateway", "KeepAlive", gateway_pb2.KeepAliveRequest(), player.token)


ROWS = [
    Row(
        "FEATURE_FORBIDDEN",
        "turbo in Sweden",
        player(lambda p: rest_spin(p, turbo=True), **SE),
    ),
    Row(
        "FEATURE_FORBIDDEN",
        "autoplay where nothing is known",
        player(
            lambda p: Grpc(
                "gateway",
                "Spin",
                gateway_pb2.SpinRequest(request_id=new_id(), stake=money(STAKE_MINOR), autoplay=True),
                p.token,
            ),
            jurisdiction="XX",
            stake_max=amount(STAKE_MINOR),
        ),
    ),
    Row("MODE_FORBIDDEN", "a bought mode in Sweden", bought_mode),
    Row("STAKE_ABOVE_LIMIT", "a stake above the player's own limit", over_the_players_stake),
    Row(
        "LOSS_LIMIT_REACHED",
        "the session's limit",
        over_the_loss_limit(loss_limit=amount(STAKE_MINOR - 1)),
    ),
    Row("LOSS_LIMIT_REACHED", "the player's limit of a day", over_the_day),
    Row("REALITY_CHECK_DUE", "after an hour", reality_check),
    Row("LOCKED_OUT", "a player who wished it", cooling_off),
    Row("LAUNCH_INCOMPLETE", "no stake limit where nothing is known", new_session(jurisdiction="XX")),
    Row(
        "LAUNCH_INCOMPLETE",
        "no loss limit in Spain",
        new_session(jurisdiction="ES", session_duration="600s"),
    ),
    Row("POLICY_FORBIDDEN", "dollars of another country in Ontario", new_session(jurisdiction="CA-ON")),
    Row("ID_REUSED", "other limits under a used id", other_limits_under_a_used_id),
    Row("SESSION_CLOSED", "kept alive after the close", kept_alive_after_the_close),
    Row("SESSION_EXPIRED", "silence for half an hour", silent_for_too_long),
    Row(
        "FIELD_INVALID",
        "an answer that a reality check does not take",
        player(lambda p: Rest("POST", "/v1/session/reality_check", p.token, {"choice": "LATER"})),
    ),
    Row(
        "FIELD_MISSING",
        "no answer to a reality check",
        player(
            lambda p: Grpc(
                "gateway",
                "AcknowledgeRealityCheck",
                gateway_pb2.AcknowledgeRealityCheckRequest(),
                p.token,
            )
        ),
    ),
    Row(
        "FIELD_INVALID",
        "a day's limit in another currency",
        player(lambda p: limits(p, limits={"loss_day_max": amount(500, "EUR")})),
    ),
    Row(
        "CURRENCY_UNKNOWN",
        "limits in no currency that there is",
        player(lambda p: limits(p, currency_code="XXX")),
    ),
    Row(
        "API_KEY_INVALID",
        "limits set by a player",
        player(lambda p: Rest("POST", f"/v1/players/{p.player_id}/limits", p.token, {})),
    ),
    Row(
        "TOKEN_INVALID",
        "a session read with an API key",
        anyone(Rest("GET", "/v1/session", API_KEY)),
    ),
]


async def _returns_too_large(stage: Stage) -> Request:
    one = session_pb2.RoundReturn(
        account_id=1, request_id=new_id(), round_id=new_id(), returned_minor=2**53 + 1
    )
    return stage.internal("session", "BatchCountReturns", session_pb2.BatchCountReturnsRequest(returns=[one]))


ROWS.append(Row("FIELD_INVALID", "a return above 2^53", _returns_too_large))
