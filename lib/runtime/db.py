"""
PostgreSQL: one pool per process, opened on first use; `transaction()` and `connection()` are the ways to it.

A database that does not answer becomes Unavailable, after a bounded wait: the server has deadlines for
statements, locks and idle transactions, and the client has one for every answer, because a dead server keeps none.
Nothing is retried here: the statements of the callers are keyed or fenced, so that callers can retry after a commit
of which nobody knows whether it happened.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from lib.runtime import config
from lib.runtime.errors import InvalidPayload, Unavailable
from lib.runtime.lazy import lazy
from lib.runtime.outage_guard import OutageGuard

Connection = psycopg.Connection[TupleRow]

# For callers with an alternative: intake publishes, the cache serves stale entries.
QUICK_SECONDS: Final = 0.5
# A connection that does not answer an empty query within this time is considered dead.
CHECK_SECONDS: Final = 0.4
# The server's own deadline is shorter: its error says what was wrong, and leaves the connection usable.
_GRACE_SECONDS: Final = 1.0

_UNSTORABLE = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)
_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    TooManyRequests,
    # The server was demoted under an open connection, or ended a transaction that idled.
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
)


class Counter:
    """How many transactions this process has begun: `database_queries` of /stats."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self) -> None:
        with self._lock:
            self.value += 1


queries = Counter()
_outage_guard = OutageGuard("The database")


class Silent(psycopg.OperationalError):
    """No answer came in time, and the connection was given up."""


class BoundedConnection(psycopg.Connection[TupleRow]):
    """Waits for no answer longer than `answer_seconds`, nor past `until`."""

    answer_seconds = 10.0
    until: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        patience = self.answer_seconds
        if self.until is not None:
            patience = min(patience, max(0.001, self.until - time.monotonic()))
        try:
            return super().wait(gen, interval, patience)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001  (what `timeout` is documented to raise)
            self.pgconn.finish()
            raise Silent("no answer in time") from error


@lazy
def pool() -> ConnectionPool[BoundedConnection]:
    settings = config.current(config.Database)
    return ConnectionPool(
        settings.database_url,
        connection_class=BoundedConnection,
        min_size=0,
        max_size=settings.database_pool_size,
        timeout=settings.database_pool_timeout_seconds,
        max_waiting=settings.database_pool_size * 8,
        # The next caller connects anew; a growing backoff in the background would only delay that.
        reconnect_timeout=0,
        configure=_configure,
        kwargs=connection_options(settings),
        open=True,
    )


def connection_options(settings: config.Database) -> dict[str, object]:
    """The deadlines of every connection, so that a database that hangs does not block a function."""
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
def connection(*, within_seconds: float | None = None) -> Iterator[Connection]:
    """
    A connection in autocommit: for one statement, which is its own transaction.

    `within_seconds` bounds everything, from asking for a connection to the last answer.
    """
    queries.add()
    _outage_guard.check()
    source = pool()
    try:
        conn = _checked_out(source, within_seconds)
        try:
            yield conn
        except psycopg.errors.ReadOnlySqlTransaction:
            conn.close()
            raise
        finally:
            conn.until = None
            source.putconn(conn)
    except (PoolTimeout, Silent) as error:
        _outage_guard.silent()
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
    _outage_guard.answered()
    if pool.made is not None:
        pool.made.close()
        pool.forget()


def _checked_out(source: ConnectionPool[BoundedConnection], within_seconds: float | None) -> BoundedConnection:
    """A connection that answers. When one does not, all idle connections are checked, which may be dead too."""
    wait_seconds = config.current(config.Database).database_pool_timeout_seconds
    until = None if within_seconds is None else time.monotonic() + within_seconds
    give_up_at = time.monotonic() + min(wait_seconds, within_seconds or wait_seconds)
    while True:
        conn = source.getconn(timeout=give_up_at - time.monotonic())
        try:
            conn.until = min(give_up_at, time.monotonic() + CHECK_SECONDS)
            conn.execute("")
        except psycopg.Error:
            source.putconn(conn)
            source.drain()
        except BaseException:
            source.putconn(conn)
            raise
        else:
            conn.until = until
            _outage_guard.answered()
            return conn


def _configure(conn: BoundedConnection) -> None:
    conn.answer_seconds = config.current(config.Database).database_statement_timeout_seconds + _GRACE_SECONDS
