"""`make reconcile` over a running mesh, in this process."""

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console

from deploy.local.mesh import Mesh
from services.reconciliation import command
from services.reconciliation.command import Report

SERVICES = ("game", "wallet", "events")


def settings(mesh: Mesh) -> Mapping[str, str]:
    """What the command is told by its environment."""
    keys = json.loads((mesh.directory / "keys.json").read_text())
    urls = {f"REELMESH_{name}_DATABASE_URL".upper(): mesh.database_urls[name] for name in SERVICES}
    return {
        **urls,
        "REELMESH_GAME_TARGET": f"dns:///127.0.0.1:{mesh.ports('game').grpc}",
        "REELMESH_IDENTITY_KEY": keys["identity_key"],
    }


async def reconcile(mesh: Mesh, *, grace_s: float = 0) -> Report:
    """All rounds of the last day but those of the last `grace_s` seconds."""
    with _environment(settings(mesh)):
        return await command.reconcile(
            start_time=None,
            end_time=None,
            grace=timedelta(seconds=grace_s),
            progress=Console(file=io.StringIO()),
        )


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
