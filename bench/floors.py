"""Floors: what a spin's parts cost with nothing around them, in the same run.

The statements are those of the services' stores, recorded from the stores themselves and then run by psycopg
alone: 200 items a statement, one connection, one commit each.
"""

import asyncio
import datetime
import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import psycopg
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect

from bench.figures import FLOOR, Floor
from bench.reelmesh import CURRENCY, DEPOSIT_MINOR, GAME_ID
from bench.servers import PostgresServer
from services.common.migrate import migrate
from services.game import records as game_records
from services.game import rounds as game_rounds
from services.game import store as game_store
from services.game.catalogue import Catalogue, Declared
from services.game.engine import definition, loading
from services.session import spins_store as session_store
from services.wallet import records as wallet_records
from services.wallet import store as wallet_store

ITEMS = 200
_STAKE_MINOR = 100
_SERVICES = ("session", "game", "wallet")
_DIALECT = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]


class Statement(NamedTuple):
    """A store's statement as psycopg takes it."""

    text: str
    parameters: dict[str, Any]


class _Taken(Exception):
    """The statement was recorded; what the store does with its rows is not of interest."""


class _Recorder:
    """Stands where a store expects its connection."""

    statement: Statement | None = None

    async def execute(self, clause: Any, parameters: dict[str, Any]) -> Any:
        self.statement = Statement(str(clause.compile(dialect=_DIALECT)), parameters)
        raise _Taken


async def recorded(call: Callable[[Any], Awaitable[object]]) -> Statement:
    """The first statement that the call would execute on the connection it is given."""
    recorder = _Recorder()
    try:
        await call(recorder)
    except _Taken:
        pass
    assert recorder.statement is not None
    return recorder.statement


class Floors:
    """Own databases on the textbook's server, which has nothing of its own to do when idle."""

    def __init__(self, postgres: PostgresServer) -> None:
        self._postgres = postgres
        self._catalogue = Catalogue(map(Declared, loading.load_all(definition.SHIPPED_GAMES).values()))
        self._connections: dict[str, psycopg.Connection[Any]] = {}

    def start(self) -> None:
        """Databases with the services' own migrations, 200 accounts and sessions."""
        server = self._postgres.server
        for service in _SERVICES:
            server.create_role(service)
            url = server.create_database(service, f"floor_{service}")
            migrate(service, url)
            plain = url.replace("postgresql+psycopg://", "postgresql://")
            settings = "-c plan_cache_mode=force_generic_plan"
            self._connections[service] = psycopg.connect(plain, prepare_threshold=0, options=settings)
        _insert_players(self._connections)

    def stop(self) -> None:
        """Ends the connections."""
        for connection in self._connections.values():
            connection.close()

    def measure(self, batches: int, *, pass_no: int) -> list[Floor]:
        """Each part, so many batches of it with fresh ids."""
        drafts, draw_s = [], 0.0
        for _ in range(batches):
            items = [_authorization(number) for number in range(ITEMS)]
            start_s = time.thread_time()
            drawn = [game_rounds.draft_round(self._catalogue, item) for item in items]
            draw_s += time.thread_time() - start_s
            drafts.append([draft for draft in drawn if draft is not None])
        draw_us = draw_s * 1e6 / (batches * ITEMS)
        draw = Floor(
            name="draw", pass_no=pass_no, client_us=draw_us, postgres_us=0, items_per_s=1e6 / draw_us
        )
        return [
            draw,
            self._run("authorize", "session", asyncio.run(_authorizes(batches)), pass_no),
            self._run("play", "game", asyncio.run(_plays(drafts)), pass_no),
            self._run("settle", "wallet", asyncio.run(_settles(drafts)), pass_no),
            self._run("finish", "game", asyncio.run(_finishes(drafts)), pass_no),
        ]

    def _run(self, name: str, service: str, batches: list[list[Statement]], pass_no: int) -> Floor:
        connection = self._connections[service]
        postgres_s, start_s, wall_s = self._postgres.cpu_s(), time.thread_time(), time.perf_counter()
        with connection.cursor() as cursor:
            for statements in batches:
                for statement in statements:
                    cursor.execute(statement.text, statement.parameters)
                    rows = cursor.fetchall()
                    assert len(rows) == ITEMS, f"{name}: {len(rows)} rows for {ITEMS} items"
                connection.commit()
        wall_s, client_s = time.perf_counter() - wall_s, time.thread_time() - start_s
        items = len(batches) * ITEMS
        return Floor(
            name=f"sql {name}",
            pass_no=pass_no,
            client_us=client_s * 1e6 / items,
            postgres_us=(self._postgres.cpu_s() - postgres_s) * 1e6 / items,
            items_per_s=items / wall_s,
        )


def _account_id(number: int) -> int:
    """Of a player; even, as accounts of real money are."""
    return 1000 + 2 * number


