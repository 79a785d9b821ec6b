"""Settings under `make run`: what the runner decides, and what it leaves to the environment."""

from collections.abc import Mapping

from deploy.local.databases import SERVICES
from deploy.local.errors import LocalError

# Keys, and who gets them.
KEYS = {
    "identity_key": SERVICES,
    "seal_key": ("game", "wallet"),
    "code_key": ("session",),
}
# Where the services listen, whom they call, and their keys.
_DECIDED = (
    *("grpc_port", "admin_port", "rest_port"),
    *(f"{peer}_target" for peer in SERVICES if peer != "gateway"),
    *KEYS,
)
# Every trace is kept, and can be read soon.
_DEFAULTS = {"REELMESH_TRACE_RATIO": "1.0", "OTEL_BSP_SCHEDULE_DELAY": "500"}
_LAUNCH_URL = ("REELMESH_GATEWAY_LAUNCH_URL", "REELMESH_LAUNCH_URL")


def refuse_decided(environ: Mapping[str, str]) -> None:
    """Raises LocalError naming a variable that would be overridden.

    A database is named per service: they do not share one.
    """
    names = [f"{service}_{setting}" for service in SERVICES for setting in _DECIDED]
    for name in (*names, *_DECIDED, "database_url"):
        variable = f"REELMESH_{name}".upper()
        if variable in environ:
            raise LocalError(f"{variable} is set, but `make run` decides that itself: unset it")


def defaults(environ: Mapping[str, str]) -> dict[str, str]:
    """What the services are told where the environment says nothing."""
    return {name: value for name, value in _DEFAULTS.items() if name not in environ}


def launch_url(environ: Mapping[str, str]) -> str:
    """The address of the user's game client; empty when the environment names none."""
    return next((environ[name] for name in _LAUNCH_URL if environ.get(name)), "")
