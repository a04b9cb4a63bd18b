from __future__ import annotations

import dataclasses
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.crms import RETAILCRM
from lib.enterprises.cache import enterprise_cache
from lib.ledger import deliver, send_rows
from lib.runtime import config
from lib.store.rows import Lane
from tests.harness.enterprises import TOKEN
from tests.harness.ledger import fill
from tests.harness.servers import push_envelope

CUSTOMER = "375291111111"
LANE = Lane(enterprise_number="0367", crm=RETAILCRM.name)


class Gateway:
    """
    Intake, delivery and upload side by side; what intake stored is pushed by the test, as often as it likes, and then
    the lanes of rows that are due.
    """

    def __init__(self, function, sql, name="0367"):
        self._dispatch, self.deliver = function("dispatch-call-event"), function("retailcrm-deliver")
        self.upload = function("retailcrm-upload")
        self._sql, self.name = sql, name
        self.unique_id = f"{int(time.time())}.1"

    def take(self, event_type, **body):
        """Stores an event; the message that was published for it."""
        raw = {"Token": TOKEN, "UniqueId": self.unique_id, **body}
        assert self._dispatch.post(f"/{event_type}", json=raw).status_code == 200
        [row] = self._sql(
            "SELECT event_id::text, enterprise_number, unique_id, event_type, raw_data, record_url, data_source, "
            "received_at FROM call_events ORDER BY id DESC LIMIT 1"
        )
        names = (
            "event_id",
            "enterprise_number",
            "unique_id",
            "event_type",
            "raw",
            "record_url",
            "data_source",
            "received_at",
        )
        return {"event": {**dict(zip(names, row, strict=True)), "received_at": row[-1].isoformat()}}

    def push(self, message, deliver=None):
        return (deliver or self.deliver).post("/", json=push_envelope(message)).status_code

    def happen(self, event_type, **body):
        assert self.push(self.take(event_type, **body)) == 204
        self.send_rows("wake_at <= clock_timestamp()")

    def ring(self, extensions=("150", "151")):
        self.happen("start", Phone=CUSTOMER, CallType=0, Trunk="0001301")
        self.happen("dial", Phone=CUSTOMER, CallType=0, Trunk="0001301", Extensions=list(extensions))

    def missed(self):
        self.happen("hangup", **self.missed_body())

    def missed_body(self):
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 3 * 3600))
        times = {"StartTime": now, "EndTime": now, "DateReceived": now}
        return {"Phone": CUSTOMER, "CallType": 0, "Trunk": "0001301", "Extensions": [""], "CallStatus": "0", **times}

    def wake(self):
        """As the sweep does for every call, and for every lane of rows."""
        for number, call_id in self._sql("SELECT enterprise_number, id FROM calls"):
            assert self.push({"call_id": call_id, "enterprise_number": number}) == 204
        self.send_rows()

    def send_rows(self, condition="true"):
        for number, crm in self._sql(f"SELECT enterprise_number, crm FROM row_timers WHERE {condition}"):
            assert self.push({"enterprise_number": number, "crm": crm}, self.upload) == 204

    def deliveries(self):
        return self._sql("SELECT effect, state, reason FROM deliveries ORDER BY id")


@pytest.fixture
def crm(crm_server):
    crm_server.clear()
    crm_server.account("0367")
    return crm_server


@pytest.fixture
def gateway(function, provisioned, crm, sql):
    provisioned(domain=crm.url)
    return Gateway(function, sql)


def test_a_ringing_phone_pops_up_and_a_missed_call_becomes_one_row(gateway, crm):
    gateway.ring()
    gateway.missed()

    popup, hangup = crm.events("0367")
    assert (popup["type"], popup["phone"], popup["codes"]) == ("in", f"+{CUSTOMER}", ["150", "151"])
    assert (popup["callExternalId"], popup["externalPhone"]) == (gateway.unique_id, "+375290000101")
    assert (hangup["type"], hangup["hangupStatus"], hangup["codes"]) == ("hangup", "no answered", ["150", "151"])
    [row] = crm.rows("0367")
    assert (row["type"], row["phone"], row["result"]) == ("in", CUSTOMER, "no answer")
    assert (row["code"], row["userId"], row["externalId"]) == ("150", 18, gateway.unique_id)
    assert not any(entry["warnings"] for entry in crm.entries("0367"))


