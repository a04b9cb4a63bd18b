"""Which address may be an account of RetailCRM: its API key is sent there."""

from __future__ import annotations

from typing import Final

from lib.errors import ConfigError

HOST_SUFFIXES: Final = (".retailcrm.ru", ".retailcrm.pro", ".retailcrm.es", ".simla.com", ".simla.io")


def base_url(domain: str, extra_hosts: str) -> str:
    """
    The address of an account: `demo` of `demo.retailcrm.ru`, with or without https://.

    `extra_hosts` names simulators (`127.0.0.1:*`), which may be plain http. Raises ConfigError for other hosts.
    """
    scheme, separator, rest = domain.strip().rstrip("/").partition("://")
    if not separator:
        scheme, rest = "", domain.strip().rstrip("/")
    host = rest.lower()
    if any(_matches(host, pattern.strip()) for pattern in extra_hosts.split(",") if pattern.strip()):
        return f"{scheme or 'http'}://{host}"
    label = next((host.removesuffix(suffix) for suffix in HOST_SUFFIXES if host.endswith(suffix)), "")
    if scheme not in {"", "https"} or not label.replace("-", "").replace(".", "").isalnum() or not label.isascii():
        raise ConfigError(f"domain: must be an https address of RetailCRM (*{', *'.join(HOST_SUFFIXES)})")
    return f"https://{host}"


def _matches(host: str, pattern: str) -> bool:
    name, _, port = pattern.rpartition(":")
    if not name:
        return host == pattern
    host_name, _, host_port = host.rpartition(":")
    return host_name == name and host_port.isdigit() and port in {"*", host_port}
