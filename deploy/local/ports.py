"""TCP ports of this machine, all on 127.0.0.1."""

import atexit
import random
import socket

from deploy.local.errors import LocalError

# The kernel gives ports from 32768 up to outgoing connections: a listener there may find its port taken.
_FIRST, _END = 15_000, 32_750
# A process takes ports by the block: what it was given stays its own while a service that held it restarts.
_BLOCK = 50
_left: list[int] = []


def port_is_free(port: int) -> bool:
    """True when a server could listen on 127.0.0.1:port now (a connection in TIME_WAIT does not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Distinct free ports below the ephemeral range, given to nobody before, here or in another process.

    Raises LocalError when there are none left.
    """
    ports: list[int] = []
    while len(ports) < count:
        if not _left:
            _left.extend(_reserve_block())
        port = _left.pop()
        if port_is_free(port):
            ports.append(port)
    return ports


def _reserve_block() -> range:
    """A block that no living process has. The mark is the UDP port of its first number."""
    firsts = list(range(_FIRST, _END, _BLOCK))
    random.SystemRandom().shuffle(firsts)
    for first in firsts:
        mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            mark.bind(("127.0.0.1", first))
        except OSError:
            mark.close()
            continue
        atexit.register(mark.close)
        return range(first, first + _BLOCK)
    raise LocalError(f"no free ports between {_FIRST} and {_END - 1}")


def require_free(port: int, purpose: str) -> None:
    """Raises LocalError naming port and purpose when another program listens on the port."""
    if not port_is_free(port):
        raise LocalError(f"port {port} ({purpose}) is taken by another program: stop that first")