def test_every_attempt_leaves_a_row_and_a_log_without_the_key(gateway, sql):
    gateway.ring()
    gateway.missed()

    attempts = sql(
        "SELECT d.effect, a.outcome, a.http_status FROM attempts a JOIN deliveries d ON d.id = a.delivery_id"
    )
    logs = sql(
        "SELECT event_type, status, integration_type, request_data::text || response_data::text FROM integration_logs"
    )
    assert sorted(attempts) == [("hangup", "done", 200), ("popup", "done", 200), ("upload", "done", 200)]
    assert sorted(log[:3] for log in logs) == [
        ("hangup", "success", "retailcrm"),
        ("popup", "success", "retailcrm"),
        ("upload", "success", "retailcrm"),
    ]
    assert not any("key-of" in log[3] for log in logs)


def test_the_same_message_again_and_again_changes_nothing(gateway, crm):
    messages = [
        gateway.take("start", Phone=CUSTOMER, CallType=0, Trunk="0001301"),
        gateway.take("dial", Phone=CUSTOMER, CallType=0, Trunk="0001301", Extensions=["150"]),
    ]
    with ThreadPoolExecutor(8) as pool:
        application = gateway.deliver.application
        statuses = list(pool.map(lambda message: gateway.push(message, application.test_client()), messages * 20))
    gateway.missed()
    gateway.missed()

    assert set(statuses) == {204}
    assert [event["type"] for event in crm.events("0367")] == ["in", "hangup"]
    assert len(crm.entries("0367", "upload")) == 1


def test_an_event_that_only_pubsub_took_is_stored_on_arrival(gateway, crm, sql):
    event = {
        "event_id": str(uuid.uuid4()),
        "enterprise_number": "0367",
        "unique_id": gateway.unique_id,
        "event_type": "hangup",
        "raw": {"UniqueId": gateway.unique_id, **gateway.missed_body()},
        "record_url": None,
        "data_source": "live",
        "received_at": None,
    }
    assert gateway.push({"event": event}) == 204
    assert gateway.push({"event": event}) == 204
    gateway.send_rows()

    assert sql("SELECT event_id::text, received_at FROM call_events")[0][0] == event["event_id"]
    assert sql("SELECT count(*) FROM call_events") == [(1,)]
    assert len(crm.rows("0367")) == 1


def test_a_busy_process_passes_over_only_an_event_that_the_database_has(gateway, process, sql):
    """Its message says that it was stored; after a failover that lost commits it may not be any more."""
    process.setenv("THREADS", "1")
    config.current.cache_clear()
    message = gateway.take("hangup", **gateway.missed_body())
    held = gateway.push(message), sql("SELECT count(*) FROM calls")
    sql("DELETE FROM call_events RETURNING id")
    lost = gateway.push(message), sql("SELECT count(*) FROM call_events WHERE call_id IS NOT NULL")

    assert held == (204, [(0,)])
    assert lost == (204, [(1,)])


def test_an_incoming_call_without_a_dial_is_announced_by_its_hangup(gateway, crm, provisioned):
    provisioned(domain=crm.url, settle_seconds=0)
    time.sleep(0.7)
    gateway.happen("start", Phone=CUSTOMER, CallType=0, Trunk="0001301")
    gateway.happen("hangup", **{**gateway.missed_body(), "Extensions": ["151"], "CallStatus": "2"})

    assert [(event["type"], event["codes"]) for event in crm.events("0367")] == [("in", ["151"]), ("hangup", ["151"])]
    [row] = crm.rows("0367")
    assert (row["result"], row["code"]) == ("answered", "151")


