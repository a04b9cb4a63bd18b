"""A failover that lost commits lost ids too: they come again, and a worker from before must not take them for its own."""

from __future__ import annotations

import pytest

from lib.runtime import db
from lib.store import deliveries, notices, rows
from lib.store.deliveries import NewDelivery, Result
from lib.store.rows import Lane

LEASE_SECONDS = 25
LANE = Lane(enterprise_number="0367", crm="retailcrm")
DONE = Result(outcome="done", state="delivered")


@pytest.fixture(params=["upload", "popup"])
def claim(process, provisioned, sql, request):
    """Enters and claims a call's delivery, with the ids that the last one had; its attempt stands with the claim."""
    provisioned()

    def make(external_id):
        with db.connection() as conn:
            conn.execute("TRUNCATE calls, deliveries, attempts RESTART IDENTITY CASCADE")
        [(call_id,)] = sql(
            "INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at, last_event_at) "
            "VALUES ('0367', %s, 'in', now(), now(), now()) RETURNING id",
            external_id,
        )
        with db.transaction() as conn:
            new = NewDelivery(crm=LANE.crm, effect=request.param, external_id=external_id, content={})
            deliveries.insert_deliveries(conn, "0367", call_id, [new])
            if request.param == "upload":
                claimed = rows.claim(conn, LANE, limit=50, lease_seconds=LEASE_SECONDS).fetchall()
            else:
                claimed = notices.claim(conn, LANE.crm, [call_id], lease_seconds=LEASE_SECONDS).fetchall()
            deliveries.begin_attempts(conn, [one.claim for one in claimed], [{"of": external_id}] * len(claimed))
        [one] = claimed
        return one.claim

    return make


def test_a_worker_from_before_the_failover_records_nothing_on_a_delivery_with_the_same_id(claim, sql):
    before = claim("1760000000.1")
    after = claim("1760000000.2")
    assert (before.delivery.id, before.fence) == (after.delivery.id, after.fence)

    with db.transaction() as conn:
        stolen = deliveries.finish(conn, [before], [DONE]).fetchall()
        found = notices.find_call(conn, before)

    assert (stolen, found) == ([], None)
    assert sql("SELECT external_id, state FROM deliveries") == [("1760000000.2", "leased")]
    assert sql("SELECT request, outcome FROM attempts") == [({"of": "1760000000.2"}, None)]
    with db.transaction() as conn:
        [recorded] = deliveries.finish(conn, [after], [DONE]).fetchall()
    assert recorded.id == after.delivery.id
    assert sql("SELECT state FROM deliveries") == [("delivered",)]
