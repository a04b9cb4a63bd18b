"""Browsers that have signed in to a login: they have a budget of their own there, which strangers cannot use up."""

from __future__ import annotations

from typing import Final

from lib.runtime.db import Connection

# After the last time that it signed in; as long as browsers keep such a cookie.
DAYS: Final = 400
TRIES: Final = 10
_WITHIN: Final = "15 minutes"


def take_try(conn: Connection, token_sha256: bytes, *, enterprise_number: str, login: str) -> bool:
    """Whether this browser is known at this login and may try a password now: TRIES within a quarter of an hour."""
    return (
        conn.execute(
            """
            UPDATE known_browsers b
            SET tries = CASE WHEN b.tried_since > clock_timestamp() - %(within)s::interval THEN b.tries + 1 ELSE 1 END,
                tried_since = CASE WHEN b.tried_since > clock_timestamp() - %(within)s::interval THEN b.tried_since
                                   ELSE clock_timestamp() END
            FROM users u
            WHERE b.token_sha256 = %(hash)s AND u.id = b.user_id
              AND u.enterprise_number = %(number)s AND u.login = %(login)s
              AND (b.tries < %(tries)s OR b.tried_since <= clock_timestamp() - %(within)s::interval)
              AND b.seen_at > clock_timestamp() - make_interval(days => %(days)s)
            """,
            {
                "hash": token_sha256,
                "number": enterprise_number,
                "login": login,
                "tries": TRIES,
                "within": _WITHIN,
                "days": DAYS,
            },
        ).rowcount
        > 0
    )


def remember(conn: Connection, user_id: int, *, before: bytes, after: bytes) -> None:
    """The browser has signed in, and has a new secret from now on, also for its other logins."""
    conn.execute("UPDATE known_browsers SET token_sha256 = %s WHERE token_sha256 = %s", [after, before])
    conn.execute(
        """
        INSERT INTO known_browsers (token_sha256, user_id) VALUES (%s, %s)
        ON CONFLICT (token_sha256, user_id) DO UPDATE SET tries = 0, seen_at = clock_timestamp()
        """,
        [after, user_id],
    )


def forget_of_user(conn: Connection, user_id: int) -> None:
    conn.execute("DELETE FROM known_browsers WHERE user_id = %s", [user_id])


def forget_all(conn: Connection, enterprise_number: str) -> None:
    conn.execute(
        "DELETE FROM known_browsers b USING users u WHERE u.id = b.user_id AND u.enterprise_number = %s",
        [enterprise_number],
    )
