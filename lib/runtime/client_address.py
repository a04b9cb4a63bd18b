"""
From where a request came, as the gateway saw it.

Each proxy appends the address of whoever asked it to `X-Forwarded-For`, so only entries that proxies of ours wrote can
be believed: the last one, and the one before each entry that is a trusted proxy's (`TRUSTED_PROXIES`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from flask import Request

from lib.runtime import config

Network = IPv4Network | IPv6Network

_LONGEST = 64


def client_address(request: Request) -> str:
    """The last address in the chain that is no proxy's of ours, cut to 64 characters; "" if the server tells none."""
    chain = request.headers.get("X-Forwarded-For", "").split(",")
    heard = [_without_port(part.strip()) for part in chain if part.strip()] or [request.remote_addr or ""]
    trusted = config.current(config.Proxies)
    while len(heard) > 1 and trusted.includes(_address(heard[-1])):
        heard.pop()
    return heard[-1][:_LONGEST]


def _without_port(entry: str) -> str:
    """Some proxies write the port too: else each connection of a client would be another source."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def source_of(address: str) -> str:
    """What one sender has for itself: an IPv4 address, or the /64 of an IPv6 one."""
    found = _address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Address(int(found) >> 64 << 64)) + "/64"
    return str(found or address)


def site_of(address: str) -> str:
    """What one site has for itself: an IPv4 address, or the /48 of an IPv6 one, which is 65,536 of the above."""
    found = _address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Address(int(found) >> 80 << 80)) + "/48"
    return str(found or address)


def network(text: str) -> Network:
    """`203.0.113.0/24`, or one address. Raises ValueError, also where the address is no network's first one."""
    return ip_network(text)


def is_in(address: str, networks: Iterable[Network]) -> bool:
    """Whether the address is in one of them; what is no address is in none."""
    found = _address(address)
    return found is not None and any(found in one for one in networks)


@lru_cache(maxsize=1000)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