def test_a_disabled_enterprise_is_stored_and_nothing_is_sent(function, provisioned, crm, sql):
    provisioned(domain=crm.url, enabled=False)
    gateway = Gateway(function, sql)

    gateway.ring()
    gateway.missed()

    assert crm.entries("0367") == []
    [(decisions,)] = sql("SELECT decisions FROM calls")
    assert "integration_disabled" in [decision["code"] for decision in decisions]


def test_nobody_is_told_who_is_not_mapped_and_the_call_says_so(gateway, crm, sql):
    gateway.ring(["109", "117"])
    gateway.missed()

    assert crm.events("0367") == []
    [row] = crm.rows("0367")
    assert "code" not in row
    codes = [decision["code"] for (decisions,) in sql("SELECT decisions FROM calls") for decision in decisions]
    assert {"no_mapping", "no_owner"} <= set(codes)


def test_a_row_is_sent_until_it_is_in_and_held_once(gateway, crm, sql):
    gateway.ring()
    crm.fault("error_503", endpoint="upload", requests=1)
    crm.fault("ok_then_rst", endpoint="upload", requests=1)
    gateway.missed()
    for _ in range(3):
        sql("UPDATE deliveries SET run_at = clock_timestamp() WHERE state = 'retry' RETURNING id")
        gateway.wake()

    assert gateway.deliveries()[-1] == ("upload", "delivered", None)
    assert len(crm.rows("0367")) == 1
    outcomes = sql(
        "SELECT outcome FROM attempts JOIN deliveries d ON d.id = delivery_id WHERE d.effect = 'upload' ORDER BY attempts.fence"
    )
    assert outcomes == [("busy",), ("in_doubt",), ("done",)]


def test_a_pop_up_that_may_have_arrived_is_not_repeated(gateway, crm):
    crm.fault("ok_then_rst", endpoint="event", requests=1)
    gateway.ring()
    gateway.wake()
    gateway.missed()

    assert gateway.deliveries()[0] == ("popup", "in_doubt", "in_doubt")
    assert [event["type"] for event in crm.events("0367")] == ["in", "hangup"]


def test_a_pop_up_that_the_crm_had_no_time_for_is_repeated_soon(gateway, crm, sql):
    crm.fault("error_503", endpoint="event", requests=1)
    gateway.ring()
    sql("UPDATE deliveries SET run_at = clock_timestamp() WHERE state = 'retry' RETURNING id")
    gateway.wake()

    assert gateway.deliveries() == [("popup", "delivered", None)]
    assert len(crm.events("0367")) == 1


def test_a_pop_up_is_not_sent_when_its_news_is_old(gateway, crm, sql):
    crm.fault("error_503", endpoint="event", requests=1)
    gateway.ring()
    sql(
        "UPDATE deliveries SET run_at = clock_timestamp(), expires_at = clock_timestamp() - interval '1 s' RETURNING id"
    )
    gateway.wake()
    gateway.missed()

    assert crm.events("0367") == []
    assert gateway.deliveries()[0][:2] == ("popup", "expired")
    assert len(crm.rows("0367")) == 1


@pytest.mark.parametrize(
    ("mode", "state"),
    [
        ("success_false", "failed"),
        ("html", "retry"),
        ("truncated_json", "retry"),
        ("redirect_30x", "retry"),
        ("huge_body", "retry"),
    ],
)
def test_an_answer_that_is_no_answer_is_recorded_for_what_it_is(gateway, crm, sql, mode, state):
    gateway.ring()
    crm.fault(mode, endpoint="upload", requests=1)
    gateway.missed()

    assert gateway.deliveries()[-1][:2] == ("upload", state)
    [(error,)] = sql("SELECT error_message FROM integration_logs WHERE status = 'error'")
    assert error


