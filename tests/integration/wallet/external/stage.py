"""Our wallet, the reference wallet of an operator over TLS, and a way between them that tests may cut."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text

from services.common import db
from services.wallet.external.operator_wallet import OperatorWalletClient
from services.wallet.records import Call, Outcome, Told, Unanswered
from tests.integration.wallet.harness import CONTEXT, OPERATOR, Wallet
from tests.integration.wallet.months import month_at
from tests.operators import Operator

OLD = month_at(-2)


class Line:
    """The way to the operator's wallet, which a test may cut before a call, or between it and its answer."""

    def __init__(self, client: OperatorWalletClient) -> None:
        self.client = client
        self.cut_before: set[str] = set()
        self.cut_after: set[str] = set()
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}
        self.after: dict[str, Callable[[], Awaitable[None]]] = {}
        self.answers: dict[str, Outcome] = {}
        self.sent: list[tuple[str, str]] = []

    async def stake(self, call: Call) -> Told:
        return await self._ask("stake", call)

    async def payout(self, call: Call) -> Told:
        return await self._ask("payout", call)

    async def void(self, call: Call) -> Told:
        return await self._ask("void", call)

    async def balance_minor(self, *, player_id: str, currency_code: str) -> int | None:
        return await self.client.balance_minor(player_id=player_id, currency_code=currency_code)

    async def _ask(self, name: str, call: Call) -> Told:
        self.sent.append((name, call.round_id))
        if name in self.before:
            await self.before[name]()
        if name in self.cut_before:
            raise Unanswered("cut before")
        told: Told = await getattr(self.client, name)(call)
        if name in self.after:
            await self.after[name]()
        if name in self.cut_after:
            raise Unanswered("cut after")
        return told._replace(outcome=self.answers.get(name, told.outcome))


class Stage:
    """Our wallet, the operator's, and one player with 1,000 at the operator."""

    def __init__(
        self, wallet: Wallet, operator: Operator, line: Line, player_id: str, account_id: int
    ) -> None:
        self.wallet, self.operator, self.line = wallet, operator, line
        self.player_id, self.account_id = player_id, account_id

    async def settle(self, **fields: Any) -> wallet_pb2.Settlement:
        return await self.wallet.settle(self.account_id, **fields)

    async def balance(self) -> int:
        """At the operator, in its own table."""
        return await self.operator.balance(self.player_id)

    async def in_transit(self) -> int:
        """The account's balance in our books."""
        query = "select balance_minor from account where account_id = :id"
        return int(await self.wallet.scalar(query, id=self.account_id))

    async def calls(self, round_id: str) -> dict[int, Any]:
        """The stored calls of a round by step: 1 stake, 2 payout, 3 void."""
        query = text("select * from external_call where round_id = cast(:id as uuid)")
        async with self.wallet.engine.connect() as conn:
            return {row.step: row for row in await conn.execute(query, {"id": round_id})}

    async def quiet(self) -> None:
        """Nothing is in flight."""
        await self.wallet.external.drain()

    async def due(self) -> int:
        """Makes all calls due, and sends them once."""
        async with db.transaction(self.wallet.engine, "test") as conn:
            await conn.execute(text("update external_call set next_time = clock_timestamp()"))
        return await self.wallet.external.send_due(OPERATOR)

    async def stuck(self) -> list[wallet_pb2.StuckCall]:
        request = wallet_pb2.ListStuckCallsRequest(operator_id=OPERATOR)
        return list((await self.wallet.handlers.ListStuckCalls(request, CONTEXT)).calls)

    async def resolve(self, round_id: str, step: Any, action: Any) -> wallet_pb2.StuckCall:
        request = wallet_pb2.ResolveStuckCallRequest(
            operator_id=OPERATOR, round_id=round_id, step=step, action=action, actor="ann", reason="seen"
        )
        return (await self.wallet.handlers.ResolveStuckCall(request, CONTEXT)).call


async def at_once(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """All of them from one barrier on; errors are among the results."""
    start = asyncio.Barrier(len(works))

    async def one(work: Coroutine[Any, Any, Any]) -> Any:
        await start.wait()
        return await work

    return await asyncio.gather(*map(one, works), return_exceptions=True)
