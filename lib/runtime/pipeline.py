"""
A transaction whose statements travel together: only reading a result waits for the database.

What `execute` returns is a cursor whose rows are fetched later; the first `fetch` sends what was collected so far, and
waits once for all of it. An error of any statement comes out at the next fetch or at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.pq import TransactionStatus

from lib.runtime import db
from lib.runtime.db import Connection


class Transaction:
    """`commit` may come before the end: statements after it see what others committed meanwhile."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self._is_over = False
        conn.execute("BEGIN")

    def commit(self) -> None:
        if not self._is_over:
            self._is_over = True
            self.conn.execute("COMMIT")

    def commit_and_go_on(self) -> None:
        """What follows is a transaction of its own, which sees what others committed meanwhile."""
        self.conn.execute("COMMIT AND CHAIN")

    def roll_back(self) -> None:
        if not self._is_over:
            self._is_over = True
            self.conn.execute("ROLLBACK")


@contextmanager
def transaction() -> Iterator[Transaction]:
    """Committed at the end of the block, rolled back by an exception. Raises what `db.connection` raises."""
    with db.connection() as conn:
        try:
            with conn.pipeline():
                current = Transaction(conn)
                yield current
                current.commit()
        finally:
            if conn.info.transaction_status not in {TransactionStatus.IDLE, TransactionStatus.UNKNOWN}:
                conn.rollback()
