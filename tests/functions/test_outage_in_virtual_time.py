"""A CRM that is away for half an hour, in virtual time: what waits is moved into the past instead of waiting for it."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime

import pytest

from lib.ledger.sweep import LANE_AGAIN_SECONDS
from lib.runtime import config, db
from lib.store import calls, rows
from tests.harness.enterprises import TOKEN
from tests.harness.ledger import fill
from tests.harness.servers import push_envelope

OUTAGE_SECONDS = 1800.0
# The longest pause between two tries, with its jitter.
DRAIN_SECONDS = 960.0
STEP_SECONDS = 1.0
CALLS = 8
ROWS = 300
WAKES_AT_ONCE = 500
# What schedules; what happened keeps its time.
SCHEDULES = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND data_type = 'timestamp with time zone'
      AND (table_name IN ('deliveries', 'crm_gates', 'row_timers')
           OR (table_name = 'calls' AND column_name IN ('due_at', 'next_wake_at')))
"""


class Clock:
    """Time passes by moving every moment that something waits for."""

    def __init__(self, sql, function):
        self._sql = sql
        self._deliver, self._upload = function("retailcrm-deliver"), function("retailcrm-upload")
        self._columns: dict[str, list[str]] = {}
        for table, column in sql(SCHEDULES):
            self._columns.setdefault(table, []).append(column)
        self.now = 0.0
        self.wakes = 0

    def pass_until(self, end, true=lambda: False):
        """Until this moment, or until something is true: from one thing that is due to the next."""
        while self.now < end and not true():
            [(seconds,)] = self._sql(
                "SELECT extract(epoch FROM least((SELECT min(next_wake_at) FROM calls), "
                "  (SELECT min(wake_at) FROM row_timers)) - clock_timestamp())::float"
            )
            step = min(end - self.now, max(STEP_SECONDS, seconds if seconds is not None else end))
            self._move(step)
            with db.connection() as conn:
                due = calls.claim_due(conn, limit=WAKES_AT_ONCE)
                lanes = rows.claim_due_lanes(conn, limit=WAKES_AT_ONCE, again_seconds=LANE_AGAIN_SECONDS)
            self.wakes += len(due) + len(lanes)
            for one in due:
                self.push({"call_id": one.id, "enterprise_number": one.enterprise_number})
            for lane in lanes:
                self.push_rows(lane.enterprise_number)

    def push(self, message):
        assert self._deliver.post("/", json=push_envelope(message)).status_code == 204

    def push_rows(self, number):
        message = {"enterprise_number": number, "crm": "retailcrm"}
        assert self._upload.post("/", json=push_envelope(message)).status_code == 204

    def _move(self, seconds):
        self.now += seconds
        with db.transaction() as conn:
            for table, columns in self._columns.items():
                moved = ", ".join(f"{column} = {column} - make_interval(secs => %(seconds)s)" for column in columns)
                conn.execute(f"UPDATE {table} SET {moved}", {"seconds": seconds})


def missed_call(number, index):
    unique_id = f"{int(time.time())}.{index}"
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 3 * 3600))
    phone = f"37529{1_000_000 + index}"
    call = {"Token": TOKEN, "UniqueId": unique_id, "Phone": phone, "CallType": 0, "Trunk": "0001301"}
    told: dict[str, dict[str, object]] = {
        "start": {},
        "dial": {"Extensions": ["150", "151"]},
        "hangup": {"Extensions": [""], "CallStatus": "0", "StartTime": now, "EndTime": now, "DateReceived": now},
    }
    return unique_id, [
        {
            "event": {
                "event_id": str(uuid.uuid4()),
                "enterprise_number": number,
                "unique_id": unique_id,
                "event_type": kind,
                "raw": {**call, **fields},
                "record_url": None,
                "data_source": "live",
                "received_at": datetime.now(UTC).isoformat(),
            }
        }
        for kind, fields in told.items()
    ]


