"""What managers say of themselves in the CRM: free, busy, at dinner, on a break."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from lib.runtime.db import Connection


@dataclass(frozen=True, kw_only=True)
class UserStatus:
    """`age_seconds` by the database's clock."""

    status: str
    changed_at: datetime
    age_seconds: float


def upsert_status(conn: Connection, enterprise_number: str, *, user_id: int, status: str) -> None:
    conn.execute(
        """
        INSERT INTO user_statuses (enterprise_number, user_id, status) VALUES (%s, %s, %s)
        ON CONFLICT (enterprise_number, user_id)
            DO UPDATE SET status = excluded.status, changed_at = excluded.changed_at
        """,
        [enterprise_number, user_id, status],
    )


def find_status(conn: Connection, enterprise_number: str, user_id: int) -> UserStatus | None:
    with conn.cursor(row_factory=class_row(UserStatus)) as cursor:
        return cursor.execute(
            """
            SELECT status, changed_at, extract(epoch FROM clock_timestamp() - changed_at)::float AS age_seconds
            FROM user_statuses WHERE enterprise_number = %s AND user_id = %s
            """,
            [enterprise_number, user_id],
        ).fetchone()
