"""From where the hosts of an enterprise may speak: from the networks of its provisioning file, if it names any."""

from __future__ import annotations

import logging
from typing import Final

from lib.runtime.client_address import Network, is_in, network
from lib.runtime.errors import Forbidden
from lib.store.enterprises import Enterprise

log = logging.getLogger(__name__)

_KEY: Final = "host_networks"


def require(enterprise: Enterprise, address: str) -> None:
    """`address`: of `client_address`. Raises Forbidden (`network_not_allowed`)."""
    if not enterprise.host_networks or is_in(address, _networks(enterprise)):
        return
    log.warning("a token came from a network that is not its own", extra=_told(enterprise, address))
    raise Forbidden(
        f"Hosts of enterprise {enterprise.number} may not speak from {address or 'an address that nobody knows'}: "
        "add its network to host_networks of the enterprise's file, then make provision",
        code="network_not_allowed",
    )


def _told(enterprise: Enterprise, address: str) -> dict[str, object]:
    return {"enterprise": enterprise.number, "address": address, "allowed": enterprise.host_networks}


def _networks(enterprise: Enterprise) -> list[Network]:
    found: list[Network] | None = enterprise.derived.get(_KEY)
    if found is None:
        found = enterprise.derived.setdefault(_KEY, [network(text) for text in enterprise.host_networks])
    return found
