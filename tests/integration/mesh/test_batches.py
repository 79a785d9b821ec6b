"""Many spins in few calls, and none of them less than alone: own answer, own error, own turn."""

import asyncio
from collections.abc import Collection, Sequence

from opentelemetry.trace import SpanKind
from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.type.v1 import error_pb2
from reelmesh.wallet.v1 import wallet_pb2

from deploy.local.mesh import Mesh
from deploy.local.traces import Span, TraceReceiver
from services.common import telemetry_names
from services.common.fields import uuid7
from services.game import seal
from tests.integration.mesh.held import Said, Wire, held_table, send
from tests.mesh.asking import Grpc, Rest
from tests.mesh.players import Answer, Heard, Player
from tests.mesh.stage import OPENING_MINOR, SIMPLE_GAME_ID, STAKE_MINOR, Stage, money, new_id, rest_spin

# The calls that a spin waits for; each carries a batch.
HOPS = {"authorize": "BatchAuthorize", "play": "BatchPlay", "settle": "BatchSettle"}
AT_ONCE = 50
# One by one it would be 50; how many arrive while a call is under way is the machine's business.
BATCHES_MAX = AT_ONCE // 3
INT64_MAX = 2**63 - 1


async def test_fifty_spins_at_once_travel_in_few_calls(
    mesh: Mesh, stage: Stage, trace_receiver: TraceReceiver
) -> None:
    *players, leader = await several(stage, AT_ONCE + 1)
    # Behind a leader: on a busy machine the gateway may answer one before the next is written.
    said = await together(stage, mesh, leader, [spin(player) for player in players])
    assert {one.answer.status for one in said} == {200}
    batches = await batches_of(trace_receiver, said)
    for hop, method in HOPS.items():
        ids = {batch.span_id for batch in batches[hop].values()}
        assert len(ids) <= BATCHES_MAX, f"{len(ids)} batches of {hop}"
        calls = [
            one
            for one in trace_receiver.spans()
            if one.parent_span_id in ids and one.kind == SpanKind.CLIENT.name
        ]
        assert {one.name.rpartition("/")[2] for one in calls} == {method}
        assert len(calls) == len(ids), "a batch is one call"
    account_ids = [(await stage.session(player)).account_id for player in players]
    for service, table in (("session", "spin_authorization"), ("game", "round"), ("wallet", "settlement")):
        query = f"""select count(*) as n, count(distinct cast(xmin as text)) as transactions from {table}
                    where account_id = any(cast(:account_ids as bigint[]))"""
        [stored] = await stage.books.rows(service, query, account_ids=account_ids)
        assert stored.n == AT_ONCE and stored.transactions <= BATCHES_MAX, (table, stored)
    await settled_down(stage, players, said)


async def test_each_item_of_a_batch_gets_its_own_answer(
    mesh: Mesh, stage: Stage, trace_receiver: TraceReceiver
) -> None:
    *players, leader, poor, forgetful, guessing, stranger = await several(stage, 31)
    await poor.withdraw(OPENING_MINOR - STAKE_MINOR + 1)
    used = (await forgetful.spin(STAKE_MINOR)).body["round"]["request_id"]
    stranger.token = "st_" + "x" * 43
    expected = {
        "INSUFFICIENT_FUNDS": spin(poor),
        "ID_REUSED": rest_spin(forgetful, used, 2 * STAKE_MINOR),
        "STAKE_NOT_ON_LADDER": spin(guessing, STAKE_MINOR + 1),
        "TOKEN_INVALID": spin(stranger),
    }
    asks = [spin(player) for player in players]
    # The odd ones in the middle: halves and orders are not what keeps the others whole.
    asks[10:10] = expected.values()
    said = await together(stage, mesh, leader, asks)
    odd = [said.pop(10) for _ in expected]
    assert [one.answer.body.get("reason") for one in odd] == list(expected)
    for ask, one in zip(asks[:10] + asks[14:], said, strict=True):
        assert one.answer.status == 200, one
        assert one.answer.body["round"]["request_id"] == ask.body["request_id"]
    batches = await batches_of(trace_receiver, said)
    for hop, members in ("authorize", 30), ("play", 28), ("settle", 27):
        [batch] = {one.span_id: one for one in batches[hop].values()}.values()
        assert batch.attributes[telemetry_names.BATCH_SIZE] == members
    await settled_down(stage, players, said)


