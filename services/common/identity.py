"""Who calls, by certificate or by token, and the table of who may call what (services/call_graph.yaml)."""

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from services.common.errors import CallerForbidden, CallerUnknown
from services.mtls.checking import service_of

METADATA_KEY = "x-reelmesh-identity"
# Beside a certificate, which replicas share: which of them calls.
INSTANCE_KEY = "x-reelmesh-instance"
INSTANCE_SIZE_MAX = 253
# In the callers list of a method that authenticates its caller itself, by API key or session token.
PUBLIC = "public"
CALL_GRAPH_PATH = Path(__file__).parents[1] / "call_graph.yaml"


class Method(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One RPC: who may call it, and how long a call may take."""

    callers: frozenset[str]
    deadline_ms: int


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One service: its full gRPC name, its port on a laptop, its RPCs by name."""

    grpc_service: str
    port: int
    methods: dict[str, Method]


@cache
def call_graph() -> dict[str, Service]:
    """The table, by service name. Errors: msgspec.ValidationError when the file has another shape."""
    return msgspec.yaml.decode(CALL_GRAPH_PATH.read_bytes(), type=dict[str, Service])


@cache
def methods() -> dict[str, Method]:
    """The same by gRPC path, e.g. "/reelmesh.wallet.v1.WalletService/Settle"."""
    return {
        f"/{service.grpc_service}/{name}": method
        for service in call_graph().values()
        for name, method in service.methods.items()
    }


class Caller(NamedTuple):
    """A service, and which process of it."""

    service: str
    instance: str


def sign(service: str, key: str, ttl_s: float, *, instance: str = "") -> str:
    """A token that says "I am `service`" for `ttl_s` seconds, to whoever has the key."""
    claim = f"{service}/{instance}.{int(time.time() + ttl_s)}"
    return f"{claim}.{_mac(claim, key)}"


def verify(token: str, key: str) -> Caller:
    """Who shows it. Errors: CALLER_UNKNOWN when the token is malformed, of another key, or expired."""
    claim, _, mac = token.rpartition(".")
    if not hmac.compare_digest(mac.encode(), _mac(claim, key).encode()):
        raise CallerUnknown()
    name, _, expire_time = claim.rpartition(".")
    if time.time() >= int(expire_time):
        raise CallerUnknown()
    service, _, instance = name.partition("/")
    return Caller(service, instance)


def shown(context: Mapping[str, Iterable[bytes]], instance: str) -> Caller:
    """Who showed the certificate of a connection; `instance` is the caller's own word.

    `context`: gRPC's auth_context(). Errors: CALLER_UNKNOWN without exactly one URI name of ours: no other
    sort of name counts, no common name, no token.
    """
    if service := service_of(tuple(context.get("peer_uri", ()))):
        return Caller(service, instance[:INSTANCE_SIZE_MAX])
    raise CallerUnknown()


def authorize(path: str, identify: Callable[[], Caller]) -> Caller:
    """The caller; PUBLIC for a public method. Errors: CALLER_FORBIDDEN, as `identify` raises.

    A path that the table does not list may be called by nobody.
    """
    method = methods().get(path)
    if method is not None and PUBLIC in method.callers:
        return Caller(PUBLIC, "")
    caller = identify()
    if method is None or caller.service not in method.callers:
        raise CallerForbidden(caller=caller.service, method=path)
    return caller


# A caller shows one token for minutes: its MAC is computed once.
@lru_cache(maxsize=256)
def _mac(claim: str, key: str) -> str:
    return hmac.new(key.encode(), claim.encode(), hashlib.sha256).hexdigest()
