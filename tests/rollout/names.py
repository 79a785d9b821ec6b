"""A DNS server as a cluster's: a service's name has the addresses of its ready replicas.

Only what a gRPC client asks for: A records over UDP. Every other type of a known name has no records.
"""

import socket
import struct
import threading

DOMAIN = "reelmesh.test"
# As CoreDNS answers for a Service.
TTL_S = 5
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHHIH4s")
# Response, authoritative, recursion as asked for.
_ANSWERED, _NO_SUCH_NAME, _RECURSION_DESIRED = 0x8400, 0x8403, 0x0100
_TYPE_A, _CLASS_IN = 1, 1
# The name in a record: that of the question, which begins behind the header.
_NAME_OF_QUESTION = 0xC000 | _HEADER.size
_QUERY_SIZE_BYTES_MAX = 4096


class Names:
    """Who is ready, by service; told to whoever asks over DNS, in a thread of its own."""

    def __init__(self) -> None:
        self._ready: dict[str, list[str]] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="names", daemon=True)
        self._thread.start()

    def target(self, service: str, port: int) -> str:
        """The service as a gRPC target that asks this server."""
        return f"dns://127.0.0.1:{self._port}/{service}.{DOMAIN}:{port}"

    def ready(self, service: str) -> list[str]:
        """The addresses that are given out now."""
        return list(self._ready.get(service, ()))

    def publish(self, service: str, address: str) -> None:
        """A replica became ready."""
        self._ready[service] = [*self.ready(service), address]

    def withdraw(self, service: str, address: str) -> None:
        """A replica is about to end."""
        self._ready[service] = [one for one in self.ready(service) if one != address]

    def close(self) -> None:
        """Ends the server."""
        # Its own empty message: closing the socket does not wake a thread that waits on it.
        self._socket.sendto(b"", ("127.0.0.1", self._port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(_QUERY_SIZE_BYTES_MAX)
            if not query:
                return
            try:
                reply = self.answer(query)
            except (struct.error, IndexError, UnicodeDecodeError):
                continue
            self._socket.sendto(reply, client)

    def answer(self, query: bytes) -> bytes:
        """The reply to one query. Errors: struct.error, IndexError, UnicodeDecodeError when it is none."""
        query_id, flags, *_ = _HEADER.unpack_from(query)
        labels, at = [], _HEADER.size
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        kind, _ = struct.unpack_from("!2H", query, at + 1)
        question = query[_HEADER.size : at + 5]
        service, _, domain = ".".join(labels).lower().partition(".")
        known = domain == DOMAIN and bool(self.ready(service))
        addresses = self.ready(service) if known and kind == _TYPE_A else []
        result = (_ANSWERED if known else _NO_SUCH_NAME) | (flags & _RECURSION_DESIRED)
        records = (
            _RECORD.pack(_NAME_OF_QUESTION, _TYPE_A, _CLASS_IN, TTL_S, 4, socket.inet_aton(address))
            for address in addresses
        )
        return _HEADER.pack(query_id, result, 1, len(addresses), 0, 0) + question + b"".join(records)
