"""RetailCRM's simulator for the baseline: an account that takes whatever comes, a second after it was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import requests

KEY: Final = "key-of-0367"
SLOW_CRM_MS: Final = 1000


def account(crm: str) -> None:
    users = [{"id": int(user)} for user in ("18", "19", "20", "21")]
    codes = [{"user_id": 18, "code": "150"}, {"user_id": 19, "code": "151"}]
    data = {
        "name": "bench",
        "api_key": KEY,
        "users": users,
        "additional_codes": codes,
        "module_active": True,
        "behaviour": {"telephony_per_second": 0, "other_per_second": 0},
    }
    requests.post(f"{crm}/_sim/accounts", json=data, timeout=5).raise_for_status()


@contextmanager
def real_crm(crm: str) -> Iterator[None]:
    """A CRM with an empty ledger that takes a second, as a real one on a bad day; the simulator answers at once."""
    requests.delete(f"{crm}/_sim/ledger", timeout=5)
    requests.post(f"{crm}/_sim/faults", json={"mode": "slow", "delay_ms": SLOW_CRM_MS}, timeout=5).raise_for_status()
    try:
        yield
    finally:
        requests.delete(f"{crm}/_sim/faults", timeout=5)
