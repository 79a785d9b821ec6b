"""How commands reach the mesh that runs here, over TLS where it was started with TLS=1."""

import json
import ssl
from pathlib import Path

from deploy.local.authority import Folder
from deploy.local.databases import SERVICES
from services.common.client import GuardedChannel
from services.mtls.certificates import Certificates
from services.mtls.channel import Mtls


def folder(directory: Path) -> Folder:
    """Where the certificates of a mesh of this directory are, if it has any."""
    return Folder(directory / "tls", SERVICES)


def certificates(directory: Path) -> Folder | None:
    """The certificates of the mesh that was started last; None: it speaks without TLS."""
    found = folder(directory)
    return found if found.path.exists() else None


def rest_url(directory: Path, port: int) -> str:
    """Base URL of the gateway's REST API."""
    return f"{'https' if certificates(directory) else 'http'}://127.0.0.1:{port}"


def trusted(directory: Path) -> ssl.SSLContext | bool:
    """Whom an HTTP client believes: `verify` of httpx."""
    found = certificates(directory)
    return ssl.create_default_context(cafile=found.ca_file) if found else True


def channel(directory: Path, target: str, *, service: str, instance: str = "") -> GuardedChannel:
    """To a service, in the gateway's name: with its certificate, or with a token of the mesh's own key.

    What an operator decides reaches services through the gateway; on this machine commands stand in for it.
    """
    if found := certificates(directory):
        own = Certificates(found.of("gateway"), service="gateway")
        return GuardedChannel(target, caller="gateway", instance=instance, mtls=Mtls(own, service))
    key = json.loads((directory / "keys.json").read_text())["identity_key"]
    return GuardedChannel(target, caller="gateway", identity_key=key, instance=instance)
