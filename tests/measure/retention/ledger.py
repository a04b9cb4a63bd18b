"""A ledger of millions of events, as months of calls leave it: written in bulk, indexed afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import psycopg

from infra.stand_ins.postgres import Cluster, free_port
from infra.stand_ins.processes import Processes

EVENTS_PER_CALL: Final = 7
DELIVERIES_PER_CALL: Final = 3
LINKS_PER_CALL: Final = 4
LOADED: Final = ("calls", "call_events", "call_links", "deliveries", "attempts", "integration_logs")
# Of so many deliveries one is still to be sent.
_LIVE_EVERY: Final = 2000

# A server of a small installation; what belongs to loading only is in _LOADING.
_SERVER: Final = {
    "shared_buffers": "2GB",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "1GB",
    "work_mem": "16MB",
    "checkpoint_timeout": "5min",
}
_LOADING: Final = {"fsync": "off", "synchronous_commit": "off", "autovacuum": "off", "max_wal_size": "16GB"}


@contextmanager
def server(data_dir: Path, *, loading: bool) -> Iterator[str]:
    """PostgreSQL on this directory, durable unless it is being loaded; its DATABASE_URL."""
    data_dir = data_dir.resolve()
    cluster = Cluster(data_dir=data_dir, port=free_port())
    cluster.prepare()
    command = cluster.command(data_dir.with_name(data_dir.name + ".log"))
    settings = _SERVER | (_LOADING if loading else {})
    # The last value of a repeated option counts.
    options = [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
    processes = Processes(str(data_dir))
    try:
        processes.start(replace(command, argv=[*command.argv, *options]))
        deadline = time.monotonic() + 60
        while not cluster.is_ready():
            if processes.exited() or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {command.log.read_text(errors='replace')[-500:]}")
            time.sleep(0.1)
        yield cluster.url
    finally:
        processes.close()


@dataclass(frozen=True, kw_only=True)
class Size:
    events: int
    days: float
    enterprises: int = 50

    @property
    def calls(self) -> int:
        return self.events // EVENTS_PER_CALL


def load(url: str, size: Size) -> None:
    """Calls at even distances over the last `days`, with their events, deliveries, attempts and exchanges."""
    with psycopg.connect(url, autocommit=True) as conn:
        # Nothing that is written here can miss its parent, and looking that up would take most of the time.
        conn.execute("SET session_replication_role = replica")
        indexes = conn.execute(
            """
            SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
            FROM pg_index i
            WHERE i.indrelid::regclass::text = ANY(%s)
              AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid)
            """,
            [list(LOADED)],
        ).fetchall()
        for name, _ in indexes:
            conn.execute(f"DROP INDEX {name}")
        for table, statement in _STATEMENTS.items():
            began = time.monotonic()
            count = conn.execute(
                statement.format(
                    calls=size.calls,
                    days=size.days,
                    enterprises=size.enterprises,
                    live=_LIVE_EVERY,
                )
            ).rowcount
            print(f"  {count:>11,} {table} in {time.monotonic() - began:.0f} s", flush=True)
        began = time.monotonic()
        for _, definition in indexes:
            conn.execute(definition)
        conn.execute(f"VACUUM (ANALYZE, FREEZE) {', '.join(LOADED)}")
        for table in ("calls", "call_events", "deliveries"):
            conn.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")
        conn.execute("CHECKPOINT")
        print(f"  indexed and vacuumed in {time.monotonic() - began:.0f} s", flush=True)


_CALLS = """
    (SELECT n, lpad((n % {enterprises})::text, 4, '0') AS number,
            now() - make_interval(secs => {days} * 86400.0 * (1 - n / {calls}::float)) AS at
     FROM generate_series(1, {calls}) n) c
"""
_STATEMENTS: Final = {
    "calls": """
        INSERT INTO calls (id, enterprise_number, main_unique_id, kind, customer, result, started_at, first_event_at,
                           last_event_at, over_at, updated_at, next_wake_at)
        OVERRIDING SYSTEM VALUE
        SELECT n, number, n || '.1', 'in', '375291111111', 'missed', at, at, at, at, at,
               CASE WHEN n * 3 % {live} < 3 THEN now() END
        FROM """
    + _CALLS,
    "call_events": """
        INSERT INTO call_events (id, event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint,
                                 received_at, call_id)
        OVERRIDING SYSTEM VALUE
        SELECT (n - 1) * 7 + part, gen_random_uuid(), number, n || '.1',
               (ARRAY['start', 'dial', 'bridge_create', 'bridge', 'bridge_leave', 'bridge_destroy', 'hangup'])[part],
               jsonb_build_object('UniqueId', n || '.1', 'Phone', '375291111111', 'CallType', 0, 'Trunk', '0001301',
                                  'Extensions', ARRAY['150', '151'], 'token', repeat('x', 32), 'part', part,
                                  'BridgeUniqueid', md5(n::text), 'Channel', 'PJSIP/0001301-' || md5(part::text)),
               sha256((n || '.' || part)::bytea), at, n
        FROM """
    + _CALLS
    + ", generate_series(1, 7) part",
    "call_links": """
        INSERT INTO call_links (enterprise_number, key, call_id, first_at, last_at)
        SELECT number, 'u' || n || '.' || part, n, at, at FROM """
    + _CALLS
    + ", generate_series(1, 4) part",
    "deliveries": """
        INSERT INTO deliveries (id, enterprise_number, call_id, effect, external_id, extensions, content, state,
                                created_at, run_at, finished_at)
        OVERRIDING SYSTEM VALUE
        SELECT (n - 1) * 3 + part, number, n, (ARRAY['popup', 'hangup', 'upload'])[part], n || '.1', '{{150,151}}',
               jsonb_build_object('externalId', n || '.1', 'phone', '375291111111', 'type', 'in', 'codes',
                                  ARRAY['150', '151'], 'result', 'failed', 'duration', 0, 'date', at),
               CASE WHEN ((n - 1) * 3 + part) % {live} = 0 THEN 'retry'
                    WHEN n % 50 = 0 THEN 'expired' WHEN n % 97 = 0 THEN 'failed' ELSE 'delivered' END,
               at, at, CASE WHEN ((n - 1) * 3 + part) % {live} <> 0 THEN at END
        FROM """
    + _CALLS
    + ", generate_series(1, 3) part",
    "attempts": """
        INSERT INTO attempts (delivery_id, fence, started_at, finished_at, outcome, http_status, request, response)
        SELECT (n - 1) * 3 + part, 1, at, at, 'done', 200,
               jsonb_build_object('url', 'https://demo.retailcrm.ru/api/v5/telephony/call/event', 'form',
                                  jsonb_build_object('phone', '375291111111', 'externalId', n || '.1', 'codes',
                                                     ARRAY['150', '151'], 'hash', md5(n::text))),
               '{{"success": true, "notExistCodes": [], "notExistUsers": []}}'
        FROM """
    + _CALLS
    + ", generate_series(1, 3) part",
    "integration_logs": """
        INSERT INTO integration_logs (enterprise_number, integration_type, event_type, request_data, response_data,
                                      status, created_at)
        SELECT number, 'retailcrm', 'upload',
               jsonb_build_object('url', 'https://demo.retailcrm.ru/api/v5/telephony/call/event', 'form',
                                  jsonb_build_object('phone', '375291111111', 'externalId', n || '.1', 'codes',
                                                     ARRAY['150', '151'], 'hash', md5(n::text))),
               jsonb_build_object('status', 200, 'body', jsonb_build_object('success', true)), 'success', at
        FROM """
    + _CALLS
    + ", generate_series(1, 3) part",
}
