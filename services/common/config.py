"""Settings from the environment, read once at start. Nothing else reads REELMESH_* (except failpoints)."""

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """What every service is told. A service subclasses it with its own fields."""

    # Name of the deployment; "development" allows what must never happen with real money elsewhere.
    env: str = "development"
    # Name of this process among its replicas, in its identity: on Kubernetes the pod's.
    instance: str = field(default_factory=socket.gethostname)
    # Address both ports listen on.
    host: str = "127.0.0.1"
    # Port of the service's RPCs.
    grpc_port: int
    # Port of the plaintext health service; never reachable from outside.
    admin_port: int
    # postgresql+psycopg://role:password@host:port/database; never logged.
    database_url: str = field(repr=False)
    # The same database with no pooler between: for the relay, and for what has time limits of its own.
    # Empty: database_url.
    database_direct_url: str = field(default="", repr=False)
    # Connections to the database in the pool; what is batched has one each beside it.
    database_pool_size: int = 10
    # Directory of tls.crt, tls.key and ca.crt: services call each other over mutual TLS, and certificates say
    # who calls (docs/tls.md). Empty: plaintext, and tokens signed with identity_key say it.
    tls_path: str = ""
    # Shared key of the service tokens; needed without tls_path, unused with it.
    identity_key: str = field(default="", repr=False)
    # How long a gateway works at one spin; ages of rounds and authorisations are multiples of it.
    spin_deadline_ms: int = 3000
    # From "not ready" to the moment the server refuses calls, so that callers can look away first.
    drain_wait_ms: int = 500
    # What calls in flight get to finish before they are cut.
    drain_grace_ms: int = 20000
    # How old a connection of RPCs gets, and a stream of answers. Its client then connects again, by name, and
    # opens the stream again: so it finds new replicas.
    connection_age_ms: int = 120_000
    # Peers, as "dns:///host:port"; empty where the service does not call that peer.
    session_target: str = ""
    wallet_target: str = ""
    game_target: str = ""
    events_target: str = ""
    # An installation's own currencies, a file like services/currencies.yaml; empty: none.
    currencies_path: str = ""
    # Share of new traces that are kept, 0 to 1; a caller's own decision is followed.
    trace_ratio: float = 0.1
    # One JSON object or one line of text per log record; auto is text on a terminal.
    log_format: Literal["auto", "json", "text"] = "auto"

    def __post_init__(self) -> None:
        if not (self.tls_path or self.identity_key):
            _exit("neither REELMESH_TLS_PATH nor REELMESH_IDENTITY_KEY is set")


C = TypeVar("C", bound=ServiceConfig)


def load(config_type: type[C], *, service: str, environ: Mapping[str, str] = os.environ) -> C:
    """Reads REELMESH_<SERVICE>_<FIELD>, else REELMESH_<FIELD>, else the default.

    Errors: exits with one line that names the variable when it is missing or of the wrong type.
    """
    hints = get_type_hints(config_type)
    values: dict[str, Any] = {}
    for item in fields(config_type):
        own, shared = f"REELMESH_{service}_{item.name}".upper(), f"REELMESH_{item.name}".upper()
        name = own if own in environ else shared
        if name in environ:
            values[item.name] = _parse(name, environ[name], hints[item.name])
        elif item.default is MISSING and item.default_factory is MISSING:
            _exit(f"{own} (or {shared}) is not set")
    return config_type(**values)


def database_url(service: str, environ: Mapping[str, str] = os.environ) -> str:
    """REELMESH_<SERVICE>_DATABASE_URL, for commands that need no other setting. Exits when it is none."""
    name = f"REELMESH_{service}_DATABASE_URL".upper()
    url = environ.get(name) or _exit(f"{name} is not set")
    form = "postgresql+psycopg://"
    return url if url.startswith(form) else _exit(f"{name} must be {form}role:password@host:port/database")


def _parse(name: str, text: str, kind: Any) -> object:
    if kind is str:
        return text
    choices = ("0", "1") if kind is bool else get_args(kind) if get_origin(kind) is Literal else None
    if choices is not None:
        if text not in choices:
            _exit(f"{name} must be one of {', '.join(choices)}")
        return text == "1" if kind is bool else text
    try:
        number = kind(text)
    except ValueError:
        _exit(f"{name} must be a number ({kind.__name__})")
    if not number >= 0:
        _exit(f"{name} must not be negative")
    return number


def _exit(problem: str) -> NoReturn:
    # The value is never repeated: it may be a secret in the wrong variable.
    sys.exit(f"configuration: {problem}")