def _token_hash(number: int) -> bytes:
    return hashlib.sha256(f"token {number}".encode()).digest()


def _authorization(number: int) -> game_records.Authorization:
    return game_records.Authorization(
        request_id=str(uuid.uuid4()),
        account_id=_account_id(number),
        session_id=str(uuid.uuid4()),
        operator_id=FLOOR,
        player_id=f"floor-{number}",
        kind=game_records.Kind.REAL,
        game_id=GAME_ID,
        currency_code=CURRENCY,
        stake_minor=_STAKE_MINOR,
        mint=True,
        authorize_time=datetime.datetime.now(datetime.UTC),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    )


async def _authorizes(batches: int) -> list[list[Statement]]:
    made = []
    for _ in range(batches):
        asks = [
            session_store.SpinAsk(_token_hash(number), str(uuid.uuid4()), CURRENCY, _STAKE_MINOR)
            for number in range(ITEMS)
        ]
        made.append([await recorded(lambda conn, asks=asks: session_store.authorize(conn, asks))])  # type: ignore[misc]
    return made


Drafts = Sequence[Sequence[game_store.Draft]]


async def _plays(drafts: Drafts) -> list[list[Statement]]:
    return [
        [await recorded(lambda conn, batch=batch: game_store.append_rounds(conn, batch))]  # type: ignore[misc]
        for batch in drafts
    ]


async def _settles(drafts: Drafts) -> list[list[Statement]]:
    made = []
    for batch in drafts:
        items = [
            wallet_records.Item(
                round_id=draft.round.round_id,
                step=wallet_records.Step.FUSED,
                account_id=draft.round.account_id,
                currency_code=CURRENCY,
                stake_minor=_STAKE_MINOR,
                win_minor=draft.round.win_minor,
                game_id=GAME_ID,
                traceparent=draft.round.traceparent,
            )
            for draft in batch
        ]
        made.append([await recorded(lambda conn, items=items: wallet_store.settle(conn, items))])  # type: ignore[misc]
    return made


async def _finishes(drafts: Drafts) -> list[list[Statement]]:
    """The read of the rounds and the insert of their ends, as one finished batch does both."""
    made = []
    for batch in drafts:
        rulings = [(draft.round, _settlement(draft.round), _settled(draft.round)) for draft in batch]
        ids = [draft.round.round_id for draft in batch]
        made.append(
            [
                await recorded(lambda conn, ids=ids: game_store.list_rounds_by_id(conn, ids)),  # type: ignore[misc]
                await recorded(lambda conn, rulings=rulings: game_store.append_rulings(conn, rulings)),  # type: ignore[misc]
            ]
        )
    return made


def _settled(round_: game_records.Round) -> game_store.Ruling:
    return game_store.Ruling("END", game_records.State.SETTLED, round_.win_minor)


def _settlement(round_: game_records.Round) -> game_records.Settlement:
    return game_records.Settlement(
        round_id=round_.round_id,
        step=game_records.SettleStep.FUSED,
        status=game_records.Status.APPLIED,
        account_id=round_.account_id,
        currency_code=CURRENCY,
        stake_minor=_STAKE_MINOR,
        win_minor=round_.win_minor,
        balance_after_minor=DEPOSIT_MINOR,
        account_version=1,
        traceparent=round_.traceparent,
    )


def _insert_players(connections: dict[str, psycopg.Connection[Any]]) -> None:
    wallet, session = connections["wallet"], connections["session"]
    wallet.execute(
        """insert into account (account_id, operator_id, currency_code, kind, type)
           values (2, %(o)s, %(c)s, 1, 2), (4, %(o)s, %(c)s, 1, 3)""",
        {"o": FLOOR, "c": CURRENCY},
    )
    for number in range(ITEMS):
        wallet.execute(
            """insert into account (account_id, operator_id, player_id, currency_code, kind, type,
                 house_account_id, cashier_account_id, balance_minor)
               values (%s, %s, %s, %s, 1, 1, 2, 4, %s)""",
            [_account_id(number), FLOOR, f"floor-{number}", CURRENCY, DEPOSIT_MINOR],
        )
        facts = [uuid.uuid4(), FLOOR, uuid.uuid4(), f"floor-{number}", _account_id(number), GAME_ID, CURRENCY]
        session.execute(
            """insert into session (session_id, operator_id, request_id, player_id, account_id, game_id,
                 currency_code, fingerprint, kind, language_code, jurisdiction, cycle_min_ms, code_hash,
                 code_expire_time, token_hash, create_time, expire_time)
               values (%s, %s, %s, %s, %s, %s, %s, '', 1, '', 'none', 0, %s, now(), %s, now(),
                 now() + interval '1 day')""",
            [*facts, _token_hash(number), _token_hash(number)],
        )
    wallet.commit()
    session.commit()
