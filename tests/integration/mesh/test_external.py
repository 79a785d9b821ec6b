"""The whole mesh against an operator's own wallet that answers as badly as networks do: nothing is lost."""

import asyncio
import io
import random
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy.local.databases import Server
from deploy.local.errors import LocalError
from deploy.local.mesh import Mesh
from deploy.local.stuck import stuck
from tests.databases import Databases
from tests.invariants import check_wallet, list_verdicts
from tests.mesh.books import PAYMENTS, Books, check_game_against_wallet, check_spin
from tests.mesh.load import GAMES
from tests.mesh.players import Client, Player, amount
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
    books = Books(mesh.database_urls)
    await books.wait_quiet(seconds_max=QUIET_SECONDS_MAX)
    await wait_answered(books)
    await compare(books, operator, playing)
    # The faults did what they are for: calls of each kind came again; of many rounds some were void.
    repeated = await books.rows("wallet", "select step from external_call where attempts > 1 group by step")
    assert {row.step for row in repeated} >= {1, 2}
    if rounds >= 1000:
        assert await books.rows("game", "select 1 from round_view where state = 'VOID' limit 1")


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
