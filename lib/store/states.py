"""The states of a delivery, and the sets of them that statements and screens speak of."""

from __future__ import annotations

from typing import Final

from psycopg.sql import SQL

STATES: Final = (
    "ready",
    "leased",
    "retry",
    "in_doubt",
    "held",
    "delivered",
    "failed",
    "not_shown",
    "expired",
    "superseded",
)
# Not sent yet, and nobody is at it.
WAITING: Final = ("ready", "retry")
# Not sent yet, or being sent.
LIVE: Final = (*WAITING, "leased")
# It came to nothing, and a person may have it sent again.
GIVEN_UP: Final = ("failed", "expired", "in_doubt")

# For statements: a partial index is found only by the words themselves.
WAITING_SQL: Final = SQL("('ready', 'retry')")
LIVE_SQL: Final = SQL("('ready', 'retry', 'leased')")
