"""Messages that could not be understood, with their bytes, so that a person can look and replay."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg.types.json import Jsonb

from lib import db

# An event of 64 kB in base64, with its envelope.
RAW_BYTES = 256 * 1024


def insert(*, source: str, reason: str, raw: bytes, headers: Mapping[str, str]) -> None:
    """Keeps at most RAW_BYTES of the message. Raises Unavailable."""
    printable = {key: value.replace("\x00", "") for key, value in headers.items()}
    with db.connection() as conn:
        conn.execute(
            "INSERT INTO rejected_messages (source, reason, raw, headers) VALUES (%s, %s, %s, %s)",
            [source.replace("\x00", "")[:200], reason[:500], raw[:RAW_BYTES], Jsonb(printable)],
        )
