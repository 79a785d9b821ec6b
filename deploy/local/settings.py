"""Settings under `make run`: what the runner decides, and what it leaves to the environment."""

from collections.abc import Mapping

from deploy.local.databases import SERVICES
from deploy.local.errors import LocalError

# Keys, and who gets them.
KEYS = {
    "identity_key": SERVICES,
    "seal_key": ("game", "wallet"),
    "code_key": ("session",),
    "webhook_key": ("events",),
    "signing_key": ("gateway",),
}
# Where the services listen, whom they call, and their keys.
_DECIDED = (
    *("grpc_port", "admin_port", "rest_port"),
    *(f"{peer}_target" for peer in SERVICES if peer != "gateway"),
    *("tls_path", *KEYS),
)
# With TLS=1 also what the public edges show.
_DECIDED_WITH_TLS = ("tls_cert_path", "tls_key_path")
# Every trace is kept, and can be read soon.
_DEFAULTS = {"REELMESH_TRACE_RATIO": "1.0", "OTEL_BSP_SCHEDULE_DELAY": "500"}
_DEMO = ("REELMESH_GATEWAY_DEMO_API_KEY", "REELMESH_DEMO_API_KEY")
_TRACE_URL = ("REELMESH_GATEWAY_TRACE_URL", "REELMESH_TRACE_URL")
_LAUNCH_URL = ("REELMESH_GATEWAY_LAUNCH_URL", "REELMESH_LAUNCH_URL")


def refuse_decided(environ: Mapping[str, str], *, tls: bool = False) -> None:
    """Raises LocalError naming a variable that would be overridden. `tls`: as TLS=1 says.

    A database is named per service: they do not share one.
    """
    decided = (*_DECIDED, *(_DECIDED_WITH_TLS if tls else ()))
    names = [f"{service}_{setting}" for service in SERVICES for setting in decided]
    for name in (*names, *decided, "database_url"):
        variable = f"REELMESH_{name}".upper()
        if variable in environ:
            raise LocalError(f"{variable} is set, but `make run` decides that itself: unset it")


def defaults(environ: Mapping[str, str]) -> dict[str, str]:
    """What the services are told where the environment says nothing."""
    return {name: value for name, value in _DEFAULTS.items() if name not in environ}


def demo(environ: Mapping[str, str], api_key: str) -> dict[str, str]:
    """Whose demo players the page's visitors become, unless the environment says it."""
    return {} if any(name in environ for name in _DEMO) else {_DEMO[0]: api_key}


def trace_url(environ: Mapping[str, str], traces_url: str) -> dict[str, str]:
    """Where the page shows a trace, at the receiver, unless the environment says it."""
    named = any(name in environ for name in _TRACE_URL)
    return {} if named else {_TRACE_URL[0]: f"{traces_url}/?trace_id={{trace_id}}"}


def launch_url(environ: Mapping[str, str]) -> str:
    """The address of the user's game client; empty when the environment names none."""
    return next((environ[name] for name in _LAUNCH_URL if environ.get(name)), "")
