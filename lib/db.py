"""
PostgreSQL: one pool per process, opened on first use; `transaction()` and `connection()` are the ways to it.

Whatever keeps the database from answering becomes Unavailable, after a bounded wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from lib import config
from lib.errors import InvalidPayload, Unavailable
from lib.once import once

Connection = psycopg.Connection[TupleRow]


class Counter:
    """How many transactions this process has begun: `database_queries` of /stats."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self) -> None:
        with self._lock:
            self.value += 1


queries = Counter()

# After one caller waited in vain, the others are told at once for a while: a queue of waiters helps nobody.
AWAY_SECONDS = 1.0
_away_until = 0.0

_UNSTORABLE = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, TooManyRequests)


@once
def pool() -> ConnectionPool[Connection]:
    settings = config.current(config.Database)
    return ConnectionPool(
        settings.database_url,
        connection_class=psycopg.Connection[TupleRow],
        min_size=0,
        max_size=settings.database_pool_size,
        timeout=settings.database_pool_timeout_seconds,
        max_waiting=settings.database_pool_size * 8,
        reconnect_timeout=5,
        check=ConnectionPool.check_connection,
        kwargs=connection_options(settings),
        open=True,
    )


def connection_options(settings: config.Database) -> dict[str, object]:
    """Deadlines of every connection: a database that hangs must not hang us."""
    timeout_ms = int(settings.database_statement_timeout_seconds * 1000)
    return {
        "autocommit": True,
        "prepare_threshold": 2,
        "connect_timeout": max(2, int(settings.database_pool_timeout_seconds)),
        "application_name": "gateway",
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": timeout_ms * 2,
        "options": f"-c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms}"
        f" -c idle_in_transaction_session_timeout={timeout_ms * 2} -c timezone=UTC",
    }


@contextmanager
def transaction() -> Iterator[Connection]:
    """A connection inside BEGIN … COMMIT."""
    with connection() as conn, conn.transaction():
        yield conn


@contextmanager
def connection() -> Iterator[Connection]:
    """A connection in autocommit: for one statement, which is its own transaction."""
    global _away_until  # noqa: PLW0603  (a process-wide fact)
    queries.add()
    if time.monotonic() < _away_until:
        raise Unavailable("The database did not answer a moment ago")
    try:
        with pool().connection() as conn:
            yield conn
    except PoolTimeout as error:
        _away_until = time.monotonic() + AWAY_SECONDS
        raise Unavailable("The database did not answer in time") from error
    except _UNSTORABLE as error:
        raise InvalidPayload(f"The database cannot store this: {type(error).__name__}") from error
    except _AWAY as error:
        raise Unavailable(f"The database did not answer: {type(error).__name__}") from error


def now(conn: Connection) -> datetime:
    """The database's time."""
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101  (a constant row)
    moment: datetime = row[0]
    return moment


def close() -> None:
    """Ends the pool, if there is one."""
    global _away_until  # noqa: PLW0603  (see above)
    _away_until = 0.0
    if pool.made is not None:
        pool.made.close()
        pool.forget()
