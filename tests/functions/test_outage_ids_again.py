"""A failover that lost commits lost ids too: they come again, and a worker from before must not take them for its own."""

from __future__ import annotations

import pytest

from lib.runtime import db
from lib.store import deliveries
from lib.store.deliveries import NewDelivery, Result

LEASE_SECONDS = 25


@pytest.fixture
def claim(process, provisioned, sql):
    """Enters and claims a call's upload, with the ids that the last one had."""
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
            new = NewDelivery(effect="upload", external_id=external_id, content={})
            deliveries.insert_deliveries(conn, "0367", call_id, [new])
            claimed = deliveries.claim_next(conn, call_id, lease_seconds=LEASE_SECONDS)
        assert claimed is not None
        return claimed

    return make


def test_a_worker_from_before_the_failover_records_nothing_on_a_delivery_with_the_same_id(claim, sql):
    before = claim("1760000000.1")
    after = claim("1760000000.2")
    assert (before.delivery.id, before.fence) == (after.delivery.id, after.fence)

    with db.transaction() as conn:
        begun = deliveries.begin_attempts(conn, [after], [{"of": "after"}])
        stolen = deliveries.begin_attempts(conn, [before], [{"of": "before"}])
        recorded = deliveries.finish(conn, before, Result(outcome="done", state="delivered"))

    assert (begun, stolen, recorded) == ({after.delivery.id}, set(), False)
    assert sql("SELECT external_id, state FROM deliveries") == [("1760000000.2", "leased")]
    assert sql("SELECT request, outcome FROM attempts") == [({"of": "after"}, None)]
    with db.transaction() as conn:
        assert deliveries.finish(conn, after, Result(outcome="done", state="delivered"))
