"""Where and as whom an enterprise's RetailCRM is asked."""

from __future__ import annotations

from lib.retailcrm import address
from lib.retailcrm.client import Account
from lib.runtime import config
from lib.runtime.errors import ConfigError
from lib.runtime.vault import vault
from lib.store.enterprises import Enterprise
from lib.store.integration import RETAILCRM


def account_of(enterprise: Enterprise) -> Account:
    """Raises ConfigError."""
    integration = enterprise.integration(RETAILCRM)
    if not integration.domain or not integration.api_key:
        raise ConfigError("The address or the API key of RetailCRM is not set", code="not_configured")
    return Account(
        base_url=address.base_url(integration.domain, config.current(config.RetailCRM).retailcrm_extra_hosts),
        api_key=vault().decrypt(integration.api_key, owner=enterprise.number),
    )
