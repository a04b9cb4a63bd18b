"""
How long rows are kept: every tick deletes those that are too old, in small transactions, while there are more of them
and time is left.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from lib.runtime import config, db
from lib.runtime.config import KEY_DAYS, Retention
from lib.runtime.db import Connection
from lib.store import known_browsers, retention
from lib.store.retention import Deleted

# Of one transaction, which locks what it deletes.
CALLS: Final = 50
ROWS: Final = 500
# Of each enterprise, where one statement covers all of them.
EACH: Final = 20
# Leaves half of a tick's ack deadline to the sweep itself and to a last statement that is slow.
BUDGET_SECONDS: Final = 15.0
# Of the time that a batch took: the disk and the processors serve others after it.
PAUSE: Final = 1.0

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)

_running = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Step:
    """
    Deletes one batch of one kind; there may be more when it had `full` rows.

    `after` is where the batch before it ended, or the beginning of time.
    """

    run: Callable[[Connection, datetime], Deleted]
    full: int


def step(*, seconds: float = BUDGET_SECONDS) -> dict[str, int]:
    """
    Deletes what is too old, for so long at most; how much of what. Raises Unavailable, ConfigError.

    One thread of a process deletes; a tick that comes meanwhile returns at once.
    """
    due = steps(config.current(Retention))
    if not _running.acquire(blocking=False):
        return {}
    try:
        return _run(due, deadline=time.monotonic() + seconds)
    finally:
        _running.release()


def _run(due: dict[str, Step], *, deadline: float) -> dict[str, int]:
    """A batch of each kind in turn, so that none starves behind the backlog of another."""
    counts: dict[str, int] = {}
    ends = dict.fromkeys(due, _BEGINNING)
    while due:
        # In another order each time: the time may end before the last of them.
        for name in random.sample(list(due), len(due)):
            began = time.monotonic()
            with db.connection() as conn:
                deleted = due[name].run(conn, ends[name])
            spent = time.monotonic() - began
            if deleted.count:
                counts[name] = counts.get(name, 0) + deleted.count
            if deleted.count < due[name].full:
                del due[name]
            ends[name] = deleted.up_to or ends[name]
            if time.monotonic() + spent * PAUSE > deadline:
                return counts
            time.sleep(spent * PAUSE)
    return counts


def steps(days: Retention) -> dict[str, Step]:
    by_age = {
        "attempts": days.retention_attempts_days,
        "integration_logs": days.retention_logs_days,
        "rejected_messages": days.retention_rejected_days,
        "clicks": days.retention_clicks_days,
        "callbacks": days.retention_clicks_days,
        "sessions": days.retention_sessions_days,
        "sign_in_attempts": days.retention_sessions_days,
        "known_browsers": known_browsers.DAYS,
        "module_commands": days.retention_commands_days,
        "replays": days.retention_replays_days,
    }
    events, calls = days.retention_events_days, days.retention_calls_days
    return {
        "forgotten": Step(
            run=lambda conn, after: retention.forget_events(conn, days=events, after=after, limit=CALLS), full=CALLS
        ),
        "calls": Step(
            run=lambda conn, after: retention.delete_calls(conn, days=calls, after=after, limit=CALLS), full=CALLS
        ),
        "abandoned": Step(run=lambda conn, _: retention.abandon_calls(conn, days=events, limit=CALLS), full=CALLS),
        # Their keys are deleted with them.
        "events": Step(
            run=lambda conn, _: retention.delete_unassembled(conn, days=max(events, KEY_DAYS), limit_each=EACH),
            full=EACH,
        ),
        **{table: _by_age(table, age) for table, age in by_age.items()},
    }


def _by_age(table: str, days: int) -> Step:
    return Step(
        run=lambda conn, after: retention.delete_old(conn, table, days=days, after=after, limit=ROWS), full=ROWS
    )
