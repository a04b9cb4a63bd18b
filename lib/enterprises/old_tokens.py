"""
Whose hosts still show the token that a rotation replaces: the operator drops it when nobody does.

Noted by the threads of requests, written down by one thread of the cache, once a minute for an enterprise.
"""

from __future__ import annotations

import time
from typing import Final

from lib.runtime import db
from lib.store import token_rotations

AGAIN_SECONDS: Final = 60.0


class OldTokens:
    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._written_at: dict[str, float] = {}

    def note(self, enterprise_number: str) -> None:
        self._seen.add(enterprise_number)

    def write(self) -> None:
        """Writes down what is due. Raises Unavailable and psycopg.Error."""
        now = time.monotonic()
        due = [n for n in self._seen.copy() if now - self._written_at.get(n, float("-inf")) >= AGAIN_SECONDS]
        if not due:
            return
        with db.connection() as conn:
            token_rotations.note_old_use(conn, due)
        self._seen.difference_update(due)
        self._written_at |= dict.fromkeys(due, now)