async def test_an_item_that_breaks_a_constraint_fails_alone(stage: Stage) -> None:
    players = await several(stage, 7)
    rich = await stage.player()
    account_id = (await stage.session(rich)).account_id
    settles = [(await stage.play(player, new_id())).settle for player in players]
    settles.insert(4, poison(stage, account_id))
    before = await stage.money()
    # The auditor would see the balance, and rightly take no more stakes: its turn comes when it is mended.
    await stage.sql("wallet", "update auditor set due_time = clock_timestamp() + interval '1 minute'")
    await set_balance(stage, account_id, INT64_MAX)
    for replayed in (False, True):
        batch = wallet_pb2.BatchSettleRequest(requests=settles)
        answer = await stage.answer(stage.internal("wallet", "BatchSettle", batch))
        results = list(answer.results)
        assert results.pop(4).error.reason == error_pb2.ERROR_REASON_INTERNAL
        for result, settle in zip(results, settles[:4] + settles[5:], strict=True):
            assert result.settlement.round_id == settle.round_id
            assert result.settlement.status == wallet_pb2.SETTLEMENT_STATUS_APPLIED
            assert result.settlement.replayed == replayed
    await set_balance(stage, account_id, OPENING_MINOR)
    await stage.sql("wallet", "update auditor set due_time = clock_timestamp()")
    finishes = [game_pb2.FinishRequest(settlement=result.settlement) for result in results]
    finish = game_pb2.BatchFinishRequest(requests=finishes)
    await stage.answer(stage.internal("game", "BatchFinish", finish))
    assert (await stage.money())[2] == before[2] + len(players)
    assert await rich.balance_minor() == OPENING_MINOR
    await stage.books.wait_quiet()
    await stage.books.check([*players, rich])


async def test_a_client_that_goes_away_takes_no_answer_with_it(mesh: Mesh, stage: Stage) -> None:
    *players, leader = await several(stage, 14)
    staying, cutting, cancelling = players[:7], players[7:10], players[10:]
    ids = {player.player_id: new_id() for player in players}
    url = mesh.rest_url()
    async with held_table(stage, "session", "session", "exclusive") as held:
        first = await send(url, [spin(leader)])
        await held.waited_for(1)
        cancelled = [
            asyncio.create_task(stage.send(grpc_spin(player, ids[player.player_id]))) for player in cancelling
        ]
        wires = await send(url, [rest_spin(player, ids[player.player_id]) for player in cutting + staying])
        await stage.answer(Grpc("gateway", "ListGames", gateway_pb2.ListGamesRequest()))
        for task in cancelled:
            task.cancel()
        for wire in wires[: len(cutting)]:
            wire.cut()
    said = await said_by(wires[len(cutting) :])
    for player, one in zip(staying, said, strict=True):
        assert one.answer.status == 200, one
        assert one.answer.body["round"]["request_id"] == ids[player.player_id]
    assert [one.answer.status for one in await said_by(first)] == [200]
    await asyncio.gather(*cancelled, return_exceptions=True)
    # Whatever became of those that went away, the same id is one round for ever.
    for player in cutting + cancelling:
        answer = await player.spin(STAKE_MINOR, ids[player.player_id])
        assert answer.status == 200, answer
    await settled_down(stage, staying, said)
    await stage.books.check(players)


async def test_a_player_who_sends_fifty_spins_at_once_delays_nobody(
    mesh: Mesh, stage: Stage, trace_receiver: TraceReceiver
) -> None:
    *players, leader, greedy = await several(stage, 22)
    asks = [spin(greedy) for _ in range(AT_ONCE)] + [spin(player) for player in players]
    said = await together(stage, mesh, leader, asks)
    assert {one.answer.status for one in said} == {200}
    batches = await batches_of(trace_receiver, said)
    flood, others = said[:AT_ONCE], said[AT_ONCE:]
    for hop in HOPS:
        of_flood = [batches[hop][one.trace_id].span_id for one in flood]
        assert len(set(of_flood)) == AT_ONCE, f"two spins of one account in one batch of {hop}"
    for hop, hop_before in ("play", "authorize"), ("settle", "play"):
        every = list({one.span_id: one for one in batches[hop].values()}.values())
        for one in others:
            own, ready = batches[hop][one.trace_id], batches[hop_before][one.trace_id].end_unix_ns
            waited = [batch for batch in every if ready < batch.end_unix_ns <= own.end_unix_ns]
            assert len(waited) <= 2, f"{len(waited)} batches of {hop} until its own had passed"
    # They came behind the flood, and went with its first.
    assert {batches["authorize"][one.trace_id].span_id for one in others} == {
        min(
            (batches["authorize"][one.trace_id] for one in flood), key=lambda batch: batch.start_unix_ns
        ).span_id
    }
    await stage.books.wait_quiet()
    await stage.books.check(players)


