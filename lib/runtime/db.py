"""
PostgreSQL: one pool per process, opened on first use; `transaction()` and `connection()` are the ways to it.

Whatever keeps the database from answering becomes Unavailable, after a bounded wait: the server has deadlines for
statements, locks and idle transactions, and this side has one for every answer, because a server that is gone
keeps none. Nothing is repeated here; what callers send is keyed or fenced, so an unknown commit is repeated by them.

A connection that idled is used without a ping while nothing speaks against it: a server that ends or dies closes the
socket, which costs no round trip to see. The ping is for what the socket cannot tell.
"""

from __future__ import annotations

import logging
import select
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

log = logging.getLogger(__name__)

Connection = psycopg.Connection[TupleRow]

# For callers with an alternative: intake publishes, the cache serves stale entries.
QUICK_SECONDS: Final = 0.5
# A connection that does not answer a ping within this is taken for dead.
CHECK_SECONDS: Final = 0.4
# After this much silence a connection is pinged before use: a peer that vanished without a word closes no socket.
TRUSTED_SECONDS: Final = 3.0
# The server's own deadline comes first: its answer says what was wrong, and leaves the connection usable.
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
    """Waits for no answer longer than `answer_seconds`, nor past `until`; in a pipeline as outside of it."""

    answer_seconds = 10.0
    until: float | None = None
    answered_at = 0.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        patience = self.answer_seconds
        if self.until is not None:
            patience = min(patience, max(0.001, self.until - time.monotonic()))
        try:
            answer = super().wait(gen, interval, patience)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001  (what `timeout` is documented to raise)
            self.pgconn.finish()
            raise Silent("no answer in time") from error
        self.answered_at = time.monotonic()
        return answer

    @contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        try:
            with super().pipeline() as pipeline:
                yield pipeline
        except BaseException:
            # What was to be prepared behind the error was not, though the driver has its name by now.
            self._prepared.clear()
            if config.current(config.Database).is_pooled:
                # PgBouncer (seen with 1.18; its issue 759) may hand the server on before the Sync that ends the error,
                # and then answers nobody.
                self.close()
            raise

    def is_spoken_to(self) -> bool:
        """The server sent something that nobody asked for, or closed the socket. Costs no round trip."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(0))


class Pool(ConnectionPool[BoundedConnection]):
    """`suspected_at`: when a connection last fell silent; what has not answered since may be dead too."""

    suspected_at = 0.0


@lazy
def pool() -> Pool:
    return open_pool(config.current(config.Database).database_url)


def open_pool(database_url: str) -> Pool:
    settings = config.current(config.Database)
    threads = config.current(config.Platform).threads
    if 0 < threads < settings.database_pool_size:
        log.warning("DATABASE_POOL_SIZE is larger than THREADS", extra={"threads": threads})
    return Pool(
        database_url,
        connection_class=BoundedConnection,
        min_size=0,
        max_size=settings.database_pool_size,
        timeout=settings.database_pool_timeout_seconds,
        max_waiting=settings.database_pool_size * 8,
        # The next caller connects anew; a growing backoff in the background would only delay that.
        reconnect_timeout=0,
        configure=_configure,
        kwargs=connection_options(settings, is_pooled=settings.is_pooled),
        open=True,
    )


def connection_options(settings: config.Database, *, is_pooled: bool) -> dict[str, object]:
    """Deadlines of every connection: a database that hangs must not hang us."""
    options: dict[str, object] = {
        "autocommit": True,
        "connect_timeout": max(2, int(settings.database_pool_timeout_seconds)),
        "application_name": "gateway",
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": int(settings.database_statement_timeout_seconds * 2000),
    }
    if is_pooled:
        # A pooler refuses `options`, and a prepared statement would stay behind on somebody else's connection.
        return {**options, "prepare_threshold": None}
    by_server = " ".join(f"-c {name}={value}" for name, value in session_settings(settings).items())
    return {**options, "prepare_threshold": 2, "options": by_server}


def session_settings(settings: config.Database) -> dict[str, str]:
    """What every session of the server has: sent by each connection, or kept by the role where there is a pooler."""
    timeout_ms = int(settings.database_statement_timeout_seconds * 1000)
    return {
        "statement_timeout": str(timeout_ms),
        "lock_timeout": str(timeout_ms),
        "idle_in_transaction_session_timeout": str(timeout_ms * 2),
        "timezone": "UTC",
    }


def open_session() -> BoundedConnection:
    """A connection outside of the pool to the server itself, for LISTEN. Raises psycopg.Error."""
    settings = config.current(config.Database)
    return BoundedConnection.connect(settings.session_url, **connection_options(settings, is_pooled=False))  # type: ignore[arg-type]


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
        except Silent:
            source.suspected_at = time.monotonic()
            raise
        except psycopg.OperationalError:
            if conn.broken:
                source.drain()
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


def _checked_out(source: Pool, within_seconds: float | None) -> BoundedConnection:
    """A connection that lives, as far as can be told. One that does not shows that all that idle may be dead too."""
    wait_seconds = config.current(config.Database).database_pool_timeout_seconds
    until = None if within_seconds is None else time.monotonic() + within_seconds
    give_up_at = time.monotonic() + min(wait_seconds, within_seconds or wait_seconds)
    while True:
        conn = source.getconn(timeout=give_up_at - time.monotonic())
        try:
            if not _is_trusted(conn, source):
                conn.until = min(give_up_at, time.monotonic() + CHECK_SECONDS)
                conn.execute("")
                _outage_guard.answered()
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


def _is_trusted(conn: BoundedConnection, source: Pool) -> bool:
    return (
        conn.answered_at > max(source.suspected_at, time.monotonic() - TRUSTED_SECONDS)
        and not _outage_guard.is_away
        and not conn.is_spoken_to()
    )


def _configure(conn: BoundedConnection) -> None:
    settings = config.current(config.Database)
    conn.answer_seconds = settings.database_statement_timeout_seconds + _GRACE_SECONDS
    conn.answered_at = time.monotonic()
    if settings.is_pooled and conn.execute("SELECT current_setting('statement_timeout')").fetchone() == ("0",):
        log.warning("the server has no deadlines of ours: run infra.deployment.roles, then reconnect the pooler")
