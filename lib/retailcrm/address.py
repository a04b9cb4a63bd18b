"""
Checks the address of an account of RetailCRM, to which its API key is sent.

The form is checked here, wherever an address is set or used; the resolved addresses by `outbound` at every connection.
"""

from __future__ import annotations

import re
from typing import Final

from lib.runtime.errors import ConfigError
from lib.runtime.outbound import Network

HOST_SUFFIXES: Final = (".retailcrm.ru", ".retailcrm.pro", ".retailcrm.es", ".simla.com", ".simla.io")

# Accounts have names in ASCII: a letter that looks like another one is never intended.
_LABELS: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_HOST_CHARACTERS: Final = 253


def base_url(domain: str, extra_hosts: str) -> str:
    """
    The address of an account: `demo.retailcrm.ru`, with or without https:// and what stands behind it in a browser.

    `extra_hosts` names simulators (`127.0.0.1:*`), which may be plain http. Raises ConfigError for other hosts.
    """
    scheme, host = _parts(domain)
    if _is_extra_host(host, extra_hosts) and scheme in {"", "http", "https"}:
        return f"{scheme or 'http'}://{host}"
    label = next((host.removesuffix(suffix) for suffix in HOST_SUFFIXES if host.endswith(suffix)), "")
    is_name = len(host) <= _HOST_CHARACTERS and _LABELS.fullmatch(label)
    if scheme not in {"", "https"} or not is_name:
        message = f"domain: must be an https address of RetailCRM (*{', *'.join(HOST_SUFFIXES)})"
        raise ConfigError(message, code="crm_address")
    return f"https://{host}"


def network(url: str, extra_hosts: str) -> Network:
    """The network to which a request to this account may go: a simulator may be anywhere."""
    return "any" if _is_extra_host(_parts(url)[1], extra_hosts) else "public"


def _parts(address: str) -> tuple[str, str]:
    """
    Scheme, or nothing, and host with port; path, query and fragment are cut off. No host where it is not ASCII, which
    lower case would make of some letters.
    """
    scheme, separator, rest = address.strip().partition("://")
    if not separator:
        scheme, rest = "", address.strip()
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return scheme.lower(), host.lower() if host.isascii() else ""


def _is_extra_host(host: str, extra_hosts: str) -> bool:
    return any(_matches(host, pattern.strip().lower()) for pattern in extra_hosts.split(",") if pattern.strip())


def _matches(host: str, pattern: str) -> bool:
    name, _, port = pattern.rpartition(":")
    if not name:
        return host == pattern
    host_name, _, host_port = host.rpartition(":")
    return host_name == name and bool(_PORT.fullmatch(host_port)) and port in {"*", host_port}