async def test_a_batch_that_fails_as_a_whole_loses_no_item(mesh: Mesh, stage: Stage) -> None:
    players = await several(stage, 12)
    async with held_table(stage, "wallet", "account", "exclusive") as held:
        spinning = [asyncio.create_task(player.spin(STAKE_MINOR)) for player in players]
        await held.waited_for(1)
        await asyncio.to_thread(mesh.kill, "wallet")
    await asyncio.to_thread(mesh.start, "wallet")
    for player, answer in zip(players, await asyncio.gather(*spinning), strict=True):
        [heard] = player.spins
        # Where the wallet took its time to come back, the reconciler has spoken: that too is an answer.
        assert answer.status == 200 or answer.body["reason"] == "ROUND_VOID", answer
        assert all(one.unknown for one in heard.answers[:-1]), heard
    await stage.books.wait_quiet()
    await stage.books.check(players)


# What the tests are told with


async def several(stage: Stage, count: int) -> list[Player]:
    """New players."""
    return await asyncio.gather(*(stage.player() for _ in range(count)))


def spin(player: Player, stake_minor: int = STAKE_MINOR) -> Rest:
    """A new spin over REST."""
    return rest_spin(player, new_id(), stake_minor)


def grpc_spin(player: Player, request_id: str) -> Grpc:
    """A spin over gRPC."""
    message = gateway_pb2.SpinRequest(request_id=request_id, stake=money(STAKE_MINOR))
    return Grpc("gateway", "Spin", message, player.token)


async def together(stage: Stage, mesh: Mesh, leader: Player, asks: Sequence[Rest]) -> list[Said]:
    """Spins that all wait behind the leader's, whose session does not answer: they leave together."""
    url = mesh.rest_url()
    async with held_table(stage, "session", "session", "exclusive") as held:
        first = await send(url, [spin(leader)])
        await held.waited_for(1)
        wires = await send(url, asks)
    [led] = await said_by(first)
    assert led.answer.status == 200, led
    return await said_by(wires)


async def said_by(wires: Sequence[Wire]) -> list[Said]:
    """All answers, in order."""
    return await asyncio.gather(*(wire.said() for wire in wires))


async def batches_of(receiver: TraceReceiver, said: Sequence[Said]) -> dict[str, dict[str, Span]]:
    """For each hop the gateway's batch that each answer's trace went with."""
    traces = {one.trace_id for one in said}

    def found(spans: list[Span]) -> bool:
        by_hop = _by_hop(spans, traces)
        members = {hop: members.keys() for hop, members in by_hop.items()}
        ended = {one.parent_span_id for one in spans if one.kind == SpanKind.CLIENT.name}
        exported = all(one.span_id in ended for members in by_hop.values() for one in members.values())
        return exported and all(traces == keys for keys in members.values())

    return _by_hop(await asyncio.to_thread(receiver.wait_for, found), traces)


def _by_hop(spans: Sequence[Span], traces: Collection[str]) -> dict[str, dict[str, Span]]:
    by_hop: dict[str, dict[str, Span]] = {hop: {} for hop in HOPS}
    for one in spans:
        hop = one.name.removeprefix("batch gateway.")
        if hop in by_hop:
            by_hop[hop] |= {link.trace_id: one for link in one.links if link.trace_id in traces}
    return by_hop


def poison(stage: Stage, account_id: int) -> wallet_pb2.SettleRequest:
    """A sealed settle of a round that nobody drew; its win is more than the account's column can hold."""
    round_id = str(uuid7())
    sealed = seal.seal(
        key=stage.seal_key,
        round_id=round_id,
        step="FUSED",
        account_id=account_id,
        game_id=SIMPLE_GAME_ID,
        currency_code="USD",
        stake_minor=1,
        win_minor=2,
    )
    return wallet_pb2.SettleRequest(
        round_id=round_id,
        step=wallet_pb2.SETTLE_STEP_FUSED,
        account_id=account_id,
        stake=money(1),
        win=money(2),
        game_id=SIMPLE_GAME_ID,
        seal=sealed,
    )


async def set_balance(stage: Stage, account_id: int, balance_minor: int) -> None:
    """A balance that no posting explains."""
    await stage.sql(
        "wallet",
        "update account set balance_minor = :balance_minor where account_id = :account_id",
        balance_minor=balance_minor,
        account_id=account_id,
    )


async def settled_down(stage: Stage, players: Sequence[Player], said: Sequence[Said]) -> None:
    """The books agree with each other and with what was said, one answer per player."""
    await stage.books.wait_quiet()
    for player, one in zip(players, said, strict=True):
        player.spins.append(heard(one.answer))
    await stage.books.check(players)


def heard(answer: Answer) -> Heard:
    """An answer as a player would have noted it."""
    return Heard(answer.body["round"]["request_id"], [answer])
