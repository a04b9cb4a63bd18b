"""Who is signed in, and by what people sign in. Tokens are kept as their hash; the database's clock ends sessions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from lib.runtime.db import Connection


@dataclass(frozen=True, kw_only=True)
class Session:
    """`login` is None for a session that the account link opened."""

    id: int
    enterprise_number: str
    login: str | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Credentials:
    user_id: int
    password_hash: str | None
    is_admin: bool


def insert_session(conn: Connection, enterprise_number: str, *, user_id: int | None, token_sha256: bytes) -> None:
    conn.execute(
        "INSERT INTO sessions (enterprise_number, user_id, token_sha256) VALUES (%s, %s, %s)",
        [enterprise_number, user_id, token_sha256],
    )


def touch_session(conn: Connection, token_sha256: bytes, *, idle_minutes: int, absolute_hours: int) -> Session | None:
    """The session, seen now; None when there is none, or it is over."""
    with conn.cursor(row_factory=class_row(Session)) as cursor:
        return cursor.execute(
            """
            UPDATE sessions s SET last_seen_at = clock_timestamp()
            WHERE s.token_sha256 = %(hash)s AND s.revoked_at IS NULL
              AND s.last_seen_at > clock_timestamp() - make_interval(mins => %(idle)s)
              AND s.created_at > clock_timestamp() - make_interval(hours => %(absolute)s)
            RETURNING s.id, s.enterprise_number, s.created_at,
                      (SELECT u.login FROM users u WHERE u.id = s.user_id) AS login
            """,
            {"hash": token_sha256, "idle": idle_minutes, "absolute": absolute_hours},
        ).fetchone()


def revoke_session(conn: Connection, token_sha256: bytes) -> None:
    conn.execute(
        "UPDATE sessions SET revoked_at = clock_timestamp() WHERE token_sha256 = %s AND revoked_at IS NULL",
        [token_sha256],
    )


def revoke_others(conn: Connection, enterprise_number: str, *, session_id: int) -> None:
    """Ends every session of the enterprise but this one."""
    conn.execute(
        """
        UPDATE sessions SET revoked_at = clock_timestamp()
        WHERE enterprise_number = %s AND id <> %s AND revoked_at IS NULL
        """,
        [enterprise_number, session_id],
    )


def revoke_all(conn: Connection, enterprise_number: str) -> int:
    """How many it ended."""
    return conn.execute(
        "UPDATE sessions SET revoked_at = clock_timestamp() WHERE enterprise_number = %s AND revoked_at IS NULL",
        [enterprise_number],
    ).rowcount


def revoke_of_user(conn: Connection, user_id: int) -> int:
    """How many it ended."""
    return conn.execute(
        "UPDATE sessions SET revoked_at = clock_timestamp() WHERE user_id = %s AND revoked_at IS NULL", [user_id]
    ).rowcount


def find_credentials(conn: Connection, enterprise_number: str, login: str) -> Credentials | None:
    with conn.cursor(row_factory=class_row(Credentials)) as cursor:
        return cursor.execute(
            """
            SELECT id AS user_id, password_hash, is_admin FROM users
            WHERE enterprise_number = %s AND login = %s
            """,
            [enterprise_number, login],
        ).fetchone()


def replace_password_hash(conn: Connection, user_id: int, *, before: str | None, after: str) -> None:
    """Another hash of the same password; one that was set meanwhile stays."""
    conn.execute("UPDATE users SET password_hash = %s WHERE id = %s AND password_hash = %s", [after, user_id, before])


def find_link_version(conn: Connection, enterprise_number: str) -> int | None:
    row = conn.execute("SELECT account_link_version FROM enterprises WHERE number = %s", [enterprise_number]).fetchone()
    return row[0] if row else None


def raise_link_version(conn: Connection, enterprise_number: str, *, above: int) -> None:
    """Links of version `above` and older open nothing any more."""
    conn.execute(
        """
        UPDATE enterprises SET account_link_version = greatest(account_link_version, %s) WHERE number = %s
        """,
        [above + 1, enterprise_number],
    )
