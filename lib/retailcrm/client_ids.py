"""Which enterprise a `clientId` means: all that RetailCRM's callbacks say of who they are."""

from __future__ import annotations

import hmac
import threading
import time
from collections import deque
from typing import Final

from lib.enterprises.cache import enterprise_cache
from lib.retailcrm import options
from lib.runtime import db
from lib.runtime.errors import NotFound, RateLimited, Unauthorized
from lib.runtime.lazy import lazy
from lib.store import enterprises
from lib.store.enterprises import Enterprise

UNKNOWN_PER_SECOND: Final = 50
_LONGEST: Final = 128


class Clients:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[str, str] = {}
        self._unknown_at: deque[float] = deque(maxlen=UNKNOWN_PER_SECOND)

    def enterprise_of(self, client_id: str) -> Enterprise:
        """
        Raises Unauthorized for a clientId that is nobody's, RateLimited when those rain, and Unavailable when it is
        not known here and the database is away.
        """
        number = self._numbers.get(client_id) or self._find_number(client_id)
        try:
            enterprise = enterprise_cache().by_number(number) if number else None
        except NotFound:
            enterprise = None
        if enterprise is None or not _is_known_by(enterprise, client_id):
            self._numbers.pop(client_id, None)  # it was changed a moment ago
            raise Unauthorized("No enterprise has this clientId")
        self._numbers[client_id] = enterprise.number
        return enterprise

    def _find_number(self, client_id: str) -> str | None:
        if not client_id or len(client_id) > _LONGEST or "\x00" in client_id:
            return None
        now = time.monotonic()
        with self._lock:
            if len(self._unknown_at) == UNKNOWN_PER_SECOND and now - self._unknown_at[0] < 1:
                raise RateLimited("Too many unknown clientIds; try again in a second")
        with db.connection() as conn:
            number = enterprises.find_number_by_client_id(conn, client_id, number_accepted=options.NUMBER_ACCEPTED)
        if number is None:
            with self._lock:
                self._unknown_at.append(now)
        return number


def _is_known_by(enterprise: Enterprise, client_id: str) -> bool:
    """The number, which is no secret, stands for the clientId only while the enterprise's own setting lets it."""
    if hmac.compare_digest(enterprise.client_id.encode(), client_id.encode()):
        return True
    return client_id == enterprise.number and options.accepts_number_as_client_id(enterprise.integration())


@lazy
def clients() -> Clients:
    return Clients()
