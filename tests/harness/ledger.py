"""What waits in the ledger, put there at once, and processes that deliver it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

Sql = Callable[..., list[tuple[Any, ...]]]

_ROW = """jsonb_build_object('direction', 'in', 'phone', '+375291111111', 'external_id', %(prefix)s || n::text,
    'date', '2026-01-01 10:00:00', 'result', 'no answer', 'extension', '150', 'user_id', NULL, 'duration', 0,
    'waiting', 5, 'record_url', NULL, 'line_number', NULL, 'site', NULL)"""
_RING = """jsonb_build_object('direction', 'in', 'phone', '+375291111111', 'extensions', ARRAY['150'],
    'call_id', %(prefix)s || n::text, 'line_number', NULL, 'site', NULL, 'expires_at', now() + %(expires)s::interval,
    'synthetic', false)"""


@dataclass(frozen=True, kw_only=True)
class Due:
    """`with_events`: each call has a hangup too, from which assembly makes the same row of history again."""

    effect: str = "upload"
    prefix: str = "1760000000."
    batch_limit: int = 50
    expires: str = "1 hour"
    with_events: bool = False


def fill(database_url: str, number: str, count: int, **fields: Any) -> list[int]:
    """Inserts calls with one delivery due each (`fields` of Due), oldest first; returns the ids of the calls."""
    due = Due(**fields)
    content = _RING if due.effect == "popup" else _ROW
    over = "NULL" if due.effect == "popup" else "now()"
    wakes = "now() - interval '1 hour' + n * interval '1 microsecond'" if due.effect == "popup" else "NULL"
    with psycopg.connect(database_url, autocommit=True) as conn:
        found = conn.execute(
            f"""
            WITH held AS (
                INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at, last_event_at,
                                   over_at, next_wake_at)
                SELECT %(number)s, %(prefix)s || n::text, 'in', now(), now(), now(), {over}, {wakes}
                FROM generate_series(1, %(count)s) n
                RETURNING id, main_unique_id
            ), told AS (
                INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, extensions, content,
                                        expires_at, batch_limit)
                SELECT %(number)s, held.id, %(effect)s, held.main_unique_id,
                       CASE %(effect)s WHEN 'popup' THEN ARRAY['150'] ELSE '{{}}' END, {content},
                       now() + %(expires)s::interval, %(batch_limit)s
                FROM held, LATERAL (SELECT substr(held.main_unique_id, length(%(prefix)s) + 1) AS n) numbered
                ORDER BY held.id
            )
            SELECT id FROM held ORDER BY id
            """,
            {
                "number": number,
                "count": count,
                "prefix": due.prefix,
                "effect": due.effect,
                "expires": due.expires,
                "batch_limit": due.batch_limit,
            },
        ).fetchall()
        if due.effect == "upload":
            conn.execute(
                "INSERT INTO row_timers (enterprise_number, crm, wake_at) VALUES (%s, 'retailcrm', now()) "
                "ON CONFLICT (enterprise_number, crm) DO UPDATE SET wake_at = now()",
                [number],
            )
        if due.with_events:
            conn.execute(
                """
                INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint,
                                         received_at, call_id)
                SELECT gen_random_uuid(), %(number)s, main_unique_id, 'hangup', jsonb_build_object(
                           'UniqueId', main_unique_id, 'Phone', '375291111111', 'CallType', 0, 'Trunk', '0001301',
                           'Extensions', ARRAY['150'], 'CallStatus', '0', 'StartTime', '2026-01-01 10:00:00',
                           'EndTime', '2026-01-01 10:00:05', 'DateReceived', '2026-01-01 10:00:00'),
                       sha256(main_unique_id::bytea), now() - interval '1 hour', id
                FROM calls WHERE enterprise_number = %(number)s AND starts_with(main_unique_id, %(prefix)s)
                """,
                {"number": number, "prefix": due.prefix},
            )
        if count > 1000:
            conn.execute("ANALYZE calls, deliveries, call_events")
    return [row[0] for row in found]


# In the place of calls: the lane of rows.
ROWS = ("rows",)

_WORKER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from lib.runtime import db
from lib.enterprises.cache import enterprise_cache
from lib.crms import RETAILCRM
from lib.ledger.deliver import deliver_due
from lib.ledger.send_rows import send_due
from lib.runtime.errors import Unavailable
from lib.store.rows import Lane
number, rounds, threads, *calls = sys.argv[1:]

def patiently(act):
    # As the push does: what is given back on a busy machine comes again.
    for _ in range(60):
        try:
            return act()
        except Unavailable:
            time.sleep(0.5)
    return act()

def look(call):
    if call == "rows":
        send_due(Lane(enterprise_number=number, crm=RETAILCRM.name), crm=RETAILCRM)
    else:
        deliver_due(RETAILCRM, number, [int(call)])

patiently(lambda: enterprise_cache().by_number(number))
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(int(threads)) as pool:
    for _ in range(int(rounds)):
        list(pool.map(lambda call: patiently(lambda: look(call)), calls))
print("done", flush=True)
"""


@contextmanager
def workers(
    number: str, shares: Sequence[Sequence[int | str]], *, rounds: int = 1, threads: int = 1
) -> Iterator[list[subprocess.Popen[str]]]:
    """
    A process for each share of the calls; all begin at the same moment, and look so many times at each call. A share of
    `ROWS` looks at the enterprise's rows of history.
    """
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, number, str(rounds), str(threads), *map(str, share)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate(timeout=10)


def wait(running: Sequence[subprocess.Popen[str]]) -> None:
    """Until each has looked at all of its calls."""
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
