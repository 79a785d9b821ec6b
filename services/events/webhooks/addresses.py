"""Where a webhook may lead: to the public internet over TLS, and nowhere inside."""

import ipaddress
from urllib.parse import urlsplit

URL_LENGTH_MAX = 2_000
# IPv6 addresses that a gateway turns into the IPv4 address in their last four bytes.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_url(url: str, *, development: bool) -> None:
    """That a webhook may have this address. Errors: ValueError, in a few words.

    A name is looked up at each delivery only: what it leads to may change.
    """
    if len(url) > URL_LENGTH_MAX:
        raise ValueError(f"longer than {URL_LENGTH_MAX} characters")
    if not url.isascii() or not url.isprintable() or any(sign in url for sign in ' "<>\\^`{|}'):
        raise ValueError("has characters that a URL has not")
    parts = urlsplit(url)
    if parts.scheme != "https" and not (development and parts.scheme == "http"):
        raise ValueError("not https")
    if parts.username is not None or parts.password is not None or "#" in url:
        raise ValueError("has a user or a fragment")
    if not parts.hostname or parts.port == 0:
        raise ValueError("has no host, or no port")
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        # What is left of it may be a name; digits alone are one of the many ways to write an address.
        if parts.hostname.rstrip(".").rpartition(".")[2].startswith(tuple("0123456789")):
            raise ValueError("its host is neither a name nor an address") from None
        return
    if not development and not is_public(address):
        raise ValueError("not a public address")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the internet, and not to a network of somebody's own, or to a machine."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.teredo is not None:
            return False
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved
