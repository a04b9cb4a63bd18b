"""Where and as whom an enterprise's RetailCRM is asked."""

from __future__ import annotations

from lib.retailcrm import address
from lib.retailcrm.client import Account
from lib.runtime import config
from lib.runtime.errors import ConfigError
from lib.runtime.vault import vault
from lib.store.enterprises import Enterprise


def account_of(enterprise: Enterprise) -> Account:
    """Raises ConfigError."""
    domain, sealed = enterprise.retailcrm.get("domain"), enterprise.retailcrm.get("api_key")
    if not domain or not sealed:
        raise ConfigError("The address or the API key of RetailCRM is not set")
    return Account(
        base_url=address.base_url(str(domain), config.current(config.RetailCRM).retailcrm_extra_hosts),
        api_key=vault().decrypt(str(sealed), owner=enterprise.number),
    )
