"""What one caller sends, ends or leaves half done at the gateway's door is nobody else's trouble."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from reelmesh.gateway.v1 import gateway_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from deploy.local.databases import SERVICES
from deploy.local.mesh import Mesh
from services.common.migrate import migrate
from tests.databases import Databases
from tests.integration.mesh.held import held_table, send
from tests.mesh.asking import Grpc, Request, Rest, Told
from tests.mesh.players import Player, amount
from tests.mesh.stage import CHOICE_GAME_ID, STAKE_MINOR, Stage, money, new_id, rest_spin
from tests.meshes import API_KEY, running_mesh

INNOCENTS = 12
SPINS_EACH = 6
RACES = 40
# Game has ten connections: both sides of four races wait on eight of them.
RACES_AT_ONCE = 4
# A spin in four wins; that none of these does has a probability of one in a thousand.
IN_FLIGHT = 24

LARGE = 250_000


@pytest.fixture(scope="module")
def mesh(databases: Databases) -> Iterator[Mesh]:
    """Untraced: nothing here looks at a span, and spans would be half of the work."""
    with running_mesh(databases, replicas={"gateway": 2}) as mesh:
        yield mesh
        assert set(mesh.stop().values()) == {0}


def junk(player: Player) -> list[tuple[Request, set[str]]]:
    """Spins that are too large or no spins at all, and the reasons that may be told."""

    def spin(credential: str, request_id: str, currency_code: str = "USD") -> Grpc:
        message = gateway_pb2.SpinRequest(request_id=request_id, stake=money(STAKE_MINOR, currency_code))
        return Grpc("gateway", "Spin", message, credential)

    long_id, long_code = rest_spin(player, "x" * 60_000), rest_spin(player, new_id())
    long_code.body["stake"]["currency_code"] = "U" * 60_000
    # Of one token only one would be in a batch; 20 of these are more than a message may hold.
    large = [(spin(f"st_{number}", "x" * LARGE), {"FIELD_INVALID"}) for number in range(20)]
    large += [(spin(f"st_{number}", new_id(), "U" * LARGE), {"CURRENCY_UNKNOWN"}) for number in range(20, 40)]
    return [
        (Rest("POST", "/v1/spins", "x" * 5_000_000, rest_spin(player, new_id()).body), {"HEAD_TOO_LARGE"}),
        (Rest("POST", "/v1/spins", "x" * 10_000, rest_spin(player, new_id()).body), {"TOKEN_INVALID"}),
        (long_id, {"FIELD_INVALID"}),
        (long_code, {"CURRENCY_UNKNOWN"}),
        *large,
        (spin("x" * 7_000, new_id()), {"TOKEN_INVALID"}),
        # The transport itself refuses such metadata; all that it says is RESOURCE_EXHAUSTED.
        (spin("x" * LARGE, new_id()), {"OVERLOADED"}),
    ]


async def test_what_one_caller_sends_reaches_nobody_else_s_spin(stage: Stage) -> None:
    players = await asyncio.gather(*(stage.player() for _ in range(INNOCENTS)))
    asks = junk(await stage.player())
    playing = asyncio.gather(*(spins(player) for player in players))
    told: list[Any] = []
    while not playing.done():
        told += zip(asks, await asyncio.gather(*(stage.send(ask) for ask, _ in asks)), strict=True)
    await playing
    for player in players:
        for heard in player.spins:
            [answer] = heard.answers
            assert answer.status == 200, answer
            assert answer.body["round"]["request_id"] == heard.request_id
    for (ask, reasons), answer in told:
        assert isinstance(answer, Told) and answer.reason in reasons, (type(ask), answer)
        assert len(answer.text) < 8_000, "a caller's own words are not sent back whole"
    await stage.books.wait_quiet()
    await stage.books.check(players)


async def test_spins_that_are_too_large_join_no_batch(stage: Stage) -> None:
    leader, *players = await asyncio.gather(*(stage.player() for _ in range(1 + INNOCENTS)))
    large: list[Request] = [
        ask for ask, _ in junk(leader) if isinstance(ask, Grpc) and ask.credential.startswith("st_")
    ]
    url = stage.mesh.rest_url()
    async with held_table(stage, "session", "session", "exclusive") as held:
        [led] = await send(url, [rest_spin(leader, new_id())])
        await held.waited_for(1)
        wires = await send(url, [rest_spin(player, new_id()) for player in players])
        refused = [asyncio.create_task(stage.refusal(ask)) for ask in large]
        # They wait for nobody; would they, all together must have come before the session answers.
        await asyncio.wait(refused, timeout=0.7)
    for wire in (led, *wires):
        assert (await wire.said()).answer.status == 200
    reasons = {told.reason for told in await asyncio.gather(*refused)}
    assert reasons == {"FIELD_INVALID", "CURRENCY_UNKNOWN"}


async def test_close_ends_a_round_whose_gamble_is_won_at_the_same_time(stage: Stage) -> None:
    opened: list[tuple[Player, dict[str, Any]]] = []
    while len(opened) < RACES:
        opened += await asyncio.gather(*(stage.open_round() for _ in range(RACES // 2)))
    collected_by_close = 0
    for first in range(0, RACES, RACES_AT_ONCE):
        group = opened[first : first + RACES_AT_ONCE]
        async with held_table(stage, "game", "round_step", "share") as held:
            acts = [asyncio.create_task(player.act(one["round_id"], 1, "RED")) for player, one in group]
            await held.waited_for(len(group))
            closes = [asyncio.create_task(close(stage, player)) for player, _ in group]
            await held.waited_for(2 * len(group))
        for closed in await asyncio.gather(*closes):
            assert closed["state"] == "CLOSED"
            assert [one["state"] for one in closed["collected_rounds"]] in ([], ["SETTLED"])
        states = await round_states(stage, [one["round_id"] for _, one in group])
        assert set(states) == {"SETTLED"}, "close answered, and a round goes on"
        for acted in await asyncio.gather(*acts):
            assert acted.status == 200, acted
            collected_by_close += acted.body["round"]["state"] == "OPEN"
    assert collected_by_close, "no gamble was won before the close: not the race that this test is for"
    await stage.books.wait_quiet()
    await stage.books.check([player for player, _ in opened])


async def test_close_ends_the_spins_in_flight(stage: Stage) -> None:
    players = await asyncio.gather(*(stage.player(game_id=CHOICE_GAME_ID) for _ in range(IN_FLIGHT)))
    await stage.freeze("wallet")
    spinning = [asyncio.create_task(player.spin(STAKE_MINOR)) for player in players]
    await until(stage, "game", _PENDING, IN_FLIGHT, key=await accounts(stage, players))
    closing = [asyncio.create_task(close(stage, player)) for player in players]
    await until(stage, "session", _CLOSED, IN_FLIGHT, key=[player.session_id for player in players])
    await stage.restore()
    closed = await asyncio.gather(*closing)
    ended = [one["round_id"] for answer in closed for one in answer["collected_rounds"]]
    assert {one["state"] for answer in closed for one in answer["collected_rounds"]} == {"SETTLED"}
    answers = await asyncio.gather(*spinning)
    drawn = [answer.body["round"]["round_id"] for answer in answers if answer.status == 200]
    # A round that won nothing is over with its stake: the close that looks after that has nothing to end.
    told = [answer.body["round"] for answer in answers]
    lost = {round_["round_id"] for round_ in told if round_["state"] == "SETTLED"}
    assert len(drawn) == IN_FLIGHT and set(ended) <= set(drawn) and set(drawn) - set(ended) <= lost
    assert set(await round_states(stage, drawn)) == {"SETTLED"}
    await stage.books.wait_quiet()
    await stage.books.check(players)


@pytest.mark.parametrize("silent", ["wallet", "game"])
async def test_a_launch_code_always_yields_its_token(stage: Stage, silent: str) -> None:
    player = await stage.player()
    body = {"request_id": new_id(), "player_id": player.player_id, "game_id": player.game_id}
    created = await stage.answer(Rest("POST", "/v1/sessions", API_KEY, {**body, "currency_code": "USD"}))
    await stage.freeze(silent)
    code = {"launch_code": created["launch_code"]}
    exchanged = await stage.answer(Rest("POST", "/v1/sessions/exchange", body=code))
    assert exchanged["token"] and exchanged["session_id"] == created["session_id"]
    assert exchanged["round"] is None
    assert (exchanged["balance"] is None) == (silent == "wallet")
    await stage.restore()
    player.token = exchanged["token"]
    played = await player.spin(STAKE_MINOR)
    assert played.status == 200
    assert await player.balance_minor() == played.body["current_balance"]["amount_minor"]


async def test_a_transfer_s_id_is_of_its_first_body_even_if_nothing_moved(stage: Stage) -> None:
    first, second = await asyncio.gather(stage.player(), stage.player())
    before = await stage.money()
    for way in ("deposits", "withdrawals"):
        request_id = new_id()

        def ask(player: Player, amount_minor: int, way: str = way, request_id: str = request_id) -> Rest:
            body = {"request_id": request_id, "amount": amount(amount_minor)}
            return Rest("POST", f"/v1/players/{player.player_id}/{way}", API_KEY, body)

        await stage.freeze("wallet")
        assert (await stage.refusal(ask(first, 700))).body["class"] == "RETRY_SAME_ID"
        others = (ask(second, 700), ask(first, 701))
        for other in others:
            assert (await stage.refusal(other)).reason == "ID_REUSED"
        await stage.restore()
        for other in others:
            assert (await stage.refusal(other)).reason == "ID_REUSED"
        assert await stage.money() == before
        [recorded] = await stage.books.rows("gateway", _ACTION, request_id=request_id)
        assert recorded.player_id == first.player_id
        done = await stage.answer(ask(first, 700))
        assert await stage.answer(ask(first, 700)) == done
        for other in others:
            assert (await stage.refusal(other)).reason == "ID_REUSED"
        # What went in comes out again in the next turn.
        before = before if way == "withdrawals" else await stage.money()
    assert await first.balance_minor() == await second.balance_minor()


async def test_a_session_s_id_is_of_its_first_body_even_if_none_was_made(stage: Stage) -> None:
    first, second = await asyncio.gather(stage.player(), stage.player())

    def ask(player: Player, game_id: str, request_id: str) -> Rest:
        body = {"request_id": request_id, "player_id": player.player_id, "game_id": game_id}
        return Rest("POST", "/v1/sessions", API_KEY, {**body, "currency_code": "USD"})

    request_id = new_id()
    await stage.freeze("wallet")
    silent = await stage.refusal(ask(first, first.game_id, request_id))
    assert silent.body["class"] == "RETRY_SAME_ID"
    await stage.restore()
    for other in (ask(second, first.game_id, request_id), ask(first, CHOICE_GAME_ID, request_id)):
        assert (await stage.refusal(other)).reason == "ID_REUSED"
    [recorded] = await stage.books.rows("gateway", _ACTION, request_id=request_id)
    assert recorded.player_id == first.player_id
    assert (await stage.answer(ask(first, first.game_id, request_id)))["launch_code"]


async def test_a_request_is_the_same_however_it_is_spelt(stage: Stage) -> None:
    """REST and gRPC, defaults named and left out, an id in capitals: one body."""
    player = await stage.player()
    before, request_id = await player.balance_minor(), new_id()
    path = f"/v1/players/{player.player_id}/deposits"
    body = {"request_id": request_id, "amount": amount(700)}
    fund = gateway_pb2.FundPlayerRequest(request_id=request_id, player_id=player.player_id, amount=money(700))
    first = await stage.answer(Rest("POST", path, API_KEY, body))
    told = await stage.answer(Rest("POST", path, API_KEY, {**body, "request_id": request_id.upper()}))
    over_grpc = await stage.answer(Grpc("gateway", "FundPlayer", fund, API_KEY))
    assert told == first and over_grpc.transfer_id == first["transfer_id"]
    assert await player.balance_minor() == before + 700

    launch: dict[str, Any] = {"player_id": player.player_id, "game_id": player.game_id}
    launch |= {"request_id": new_id(), "currency_code": "USD"}
    created = await stage.answer(Rest("POST", "/v1/sessions", API_KEY, launch))
    named = {**launch, "request_id": launch["request_id"].upper(), "kind": "REAL", "language_code": "en"}
    assert await stage.answer(Rest("POST", "/v1/sessions", API_KEY, named)) == created
    create = gateway_pb2.CreateSessionRequest(**launch)
    again = await stage.answer(Grpc("gateway", "CreateSession", create, API_KEY))
    assert again.session_id == created["session_id"]


async def test_an_id_that_was_refused_without_a_verdict_takes_another_body(stage: Stage) -> None:
    """Class NOT_YET: this id may still be used."""
    player = await stage.player()
    launch: dict[str, Any] = {"player_id": player.player_id, "game_id": player.game_id}
    launch |= {"request_id": new_id(), "currency_code": "USD"}
    for wrong in ({"session_duration": "604800s"}, {"kind": "DEMI"}, {"currency_code": "USDX"}):
        refused = await stage.refusal(Rest("POST", "/v1/sessions", API_KEY, {**launch, **wrong}))
        assert refused.body["class"] == "NOT_YET"
    assert (await stage.answer(Rest("POST", "/v1/sessions", API_KEY, launch)))["launch_code"]
    other = await stage.refusal(Rest("POST", "/v1/sessions", API_KEY, {**launch, "jurisdiction": "MT"}))
    assert other.reason == "ID_REUSED"


@pytest.mark.parametrize("reason", ["SESSION_CLOSED", "SESSION_EXPIRED", "SESSION_REPLACED"])
async def test_an_ended_session_reads_known_spins_and_nothing_else(stage: Stage, reason: str) -> None:
    player = await stage.player()
    request_id = new_id()
    played = await stage.answer(rest_spin(player, request_id))
    token = player.token
    await end(stage, player, reason)
    asks: list[Request] = [
        Rest("GET", "/v1/balance", token),
        Rest("GET", "/v1/rounds", token),
        Grpc("gateway", "GetBalance", gateway_pb2.GetBalanceRequest(), token),
        Grpc("gateway", "ListRounds", gateway_pb2.ListRoundsRequest(), token),
    ]
    for ask in asks:
        assert (await stage.refusal(ask)).reason == reason
    player.token = token
    assert (await stage.refusal(rest_spin(player, new_id()))).reason == reason
    assert (await stage.answer(rest_spin(player, request_id)))["round"] == played["round"]
    for path in (f"/v1/rounds/{played['round']['round_id']}", f"/v1/spins/{request_id}"):
        assert await stage.answer(Rest("GET", path, token)) == played["round"]


async def test_a_service_is_ready_once_its_schema_is_there_and_stays_so_on_a_newer_one(
    databases: Databases,
) -> None:
    async with unmigrated(databases, "gateway", "game") as mesh:
        for service in ("gateway", "game"):
            await asyncio.to_thread(mesh.wait_ready, service, health="startup")
            assert mesh.serving(service, health="liveness")
            assert not mesh.serving(service), f"{service} is ready without its tables"
        for service in ("gateway", "game"):
            url = mesh.database_urls[service]
            await asyncio.to_thread(migrate, service, url)
            await asyncio.to_thread(mesh.wait_ready, service)
            await set_version(url, "9999")
            assert mesh.serving(service)
            await set_version(url, "0000")
            assert not mesh.serving(service), f"{service} is ready on a schema that it does not know"
            assert mesh.serving(service, health="liveness")


# What the tests are told with

_ACTION = "select player_id from operator_action where request_id = cast(:request_id as uuid)"
_PENDING = """
select count(*) as n from round_view where state = 'PENDING' and account_id = any(cast(:key as bigint[]))"""
_CLOSED = """
select count(*) as n from session where close_time is not null and session_id = any(cast(:key as uuid[]))"""
_STATES = "select state from round_view where round_id = any(cast(:round_ids as uuid[]))"


async def spins(player: Player) -> None:
    """A few spins, one after the other."""
    for _ in range(SPINS_EACH):
        await player.spin(STAKE_MINOR)


async def close(stage: Stage, player: Player) -> dict[str, Any]:
    """The player's own close."""
    answer: dict[str, Any] = await stage.answer(Rest("POST", "/v1/sessions/close", player.token))
    return answer


