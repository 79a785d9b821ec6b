"""Operations around the round: money in and out, sessions, balance, history."""

import copy
import logging
import time
from contextlib import AbstractAsyncContextManager
from typing import Literal, TypeAlias, cast
from urllib.parse import urlencode, urlsplit

from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import account_kind_pb2, money_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common import fields, telemetry
from services.common.errors import DomainError
from services.gateway import errors
from services.gateway.operators.operators import API_KEY_PREFIX, Operators
from services.gateway.rounds import Rounds, played_round
from services.gateway.store import Operator
from services.gateway.stubs import Stubs

log = logging.getLogger(__name__)

_ENDED = {
    session_pb2.SESSION_STATE_CLOSED: errors.SessionClosed,
    session_pb2.SESSION_STATE_EXPIRED: errors.SessionExpired,
    session_pb2.SESSION_STATE_REPLACED: errors.SessionReplaced,
}
# What an operator who says nothing means.
_REAL = account_kind_pb2.ACCOUNT_KIND_REAL
_LANGUAGE = "en"
LaunchLimit = Literal[
    "stake_max", "cycle_min_duration", "session_duration", "loss_limit", "reality_check_interval"
]
# What a launch may limit, under the same name here and in session.
_LAUNCH_LIMITS: tuple[LaunchLimit, ...] = (
    "stake_max",
    "cycle_min_duration",
    "session_duration",
    "loss_limit",
    "reality_check_interval",
)

OperatorRequest: TypeAlias = (
    gateway_pb2.FundPlayerRequest | gateway_pb2.WithdrawPlayerRequest | gateway_pb2.CreateSessionRequest
)


class Catalogue:
    """Game's list of games, believed for a while."""

    def __init__(self, stubs: Stubs, *, cache_ms: int) -> None:
        self._stubs = stubs
        self._cache_s = cache_ms / 1000
        self._read_at = float("-inf")
        self._games: dict[str, game_pb2.Game] = {}

    async def games(self) -> dict[str, game_pb2.Game]:
        """By game_id."""
        if time.monotonic() - self._read_at >= self._cache_s:
            answer = await self._stubs.game.ListGames(game_pb2.ListGamesRequest())
            self._games = {game.game_id: game for game in answer.games}
            self._read_at = time.monotonic()
        return self._games

    async def game(self, game_id: str) -> game_pb2.Game:
        """One game.

        Errors: NOT_FOUND/GAME_NOT_FOUND
        """
        games = await self.games()
        if game_id not in games:
            raise errors.GameNotFound(game_id=game_id[:128])
        return games[game_id]


