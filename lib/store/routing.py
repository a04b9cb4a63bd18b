"""Who talked with a customer before, and by which row the dialplan knows an extension."""

from __future__ import annotations

from lib.runtime.db import Connection


def find_first_talker(conn: Connection, enterprise_number: str, customer: str) -> str | None:
    row = conn.execute(
        """
        SELECT owner_extension FROM calls
        WHERE enterprise_number = %s AND customer = %s AND result = 'answered' AND owner_extension IS NOT NULL
        ORDER BY started_at LIMIT 1
        """,
        [enterprise_number, customer],
    ).fetchone()
    return row[0] if row else None


def find_last_talker(conn: Connection, enterprise_number: str, customer: str) -> str | None:
    row = conn.execute(
        """
        SELECT owner_extension FROM calls
        WHERE enterprise_number = %s AND customer = %s AND result = 'answered' AND owner_extension IS NOT NULL
        ORDER BY started_at DESC LIMIT 1
        """,
        [enterprise_number, customer],
    ).fetchone()
    return row[0] if row else None


def find_phone_id(conn: Connection, enterprise_number: str, extension: str) -> int | None:
    row = conn.execute(
        "SELECT id FROM user_internal_phones WHERE enterprise_number = %s AND phone_number = %s",
        [enterprise_number, extension],
    ).fetchone()
    return row[0] if row else None
