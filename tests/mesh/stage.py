"""What a test of a running mesh needs: players, service identities, a look at the money, broken parts."""

import asyncio
import json
import signal
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message
from reelmesh.game.v1 import game_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import account_kind_pb2, money_pb2
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from deploy.local.mesh import Mesh
from services.common import identity
from services.gateway.operators import keys
from services.gateway.operators.keys import NewKey
from services.gateway.operators.scopes import EVERYTHING
from tests.mesh.asking import Grpc, Line, Request, Rest, Told
from tests.mesh.books import Books
from tests.mesh.players import Client, Player, amount
from tests.meshes import API_KEY

SIMPLE_GAME_ID = "harbour-lights"
CHOICE_GAME_ID = "double-dawn"
WITHDRAWN_GAME_ID = "old-lantern"
STAKE_MINOR = 100
OPENING_MINOR = 50_000
# One spin in four wins something; this many losses in a row have a probability of 1e-13.
SPINS_TO_WIN_MAX = 100

# Every movement of money shows here: balances and versions of all accounts, and the postings.
_MONEY = """
select (select json_agg(json_build_array(account_id, balance_minor, version) order by account_id)
        from account where type = 1) as accounts,
  (select json_build_array(count(*), sum(amount_minor)) from posting) as postings,
  (select count(*) from settlement where status = 1) as applied
"""


def new_id() -> str:
    """A request id."""
    return str(uuid.uuid4())


def money(amount_minor: int, currency_code: str = "USD") -> money_pb2.Money:
    """An amount as a message."""
    return money_pb2.Money(currency_code=currency_code, amount_minor=amount_minor)


async def new_player(
    client: Client, *, game_id: str = SIMPLE_GAME_ID, funds_minor: int = OPENING_MINOR, **options: Any
) -> Player:
    """A player of operator "dev" with money and a session of these options."""
    player = Player(client, API_KEY, f"p-{uuid.uuid4().hex}", game_id)
    if funds_minor:
        funded = await player.fund(funds_minor)
        assert funded.status == 200, funded
    launched = await player.launch(**options)
    assert launched.status == 200, launched
    return player


def launched(mesh: Mesh) -> str:
    """The token of a new player with money, for a test that has no loop of its own."""

    async def launch() -> str:
        client = Client([mesh.rest_url()])
        try:
            return (await new_player(client)).token
        finally:
            await client.close()

    return asyncio.run(launch())


def rest_spin(player: Player, request_id: str, stake_minor: int = STAKE_MINOR) -> Rest:
    """A spin over REST."""
    body = {"request_id": request_id, "stake": amount(stake_minor)}
    return Rest("POST", "/v1/spins", player.token, body)


def rest_act(player: Player, round_: dict[str, Any], choice: str) -> Rest:
    """The first choice of an open round over REST."""
    body = {"step": 1, "choice": choice}
    return Rest("POST", f"/v1/rounds/{round_['round_id']}/steps", player.token, body)


