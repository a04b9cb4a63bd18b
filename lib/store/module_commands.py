"""What the integration module in a CRM is asked to become, and how far that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import errors
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from lib.runtime.db import Connection

Action = Literal["register", "deactivate", "push_mapping"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """`steps`: `{"name", "state", "message"}` in order; `code` and `message` say how it ended, or why it waits."""

    id: int
    enterprise_number: str
    action: Action
    state: str
    steps: list[dict[str, Any]]
    code: str | None
    message: str | None
    attempts_made: int
    run_at: datetime
    created_at: datetime
    finished_at: datetime | None
    fence: int


def insert_command(conn: Connection, enterprise_number: str, action: Action) -> Command:
    """In the place of those that wait and would do less, or the opposite."""
    replaced = ["push_mapping"] if action == "push_mapping" else ["register", "deactivate", "push_mapping"]
    conn.execute(
        """
        UPDATE module_commands SET state = 'superseded', finished_at = clock_timestamp()
        WHERE enterprise_number = %s AND state IN ('ready', 'retry') AND action = ANY(%s)
        """,
        [enterprise_number, replaced],
    )
    with conn.cursor(row_factory=class_row(Command)) as cursor:
        command = cursor.execute(
            """
            INSERT INTO module_commands (enterprise_number, action) VALUES (%s, %s)
            RETURNING id, enterprise_number, action, state, steps, code, message, attempts_made, run_at, created_at,
                      finished_at, fence
            """,
            [enterprise_number, action],
        ).fetchone()
    assert command is not None  # noqa: S101  (an insert returns its row)
    return command


def supersede(conn: Connection, enterprise_number: str) -> None:
    """Those that wait are not carried out any more."""
    conn.execute(
        """
        UPDATE module_commands SET state = 'superseded', finished_at = clock_timestamp()
        WHERE enterprise_number = %s AND state IN ('ready', 'retry')
        """,
        [enterprise_number],
    )


def is_busy(conn: Connection, enterprise_number: str) -> bool:
    """Whether one is being carried out."""
    row = conn.execute(
        """
        SELECT EXISTS (SELECT FROM module_commands
                       WHERE enterprise_number = %s AND state = 'leased' AND lease_until > clock_timestamp())
        """,
        [enterprise_number],
    ).fetchone()
    return row == (True,)


def is_recent(conn: Connection, enterprise_number: str, *, seconds: float) -> bool:
    """Whether the CRM was told who has which extension within so many seconds, or is about to be."""
    row = conn.execute(
        """
        SELECT EXISTS (SELECT FROM module_commands
                       WHERE enterprise_number = %s AND action IN ('register', 'push_mapping')
                         AND (state IN ('ready', 'retry', 'leased')
                              OR created_at > clock_timestamp() - make_interval(secs => %s)))
        """,
        [enterprise_number, seconds],
    ).fetchone()
    return row == (True,)


def list_commands(conn: Connection, enterprise_number: str, *, limit: int) -> list[Command]:
    """The latest first."""
    with conn.cursor(row_factory=class_row(Command)) as cursor:
        return cursor.execute(
            """
            SELECT id, enterprise_number, action, state, steps, code, message, attempts_made, run_at, created_at,
                   finished_at, fence
            FROM module_commands WHERE enterprise_number = %s ORDER BY id DESC LIMIT %s
            """,
            [enterprise_number, limit],
        ).fetchall()


def list_due(conn: Connection, *, limit: int) -> list[str]:
    """Enterprises that have a command due, or one whose worker was lost."""
    rows = conn.execute(
        """
        SELECT enterprise_number FROM module_commands
        WHERE state IN ('ready', 'retry', 'leased')
        GROUP BY enterprise_number
        HAVING min(coalesce(lease_until, run_at)) <= clock_timestamp()
           AND NOT bool_or(coalesce(lease_until > clock_timestamp(), false))
        ORDER BY min(run_at) LIMIT %s
        """,
        [limit],
    ).fetchall()
    return [row[0] for row in rows]


def claim_next(conn: Connection, enterprise_number: str, *, lease_seconds: float) -> Command | None:
    """The enterprise's oldest command that is due, leased. None: there is none, or another process is at one."""
    conn.execute(
        """
        UPDATE module_commands SET state = 'retry', fence = fence + 1, lease_until = NULL
        WHERE enterprise_number = %s AND state = 'leased' AND lease_until < clock_timestamp()
        """,
        [enterprise_number],
    )
    try:
        with conn.cursor(row_factory=class_row(Command)) as cursor:
            return cursor.execute(
                """
                UPDATE module_commands
                SET state = 'leased', fence = fence + 1, attempts_made = attempts_made + 1, steps = '[]',
                    lease_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
                WHERE id = (
                    SELECT id FROM module_commands c
                    WHERE c.enterprise_number = %(number)s AND c.state IN ('ready', 'retry')
                      AND c.run_at <= clock_timestamp()
                      AND NOT EXISTS (SELECT 1 FROM module_commands busy
                                      WHERE busy.enterprise_number = %(number)s AND busy.state = 'leased')
                    ORDER BY id LIMIT 1 FOR UPDATE)
                RETURNING id, enterprise_number, action, state, steps, code, message, attempts_made, run_at,
                          created_at, finished_at, fence
                """,
                {"number": enterprise_number, "lease_seconds": lease_seconds},
            ).fetchone()
    except errors.UniqueViolation:  # another process claimed at the same moment
        return None


def save_steps(conn: Connection, command: Command, steps: Sequence[Mapping[str, Any]]) -> None:
    conn.execute(
        "UPDATE module_commands SET steps = %s WHERE id = %s AND fence = %s AND state = 'leased'",
        [Jsonb(list(steps)), command.id, command.fence],
    )


def finish(
    conn: Connection,
    command: Command,
    *,
    state: Literal["done", "failed", "retry"],
    code: str,
    message: str,
    retry_in_seconds: float = 0.0,
) -> bool:
    """False when somebody else holds the command by now, and nothing was changed."""
    updated = conn.execute(
        """
        UPDATE module_commands
        SET state = %(state)s, code = %(code)s, message = %(message)s, lease_until = NULL,
            run_at = CASE WHEN %(state)s = 'retry'
                     THEN clock_timestamp() + make_interval(secs => %(retry_in)s) ELSE run_at END,
            finished_at = CASE WHEN %(state)s = 'retry' THEN NULL ELSE clock_timestamp() END
        WHERE id = %(id)s AND fence = %(fence)s AND state = 'leased'
        """,
        {
            "state": state,
            "code": code,
            "message": message[:2000].replace("\x00", ""),
            "retry_in": retry_in_seconds,
            "id": command.id,
            "fence": command.fence,
        },
    )
    return updated.rowcount == 1
