"""The whole mesh against an operator's own wallet that answers as badly as networks do: nothing is lost."""

import asyncio
import io
import json
import random
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from rich.console import Console
from sqlalchemy import text

from deploy.local.databases import Server
from deploy.local.errors import LocalError
from deploy.local.mesh import Mesh
from deploy.local.review import decision, review
from deploy.local.stuck import stuck
from services.common.client import GuardedChannel
from tests.databases import Databases
from tests.invariants import check_wallet, list_verdicts
from tests.mesh.books import PAYMENTS, Books, check_game_against_wallet, check_spin
from tests.mesh.load import GAMES
from tests.mesh.players import Client, Player, amount
from tests.mesh.reconciling import reconcile
from tests.meshes import API_KEY, running_mesh
from tests.operators import Operator

pytestmark = pytest.mark.tool("openssl")

SEED = 20_261_129
STAKE_MINOR, OPENING_MINOR = 100, 3_000
# Short, so that some stakes stay unknown and are voided; the reconciler's age is twice of it.
ENVIRONMENT = {"REELMESH_SPIN_DEADLINE_MS": "1000"}
QUIET_SECONDS_MAX = 90.0


@pytest.fixture(scope="module")
def operator(server: Server) -> Iterator[Operator]:
    """Three calls in ten go wrong, by a fixed seed."""
    with tempfile.TemporaryDirectory(prefix="reelmesh-operator-") as directory:
        operator = Operator(server, Path(directory), operator_id="dev", faults=SEED)
        operator.start()
        yield operator
        operator.close()


@pytest.fixture(scope="module")
def external_mesh(databases: Databases, operator: Operator) -> Iterator[Mesh]:
    """Two wallets, so that two send what is due."""
    environment = {**ENVIRONMENT, "REELMESH_WALLET_EXTERNAL_WALLETS_PATH": str(operator.wallets_path)}
    with running_mesh(databases, replicas={"wallet": 2}, environment=environment) as mesh:
        yield mesh


async def test_300_rounds_against_a_faulty_wallet_end_with_0_difference(
    external_mesh: Mesh, operator: Operator
) -> None:
    await play_and_compare(external_mesh, operator, rounds=300, players=50)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_10_000_rounds_against_a_faulty_wallet_end_with_0_difference(
    external_mesh: Mesh, operator: Operator
) -> None:
    await play_and_compare(external_mesh, operator, rounds=10_000, players=100)


async def test_make_stuck_lists_stops_and_forces_a_call(external_mesh: Mesh, operator: Operator) -> None:
    client, books = Client([external_mesh.rest_url()]), Books(external_mesh.database_urls)
    player = Player(client, API_KEY, f"x-{uuid.uuid4().hex}", GAMES[0])
    await operator.open(player.player_id, balance=OPENING_MINOR, currency_code="USD")
    try:
        assert (await player.launch()).status == 200
        await asyncio.to_thread(operator.stop)
        body = {"request_id": str(uuid.uuid4()), "stake": amount(STAKE_MINOR)}
        answer = await client.call("POST", "/v1/spins", credential=player.token, body=body)
        assert answer.unknown
        # The stake is unknown, so the reconciler has it voided; nobody answers that either.
        query = "select cast(round_id as text) as round_id from external_call where step = 3 and state = 1"
        calls = await wait_for(books, query)
        call = f"{calls[0].round_id}/void"
        assert call in run_stuck(external_mesh)
        with pytest.raises(LocalError, match="CALL=<round id>"):
            run_stuck(external_mesh, call=call, action="stop")
        assert "stopped" in run_stuck(external_mesh, call=call, action="stop", actor="ann", reason="seen")
        await asyncio.to_thread(operator.start)
        run_stuck(external_mesh, call=call, action="force", actor="ann", reason="it answers again")
        await wait_answered(books)
        assert "every call to its wallet is answered" in run_stuck(external_mesh)
        assert await operator.balance(player.player_id) == OPENING_MINOR
    finally:
        await client.close()


async def test_make_review_records_what_the_operator_gave_back_by_hand(
    external_mesh: Mesh, operator: Operator
) -> None:
    client, books = Client([external_mesh.rest_url()]), Books(external_mesh.database_urls)
    player = Player(client, API_KEY, f"x-{uuid.uuid4().hex}", GAMES[0])
    await operator.open(player.player_id, balance=100 * STAKE_MINOR, currency_code="USD")
    try:
        assert (await player.launch()).status == 200
        round_: dict[str, Any] = {"win": {"amount_minor": 0}}
        while not round_["win"]["amount_minor"]:
            answer = await player.spin(STAKE_MINOR)
            if answer.status == 200 and answer.body["round"]["state"] == "SETTLED":
                round_ = answer.body["round"]
        await wait_answered(books)
    finally:
        await client.close()
    round_id = round_["round_id"]
    assert await roll_back(external_mesh, books, round_id) == wallet_pb2.SETTLEMENT_STATUS_NEEDS_REVIEW
    assert "the operator's own wallet has paid" in await run_review(external_mesh)
    done = await run_review(
        external_mesh, round_id=round_id, verdict="reversed", actor="ann", reason="by hand"
    )
    assert done == f"{round_id} is REVERSED at the wallet\n"
    assert round_id not in await run_review(external_mesh)
    query = "select state from round_view where round_id = cast(:id as uuid)"
    assert [row.state for row in await books.rows("game", query, id=round_id)] == ["REVERSED"]
    query = """select balance_minor from account join reversal using (account_id)
        where round_id = cast(:id as uuid)"""
    assert [row.balance_minor for row in await books.rows("wallet", query, id=round_id)] == [0]