@pytest.fixture
def crm(crm_server):
    crm_server.clear()
    for account in ("0367", "0368"):
        crm_server.account(account)
    return crm_server


@pytest.mark.parametrize(
    "fault",
    [{"mode": "error_500"}, {"mode": "error_429", "retry_after": 30}],
    ids=lambda fault: fault["mode"],
)
def test_after_half_an_hour_every_row_goes_out_once_and_the_crm_was_not_pestered(  # noqa: PLR0917  (fixtures)
    function, provisioned, crm, sql, fault, process
):
    # Two accounts: what one address is asked, and whether it is away, is counted for the address.
    process.setenv("RETAILCRM_EXTRA_HOSTS", "127.0.0.1:*,localhost:*")
    config.current.cache_clear()
    provisioned("0367", domain=crm.url)
    provisioned("0368", domain=crm.url.replace("127.0.0.1", "localhost"), token="another-token")
    clock = Clock(sql, function)
    crm.fault(account="0367", **fault)
    wanted = []
    for index in range(CALLS):
        unique_id, messages = missed_call("0367", index)
        wanted.append(unique_id)
        for message in messages:
            clock.push(message)

    clock.pass_until(OUTAGE_SECONDS / 2)
    healthy, messages = missed_call("0368", CALLS)
    for message in messages:
        clock.push(message)
    clock.push_rows("0368")
    healthy_rows = [row["externalId"] for row in crm.rows("0368")]
    clock.pass_until(OUTAGE_SECONDS)
    tries = len(crm.entries("0367", "upload"))
    during = crm.rows("0367")
    crm._control("DELETE", "faults")
    clock.pass_until(
        OUTAGE_SECONDS + DRAIN_SECONDS,
        lambda: sql("SELECT count(*) FROM deliveries WHERE effect = 'upload' AND state <> 'delivered'") == [(0,)],
    )

    assert healthy_rows == [healthy], "at once, whatever the neighbour's CRM does"
    assert during == []
    assert sorted(row["externalId"] for row in crm.rows("0367")) == sorted(wanted)
    assert not [told for told in crm.events("0367") if told["type"] == "in"], "no pop-up half an hour late"
    # Backing off from a second to ten minutes makes about a dozen tries of half an hour.
    assert tries <= CALLS * 20
    print(f"{fault['mode']}: {tries / CALLS:.1f} tries a row, all in {clock.now - OUTAGE_SECONDS:.0f} s after the end")


@pytest.mark.parametrize(
    "fault",
    [{"mode": "error_503"}, {"mode": "error_429", "retry_after": 3600}],
    ids=lambda fault: fault["mode"],
)
def test_half_an_hour_of_many_waiting_rows_costs_few_wakes_and_all_go_out_when_it_is_over(  # noqa: PLR0917  (fixtures)
    function, provisioned, crm, sql, database_url, fault
):
    provisioned("0367", domain=crm.url)
    clock = Clock(sql, function)
    crm.fault(account="0367", **fault)
    calls_ = fill(database_url, "0367", ROWS)
    sql(
        "INSERT INTO crm_gates (account, failures, away_since, ask_at) VALUES (%s, 4, now(), now()) RETURNING 1",
        crm.url,
    )
    clock.pass_until(OUTAGE_SECONDS)
    during = clock.wakes
    tries = len(crm.entries("0367", "upload"))
    crm._control("DELETE", "faults")
    clock.pass_until(
        OUTAGE_SECONDS + DRAIN_SECONDS,
        lambda: sql("SELECT count(*) FROM deliveries WHERE state <> 'delivered'") == [(0,)],
    )

    print(f"{during} wakes, {tries} requests; all {ROWS} rows in {clock.now - OUTAGE_SECONDS:.0f} s after the end")
    assert len(crm.rows("0367")) == len(calls_)
    # One lane, whatever it holds: a wake a minute and a request a minute, a few more at the beginning.
    assert during < 90
    assert tries < 45
    assert clock.now - OUTAGE_SECONDS < 2 * 60
