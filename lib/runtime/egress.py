"""
Where a connection may go: resolves names within a bounded time, and checks the addresses.

`ipaddress.is_global` is not used: it counts tunnels to private networks, translators and multicast as global.
"""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address

# Limits the threads that look-ups which hang can hold.
_LOOKUPS: Final = 64

_NOT_PUBLIC_4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared by carriers; metadata of one cloud
            "127.0.0.0/8",
            "168.63.129.16/32",  # the host of every machine of one cloud
            "169.254.0.0/16",  # link-local; metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
# All IPv6 outside of it is private, link-local, multicast, a form of an IPv4 address, or not assigned.
_UNICAST_6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols: Teredo, benchmarking, ORCHID
            "2001:db8::/32",
            "2002::/16",  # 6to4, whatever is inside
            "2620:4f:8000::/48",
            "3fff::/20",
        ),
    )
)
# Translated addresses of IPv4 servers (NAT64): the IPv4 address inside is checked.
_NAT64: Final = IPv6Network("64:ff9b::/96")


class NotResolved(Exception):
    """The name has no address, or none in time."""


def is_public(address: Address) -> bool:
    """Whether it is a host of the internet, and not of an inner network, of the cloud's, or of an unassigned range."""
    if isinstance(address, IPv6Address):
        inside = _ipv4_inside(address)
        if inside is None:
            return address in _UNICAST_6 and not any(address in network for network in _NOT_PUBLIC_6)
        address = inside
    return not any(address in network for network in _NOT_PUBLIC_4)


def literal(host: str) -> Address | None:
    """The address that is written instead of a name, as `127.0.0.1` or `[::1]`."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def resolve(host: str, *, until: float) -> list[Address]:
    """Every address of the name, in the system's order, by `until` (monotonic). Raises NotResolved."""
    written = literal(host)
    if written is not None:
        return [written]
    try:
        return _lookup(host).result(timeout=max(0.0, until - time.monotonic()))
    except TimeoutError as error:
        raise NotResolved(f"The name {host} was not resolved in time") from error


def _ipv4_inside(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped


_lookups: dict[str, Future[list[Address]]] = {}
_lock = threading.Lock()


def _lookup(host: str) -> Future[list[Address]]:
    """
    Looks the name up in a thread of its own, one per name: the system's resolver has no deadline and cannot be stopped.

    A name that hangs holds one thread, however many callers wait for it. The result is not cached.
    """
    with _lock:
        running = _lookups.get(host)
        if running is not None:
            return running
        if len(_lookups) >= _LOOKUPS:
            raise NotResolved("Too many names are being resolved at this moment")
        future = _lookups[host] = Future()
    threading.Thread(target=_look_up, args=(host, future), name="resolve", daemon=True).start()
    return future


def _look_up(host: str, future: Future[list[Address]]) -> None:
    found: list[Address] = []
    error: Exception | None = None
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        found = list(dict.fromkeys(ip_address(entry[4][0]) for entry in entries))
    except (OSError, ValueError) as cause:  # ValueError: not a name at all
        error = cause
    with _lock:
        del _lookups[host]
    if found:
        future.set_result(found)
    else:
        unknown = NotResolved(f"The name {host} is not known")
        unknown.__cause__ = error
        future.set_exception(unknown)
