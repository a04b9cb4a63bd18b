"""A database that the version before the rows' lane filled: calls in flight, rows that wait, a CRM that is away."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from infra.deployment import migrate
from infra.stand_ins import postgres
from lib.crms import CRMS, RETAILCRM
from lib.intake import messages
from lib.ledger import codec
from lib.ledger.send_rows import send_due
from lib.ledger.sweep import sweep
from lib.ledger.wake import wake
from lib.runtime import config, db
from tests.harness.assembled import Desk

FILLED = json.loads((Path(__file__).parent / "data" / "filled_by_0009.json").read_text())
TABLES = [name for name in FILLED if name != "now"]
LAST_VERSION = 9
SETTLED_SECONDS = 60.0


@pytest.fixture
def filled(postgres_server, process):
    """The tables as they were, every moment of them as long ago as it was then."""
    with postgres.database(postgres_server) as url:
        migrate.apply(url, [one for one in migrate.read() if one.version <= LAST_VERSION])
        ago = datetime.now(UTC) - datetime.fromisoformat(FILLED["now"])
        with psycopg.connect(url) as conn:
            for table in TABLES:
                conn.execute(
                    f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s)",
                    [Jsonb(FILLED[table])],
                )
                for column, kind in moments(conn, table):
                    moved = (
                        f"ARRAY(SELECT one + %(ago)s FROM unnest({column}) one)"
                        if kind == "ARRAY"
                        else f"{column} + %(ago)s"
                    )
                    conn.execute(f"UPDATE {table} SET {column} = {moved}", {"ago": ago})
            for table in ("calls", "call_events", "deliveries"):
                conn.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")
        process.setenv("DATABASE_URL", url)
        config.current.cache_clear()
        yield url
        db.close()


def moments(conn, table):
    return conn.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s "
        "AND (data_type = 'timestamp with time zone' OR udt_name = '_timestamptz')",
        [table],
    ).fetchall()


def phone(tag):
    return f"37529{1111100 + tag}"


def main_id(tag):
    epoch = FILLED["calls"][0]["main_unique_id"].partition(".")[0]
    return f"{epoch}.{tag}"


def hangup(number, tag):
    """The end of a call that the version before saw ring."""
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 3 * 3600))
    body = {"UniqueId": main_id(tag), "Phone": phone(tag), "CallType": 0, "Trunk": "0001301", "Extensions": [""]}
    body |= {"CallStatus": "0", "StartTime": now, "EndTime": now, "DateReceived": now}
    return {
        "base": time.time(),
        "events": [{"endpoint": "/hangup", "at": 0, "body": body}],
    }


def test_what_the_version_before_left_is_neither_lost_nor_doubled(filled, broker, crm_server, provisioned, process):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    config.current.cache_clear()
    crm_server.clear()
    crm_server.forget("0367")
    crm_server.account("0367")
    with psycopg.connect(filled, autocommit=True) as conn:
        conn.execute("UPDATE crm_gates SET account = %s", [crm_server.url])
    migrate.apply(filled)
    provisioned("0367", domain=crm_server.url)
    subscriptions = {topic: broker.topic(topic) for topic in ("call-events", "due-rows")}

    def sql(query, *parameters):
        with psycopg.connect(filled, autocommit=True) as conn:
            return conn.execute(query, parameters).fetchall()

    desk = Desk(number="0367", sql=sql)
    for tag in (2, 3, 8):
        desk.assemble_all(desk.store(hangup("0367", tag)))
    deadline = time.monotonic() + SETTLED_SECONDS
    while waiting(sql) and time.monotonic() < deadline:
        sweep()
        for body in broker.pull(subscriptions["call-events"]):
            wake(messages.parse(body, published_at=None), crm=RETAILCRM, crms=CRMS)
        for body in broker.pull(subscriptions["due-rows"]):
            send_due(codec.lane_of(body), crm=RETAILCRM)
        time.sleep(0.3)

    rows = [row["externalId"] for row in crm_server.rows("0367")]
    told = [
        (event["callExternalId"], code)
        for event in crm_server.events("0367")
        if event["type"] == "in"
        for code in event["codes"]
    ]
    ends = [event["callExternalId"] for event in crm_server.events("0367") if event["type"] == "hangup"]
    assert waiting(sql) == []
    # The first one's row was in the CRM before.
    assert sorted(rows) == sorted(main_id(tag) for tag in range(2, 13))
    assert len(told) == len(set(told))
    assert len(ends) == len(set(ends))
    # It was on the screens before, so that its end is told now.
    assert main_id(2) in ends
    # Whether these were seen is in doubt since then, and nobody is told twice.
    assert {call for call, _ in told}.isdisjoint(main_id(tag) for tag in (1, 2, 4, 5, 8))


def waiting(sql):
    return sql(
        "SELECT external_id, effect, state, reason FROM deliveries WHERE state IN ('ready', 'retry', 'leased') "
        "UNION ALL SELECT unique_id, event_type, 'waiting', NULL FROM call_events WHERE call_id IS NULL"
    )