async def roll_back(mesh: Mesh, books: Books, round_id: str) -> int:
    """Game asks the wallet for a round; the status of its answer."""
    query = "select account_id from settlement where round_id = cast(:id as uuid)"
    [row] = await books.rows("wallet", query, id=round_id)
    key = json.loads((mesh.directory / "keys.json").read_text())["identity_key"]
    channel = GuardedChannel(f"dns:///127.0.0.1:{mesh.ports('wallet').grpc}", caller="game", identity_key=key)
    try:
        stub: Any = channel.stub(wallet_pb2_grpc.WalletServiceStub)
        request = wallet_pb2.RollbackRoundRequest(
            round_id=round_id, account_id=row.account_id, actor="game", reason="a test"
        )
        return int((await stub.RollbackRound(request)).settlement.status)
    finally:
        await channel.close()


async def run_review(mesh: Mesh, **decided: str) -> str:
    """What `make review` prints."""
    console = Console(file=io.StringIO(), width=200)
    named = dict.fromkeys(("round_id", "verdict", "actor", "reason"), "") | decided
    await asyncio.to_thread(
        review,
        console,
        decision(**named),
        keys_path=mesh.directory / "keys.json",
        game_target=f"dns:///127.0.0.1:{mesh.ports('game').grpc}",
        wallet_target=f"dns:///127.0.0.1:{mesh.ports('wallet').grpc}",
        operator_id="dev",
    )
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def run_stuck(mesh: Mesh, *, call: str = "", action: str = "", actor: str = "", reason: str = "") -> str:
    """What `make stuck` prints. In a thread: it brings its own loop."""
    console = Console(file=io.StringIO(), width=200)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(
            stuck,
            console,
            target=f"dns:///127.0.0.1:{mesh.ports('wallet').grpc}",
            keys_path=mesh.directory / "keys.json",
            operator_id="dev",
            call=call,
            action=action,
            actor=actor,
            reason=reason,
        ).result()
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


async def play_and_compare(mesh: Mesh, operator: Operator, *, rounds: int, players: int) -> None:
    """Bounded play; then every player's money, and every call, here, there and in game."""
    books = Books(mesh.database_urls)
    # The long form waits as long as the wallet does; here what fails four times would take most of it.
    hurrying = asyncio.create_task(hurry(books)) if rounds < 1000 else None
    try:
        playing = await play_all(mesh, operator, rounds=rounds, players=players)
        await books.wait_quiet(seconds_max=QUIET_SECONDS_MAX)
        await wait_answered(books)
    finally:
        if hurrying:
            hurrying.cancel()
    await compare(books, operator, playing)
    report = await reconcile(mesh)
    assert report.agree and report.findings == [], report.findings
    async with httpx.AsyncClient(trust_env=False, headers={"authorization": f"Bearer {API_KEY}"}) as client:
        for row in await books.rows("game", "select cast(round_id as text) as id from round limit 40"):
            explained = (await client.get(f"{mesh.rest_url()}/v1/rounds/{row.id}/explanation")).json()
            assert explained["adds_up"], explained["checks"]
    # The faults did what they are for: calls of each kind came again; of many rounds some were void.
    repeated = await books.rows("wallet", "select step from external_call where attempts > 1 group by step")
    assert {row.step for row in repeated} >= {1, 2}
    if rounds >= 1000:
        assert await books.rows("game", "select 1 from round_view where state = 'VOID' limit 1")


