"""What one event costs at the wire: how often a function waits for PostgreSQL."""

from __future__ import annotations

import pytest

from lib.runtime import config, db
from tests.functions.test_retailcrm_deliver import CUSTOMER, Gateway
from tests.harness.wire import counted

# For an event that tells the CRM something, for any other, and for what an event costs at intake.
TELLING, OTHER, INTAKE = 8, 5, 1
# Connections are opened and statements prepared by the first calls.
WARM_UP = 4


@pytest.fixture
def counter(function, provisioned, crm_server, sql, process, database_url):  # noqa: PLR0917  (fixtures)
    """Of everything that the functions say to the database from here on, beside the gateway that says it."""
    crm_server.clear()
    crm_server.forget("0367")
    crm_server.account("0367", behaviour={"telephony_per_second": 0, "other_per_second": 0})
    provisioned("0367", domain=crm_server.url)
    process.setenv("RETAILCRM_TELEPHONY_PER_SECOND", "0")
    process.setenv("RETAILCRM_DELIVERIES_AT_ONCE", "0")
    with counted(database_url) as (url, found):
        db.close()
        process.setenv("DATABASE_URL", url)
        config.current.cache_clear()
        yield Gateway(function, sql), found
        db.close()


def call(gateway, index):
    """A call of six events: what each does, by its kind."""
    gateway.unique_id = f"{gateway.unique_id.partition('.')[0]}.{100 + index}"
    channel = {"Channel": f"SIP/0001301-{index:08x}", "CallerIDNum": CUSTOMER, "ConnectedLineNum": "151"}
    bridge = {**channel, "BridgeUniqueid": f"bridge-{index}"}
    return [
        ("start", {"Phone": CUSTOMER, "CallType": 0, "Trunk": "0001301"}),
        ("dial", {"Phone": CUSTOMER, "CallType": 0, "Trunk": "0001301", "Extensions": ["150", "151"]}),
        ("new_callerid", channel),
        ("bridge", bridge),
        ("bridge_leave", bridge),
        ("hangup", gateway.missed_body()),
    ]


def test_an_event_costs_few_round_trips(counter, crm_server):
    gateway, found = counter
    intake, delivered = {}, {}
    for index in range(WARM_UP + 1):
        for kind, body in call(gateway, index):
            found.reset()
            message = gateway.take(kind, **body)
            intake[kind] = found.round_trips
            found.reset()
            assert gateway.push(message) == 204
            delivered[kind] = found.round_trips
        found.reset()
        gateway.send_rows()
        rows = found.round_trips

    print(f"intake {intake}, delivered {delivered}, rows {rows}")
    assert len(crm_server.rows("0367")) == WARM_UP + 1
    assert set(intake.values()) == {INTAKE}
    assert {kind for kind, trips in delivered.items() if trips > OTHER} <= {"dial", "hangup"}
    assert max(delivered.values()) <= TELLING
    assert rows <= TELLING
