"""Attempts to sign in of browsers that are not known, and the turns of those that wait; by the database's clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import class_row, dict_row

from lib.runtime.db import Connection

# More failures of a day are not counted.
COUNTED: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """
    Failures of the last day; times in seconds from now, past ones negative, None where there is none. `login_at`: the
    latest attempt or turn at this login; `source_at`: the latest attempt of this source; `turn_in`: the turn that this
    site has at this login.
    """

    of_login: int
    login_at: float | None
    of_source: int
    source_at: float | None
    turn_in: float | None


def lock(conn: Connection, login_sha256: bytes, source: str) -> None:
    """Until the end of the transaction nobody else of this source, or at this login, is let through."""
    # In one order everywhere: two that need two of these never wait for each other.
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('sign-in from ' || %s, 0))", [source])
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('sign-in at ' || %s, 0))", [login_sha256.hex()])


def find(conn: Connection, login_sha256: bytes, *, source: str, site: str) -> Attempts:
    with conn.cursor(row_factory=class_row(Attempts)) as cursor:
        row = cursor.execute(
            """
            WITH now AS MATERIALIZED (SELECT clock_timestamp() AS at)
            SELECT (SELECT count(*) FROM (SELECT FROM sign_in_attempts
                                          WHERE login_sha256 = %(login)s AND NOT is_waiting
                                            AND attempted_at > now.at - interval '1 day' LIMIT %(most)s) failed)
                       AS of_login,
                   (SELECT extract(epoch FROM max(attempted_at) - now.at)::float FROM sign_in_attempts
                    WHERE login_sha256 = %(login)s) AS login_at,
                   (SELECT count(*) FROM (SELECT FROM sign_in_attempts
                                          WHERE address = %(source)s AND NOT is_waiting
                                            AND attempted_at > now.at - interval '1 day' LIMIT %(most)s) failed)
                       AS of_source,
                   (SELECT extract(epoch FROM max(attempted_at) - now.at)::float FROM sign_in_attempts
                    WHERE address = %(source)s AND NOT is_waiting) AS source_at,
                   (SELECT extract(epoch FROM attempted_at - now.at)::float FROM sign_in_attempts
                    WHERE login_sha256 = %(login)s AND address = %(site)s AND is_waiting) AS turn_in
            FROM now
            """,
            {"login": login_sha256, "source": source, "site": site, "most": COUNTED},
        ).fetchone()
    assert row is not None  # noqa: S101  (one row of now)
    return row


def keep_turn(conn: Connection, login_sha256: bytes, *, site: str, seconds: float) -> None:
    """In so many seconds; in place of one that the site had before at this login."""
    _end_turn(conn, login_sha256, site)
    conn.execute(
        """
        INSERT INTO sign_in_attempts (login_sha256, address, attempted_at, is_waiting)
        VALUES (%s, %s, clock_timestamp() + make_interval(secs => %s), true)
        """,
        [login_sha256, site, seconds],
    )


def insert(conn: Connection, login_sha256: bytes, *, source: str, site: str) -> None:
    """An attempt that is judged now. The turn that the site had at this login is over."""
    _end_turn(conn, login_sha256, site)
    conn.execute("INSERT INTO sign_in_attempts (login_sha256, address) VALUES (%s, %s)", [login_sha256, source])


def _end_turn(conn: Connection, login_sha256: bytes, site: str) -> None:
    conn.execute(
        "DELETE FROM sign_in_attempts WHERE login_sha256 = %s AND address = %s AND is_waiting", [login_sha256, site]
    )


def delete(conn: Connection, login_sha256: bytes, *, source: str) -> None:
    """Of this login and source: they were right."""
    conn.execute("DELETE FROM sign_in_attempts WHERE login_sha256 = %s AND address = %s", [login_sha256, source])


def count(conn: Connection, *, seconds: float) -> dict[str, Any]:
    """
    Failures within so many seconds: `failed`, at how many `logins`, the `addresses` with the most of them; `waiting`:
    turns that are to come, or came within two minutes and were not taken.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            WITH lately AS MATERIALIZED (
                SELECT login_sha256, address FROM sign_in_attempts
                WHERE attempted_at > clock_timestamp() - make_interval(secs => %(seconds)s) AND NOT is_waiting
                ORDER BY attempted_at DESC LIMIT 10000
            )
            SELECT (SELECT count(*) FROM lately) AS failed,
                   (SELECT count(DISTINCT login_sha256) FROM lately) AS logins,
                   (SELECT coalesce(jsonb_object_agg(address, failed), '{}')
                    FROM (SELECT address, count(*) AS failed FROM lately
                          GROUP BY address ORDER BY count(*) DESC LIMIT 5) most) AS addresses,
                   (SELECT count(*) FROM sign_in_attempts
                    WHERE attempted_at > clock_timestamp() - interval '2 minutes' AND is_waiting) AS waiting
            """,
            {"seconds": seconds},
        ).fetchone()
    assert row is not None  # noqa: S101  (a row of aggregates)
    return row