async def play_all(mesh: Mesh, operator: Operator, *, rounds: int, players: int) -> list[Player]:
    """The players, when each has played."""
    client = Client([mesh.rest_url()])
    try:
        playing = [
            Player(client, API_KEY, f"x-{uuid.uuid4().hex}", GAMES[n % 3 == 2]) for n in range(players)
        ]
        ids = [player.player_id for player in playing]
        await operator.open(*ids, balance=OPENING_MINOR, currency_code="USD")
        await asyncio.gather(
            *(
                play(player, rounds // players, random.Random(f"{SEED}/{n}"))
                for n, player in enumerate(playing)
            )
        )
    finally:
        await client.close()
    return playing


async def play(player: Player, rounds: int, choose: random.Random) -> None:
    """Most players ask until they are answered; some go away, and the reconciler ends their round."""
    launched = await player.launch()
    assert launched.status == 200, launched
    for _ in range(rounds):
        if choose.random() < 0.3:
            body = {"request_id": str(uuid.uuid4()), "stake": amount(STAKE_MINOR)}
            answer = await player.client.call("POST", "/v1/spins", credential=player.token, body=body)
        else:
            answer = await player.spin(STAKE_MINOR)
        while answer.status == 200 and answer.body["round"]["state"] == "OPEN":
            open_round = answer.body["round"]
            choice = choose.choice(["RED", "BLACK", "COLLECT", "COLLECT"])
            answer = await player.act(open_round["round_id"], open_round["step_next"], choice)


async def wait_for(books: Books, query: str) -> list[Any]:
    """Until there is a row in the wallet's database."""
    async with asyncio.timeout(QUIET_SECONDS_MAX):
        while True:
            rows = await books.rows("wallet", query)
            if rows:
                return rows
            await asyncio.sleep(0.1)


async def wait_answered(books: Books) -> None:
    """Until no call is open: payouts are repeated for as long as it takes."""
    await wait_for(books, "select 1 where not exists (select from external_call where state <> 2)")


async def hurry(books: Books) -> None:
    """No call waits longer than the first time, 1 s, until it is sent again."""
    later = "clock_timestamp() + interval '1 s'"
    query = text(f"update external_call set next_time = {later} where state = 1 and next_time > {later}")
    while True:
        async with books.connect("wallet") as conn:
            await conn.execute(query)
            await conn.commit()
        # Its pace: it goes on until it is cancelled.
        await asyncio.sleep(0.3)


async def compare(books: Books, operator: Operator, players: list[Player]) -> None:
    """No difference between game, our books, our calls and the operator's wallet."""
    async with books.connect("wallet") as conn:
        await check_wallet(conn)
        verdicts = await list_verdicts(conn)
    game = await books.rows(
        "game",
        """select cast(round_id as text) as round_id, cast(request_id as text) as request_id, account_id,
           birth, state, stake_minor, paid_minor, balance_after_minor, stake_applied, steps
           from round_view""",
    )
    check_game_against_wallet(game, verdicts, await books.rows("wallet", PAYMENTS))
    await compare_players(books, operator, game, players)
    await compare_calls(books, operator)
    by_request = {round_.request_id: round_ for round_ in game}
    for player in players:
        for heard in player.spins:
            check_spin(heard, by_request.get(heard.request_id))


async def compare_players(books: Books, operator: Operator, game: list[Any], players: list[Player]) -> None:
    """What each player has is the opening less the stakes and plus the wins of game's rounds."""
    accounts = await books.rows(
        "wallet", "select account_id, player_id, balance_minor, external from account where type = 1"
    )
    moved = dict.fromkeys((account.account_id for account in accounts), 0)
    for round_ in game:
        # A player who went away may have left a gamble open.
        if round_.state in ("SETTLED", "OPEN"):
            moved[round_.account_id] += (round_.paid_minor or 0) - round_.stake_minor
    account_ids = {account.player_id: account.account_id for account in accounts}
    stored = {row.player_id: row.balance_minor for row in await operator.rows("select * from player")}
    for player in players:
        due = OPENING_MINOR + moved[account_ids[player.player_id]]
        assert stored[player.player_id] == due, player.player_id
    assert all(account.external and account.balance_minor == 0 for account in accounts)


async def compare_calls(books: Books, operator: Operator) -> None:
    """Row by row: what the operator did is what our calls say it answered, in our books to the amount."""
    calls = await books.rows(
        "wallet",
        """select cast(c.round_id as text) as round_id, step, c.outcome, c.amount_minor,
           t.amount_minor as moved_minor from external_call c left join transfer t using (transfer_id)""",
    )
    stakes = {call.round_id: call for call in calls if call.step == 1}
    payouts = {call.round_id: call for call in calls if call.step == 2}
    there = {
        row.round_id: row
        for row in await operator.rows(
            "select cast(round_id as text) as round_id, stake_minor, outcome, payout_minor from round"
        )
    }
    assert there.keys() <= stakes.keys()
    for round_id, stake in stakes.items():
        # A stake that never arrived was voided: the operator remembers that.
        row = there[round_id]
        assert (row.stake_minor, row.outcome) in (
            (stake.amount_minor, stake.outcome),
            # The refusal was never heard, and the round voided.
            *([(stake.amount_minor, 2)] if stake.outcome == 3 else []),
        )
        assert stake.moved_minor == (stake.amount_minor if stake.outcome == 1 else None)
        paid = payouts.get(round_id)
        assert row.payout_minor == (None if paid is None else paid.amount_minor)
        assert paid is None or (paid.outcome, -(paid.moved_minor or 0)) == (1, paid.amount_minor)
