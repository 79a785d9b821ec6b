"""Operators' own wallets over the wire: records.OperatorWallet, spoken in the contract ExternalWalletService.

Only an outcome is an answer. Every status, ALREADY_EXISTS and NOT_FOUND too, leaves open what an earlier
attempt did: it is written down as it is, for a person to look into, and the call is made again.
"""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import msgspec
from reelmesh.external_wallet.v1 import external_wallet_pb2, external_wallet_pb2_grpc
from reelmesh.type.v1 import money_pb2

from services.common import failpoints
from services.common.fields import AMOUNT_MINOR_MAX
from services.wallet.records import Call, Outcome, Told, Unanswered

log = logging.getLogger(__name__)

# Less than a settle may take, so that the answer is recorded within it.
CALL_TIMEOUT_S = 0.8
_ERROR_LENGTH_MAX = 300
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_OUTCOMES = {
    external_wallet_pb2.OUTCOME_APPLIED: Outcome.APPLIED,
    external_wallet_pb2.OUTCOME_REFUSED: Outcome.REFUSED,
    external_wallet_pb2.OUTCOME_VOID: Outcome.VOID,
}
_OPTIONS = [
    # Repeating is rounds.py's: it counts attempts and writes down why.
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One operator in the file that REELMESH_WALLET_EXTERNAL_WALLETS_PATH names."""

    operator_id: str
    target: str  # host:port
    ca_file: str = ""  # PEM of whoever signed its certificate; the machine's own list by default
    token_file: str = ""  # the bearer token: in a file, or in the environment variable of this name
    token_env: str = ""
    insecure: bool = False  # no TLS: only in development, and only on this machine


class OperatorWalletClient:
    """One operator's wallet. Errors of every call: Unanswered, whose text shows neither token nor player."""

    def __init__(
        self,
        target: str,
        *,
        token: str,
        ca: bytes | None = None,
        insecure: bool = False,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        """`target`: host:port. `ca`: PEM; the machine's own list without."""
        if insecure:
            self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        else:
            credentials = grpc.ssl_channel_credentials(root_certificates=ca)
            self._channel = grpc.aio.secure_channel(target, credentials, options=_OPTIONS)
        self._stub: Any = external_wallet_pb2_grpc.ExternalWalletServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._timeout_s = timeout_s

    async def stake(self, call: Call) -> Told:
        """Takes a stake."""
        request = external_wallet_pb2.StakeRequest(**_fields(call))
        return _told(call, await self._ask("Stake", request), refusable=True)

    async def payout(self, call: Call) -> Told:
        """Pays a win."""
        request = external_wallet_pb2.PayoutRequest(**_fields(call))
        return _told(call, await self._ask("Payout", request), refusable=False)

    async def void(self, call: Call) -> Told:
        """Gives a stake back, or sees to it that it is never taken."""
        request = external_wallet_pb2.VoidRequest(**_fields(call))
        return _told(call, await self._ask("Void", request), refusable=True)

    async def balance_minor(self, *, player_id: str, currency_code: str) -> int | None:
        """A player's balance; None when the operator has no such player."""
        request = external_wallet_pb2.BalanceRequest(player_id=player_id, currency_code=currency_code)
        try:
            answer = await self._stub.Balance(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise _unanswered(error) from None
        return _amount(answer.balance, currency_code)

    async def close(self) -> None:
        """Cuts calls in flight."""
        await self._channel.close()

    async def _ask(self, rpc: str, request: Any) -> Any:
        await failpoints.reach("before_send", rpc)
        try:
            return await getattr(self._stub, rpc)(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise _unanswered(error) from None


def load(path: str, *, env: str, environ: Mapping[str, str]) -> dict[str, OperatorWalletClient]:
    """The wallets of the file, by operator; none without a path. Exits with one line when it is wrong."""
    if not path:
        return {}
    try:
        entries = msgspec.yaml.decode(Path(path).read_bytes(), type=list[Entry])
        wallets = {entry.operator_id: _connect(entry, env=env, environ=environ) for entry in entries}
    except (OSError, ValueError) as problem:
        sys.exit(f"configuration: external wallets: {problem}")
    if len(wallets) < len(entries):
        sys.exit("configuration: external wallets: an operator is named twice")
    return wallets


def _connect(entry: Entry, *, env: str, environ: Mapping[str, str]) -> OperatorWalletClient:
    if not entry.operator_id:
        raise ValueError("an entry names no operator")
    host, _, port = entry.target.rpartition(":")
    if not (host and port.isdecimal()):
        raise ValueError(f"{entry.operator_id}: the target is not host:port")
    if entry.insecure and not (env == "development" and host in _LOOPBACK):
        raise ValueError(f"{entry.operator_id}: insecure is for development, on this machine")
    if bool(entry.token_file) == bool(entry.token_env):
        raise ValueError(f"{entry.operator_id}: either token_file or token_env is needed")
    token = Path(entry.token_file).read_text() if entry.token_file else environ.get(entry.token_env, "")
    # Never the value: it is a secret.
    if not token.strip() or not token.strip().isascii() or not token.strip().isprintable():
        raise ValueError(f"{entry.operator_id}: no token in {entry.token_file or entry.token_env}")
    ca = Path(entry.ca_file).read_bytes() if entry.ca_file else None
    return OperatorWalletClient(entry.target, token=token.strip(), ca=ca, insecure=entry.insecure)


def _fields(call: Call) -> dict[str, Any]:
    amount = {"currency_code": call.currency_code, "amount_minor": call.amount_minor}
    return {
        "round_id": call.round_id,
        "player_id": call.player_id,
        "amount": amount,
        "game_id": call.game_id,
    }


def _told(call: Call, answer: Any, *, refusable: bool) -> Told:
    outcome = _OUTCOMES.get(answer.outcome)
    if outcome is None or (outcome is Outcome.REFUSED and not refusable):
        raise Unanswered(f"OK with outcome {answer.outcome}, which the contract does not allow here")
    return Told(outcome, _amount(answer.balance_after, call.currency_code))


def _amount(money: money_pb2.Money, currency_code: str) -> int:
    if money.currency_code != currency_code:
        raise Unanswered(f"OK with a balance in {money.currency_code[:16]!r} instead of {currency_code}")
    # Our reply adds a win to it.
    if abs(money.amount_minor) > AMOUNT_MINOR_MAX:
        raise Unanswered("OK with a balance beyond 2^53 minor units")
    return money.amount_minor


def _unanswered(error: grpc.aio.AioRpcError) -> Unanswered:
    details = " ".join((error.details() or "").split())
    return Unanswered(f"{error.code().name}: {details}"[:_ERROR_LENGTH_MAX])
