"""How long what is kept: a small part of what is too old goes with every tick."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from lib.runtime import config, db
from lib.runtime.config import KEY_DAYS, Retention
from lib.runtime.db import Connection
from lib.store import retention

CALLS: Final = 50
ROWS: Final = 500
# Of each enterprise, where one statement looks at all of them.
EACH: Final = 20
# A tick has more to do; what is left over waits for the next one.
BUDGET_SECONDS: Final = 2.0


def step() -> dict[str, int]:
    """Deletes a little of everything that is too old; how much of what. Raises Unavailable, ConfigError."""
    deadline = time.monotonic() + BUDGET_SECONDS
    done: dict[str, int] = {}
    steps = list(_steps(config.current(Retention)).items())
    # In another order each time, so that no step starves behind slow ones.
    random.shuffle(steps)
    for name, run in steps:
        if time.monotonic() > deadline:
            break
        with db.connection() as conn:
            count = run(conn)
        if count:
            done[name] = count
    return done


def _steps(days: Retention) -> dict[str, Callable[[Connection], int]]:
    by_age = {
        "attempts": days.retention_attempts_days,
        "integration_logs": days.retention_logs_days,
        "rejected_messages": days.retention_rejected_days,
        "clicks": days.retention_clicks_days,
        "sessions": days.retention_sessions_days,
        "sign_in_attempts": days.retention_sessions_days,
        "module_commands": days.retention_commands_days,
        "replays": days.retention_replays_days,
    }
    events, calls = days.retention_events_days, days.retention_calls_days
    return {
        "forgotten": lambda conn: retention.forget_events(conn, days=events, limit=CALLS),
        "calls": lambda conn: retention.delete_calls(conn, days=calls, limit=CALLS),
        "at_rest": lambda conn: retention.put_to_rest(conn, days=events, limit=CALLS),
        # With such an event goes its key.
        "events": lambda conn: retention.delete_unassembled(conn, days=max(events, KEY_DAYS), limit_each=EACH),
        **{table: _by_age(table, age) for table, age in by_age.items()},
    }


def _by_age(table: str, days: int) -> Callable[[Connection], int]:
    return lambda conn: retention.delete_old(conn, table, days=days, limit=ROWS)
