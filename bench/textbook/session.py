"""Session: is the token good, is the stake allowed."""

import datetime
import hashlib
import uuid

import grpc
import uvloop
from reelmesh.session.v1 import session_pb2, session_pb2_grpc
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from bench.textbook.service import serve
from bench.textbook.tables import Authorization, Session


class SessionService(session_pb2_grpc.SessionServiceServicer):
    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def Authorize(self, request, context):  # type: ignore[no-untyped-def]
        token_hash = hashlib.sha256(request.token.encode()).digest()
        request_id = uuid.UUID(request.request_id)
        async with AsyncSession(self.engine) as db, db.begin():
            query = select(Session).where(Session.token_hash == token_hash)
            session = await db.scalar(query.with_for_update())
            if session is None:
                return await context.abort(grpc.StatusCode.UNAUTHENTICATED, "unknown token")
            if request.stake.amount_minor > session.stake_max_minor:
                return await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "stake above the limit")
            if await db.get(Authorization, (session.account_id, request_id)) is None:
                spin = Authorization(account_id=session.account_id, request_id=request_id)
                spin.session_id, spin.stake_minor = session.session_id, request.stake.amount_minor
                db.add(spin)
                session.spin_time_last = datetime.datetime.now()
            return session_pb2.AuthorizeResponse(
                authorization=session_pb2.Authorization(
                    request_id=request.request_id,
                    account_id=session.account_id,
                    session_id=str(session.session_id),
                    game_id=session.game_id,
                    stake=request.stake,
                    mint=True,
                )
            )


if __name__ == "__main__":
    uvloop.run(serve(session_pb2_grpc.add_SessionServiceServicer_to_server, SessionService))
