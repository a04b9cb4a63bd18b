"""
Asks RetailCRM whether it accepts an address and a key, before they replace those that work.

What it refuses is never stored. What could not be asked is stored by whoever may do so unproven.
"""

from __future__ import annotations

from typing import Final

from lib.admin import guard
from lib.retailcrm import access, trouble
from lib.retailcrm.client import Account
from lib.runtime.json_schema import Problem

TIMEOUT_SECONDS: Final = 5.0
# Without these rights neither cards nor the module itself would work.
_NEEDED: Final = frozenset({"telephony_write", "integration_read", "integration_write"})


def require(account: Account, *, must_answer: bool) -> None:
    """
    `must_answer`: RetailCRM has to say that the key will do; else it only must not refuse it. Raises InvalidPayload at
    the field that is wrong, and Unavailable.
    """
    reply = access.get_credentials(account, timeout_seconds=TIMEOUT_SECONDS)
    if reply.outcome == "done":
        missing = [scope.name for scope in access.missing_scopes(reply.details) if scope.name in _NEEDED]
        if missing and must_answer:
            message = f"may not do what is needed: {', '.join(missing)}"
            guard.refuse({"api_key": Problem(code="scopes_missing", message=message, params={"scopes": missing})})
        return
    found = trouble.of(reply)
    is_of_key = found.code == "key_refused"
    if not is_of_key and not must_answer:
        return
    params = {**found.params, "words": found.words, "host": account.base_url.partition("://")[2]}
    problem = Problem(code=found.code, message=reply.error or "RetailCRM did not accept it", params=params)
    guard.refuse({"api_key" if is_of_key else "domain": problem})