def test_a_refused_key_is_said_and_the_row_waits_for_another(gateway, crm, provisioned, sql):
    provisioned(domain=crm.url, api_key="another-key")
    time.sleep(0.7)
    gateway.ring()
    gateway.missed()

    states = {effect: (state, reason) for effect, state, reason in gateway.deliveries()}
    said = sql("SELECT event_type, error_message FROM integration_logs WHERE status = 'error'")
    attempted = sql("SELECT d.effect, a.outcome FROM attempts a JOIN deliveries d ON d.id = a.delivery_id")
    [(seconds,)] = sql("SELECT extract(epoch FROM wake_at - clock_timestamp()) FROM row_timers")
    provisioned(domain=crm.url)
    time.sleep(0.7)
    gateway.send_rows()

    assert states["popup"] == ("failed", "authentication")
    assert said == [("popup", 'Wrong "apiKey" value.')]
    assert attempted == [("popup", "authentication")]
    assert states["upload"][0] in {"ready", "retry"}
    # A key that was put right is used soon.
    assert 0 < seconds < 75
    assert len(crm.rows("0367")) == 1


def test_what_a_dead_worker_left_is_settled_by_the_next(gateway, crm, sql):
    gateway.ring()
    gateway.missed()
    crm.clear()
    crm.account("0367")
    sql(
        "UPDATE deliveries SET state = 'leased', fence = fence + 1, lease_until = clock_timestamp() - interval '1 s' "
        "WHERE effect = 'upload' RETURNING id"
    )
    sql(
        "INSERT INTO attempts (delivery_id, fence, request) SELECT id, fence, '{}' FROM deliveries WHERE state = 'leased' RETURNING fence"
    )
    for _ in range(2):  # it is derived again first: its call may have changed while it was under way
        gateway.wake()

    assert gateway.deliveries()[-1] == ("upload", "delivered", None)
    assert sql(
        "SELECT outcome FROM attempts JOIN deliveries d ON d.id = delivery_id WHERE effect = 'upload' ORDER BY attempts.fence"
    ) == [
        ("done",),
        ("in_doubt",),
        ("done",),
    ]


def test_a_row_that_the_crm_holds_already_is_delivered(gateway, crm, sql):
    gateway.ring()
    gateway.missed()
    sql("UPDATE deliveries SET state = 'retry', run_at = clock_timestamp() WHERE effect = 'upload' RETURNING id")
    gateway.wake()

    assert gateway.deliveries()[-1] == ("upload", "delivered", None)
    assert len(crm.rows("0367")) == 1
    assert len(crm.entries("0367", "upload")) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b'{"message": {"data": "%%%"}}',
        b'{"message": {"data": "bm90IGpzb24="}}',
        b'{"message": {}}',
        b'{"message": {"data": "e30="}}',
    ],
)
def test_what_cannot_be_understood_is_kept_and_acknowledged(gateway, sql, body):
    answer = gateway.deliver.post(
        "/", data=body, headers={"Content-Type": "application/json", "Authorization": "Bearer canary"}
    )

    assert answer.status_code == 204
    [(reason, raw, headers)] = sql("SELECT reason, raw, headers::text FROM rejected_messages")
    assert reason
    assert bytes(raw) == body
    assert "canary" not in headers


def test_an_event_of_an_enterprise_that_is_not_there_is_kept(gateway, sql):
    message = gateway.take("start", Phone=CUSTOMER, CallType=0, Trunk="0001301")
    message["event"]["enterprise_number"] = "9999"

    assert gateway.push(message) == 204
    assert "9999" in sql("SELECT reason FROM rejected_messages")[0][0]


def test_without_the_database_a_message_is_given_back(gateway, process):
    from lib.runtime import db

    message = gateway.take("start", Phone=CUSTOMER, CallType=0, Trunk="0001301")
    db.close()
    process.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:9/none")
    config.current.cache_clear()

    assert gateway.push(message) == 503


