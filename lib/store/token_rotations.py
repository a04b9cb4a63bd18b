"""Two tokens of an enterprise at a time: the old one, in `enterprises`, until it is dropped, and the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row

from lib.runtime.db import Connection


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """`old_used_at`: when a host last showed the old token, to the minute; None: not since the rotation began."""

    next_token: str = field(repr=False)
    began_at: datetime
    old_used_at: datetime | None


def lock(conn: Connection, enterprise_number: str) -> bool:
    """Until the end of the transaction nobody else changes the enterprise's tokens; False: there is no such one."""
    found = conn.execute("SELECT FROM enterprises WHERE number = %s FOR UPDATE", [enterprise_number]).fetchone()
    return found is not None


def find(conn: Connection, enterprise_number: str) -> Rotation | None:
    with conn.cursor(row_factory=class_row(Rotation)) as cursor:
        return cursor.execute(
            "SELECT next_token, began_at, old_used_at FROM token_rotations WHERE enterprise_number = %s",
            [enterprise_number],
        ).fetchone()


def begin(conn: Connection, enterprise_number: str, *, next_token: str) -> None:
    conn.execute(
        "INSERT INTO token_rotations (enterprise_number, next_token) VALUES (%s, %s)", [enterprise_number, next_token]
    )


def drop_old(conn: Connection, enterprise_number: str) -> None:
    """The next token becomes the only one; the old one is remembered by its hash."""
    conn.execute(
        """
        INSERT INTO dropped_tokens (token_sha256, enterprise_number)
        SELECT token_sha256, number FROM enterprises WHERE number = %s
        ON CONFLICT (token_sha256) DO UPDATE SET dropped_at = clock_timestamp()
        """,
        [enterprise_number],
    )
    conn.execute(
        """
        WITH ended AS (DELETE FROM token_rotations WHERE enterprise_number = %s RETURNING enterprise_number, next_token)
        UPDATE enterprises SET token = ended.next_token, updated_at = clock_timestamp()
        FROM ended WHERE number = ended.enterprise_number
        """,
        [enterprise_number],
    )


def drop_next(conn: Connection, enterprise_number: str) -> None:
    """The old token stays the only one."""
    conn.execute("DELETE FROM token_rotations WHERE enterprise_number = %s", [enterprise_number])


def find_dropped_at(conn: Connection, token: str) -> datetime | None:
    """When this token was dropped, whoever's it was."""
    row = conn.execute("SELECT dropped_at FROM dropped_tokens WHERE token_sha256 = token_hash(%s)", [token]).fetchone()
    return row[0] if row else None


def note_old_use(conn: Connection, enterprise_numbers: Sequence[str]) -> None:
    conn.execute(
        "UPDATE token_rotations SET old_used_at = clock_timestamp() WHERE enterprise_number = ANY(%s)",
        [list(enterprise_numbers)],
    )
