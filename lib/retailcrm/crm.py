"""RetailCRM as the ledger sees it (`lib.ledger.crm.CRM`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lib.calls.plan import CallRow, EndNotice, RingNotice
from lib.ledger.crm import Reply, Unknown
from lib.retailcrm import client, rate_slot, repair, telephony
from lib.retailcrm.account import account_of
from lib.retailcrm.client import Account, Form
from lib.retailcrm.understood import understood
from lib.runtime import config
from lib.runtime.gate import Limits
from lib.store.enterprises import Enterprise

NAME: Final = "retailcrm"


class RetailCRM:
    name = NAME
    # RetailCRM takes so many rows of history at once.
    batch = 50

    def account_of(self, enterprise: Enterprise) -> Account:
        return account_of(enterprise)

    def limits(self) -> Limits:
        return rate_slot.delivery_limits()

    def timeout_seconds(self, effect: str) -> float:
        timeouts: config.RetailCRM = config.current(config.RetailCRM)
        if effect == "upload":
            return timeouts.retailcrm_upload_timeout_seconds
        return timeouts.retailcrm_event_timeout_seconds

    def ring(self, notice: RingNotice) -> Form:
        return telephony.ring_form(notice)

    def end(self, notice: EndNotice, extensions: Sequence[str], user_ids: Sequence[int] = ()) -> Form:
        return telephony.end_form(notice, extensions, user_ids)

    def rows(self, rows: Sequence[CallRow]) -> Form:
        return telephony.upload_form(rows)

    def send(self, account: Account, request: Form, *, timeout_seconds: float) -> Reply:
        return understood(request, client.send(account, request, timeout_seconds=timeout_seconds))

    def repair(self, enterprise_number: str, unknown: Unknown) -> None:
        repair.push_mapping(enterprise_number, unknown)
