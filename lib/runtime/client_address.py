"""
From where a request came, as the gateway saw it.

Each proxy appends the address of whoever asked it to `X-Forwarded-For`, so only entries that proxies of ours wrote can
be believed: the last one, and the one before each entry that is a trusted proxy's (`TRUSTED_PROXIES`).
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from flask import Request

from lib.runtime import config

_LONGEST = 64


def client_address(request: Request) -> str:
    """The last address in the chain that is no proxy's of ours, cut to 64 characters; "" if the server tells none."""
    chain = request.headers.get("X-Forwarded-For", "").split(",")
    heard = [part.strip() for part in chain if part.strip()] or [request.remote_addr or ""]
    trusted = config.current(config.Proxies)
    while len(heard) > 1 and trusted.includes(_address(heard[-1])):
        heard.pop()
    return heard[-1][:_LONGEST]


@lru_cache(maxsize=1000)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
