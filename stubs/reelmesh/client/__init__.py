"""The public client of a mesh: `async with connect("gateway", target, credential=key) as stub`."""

from reelmesh.client.connection import Options, Tls, bearer, connect
from reelmesh.client.errors import CallError

__all__ = ["CallError", "Options", "Tls", "bearer", "connect"]