async def end(stage: Stage, player: Player, reason: str) -> None:
    """Ends the player's session as the reason says."""
    if reason == "SESSION_CLOSED":
        await close(stage, player)
    elif reason == "SESSION_REPLACED":
        await player.launch()
    else:
        await stage.sql(
            "session",
            """update session set create_time = create_time - interval '2 h', expire_time = clock_timestamp()
               where session_id = cast(:session_id as uuid)""",
            session_id=player.session_id,
        )


async def accounts(stage: Stage, players: Sequence[Player]) -> list[int]:
    """The players' accounts."""
    query = "select account_id from session where session_id = any(cast(:session_ids as uuid[]))"
    rows = await stage.books.rows("session", query, session_ids=[player.session_id for player in players])
    return [row.account_id for row in rows]


async def round_states(stage: Stage, round_ids: Sequence[str]) -> list[str]:
    """The states of rounds, in no order."""
    rows = await stage.books.rows("game", _STATES, round_ids=list(round_ids))
    return [row.state for row in rows]


async def until(stage: Stage, service: str, query: str, count: int, *, key: Sequence[object]) -> None:
    """Returns when the query counts so many."""
    async with asyncio.timeout(10):
        found = 0
        while found < count:
            [row] = await stage.books.rows(service, query, key=list(key))
            found = row.n


@asynccontextmanager
async def unmigrated(databases: Databases, *services: str) -> AsyncIterator[Mesh]:
    """Services that run on empty databases."""
    urls = {service: databases.create(service) for service in SERVICES}
    for service in services:
        engine = create_async_engine(urls[service], poolclass=NullPool)
        async with engine.begin() as conn:
            await conn.execute(text("drop schema public cascade"))
            await conn.execute(text("create schema public"))
    with tempfile.TemporaryDirectory(prefix="reelmesh-mesh-") as directory:
        mesh = Mesh(Path(directory), urls)
        try:
            for service in services:
                mesh.spawn(service)
            yield mesh
        finally:
            await asyncio.to_thread(mesh.kill)
            for url in urls.values():
                databases.drop(url)


async def set_version(url: str, version: str) -> None:
    """What the database says of its schema."""
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as conn:
        await conn.execute(text("update alembic_version set version_num = :version"), {"version": version})
