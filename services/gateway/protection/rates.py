"""How often one API key, one session and one address may ask: token buckets in this process's memory.

Each gateway counts for itself: behind n of them a caller who is spread evenly has n times as much.
"""

import ipaddress
import math
import time
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from services.gateway.errors import RateLimited

# Beyond it buckets that are full again are forgotten, then the oldest.
BUCKETS_MAX = 100_000
# An IPv6 customer has a /64 at least.
_IPV6_PREFIX = 64
_ADDRESSES_MAX = 8_192
# Ours are shorter; of a longer one no more is kept.
_CREDENTIAL_LENGTH_MAX = 128


class Taken(NamedTuple):
    """What is left of a bucket after a request."""

    remaining: int
    full_after_s: int
    refused_for_s: float
    """Above 0: refused, and for how long."""


class Limit:
    """Buckets of one sort: each holds `burst` requests and refills at `per_s`."""

    def __init__(
        self, name: str, *, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`name`: in headers and refusals. `per_s` 0: no limit."""
        self.name, self.burst = name, burst
        self.unlimited = not per_s
        self._interval_s = 1 / per_s if per_s else 0.0
        self._depth_s = burst * self._interval_s
        self._clock = clock
        # When each bucket will be full again; one that is not here is full.
        self._full_at: dict[str, float] = {}
        # Quota and the time in which all of it comes back, as of the IETF's RateLimit fields.
        self.policy = f'"{name}";q={burst};w={max(1, math.ceil(self._depth_s - 1e-9))}'

    def take(self, key: str) -> Taken:
        """Takes one of the key's bucket, or refuses."""
        now_s = self._clock()
        full_at = self._full_at.get(key, now_s)
        after_s = (full_at if full_at > now_s else now_s) + self._interval_s - now_s
        if after_s > self._depth_s + 1e-9:
            return Taken(0, int(after_s) + 1, after_s - self._depth_s)
        if key not in self._full_at and len(self._full_at) >= BUCKETS_MAX:
            self._forget(now_s)
        self._full_at[key] = now_s + after_s
        return Taken(int((self._depth_s - after_s) / self._interval_s + 1e-6), int(after_s) + 1, 0.0)

    def _forget(self, now_s: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now_s}
        # All in use: the oldest tenth begins anew. Nobody may grow our memory without end.
        for key in list(islice(self._full_at, max(0, len(self._full_at) - BUCKETS_MAX * 9 // 10))):
            del self._full_at[key]


class Rates:
    """The limits of a caller: its key's or its session's, and its address's."""

    def __init__(self, *, key: Limit, session: Limit, address: Limit, is_key: Callable[[str], bool]) -> None:
        self._key, self._session, self._address, self._is_key = key, session, address, is_key

    def take(self, credential: str, address: str) -> tuple[Limit, Taken]:
        """The limit that leaves least, and what it leaves. A request that one refuses is refused.

        The credential is not verified yet: a wrong one fills a bucket of its own, and its address's.
        """
        of_address = _PLENTY if self._address.unlimited else self._address.take(address)
        own = self._key if self._is_key(credential) else self._session
        if of_address.refused_for_s or not credential or own.unlimited:
            return self._address, of_address
        taken = own.take(credential[:_CREDENTIAL_LENGTH_MAX])
        if of_address.remaining < taken.remaining and not taken.refused_for_s:
            return self._address, of_address
        return own, taken

    def require(self, credential: str, address: str) -> None:
        """Errors: RESOURCE_EXHAUSTED/RATE_LIMITED"""
        limit, taken = self.take(credential, address)
        if taken.refused_for_s:
            raise refusal(limit, taken)


def refusal(limit: Limit, taken: Taken) -> RateLimited:
    """What a refused caller is told."""
    return RateLimited(limit=limit.name, retry_after_ms=max(1, int(taken.refused_for_s * 1000)))


class Addresses:
    """Where a request comes from: its connection, or what our own proxies say about it."""

    def __init__(self, trusted_proxies: str) -> None:
        """`trusted_proxies`: networks, like "10.0.0.0/8, 127.0.0.1"; empty: nobody is believed.

        Errors: ValueError when one is none
        """
        self._trusted = [
            ipaddress.ip_network(network.strip()) for network in trusted_proxies.split(",") if network.strip()
        ]
        self.of = lru_cache(_ADDRESSES_MAX)(self._of)

    def _of(self, peer: str, forwarded_for: str) -> str:
        """The address that is counted. `forwarded_for`: X-Forwarded-For, from right to left while trusted."""
        if not self._trusted or not forwarded_for or not self._is_trusted(peer):
            return _network(peer)
        for hop in reversed(forwarded_for.split(",")):
            address = hop.strip()
            if not _is_address(address):
                break
            peer = address
            if not self._is_trusted(address):
                break
        return _network(peer)

    def _is_trusted(self, address: str) -> bool:
        if not _is_address(address):
            return False
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for network in self._trusted)


_PLENTY = Taken(2**31, 0, 0.0)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _network(address: str) -> str:
    """An IPv4 address; of an IPv6 one its customer's network."""
    if ":" not in address or not _is_address(address):
        return address
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    if mapped is not None:
        return str(mapped)
    return str(ipaddress.ip_network((address.partition("%")[0], _IPV6_PREFIX), strict=False))
