"""Who may sign in to administer an enterprise: people of it with a password and the right to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg.rows import class_row

from lib.runtime.db import Connection


@dataclass(frozen=True, kw_only=True)
class Administrator:
    """`has_password`: without one nobody can sign in under this login."""

    login: str
    first_name: str
    last_name: str
    has_password: bool


def has_enterprise(conn: Connection, enterprise_number: str) -> bool:
    return conn.execute("SELECT FROM enterprises WHERE number = %s", [enterprise_number]).fetchone() is not None


def list_administrators(conn: Connection, enterprise_number: str) -> list[Administrator]:
    with conn.cursor(row_factory=class_row(Administrator)) as cursor:
        return cursor.execute(
            """
            SELECT login, first_name, last_name, password_hash IS NOT NULL AS has_password FROM users
            WHERE enterprise_number = %s AND is_admin ORDER BY login
            """,
            [enterprise_number],
        ).fetchall()


def save(
    conn: Connection, enterprise_number: str, login: str, *, password_hash: str
) -> tuple[int, Literal["added", "changed"]]:
    """The user's id, and whether the login is an administrator's only since now."""
    before = conn.execute(
        "SELECT is_admin FROM users WHERE enterprise_number = %s AND login = %s FOR UPDATE", [enterprise_number, login]
    ).fetchone()
    row = conn.execute(
        """
        INSERT INTO users (enterprise_number, login, password_hash, is_admin) VALUES (%s, %s, %s, true)
        ON CONFLICT (enterprise_number, login)
            DO UPDATE SET password_hash = excluded.password_hash, is_admin = true
        RETURNING id
        """,
        [enterprise_number, login, password_hash],
    ).fetchone()
    assert row is not None  # noqa: S101  (an upsert always returns its row)
    return row[0], "changed" if before and before[0] else "added"


def disable(conn: Connection, enterprise_number: str, login: str) -> int | None:
    """The person stays, with their phones, and cannot sign in any more; the user's id, None: no administrator."""
    row = conn.execute(
        """
        UPDATE users SET is_admin = false, password_hash = NULL
        WHERE enterprise_number = %s AND login = %s AND is_admin RETURNING id
        """,
        [enterprise_number, login],
    ).fetchone()
    return row[0] if row else None