class Players:
    """What operators and players do beside spinning."""

    def __init__(
        self, stubs: Stubs, *, operators: Operators, rounds: Rounds, catalogue: Catalogue, launch_url: str
    ) -> None:
        self._stubs = stubs
        self._operators = operators
        self._rounds = rounds
        self._catalogue = catalogue
        self._launch_url = launch_url

    async def fund(
        self, operator: Operator, request: gateway_pb2.FundPlayerRequest
    ) -> gateway_pb2.FundPlayerResponse:
        """Money in; opens the account when it is new."""
        async with self._acting(operator, "FundPlayer", request):
            answer = await self._stubs.wallet.Deposit(
                wallet_pb2.DepositRequest(
                    operator_id=operator.operator_id,
                    request_id=request.request_id,
                    account_id=await self._account_id(operator, request),
                    amount=request.amount,
                )
            )
        return gateway_pb2.FundPlayerResponse(
            transfer_id=answer.transfer.transfer_id,
            balance_after=answer.transfer.balance_after,
            current_balance=answer.current_balance,
        )

    async def withdraw(
        self, operator: Operator, request: gateway_pb2.WithdrawPlayerRequest
    ) -> gateway_pb2.WithdrawPlayerResponse:
        """Money out."""
        async with self._acting(operator, "WithdrawPlayer", request):
            answer = await self._stubs.wallet.Withdraw(
                wallet_pb2.WithdrawRequest(
                    operator_id=operator.operator_id,
                    request_id=request.request_id,
                    account_id=await self._account_id(operator, request),
                    amount=request.amount,
                )
            )
        return gateway_pb2.WithdrawPlayerResponse(
            transfer_id=answer.transfer.transfer_id,
            balance_after=answer.transfer.balance_after,
            current_balance=answer.current_balance,
        )

    def _acting(
        self, operator: Operator, action: str, request: OperatorRequest
    ) -> AbstractAsyncContextManager[None]:
        """Records what the operator asks for, however it was spelt: a default named is a default left out."""
        request_id = fields.require_uuid(request.request_id, "request_id")
        canonical = copy.deepcopy(request)
        canonical.request_id, canonical.kind = str(request_id), request.kind or _REAL
        if isinstance(canonical, gateway_pb2.CreateSessionRequest):
            canonical.language_code = canonical.language_code or _LANGUAGE
        else:
            fields.require_money(canonical.amount, "amount")
        return self._operators.acting(
            operator.operator_id,
            action,
            request_id=request_id,
            player_id=fields.require_text(request.player_id, "player_id"),
            body=canonical.SerializeToString(deterministic=True),
            traceparent=telemetry.traceparent(),
        )

    async def _account_id(
        self,
        operator: Operator,
        request: gateway_pb2.FundPlayerRequest | gateway_pb2.WithdrawPlayerRequest,
    ) -> int:
        """The account of a transfer, opened when it is new."""
        opened = await self._stubs.wallet.OpenAccount(
            wallet_pb2.OpenAccountRequest(
                operator_id=operator.operator_id,
                player_id=request.player_id,
                currency_code=request.amount.currency_code,
                kind=request.kind or _REAL,
            )
        )
        return opened.account.account_id

    async def create_session(
        self, operator: Operator, request: gateway_pb2.CreateSessionRequest
    ) -> gateway_pb2.CreateSessionResponse:
        """Opens a session and makes its launch URL."""
        game = await self._catalogue.game(fields.require_text(request.game_id, "game_id"))
        create = session_pb2.CreateSessionRequest(
            operator_id=operator.operator_id,
            request_id=request.request_id,
            player_id=request.player_id,
            game_id=request.game_id,
            currency_code=request.currency_code,
            kind=request.kind or _REAL,
            language_code=request.language_code or _LANGUAGE,
            jurisdiction=request.jurisdiction or operator.jurisdiction,
            player_tier=request.player_tier,
            # Which modes are bought, and what they return, the catalogue says.
            modes=[
                session_pb2.GameMode(mode=mode.mode, cost=mode.cost, rtp_target=mode.rtp_target)
                for mode in game.modes
            ],
        )
        for field in _LAUNCH_LIMITS:
            if request.HasField(field):
                getattr(create, field).CopyFrom(getattr(request, field))
        async with self._acting(operator, "CreateSession", request):
            created = await self._stubs.session.CreateSession(create)
        code = created.launch_code
        return gateway_pb2.CreateSessionResponse(
            session_id=created.session.session_id,
            launch_code=code,
            launch_url=launch_url(self._launch_url, code) if code else "",
            expire_time=created.session.expire_time,
        )

    async def exchange_code(
        self, request: gateway_pb2.ExchangeCodeRequest
    ) -> gateway_pb2.ExchangeCodeResponse:
        """The launch code for the token, with all that a client needs to show its first screen."""
        exchanged = await self._stubs.session.ExchangeCode(
            session_pb2.ExchangeCodeRequest(
                launch_code=fields.require_text(request.launch_code, "launch_code")
            )
        )
        session = exchanged.session
        response = gateway_pb2.ExchangeCodeResponse(
            token=exchanged.token,
            session_id=session.session_id,
            expire_time=session.expire_time,
            play=exchanged.play,
        )
        # The code is spent: whatever else is silent now, the token must reach the player.
        try:
            response.balance.CopyFrom(await self._balance(session))
            response.game.CopyFrom(await self._catalogue.game(session.game_id))
            last = await self.last_round(session)
            if last is not None:
                response.round.CopyFrom(played_round(last))
        except DomainError as error:
            log.warning("a session was launched without all of its first screen: %s", error.reason)
        return response

    async def last_round(self, session: session_pb2.Session) -> game_pb2.Round | None:
        """The round to reconnect to: the open one of this game, else the newest."""
        open_rounds = (await self._open_rounds(session)).rounds
        if open_rounds:
            return open_rounds[0]
        newest = await self._stubs.game.ListRounds(
            game_pb2.ListRoundsRequest(account_id=session.account_id, game_id=session.game_id, page_size=1)
        )
        return newest.rounds[0] if newest.rounds else None

    async def balance(self, token: str) -> gateway_pb2.GetBalanceResponse:
        """The balance, and the winnings at risk in open rounds."""
        session = await self.open_session(token)
        balance = await self._balance(session)
        open_rounds = await self._stubs.game.ListOpenRounds(
            game_pb2.ListOpenRoundsRequest(account_id=session.account_id)
        )
        at_risk_minor = sum(round_.at_risk.amount_minor for round_ in open_rounds.rounds)
        return gateway_pb2.GetBalanceResponse(
            balance=balance,
            open_rounds_at_risk=money_pb2.Money(
                currency_code=session.currency_code, amount_minor=at_risk_minor
            ),
        )

    async def round(
        self, *, token: str | None, operator: Operator | None, request: gateway_pb2.GetRoundRequest
    ) -> gateway_pb2.GetRoundResponse:
        """One round of the player, or of any player of the operator."""
        query = game_pb2.GetRoundRequest()
        if token is not None:
            session = await self.session(token)
            query.account_id, query.operator_id = session.account_id, session.operator_id
        else:
            query.operator_id = cast(Operator, operator).operator_id
        if request.WhichOneof("key") == "request_id" and token is not None:
            query.request_id = str(fields.require_uuid(request.request_id, "request_id"))
        else:
            query.round_id = str(fields.require_uuid(request.round_id, "round_id"))
        answer = await self._stubs.game.GetRound(query)
        return gateway_pb2.GetRoundResponse(round=played_round(answer.round))

    async def rounds(
        self, token: str, request: gateway_pb2.ListRoundsRequest
    ) -> gateway_pb2.ListRoundsResponse:
        """The player's rounds, newest first."""
        session = await self.open_session(token)
        answer = await self._stubs.game.ListRounds(
            game_pb2.ListRoundsRequest(
                account_id=session.account_id, page_size=request.page_size, page_token=request.page_token
            )
        )
        return gateway_pb2.ListRoundsResponse(
            rounds=[played_round(round_) for round_ in answer.rounds],
            next_page_token=answer.next_page_token,
        )

    async def close_session(
        self, *, token: str | None, operator: Operator | None, request: gateway_pb2.CloseSessionRequest
    ) -> gateway_pb2.CloseSessionResponse:
        """Closes a session, then collects the rounds that were open at its close_time (R9).

        Rounds authorised later belong to a newer session, so they are left alone; so are those of a session
        that was replaced, which have moved to the newer one, and those that the policy keeps for the next.
        """
        if token is not None:
            close = session_pb2.CloseSessionRequest(token=token)
        else:
            close = session_pb2.CloseSessionRequest(
                session_id=str(fields.require_uuid(request.session_id, "session_id")),
                operator_id=cast(Operator, operator).operator_id,
            )
        session = (await self._stubs.session.CloseSession(close)).session
        response = gateway_pb2.CloseSessionResponse(
            session_id=session.session_id, state=session.state, close_time=session.close_time
        )
        if session.state == session_pb2.SESSION_STATE_REPLACED or session.keeps_open_rounds:
            return response
        closed_at = session.close_time.ToNanoseconds()
        for round_ in (await self._open_rounds(session)).rounds:
            authorised_before = round_.authorize_time.ToNanoseconds() <= closed_at
            if authorised_before:
                ended = await self._rounds.collect(round_)
                if ended.state == game_pb2.ROUND_STATE_SETTLED:
                    response.collected_rounds.append(played_round(ended))
        return response

    async def games(self) -> gateway_pb2.ListGamesResponse:
        """The catalogue."""
        games = await self._catalogue.games()
        return gateway_pb2.ListGamesResponse(games=[games[game_id] for game_id in sorted(games)])

    async def operator_of(self, credential: str) -> str:
        """The operator behind an API key, or a player's token. Errors: API_KEY_INVALID, TOKEN_INVALID"""
        if credential.startswith(API_KEY_PREFIX):
            return (await self._operators.find(credential)).operator_id
        return (await self.session(credential)).operator_id

    async def open_session(self, token: str) -> session_pb2.Session:
        """For what a token may do only while its session lasts; a round by its id stays readable (R4).

        Errors: TOKEN_INVALID, SESSION_CLOSED, SESSION_EXPIRED, SESSION_REPLACED
        """
        session = await self.session(token)
        if session.state != session_pb2.SESSION_STATE_OPEN:
            raise _ENDED[session.state]()
        return session

    async def session(self, token: str) -> session_pb2.Session:
        """The session of a token, whatever has become of it."""
        return (await self._stubs.session.GetSession(session_pb2.GetSessionRequest(token=token))).session

    async def _balance(self, session: session_pb2.Session) -> money_pb2.Money:
        answer = await self._stubs.wallet.GetAccount(
            wallet_pb2.GetAccountRequest(account_id=session.account_id, operator_id=session.operator_id)
        )
        return answer.account.balance

    async def _open_rounds(self, session: session_pb2.Session) -> game_pb2.ListOpenRoundsResponse:
        return await self._stubs.game.ListOpenRounds(
            game_pb2.ListOpenRoundsRequest(account_id=session.account_id, game_id=session.game_id)
        )


def launch_url(client_url: str, code: str) -> str:
    """The game client's address with the launch code behind what it asks already, which stays as it is."""
    parts = urlsplit(client_url)
    query = "&".join(filter(None, (parts.query, urlencode({"code": code}))))
    return parts._replace(query=query).geturl()
