"""
`python -m tests.measure.retention --events 10000000`: how fast what is old goes, and what that costs others.

Builds a ledger of that many events in a throw-away PostgreSQL (fsync and autovacuum as in production once it is
loaded), times the count of `GET /stats`, then each step of retention alone, then a tick a second beside a load of
events that are stored at a fixed rate. About 2 kB of disk per event; with `--data` the loaded directory is kept and
used again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg

from infra.deployment import migrate
from lib.ledger import retention
from lib.runtime import config, db
from lib.store import deliveries, events
from lib.store.events import NewEvent
from tests.measure.retention import ledger
from tests.measure.retention.ledger import DELIVERIES_PER_CALL, EVENTS_PER_CALL, LOADED, Size

DAYS = 100.0
# Three fifths of the events are old enough to be forgotten, two fifths of the calls old enough to go.
AGES = {"EVENTS": 40, "CALLS": 60, "ATTEMPTS": 40, "LOGS": 40}
PACE = 500  # events per second that retention must keep up with
# What one event means for each step, with as many deliveries, attempts and exchanges for each call.
ROWS_PER_EVENT = {
    "forgotten": 1 / EVENTS_PER_CALL,
    "calls": 1 / EVENTS_PER_CALL,
    "attempts": DELIVERIES_PER_CALL / EVENTS_PER_CALL,
    "integration_logs": DELIVERIES_PER_CALL / EVENTS_PER_CALL,
}
SCAN = "SELECT state, count(*) FROM deliveries GROUP BY state"


@dataclass(kw_only=True)
class Others:
    """Threads that store events at a fixed rate, each due at its time: what waiting there is counts."""

    per_second: float
    milliseconds: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at_work(self, threads: int = 4) -> Iterator[None]:
        if not self.per_second:
            yield
            return
        with ThreadPoolExecutor(threads) as pool:
            for number in range(threads):
                pool.submit(self._store, number, threads)
            try:
                yield
            finally:
                self._stop.set()

    def _store(self, number: int, threads: int) -> None:
        began, sent = time.monotonic(), 0
        while not self._stop.is_set():
            due = began + (sent * threads + number) / self.per_second
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            with db.transaction() as conn:
                events.insert_event(conn, _event(number, sent))
            self.milliseconds.append((time.monotonic() - due) * 1000)
            sent += 1

    def __str__(self) -> str:
        if len(self.milliseconds) < 2:
            return "nothing was stored"
        ranks = statistics.quantiles(self.milliseconds, n=100, method="inclusive")
        return (
            f"{len(self.milliseconds)} events stored at {self.per_second:g}/s:"
            f" p50 {ranks[49]:.1f} ms, p99 {ranks[98]:.1f} ms, max {max(self.milliseconds):.0f} ms"
        )


def _event(number: int, sent: int) -> NewEvent:
    unique_id = f"{time.time():.6f}.{number}"
    return NewEvent(
        event_id=str(uuid4()),
        enterprise_number=f"{sent % 50:04}",
        unique_id=unique_id,
        event_type="start",
        raw={"UniqueId": unique_id, "Phone": "375291111111", "CallType": 0, "Trunk": "0001301"},
    )


def timed(name: str, run: Callable[[], object]) -> None:
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        spent.append((time.perf_counter() - began) * 1000)
    print(f"  {name}: {' / '.join(f'{one:.0f}' for one in spent)} ms", flush=True)


def count(url: str, events: int) -> None:
    """Also with a span in which as many were finished as in an hour of PACE."""
    pace = events / DAYS / 86_400
    with psycopg.connect(url, autocommit=True) as conn:
        timed("scan of all deliveries", lambda: conn.execute(SCAN).fetchall())
        timed(f"count_by_state, an hour of {pace:.1f} events/s", lambda: deliveries.count_by_state(conn))
        span = deliveries.FINISHED_SPAN_SECONDS * PACE / pace
        timed(
            f"count_by_state, an hour of {PACE} events/s",
            lambda: deliveries.count_by_state(conn, finished_seconds=span),
        )


def alone(seconds: float) -> float:
    """Each step by itself; for how many events a second one worker could do them all."""
    spent_per_event = 0.0
    for name, ratio in ROWS_PER_EVENT.items():
        step = retention.steps(config.current(config.Retention))[name]
        began, done, batches, slowest, after = time.perf_counter(), 0, 0, 0.0, datetime.min.replace(tzinfo=UTC)
        while time.perf_counter() - began < seconds:
            batch_began = time.perf_counter()
            with db.connection() as conn:
                deleted = step.run(conn, after)
            slowest = max(slowest, time.perf_counter() - batch_began)
            if not deleted.count:
                break
            done, batches, after = done + deleted.count, batches + 1, deleted.up_to or after
        spent = time.perf_counter() - began
        if not done:
            print(f"  {name}: nothing is old any more", flush=True)
            continue
        spent_per_event += ratio * spent / done
        print(
            f"  {name}: {done / spent:,.0f} rows/s = {done / spent / ratio:,.0f} events/s;"
            f" {batches} batches, {spent / batches * 1000:.0f} ms each, the slowest {slowest * 1000:.0f} ms",
            flush=True,
        )
    return 1 / spent_per_event if spent_per_event else 0.0


def beside(seconds: float, *, per_second: float, deletes: bool) -> None:
    """A tick a second, as the scheduler sends it, beside the others."""
    others, done = Others(per_second=per_second), Counter[str]()
    began = time.monotonic()
    with others.at_work():
        while (left := began + seconds - time.monotonic()) > 0:
            if deletes:
                done.update(retention.step(seconds=min(left, retention.BUDGET_SECONDS)))
            time.sleep(min(1.0, max(0.0, began + seconds - time.monotonic())))
    spent = time.monotonic() - began
    print(f"  {others}")
    if deletes:
        figures = ", ".join(
            f"{name} {done[name] / spent / ratio:,.0f} events/s" for name, ratio in ROWS_PER_EVENT.items()
        )
        print(f"  deleted meanwhile: {figures}", flush=True)


def tables(url: str) -> None:
    with psycopg.connect(url) as conn:
        for row in conn.execute(
            """
            SELECT relname, pg_size_pretty(pg_table_size(relid)), pg_size_pretty(pg_indexes_size(relid)),
                   n_live_tup, n_dead_tup, autovacuum_count
            FROM pg_stat_user_tables WHERE relname = ANY(%s) ORDER BY relname
            """,
            [list(LOADED)],
        ):
            print(
                f"  {row[0]}: table {row[1]}, indexes {row[2]}, {row[3]:,} rows, {row[4]:,} dead, vacuumed {row[5]} times"
            )


def vacuum(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET vacuum_cost_delay = '2ms'")
        for table in LOADED:
            row = conn.execute("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = %s", [table]).fetchone()
            dead, began = (row or (0,))[0], time.monotonic()
            conn.execute(f"VACUUM {table}")
            spent = time.monotonic() - began
            print(f"  {table}: {dead:,} dead rows in {spent:.0f} s, {dead / spent:,.0f} a second", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement")
    parser.add_argument("--others", type=float, default=100, help="events stored a second meanwhile")
    parser.add_argument("--data", type=Path, help="a directory to keep the loaded ledger in")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="retention-", ignore_cleanup_errors=True) as folder:
        data = (given.data or Path(folder)) / "data"
        if not data.exists():
            print(f"{given.events:,} events", flush=True)
            with ledger.server(data, loading=True) as url:
                migrate.apply(url)
                ledger.load(url, Size(events=given.events, days=DAYS))
        with ledger.server(data, loading=False) as url:
            migrate.apply(url)
            os.environ["DATABASE_URL"] = url
            os.environ |= {f"RETENTION_{name}_DAYS": str(days) for name, days in AGES.items()}
            config.current.cache_clear()
            try:
                measure(url, events=given.events, seconds=given.seconds, per_second=given.others)
            finally:
                db.close()
    return 0


def measure(url: str, *, events: int, seconds: float, per_second: float) -> None:
    print("GET /stats")
    count(url, events)
    print("others alone")
    beside(seconds, per_second=per_second, deletes=False)
    print("others beside retention")
    beside(seconds, per_second=per_second, deletes=True)
    print("others beside retention and a transaction that stays open")
    with psycopg.connect(url) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT FROM calls LIMIT 1")
        beside(seconds, per_second=per_second, deletes=True)
    print("each step alone, without pauses")
    capacity = alone(seconds)
    print(f"  one worker does them all for {capacity:,.0f} events/s ({PACE} are wanted)")
    print("tables")
    tables(url)
    print("vacuum at the pace of autovacuum")
    vacuum(url)


if __name__ == "__main__":
    sys.exit(main())
