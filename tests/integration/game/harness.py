"""A game to test: real handlers on a real database, called without the network, beside a real wallet."""

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from reelmesh.game.v1 import game_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, server
from services.common.errors import Unavailable
from services.common.fields import uuid7
from services.common.identity import Caller
from services.game import definitions, messages, store
from services.game.catalogue import Catalogue, Declared
from services.game.engine import definition, loading
from services.game.engine.definition import GameDefinition
from services.game.handlers import Context, Handlers
from services.game.reconciler import Ages, Reconciler
from services.game.records import Authorization, Round
from services.game.returns import Returns
from services.game.wallet import WalletClient
from tests.integration.wallet.harness import OPERATOR, REAL, SEAL_KEY, Wallet, money

# Handlers of this service never ask the context for anything.
CONTEXT = cast(Context, None)
GAMES = {
    **loading.load_all(Path(__file__).parent / "games"),
    **loading.load_all(definition.SHIPPED_GAMES),
}
SPIN, GAMBLE, BONUS = "sure-spin", "sure-gamble", "sure-bonus"
SESSION_ID = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6071"
OPEN_SESSION = session_pb2.SESSION_STATE_OPEN
PLAYER, CLOSE = game_pb2.DECIDED_BY_PLAYER, game_pb2.DECIDED_BY_CLOSE
PENDING, OPEN = game_pb2.ROUND_STATE_PENDING, game_pb2.ROUND_STATE_OPEN
SETTLING, SETTLED = game_pb2.ROUND_STATE_SETTLING, game_pb2.ROUND_STATE_SETTLED
REFUSED, VOID = game_pb2.ROUND_STATE_REFUSED, game_pb2.ROUND_STATE_VOID
REVERSED, NEEDS_REVIEW = game_pb2.ROUND_STATE_REVERSED, game_pb2.ROUND_STATE_NEEDS_REVIEW
# From this on everything is the reconciler's at once.
AT_ONCE = Ages(pending_ms=0, payout_ms=0, open_ms=0)


def new_id() -> str:
    """A fresh id."""
    return str(uuid7())


# Handlers are called without the interceptor here, which says who calls.
server._caller.set(Caller("gateway", "gateway"))


class DirectStub:
    """The wallet's own handlers where a stub would be; silent on demand. Counts its calls."""

    def __init__(self, wallet: Wallet) -> None:
        self._wallet = wallet
        self.silent = False
        self.calls: list[str] = []

    def __getattr__(self, rpc: str) -> Any:
        async def call(request: Any) -> Any:
            self.calls.append(rpc)
            if self.silent:
                raise Unavailable()
            return await getattr(self._wallet.handlers, rpc)(request, CONTEXT)

        return call


