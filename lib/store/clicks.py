"""Clicks on a number in the CRM: who wanted to call whom, when, and what they were told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from lib.runtime.db import Connection

# From the click to the first event of its call: the manager's own phone rings in between.
LINK_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Click:
    """`http_status` and `answer` are None until the Asterisk service has been asked."""

    id: int
    enterprise_number: str
    user_id: int | None
    extension: str
    phone: str
    clicked_at: datetime
    http_status: int | None
    answer: Mapping[str, Any] | None


def lock(conn: Connection, enterprise_number: str) -> None:
    """Until the end of the transaction nobody else enters a click of this enterprise."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('clicks ' || %s, 0))", [enterprise_number])


def find_recent(
    conn: Connection,
    enterprise_number: str,
    *,
    extension: str,
    phone: str,
    within_seconds: float,
    unfinished_within_seconds: float,
) -> Click | None:
    """The latest click of this extension on this number, an unfinished one for longer than a finished one."""
    with conn.cursor(row_factory=class_row(Click)) as cursor:
        return cursor.execute(
            """
            SELECT id, enterprise_number, user_id, extension, phone, clicked_at, http_status, answer
            FROM clicks
            WHERE enterprise_number = %(number)s AND extension = %(extension)s AND phone = %(phone)s
              AND clicked_at > clock_timestamp() - make_interval(
                  secs => CASE WHEN finished_at IS NULL THEN %(unfinished)s ELSE %(finished)s END::float)
            ORDER BY clicked_at DESC LIMIT 1
            """,
            {
                "number": enterprise_number,
                "extension": extension,
                "phone": phone,
                "finished": within_seconds,
                "unfinished": unfinished_within_seconds,
            },
        ).fetchone()


def get_click(conn: Connection, click_id: int) -> Click:
    with conn.cursor(row_factory=class_row(Click)) as cursor:
        click = cursor.execute(
            """
            SELECT id, enterprise_number, user_id, extension, phone, clicked_at, http_status, answer
            FROM clicks WHERE id = %s
            """,
            [click_id],
        ).fetchone()
    assert click is not None  # noqa: S101  (clicks are never deleted while somebody waits for one)
    return click


def find_click(
    conn: Connection,
    enterprise_number: str,
    *,
    extension: str,
    phone: str,
    at: datetime,
    within_seconds: float = LINK_SECONDS,
) -> Click | None:
    """The click nearest before `at`, or a little after it: the clocks of hosts differ from ours."""
    with conn.cursor(row_factory=class_row(Click)) as cursor:
        return cursor.execute(
            """
            SELECT id, enterprise_number, user_id, extension, phone, clicked_at, http_status, answer
            FROM clicks
            WHERE enterprise_number = %(number)s AND extension = %(extension)s AND phone = %(phone)s
              AND clicked_at BETWEEN %(at)s - make_interval(secs => %(within)s)
                                 AND %(at)s + interval '5 seconds'
            ORDER BY abs(extract(epoch FROM %(at)s - clicked_at)) LIMIT 1
            """,
            {
                "number": enterprise_number,
                "extension": extension,
                "phone": phone,
                "at": at,
                "within": within_seconds,
            },
        ).fetchone()


def count_last_minute(conn: Connection, enterprise_number: str, *, extension: str) -> tuple[int, int]:
    """How many clicks the extension, and the whole enterprise, made in the last minute."""
    row = conn.execute(
        """
        SELECT count(*) FILTER (WHERE extension = %s), count(*) FROM clicks
        WHERE enterprise_number = %s AND clicked_at > clock_timestamp() - interval '1 minute'
        """,
        [extension, enterprise_number],
    ).fetchone()
    assert row is not None  # noqa: S101  (an aggregate always returns a row)
    return row[0], row[1]


def count_last_day(conn: Connection, enterprise_number: str, *, most: int) -> int:
    """How many clicks the enterprise made in the last 24 hours; no more than `most` are counted."""
    row = conn.execute(
        """
        SELECT count(*) FROM (
            SELECT FROM clicks
            WHERE enterprise_number = %s AND clicked_at > clock_timestamp() - interval '1 day' LIMIT %s) AS of_the_day
        """,
        [enterprise_number, most],
    ).fetchone()
    assert row is not None  # noqa: S101  (an aggregate always returns a row)
    count: int = row[0]
    return count


def insert_click(conn: Connection, enterprise_number: str, *, user_id: int | None, extension: str, phone: str) -> int:
    row = conn.execute(
        """
        INSERT INTO clicks (enterprise_number, user_id, extension, phone) VALUES (%s, %s, %s, %s)
        RETURNING id
        """,
        [enterprise_number, user_id, extension, phone],
    ).fetchone()
    assert row is not None  # noqa: S101  (an insert returns its row)
    click_id: int = row[0]
    return click_id


def finish_click(conn: Connection, click_id: int, *, http_status: int, answer: Mapping[str, Any]) -> None:
    conn.execute(
        "UPDATE clicks SET http_status = %s, answer = %s, finished_at = clock_timestamp() WHERE id = %s",
        [http_status, Jsonb(answer), click_id],
    )
