"""TCP ports of this machine, all on 127.0.0.1."""

import random
import socket

from deploy.local.errors import LocalError

# The kernel gives ports from 32768 up to outgoing connections: a listener there may find its port taken.
_FIRST, _END = 15_000, 32_768
_handed_out: set[int] = set()


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
    """Distinct free ports below the ephemeral range; never one that this process was given before."""
    candidates = [port for port in range(_FIRST, _END) if port not in _handed_out]
    random.SystemRandom().shuffle(candidates)
    ports: list[int] = []
    for port in candidates:
        if len(ports) == count:
            break
        if port_is_free(port):
            ports.append(port)
    if len(ports) < count:
        raise LocalError(f"no {count} free ports between {_FIRST} and {_END - 1}")
    _handed_out.update(ports)
    return ports


def require_free(port: int, purpose: str) -> None:
    """Raises LocalError naming port and purpose when another program listens on the port."""
    if not port_is_free(port):
        raise LocalError(f"port {port} ({purpose}) is taken by another program: stop that first")