class Game:
    """One replica of game: own engine, own batchers. Several may share a database."""

    def __init__(
        self,
        url: str,
        wallet: Wallet,
        *,
        withdrawn: Sequence[str] = (),
        games: Mapping[str, GameDefinition] = GAMES,
    ) -> None:
        self.engine: AsyncEngine = db.create_engine(url, pool_size=5, application_name="game")
        self.wallet = wallet
        self.stub = DirectStub(wallet)
        self.catalogue = Catalogue(map(Declared, games.values()), frozenset(withdrawn))
        self.client = WalletClient(cast("wallet_pb2_grpc.WalletServiceAsyncStub", self.stub))
        self.returns = Returns({})
        self.handlers = Handlers(
            self.engine,
            self.catalogue,
            wallet=self.client,
            returns=self.returns,
            seal_key=SEAL_KEY.encode(),
            ages=AT_ONCE,
        )

    async def __aenter__(self) -> Self:
        await definitions.record(self.engine, self.catalogue)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.handlers.drain()
        await self.engine.dispose()

    def reconciler(self, *, ages: Ages = AT_ONCE, holder: str = "test") -> Reconciler:
        """The reconciler of this replica, to be run by hand."""
        return Reconciler(
            self.engine,
            self.catalogue,
            wallet=self.client,
            finish=self.handlers.finish,
            seal_key=SEAL_KEY.encode(),
            ages=ages,
            interval_ms=100,
            holder=holder,
        )

    async def play(self, account_id: int, **fields: Any) -> game_pb2.PlayResponse:
        """One Play; `fields` as of play_request, and `gateway`, the process that asks."""
        server._caller.set(Caller("gateway", fields.pop("gateway", "gateway")))
        return await self.handlers.Play(play_request(account_id, **fields), CONTEXT)

    async def settle(self, played: game_pb2.PlayResponse) -> game_pb2.Round:
        """What the gateway does after Play: the wallet's verdict, recorded."""
        return await self.finish(await self.wallet.send(played.settle))

    async def finish(self, settlement: wallet_pb2.Settlement) -> game_pb2.Round:
        """Records an answer of the wallet."""
        request = game_pb2.FinishRequest(settlement=settlement)
        return (await self.handlers.Finish(request, CONTEXT)).round

    async def open(self, account_id: int, **fields: Any) -> game_pb2.Round:
        """A won round of the gamble game that waits for a choice."""
        round_ = await self.settle(await self.play(account_id, game_id=GAMBLE, **fields))
        assert round_.state == OPEN
        return round_

    async def act(
        self,
        round_: game_pb2.Round,
        choice: str,
        *,
        step: int = 1,
        decided_by: game_pb2.DecidedBy.ValueType = PLAYER,
        session_state: session_pb2.SessionState.ValueType = OPEN_SESSION,
    ) -> game_pb2.ActResponse:
        """One choice."""
        request = game_pb2.ActRequest(
            account_id=round_.account_id,
            round_id=round_.round_id,
            step=step,
            choice=choice,
            decided_by=decided_by,
            session_state=session_state,
        )
        return await self.handlers.Act(request, CONTEXT)

    async def get(self, round_id: str, account_id: int) -> game_pb2.Round:
        """A round by its id, as its owner sees it."""
        request = game_pb2.GetRoundRequest(account_id=account_id, round_id=round_id)
        return (await self.handlers.GetRound(request, CONTEXT)).round

    async def stored(self, round_id: str) -> Round:
        """A round as game itself has it, hidden parts included; asks nobody."""
        async with self.engine.connect() as conn:
            found = await store.find_round(conn, round_id)
        assert found is not None
        return found

    async def rows(self, query: str, **values: object) -> list[Any]:
        """The rows of a query on game's database."""
        async with self.engine.connect() as conn:
            return list(await conn.execute(text(query), values))

    async def open_rounds(self) -> set[str]:
        """Ids of the rounds that block others."""
        return {str(row.round_id) for row in await self.rows("select round_id from open_round")}


def play_request(
    account_id: int,
    *,
    request_id: str = "",
    game_id: str = SPIN,
    stake: int = 100,
    currency_code: str = "EUR",
    mint: bool = True,
    session_id: str = SESSION_ID,
    operator_id: str = OPERATOR,
    mode: str = "",
) -> game_pb2.PlayRequest:
    """A Play as the gateway sends it."""
    authorization = session_pb2.Authorization(
        request_id=request_id or new_id(),
        account_id=account_id,
        session_id=session_id,
        operator_id=operator_id,
        player_id=f"player-{account_id}",
        kind=REAL,
        game_id=game_id,
        stake=money(stake, currency_code),
        mint=mint,
        mode=mode,
    )
    authorization.authorize_time.FromDatetime(dt.datetime.now(dt.UTC))
    return game_pb2.PlayRequest(authorization=authorization)


def authorization(account_id: int, **fields: Any) -> Authorization:
    """The same, as the rules take it."""
    return messages.parse_authorization(play_request(account_id, **fields), traceparent="", gateway="")


async def blocked_or_done(game: Game, task: asyncio.Task[Any]) -> bool:
    """Whether a task is over, or somebody in this database waits for a row of somebody else."""
    waiting = await game.rows("""
        select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'""")
    return task.done() or bool(waiting)
