"""What only RetailCRM's integration has among its options, beside what every CRM's has."""

from __future__ import annotations

from typing import Final

from lib.store.integration import Integration

# Rings by click only, and only until the module is registered, which gives the CRM the clientId.
NUMBER_ACCEPTED: Final = "accept_number_as_client_id"


def accepts_number_as_client_id(integration: Integration) -> bool:
    """Whether the enterprise's number, which is no secret, may stand for its clientId in a click."""
    return integration.options.get(NUMBER_ACCEPTED) is True