def test_without_an_emulator_an_unsigned_push_is_refused(gateway, process):
    message = gateway.take("start", Phone=CUSTOMER, CallType=0, Trunk="0001301")
    process.setenv("PUBSUB_EMULATOR_HOST", "")
    config.current.cache_clear()

    assert gateway.push(message) == 401


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters())
    | st.sampled_from(["\ud800", "\x00", "0001-01-01T00:00:00+00:00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
EVENT_FIELDS = (
    "event_id",
    "enterprise_number",
    "unique_id",
    "event_type",
    "raw",
    "record_url",
    "data_source",
    "received_at",
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(
        st.binary(max_size=200),
        st.builds(lambda message: json.dumps(push_envelope(message)).encode(), ANYTHING),
        st.builds(lambda outer: json.dumps({"subscription": outer, "message": outer}).encode(), ANYTHING),
        st.builds(
            lambda event: json.dumps(push_envelope({"event": event})).encode(),
            st.fixed_dictionaries({}, optional=dict.fromkeys(EVENT_FIELDS, ANYTHING)),
        ),
    )
)
def test_no_byte_string_is_a_server_error(gateway, body):
    assert gateway.deliver.post("/", data=body).status_code == 204


@pytest.mark.parametrize(
    "broken",
    [
        {"unique_id": "\ud800"},
        {"raw": {"Phone": "\x00"}},
        {"received_at": "0001-01-01T00:00:00+00:00"},
        {"received_at": "9999-12-31T23:59:59+00:00"},
        {"raw": {"BridgeUniqueid": "b" * 12_000}, "event_type": "bridge"},
        {"unique_id": "1" * 12_000},
    ],
)
def test_an_event_that_cannot_be_stored_is_kept_aside(gateway, sql, broken):
    message = gateway.take("start", Phone=CUSTOMER, CallType=0, Trunk="0001301")
    message["event"] |= {"event_id": str(uuid.uuid4()), **broken}

    assert gateway.push(message) == 204
    assert sql("SELECT count(*) FROM rejected_messages") == [(1,)] or sql("SELECT count(*) FROM call_events") == [(2,)]


@pytest.mark.parametrize(
    "answer", ['{"success": []}', '{"success": true, "x": "\\ud800"}', '{"success": "\\u0000"}', '{"success": NaN}']
)
def test_an_answer_of_nonsense_is_recorded_all_the_same(answer):
    from lib.retailcrm import client

    reply = client.read(200, answer)

    assert reply.outcome in {"in_doubt", "permanent"}
    json.dumps(dict(reply.details), ensure_ascii=False).encode("utf-8")
    assert "\x00" not in reply.text


def test_switching_the_integration_off_stops_what_is_pending(gateway, crm, provisioned, sql):
    gateway.ring()
    crm.fault("error_503", endpoint="upload", requests=1)
    gateway.missed()
    provisioned(domain=crm.url, enabled=False)
    time.sleep(0.7)
    sql("UPDATE deliveries SET run_at = clock_timestamp() WHERE state = 'retry' RETURNING id")
    gateway.wake()

    assert gateway.deliveries()[-1] == ("upload", "superseded", "integration_disabled")
    assert crm.rows("0367") == []


def test_an_enterprise_without_a_crm_waits_for_nothing(function, provisioned, crm, sql):
    provisioned()
    sql("UPDATE enterprises SET integrations_config = '{}' RETURNING number")
    time.sleep(0.7)
    gateway = Gateway(function, sql)
    gateway.ring()
    gateway.missed()

    assert gateway.deliveries() == []
    assert sql("SELECT next_wake_at FROM calls") == [(None,)]


def slept(claimed, sql):
    """The process that claimed this sleeps until its lease has run out."""
    sql("UPDATE deliveries SET lease_until = clock_timestamp() - interval '1 s' WHERE state = 'leased' RETURNING id")
    return dataclasses.replace(claimed, begun_at=claimed.begun_at - deliver.LEASE_SECONDS - 1)


def test_a_worker_that_slept_past_its_lease_sends_nothing_more(gateway, crm, sql, process):
    crm.fault("error_503", endpoint="event", requests=1)
    gateway.ring()
    sql("UPDATE deliveries SET run_at = clock_timestamp() RETURNING id")
    [(call_id,)] = sql("SELECT id FROM calls")
    [claimed] = deliver.claim_due(RETAILCRM, enterprise_cache().by_number("0367"), [call_id]).outgoing
    asleep = slept(claimed, sql)
    gateway.missed()
    told = crm.events("0367")
    settled = sql("SELECT id, state, reason, fence, finished_at FROM deliveries ORDER BY id")

    deliver.send_all(deliver.Admitted(outgoing=[asleep]), crm=RETAILCRM, enterprise_number="0367")

    assert crm.events("0367") == told
    assert sql("SELECT id, state, reason, fence, finished_at FROM deliveries ORDER BY id") == settled
    assert sql("SELECT count(*) FROM deliveries WHERE state = 'leased'") == [(0,)]


def test_a_worker_that_slept_past_its_lease_leaves_the_rows_for_another(gateway, crm, sql, database_url, process):
    fill(database_url, "0367", 5)
    enterprise = enterprise_cache().by_number("0367")
    asking = deliver.Asking(crm=RETAILCRM, enterprise=enterprise, account=RETAILCRM.account_of(enterprise))
    claimed = send_rows._next(LANE, asking)
    assert claimed is not None
    asleep = slept(claimed, sql)  # the whole machine slept: nobody looked in between
    reply = asking.crm.send(asking.account, asleep.request, timeout_seconds=asleep.begun_at - time.monotonic())
    send_rows._finish(LANE, asleep, reply)
    settled = sql("SELECT state, attempts_made, count(*) FROM deliveries GROUP BY 1, 2")
    told_by_the_sleeper = len(crm.rows("0367"))
    sql("UPDATE deliveries SET run_at = clock_timestamp() RETURNING id")
    gateway.send_rows()

    assert settled == [("retry", 1, 5)]
    assert told_by_the_sleeper == 0
    assert len(crm.rows("0367")) == 5


def test_a_row_waits_for_the_end_of_its_pop_up(gateway, crm, sql):
    gateway.ring()
    crm.fault("error_503", endpoint="event", requests=1)
    gateway.missed()
    waiting = sql("SELECT effect, state FROM deliveries WHERE effect <> 'popup' ORDER BY 1")
    rows_before = len(crm.rows("0367"))
    sql("UPDATE deliveries SET run_at = clock_timestamp() WHERE state = 'retry' RETURNING id")
    gateway.wake()

    assert waiting == [("hangup", "retry"), ("upload", "ready")]
    assert rows_before == 0
    assert [event["type"] for event in crm.events("0367")] == ["in", "hangup"]
    assert len(crm.rows("0367")) == 1


def test_a_dial_and_its_hangup_close_together_do_not_wait_for_each_other(gateway, crm, sql):
    application = gateway.deliver.application
    statuses: list[int] = []
    for n in range(12):
        gateway.unique_id = f"{int(time.time())}.{100 + n}"
        messages = [
            gateway.take("dial", Phone=f"37529111{n:04d}", CallType=0, Trunk="0001301", Extensions=["150"]),
            gateway.take("hangup", **{**gateway.missed_body(), "Phone": f"37529111{n:04d}"}),
        ]
        with ThreadPoolExecutor(2) as pool:
            statuses += pool.map(lambda message: gateway.push(message, application.test_client()), messages)
    gateway.wake()

    assert set(statuses) == {204}
    assert len(crm.rows("0367")) == 12


RAW = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**12) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
FIELDS = (
    "Phone",
    "CallType",
    "Extensions",
    "Trunk",
    "CallStatus",
    "StartTime",
    "EndTime",
    "Channel",
    "CallerIDNum",
    "ConnectedLineNum",
    "BridgeUniqueid",
    "Exten",
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    event_type=st.sampled_from(["start", "dial", "bridge", "bridge_leave", "hangup", "new_callerid", "bridge_create"]),
    unique_id=st.sampled_from(["", "1760000000.1", "1760000000.2", "test-1", "x" * 200]),
    raw=st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, RAW)),
)
def test_no_event_that_intake_takes_breaks_the_assembly(gateway, sql, event_type, unique_id, raw):
    raw = {key: value for key, value in raw.items() if "\\u0000" not in repr(value) and "\x00" not in repr(value)}
    event = {
        "event_id": str(uuid.uuid4()),
        "enterprise_number": "0367",
        "unique_id": unique_id,
        "event_type": event_type,
        "raw": raw,
        "record_url": None,
        "data_source": "live",
        "received_at": None,
    }

    assert gateway.push({"event": event}) == 204