class Stage:
    """A running mesh in one test."""

    def __init__(self, mesh: Mesh, *, guest: Player | None = None) -> None:
        """`guest`: a player who outlives this test."""
        self.mesh = mesh
        self._guest = guest
        self.books = Books(mesh.database_urls)
        gateways = [name for name in mesh.names if name.startswith("gateway")]
        self._client = Client([mesh.rest_url(name) for name in gateways])
        self._line = Line(mesh)
        self._repairs: list[Callable[[], Awaitable[None]]] = []
        self._keys: dict[str, str] = json.loads((mesh.directory / "keys.json").read_text())

    async def close(self) -> None:
        """Closes the connections."""
        await self._line.close()
        await self._client.close()

    async def answer(self, request: Request) -> Any:
        """The answer, JSON or message."""
        return await self._line.answer(request)

    async def refusal(self, request: Request) -> Told:
        """The refusal."""
        return await self._line.refusal(request)

    async def send(self, request: Request) -> Any:
        """Either."""
        return await self._line.send(request)

    async def money(self) -> tuple[Any, ...]:
        """All of it; equal when nothing moved."""
        [row] = await self.books.rows("wallet", _MONEY)
        return tuple(row)

    # Players

    async def player(self, **options: Any) -> Player:
        """A new player; options as of new_player."""
        return await new_player(self._client, **options)

    def guest(self) -> Player:
        """The player of all tests that need nothing of their own. Whoever ends its session needs one."""
        assert self._guest is not None
        return replace(self._guest, client=self._client)

    async def open_round(self, player: Player | None = None) -> tuple[Player, dict[str, Any]]:
        """A player, by default a new one, whose last round waits for a choice."""
        player = player or await self.player(game_id=CHOICE_GAME_ID)
        for _ in range(SPINS_TO_WIN_MAX):
            answer = await player.spin(STAKE_MINOR)
            assert answer.status == 200, answer
            if answer.body["round"]["state"] == "OPEN":
                return player, answer.body["round"]
        raise AssertionError("no win")

    async def session(self, player: Player) -> session_pb2.Session:
        """The player's session as the gateway sees it."""
        request = session_pb2.GetSessionRequest(token=player.token)
        found = await self.answer(self.internal("session", "GetSession", request))
        session: session_pb2.Session = found.session
        return session

    async def session_of_game(self, game_id: str) -> str:
        """The token of a session in any game, made behind the gateway's back, which knows the catalogue."""
        create = session_pb2.CreateSessionRequest(
            operator_id="dev",
            request_id=new_id(),
            player_id=f"p-{uuid.uuid4().hex}",
            game_id=game_id,
            currency_code="USD",
            kind=account_kind_pb2.ACCOUNT_KIND_REAL,
            jurisdiction="none",
        )
        created = await self.answer(self.internal("session", "CreateSession", create))
        exchange = session_pb2.ExchangeCodeRequest(launch_code=created.launch_code)
        exchanged = await self.answer(self.internal("session", "ExchangeCode", exchange))
        token: str = exchanged.token
        return token

    # Services

    def internal(
        self, service: str, method: str, request: Message | bytes, *, caller: str = "gateway"
    ) -> Grpc:
        """A call in the name of a service."""
        return Grpc(service, method, request, token=self.token(caller))

    def token(self, caller: str, *, ttl_s: float = 60.0) -> str:
        """A service's identity."""
        return identity.sign(caller, self._keys["identity_key"], ttl_s)

    @property
    def seal_key(self) -> bytes:
        """Game's and the wallet's."""
        return self._keys["seal_key"].encode()

    async def authorize(
        self, player: Player, request_id: str, stake_minor: int = STAKE_MINOR
    ) -> session_pb2.Authorization:
        """A spin that session allowed, and that goes no further."""
        ask = session_pb2.AuthorizeRequest(
            token=player.token, request_id=request_id, stake=money(stake_minor)
        )
        answer = await self.answer(self.internal("session", "Authorize", ask))
        authorization: session_pb2.Authorization = answer.authorization
        return authorization

    async def play(
        self, player: Player, request_id: str, stake_minor: int = STAKE_MINOR
    ) -> game_pb2.PlayResponse:
        """A round that is drawn, and that nobody settles."""
        ask = game_pb2.PlayRequest(authorization=await self.authorize(player, request_id, stake_minor))
        played: game_pb2.PlayResponse = await self.answer(self.internal("game", "Play", ask))
        return played

    async def set_frozen(self, player: Player, frozen: bool) -> None:
        """An operator freezes the player's account, or ends the freeze."""
        who: dict[str, Any] = {
            "operator_id": "dev",
            "account_id": (await self.session(player)).account_id,
            "actor": "ann",
            "reason": "stolen card",
        }
        if frozen:
            ask = self.internal("wallet", "FreezeAccount", wallet_pb2.FreezeAccountRequest(**who))
        else:
            ask = self.internal("wallet", "UnfreezeAccount", wallet_pb2.UnfreezeAccountRequest(**who))
        await self.answer(ask)

    # Operators

    async def key(self, *scopes: str, operator_id: str = "dev", signed: bool = False) -> NewKey:
        """A new API key, as the installation's command makes it."""
        engine = create_async_engine(self.mesh.database_urls["gateway"], poolclass=NullPool)
        return await keys.create_key(
            engine,
            operator_id=operator_id,
            name=f"k-{uuid.uuid4().hex}",
            scopes=scopes or (EVERYTHING,),
            expire_after=None,
            signature_required=signed,
            signing_key=self._keys["signing_key"],
        )

    # What is broken, until restore()

    async def sql(self, service: str, statement: str, **values: Any) -> None:
        """One committed statement in a service's database."""
        engine = create_async_engine(self.mesh.database_urls[service], poolclass=NullPool)
        async with engine.begin() as conn:
            await conn.execute(text(statement), values)

    async def lose_table(self, service: str, table: str) -> None:
        """Renames a table."""
        await self.sql(service, f"alter table {table} rename to {table}_lost")
        self.repair(lambda: self.sql(service, f"alter table {table}_lost rename to {table}"))

    async def lock_table(self, service: str, table: str) -> None:
        """Lets every statement on a table wait until it times out."""
        engine = create_async_engine(self.mesh.database_urls[service], poolclass=NullPool)
        conn = await engine.connect()
        await conn.execute(text(f"lock table {table} in access exclusive mode"))
        self.repair(conn.close)

    async def kill(self, name: str) -> None:
        """kill -9 of a process."""
        await asyncio.to_thread(self.mesh.kill, name)
        self.repair(lambda: asyncio.to_thread(self.mesh.start, name))

    async def freeze(self, name: str) -> None:
        """Stops a process; its port takes calls and nobody answers."""
        self.mesh.signal(name, signal.SIGSTOP)

        async def thaw() -> None:
            self.mesh.signal(name, signal.SIGCONT)

        self.repair(thaw)

    async def break_books(self) -> None:
        """As if the wallet's auditor had found something."""
        await self.sql(
            "wallet", "insert into ledger_break (invariant, detail) values ('test', 'broken by a test')"
        )

        async def resume() -> None:
            resolved = "resolve_time = clock_timestamp(), actor = 'test', reason = 'test'"
            await self.sql("wallet", f"update ledger_break set {resolved} where resolve_time is null")

        self.repair(resume)

    def repair(self, work: Callable[[], Awaitable[None]]) -> None:
        """Registers what puts a broken part back."""
        self._repairs.append(work)

    async def restore(self) -> None:
        """Puts everything back."""
        while self._repairs:
            await self._repairs.pop()()
