from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.runtime import config, delayed_publish, pubsub
from tests.conftest import OPERATOR_TOKEN
from tests.harness.enterprises import TOKEN

OPERATOR = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
DIAL = {
    "Token": TOKEN,
    "UniqueId": "1760000000.1",
    "Phone": "375291111111",
    "CallType": 0,
    "Extensions": ["150", "151"],
    "Trunk": "0001301",
}
# By what the host was known is not kept.
KEPT = {name: value for name, value in DIAL.items() if name != "Token"}


def envelope(**changes):
    return {"token": TOKEN, "uniqueId": "1760000000.1", "event_type": "dial", "raw": DIAL, **changes}


def wait_until(true, seconds=10):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def dispatch(function, provisioned, broker, process):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    provisioned()
    return function("dispatch-call-event")


@pytest.fixture
def published(broker, process):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    subscription, lane = broker.topic("call-events"), broker.topic("recovered-events")

    def pull():
        live = [body["event"] for body in broker.pull(subscription)]
        return live + [event for body in broker.pull(lane) for event in body["events"]]

    return pull


def test_an_event_is_stored_and_published_whole(dispatch, published, sql):
    answer = dispatch.post("/dispatch/call-event", json=envelope())

    assert answer.status_code == 202
    assert answer.json["success"] is True
    [(event_id, unique_id, kind, raw, source)] = sql(
        "SELECT event_id::text, unique_id, event_type, raw_data, data_source FROM call_events"
    )
    assert (event_id, unique_id, kind, raw, source) == (answer.json["event_id"], "1760000000.1", "dial", KEPT, "live")
    [event] = published()
    assert event["event_id"] == event_id
    assert event["raw"] == KEPT
    assert event["received_at"] is not None


def test_a_host_posts_its_own_form_with_the_token_in_a_header_or_in_the_body(dispatch, sql):
    in_body = dispatch.post("/dial", json=DIAL)
    in_header = dispatch.post("/start", json={**DIAL, "Token": "ignored"}, headers={"Token": TOKEN})

    assert (in_body.status_code, in_body.json) == (200, {"status": "ok"})
    assert (in_header.status_code, in_header.json) == (200, {"status": "ok"})
    assert sql("SELECT event_type FROM call_events ORDER BY id") == [("dial",), ("start",)]


def test_the_enterprises_secret_is_a_token_too(dispatch):
    answer = dispatch.post("/dispatch/call-event", json=envelope(token="secret-of-0367"))

    assert answer.status_code == 202


def test_a_repeat_is_recognised_by_its_content_whatever_the_order_of_its_keys(dispatch, sql):
    dispatch.post("/dial", json=DIAL)
    repeat = dispatch.post(
        "/dispatch/call-event", json=envelope(raw=dict(reversed(DIAL.items())), token="secret-of-0367")
    )

    assert repeat.status_code == 200
    assert repeat.json == {"success": True, "status": "ignored", "reason": "duplicate"}
    assert sql("SELECT count(*), max(copies) FROM call_events") == [(1, 1)]


def test_the_same_event_a_hundred_times_at_once_is_one_event(dispatch, sql):
    application = dispatch.application
    gate = threading.Barrier(20)

    def post(_):
        with application.test_client() as client:
            gate.wait(timeout=30)
            return client.post("/dispatch/call-event", json=envelope()).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(post, range(100)))

    assert sorted(statuses) == [200] * 99 + [202]
    assert sql("SELECT count(*), max(copies) FROM call_events") == [(1, 99)]


def test_an_identical_leave_after_a_rejoin_is_another_event(dispatch, sql):
    channel = {"Token": TOKEN, "UniqueId": "1.1", "Channel": "SIP/151-00000001", "BridgeUniqueid": "b"}
    answers = [
        dispatch.post(path, json=channel).status_code
        for path in ("/bridge", "/bridge_leave", "/bridge_leave", "/bridge", "/bridge_leave")
    ]

    assert answers == [200] * 5
    assert sql("SELECT event_type, occurrence, copies FROM call_events ORDER BY id") == [
        ("bridge", 0, 0),
        ("bridge_leave", 0, 1),
        ("bridge", 1, 0),
        ("bridge_leave", 1, 0),
    ]


def test_a_hangup_that_recovery_sends_hours_later_is_a_repeat(dispatch, sql):
    hangup = {"Token": TOKEN, "UniqueId": "1.1", "CallStatus": "2"}
    dispatch.post("/hangup", json=hangup)
    sql("UPDATE call_events SET received_at = received_at - interval '5 hours' RETURNING id")

    again = dispatch.post(
        "/dispatch/call-event",
        json={"token": TOKEN, "uniqueId": "1.1", "event_type": "hangup", "raw": hangup, "origin": "download"},
    )

    assert again.json["reason"] == "duplicate"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"no json", "JSON"),
        (b'"text"', "object"),
        (b"[1]", "object"),
        (b"\xff\xfe", "JSON"),
        (b'{"a": NaN}', "token"),
        (b'{"a": "\\ud800"}', "token"),
        (b'{"a": "\\u0000"}', "token"),
        (b'{"a":' * 30_000, "JSON"),
        (json.dumps(envelope(token=None)).encode(), "token"),
        (json.dumps(envelope(token=["x"])).encode(), "token"),
        (json.dumps(envelope(event_type="ring")).encode(), "event_type"),
        (json.dumps(envelope(event_type={})).encode(), "event_type"),
        (json.dumps(envelope(raw="text")).encode(), "raw"),
        (json.dumps({k: v for k, v in envelope().items() if k != "uniqueId"}).encode(), "uniqueId"),
        (json.dumps(envelope(origin="guess")).encode(), "origin"),
    ],
)
def test_what_is_not_an_event_is_refused_by_name(dispatch, sql, body, word):
    if len(body) > 64 * 1024:
        body = body[: 60 * 1024]
    answer = dispatch.post("/dispatch/call-event", data=body)

    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "invalid_payload"
    assert word in answer.json["error"]["message"]
    assert sql("SELECT count(*) FROM call_events") == [(0,)]


def test_an_unknown_token_is_404_and_says_nothing_more(dispatch):
    answer = dispatch.post("/dispatch/call-event", json=envelope(token="nobody"))

    assert answer.status_code == 404
    assert answer.json["error"]["code"] == "unknown_token"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_64_kb_is_413(dispatch, chunked):
    body = b"x" * 70_000
    extra = {"content_length": None, "headers": {"Transfer-Encoding": "chunked"}} if chunked else {}
    answer = dispatch.post(
        "/dispatch/call-event", data=body, environ_overrides={"wsgi.input_terminated": True}, **extra
    )

    assert answer.status_code == 413
    assert answer.json["error"]["code"] == "too_large"


def test_odd_but_meaningful_bodies_are_accepted(dispatch):
    for raw in (
        {**DIAL, "Extensions": "150"},
        {**DIAL, "Extensions": ["152&151"]},
        {**DIAL, "Extensions": None, "Phone": 375291111111},
        {**DIAL, "CallType": "0", "CallStatus": 2},
        json.dumps({**DIAL, "CallType": 1}),
        {},
    ):
        assert dispatch.post("/dispatch/call-event", json=envelope(raw=raw)).status_code == 202
    assert (
        dispatch.post("/bridge_create", json={"Token": TOKEN, "UniqueId": "", "BridgeUniqueid": "b"}).status_code == 200
    )
    assert dispatch.post("/hangup", json={"Token": int(TOKEN), "UniqueId": 1760000000.5}).status_code == 200


def test_a_batch_answers_for_each_event(dispatch, sql):
    events = [
        {"uniqueId": "1.1", "event_type": "hangup", "raw": {"CallStatus": "2"}},
        {"uniqueId": "1.1", "event_type": "hangup", "raw": {"CallStatus": "2"}},
        {"uniqueId": "1.2", "event_type": "nonsense", "raw": {}},
    ]
    answer = dispatch.post("/dispatch/call-events", json={"token": TOKEN, "origin": "backfill", "events": events})

    assert answer.status_code == 200
    first, second, third = answer.json["results"]
    assert first["success"] is True
    assert second["reason"] == "duplicate"
    assert third["error"]["code"] == "invalid_payload"
    assert sql("SELECT data_source FROM call_events") == [("backfill",)]


def test_a_batch_of_more_than_500_is_refused(dispatch):
    answer = dispatch.post("/dispatch/call-events", json={"token": TOKEN, "origin": "download", "events": [{}] * 501})

    assert answer.status_code == 400


def test_without_pubsub_an_event_is_still_accepted(dispatch, process, sql):
    from lib.runtime import config, pubsub

    process.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:9")
    pubsub.close()
    config.current.cache_clear()

    answer = dispatch.post("/dispatch/call-event", json=envelope())

    assert answer.status_code == 202
    assert sql("SELECT count(*) FROM call_events") == [(1,)]


def test_without_the_database_an_event_of_a_known_enterprise_is_published(dispatch, published, process):
    from lib.runtime import config, db

    dispatch.post("/dispatch/call-event", json=envelope(uniqueId="1.0"))
    published()
    db.close()
    process.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:9/none")
    config.current.cache_clear()

    answer = dispatch.post("/dispatch/call-event", json=envelope())

    assert answer.status_code == 202
    [event] = published()
    assert event["raw"] == KEPT
    assert event["received_at"] is None


def test_with_neither_an_event_is_refused_soon_and_told_so(dispatch, process):
    from lib.runtime import config, db, pubsub

    dispatch.post("/dispatch/call-event", json=envelope(uniqueId="1.0"))
    db.close()
    pubsub.close()
    process.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:9/none")
    process.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:9")
    config.current.cache_clear()

    started = time.monotonic()
    answer = dispatch.post("/dispatch/call-event", json=envelope())

    assert answer.status_code == 503
    assert answer.json["error"]["code"] == "unavailable"
    assert "again" in answer.json["error"]["message"]
    assert time.monotonic() - started < 10


def test_an_enterprise_is_asked_for_once_and_again_when_it_changed(dispatch, sql):
    dispatch.post("/dispatch/call-event", json=envelope())
    wait_until(lambda: sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'") != [(0,)])
    for n in range(20):
        dispatch.post("/dispatch/call-event", json=envelope(uniqueId=f"1.{n}"))
    before = dispatch.get("/stats", headers=OPERATOR).json["cache"]
    sql("UPDATE enterprises SET name = 'Renamed' RETURNING number")

    wait_until(lambda: dispatch.get("/integrations/0367", headers=OPERATOR).json["name"] == "Renamed")

    after = dispatch.get("/stats", headers=OPERATOR).json["cache"]
    assert before["total_entries"] == 1
    assert before["misses"] <= 3
    assert before["hits"] >= 18
    assert after["last_invalidation"] is not None


def test_operators_endpoints_are_closed_without_the_token_and_show_no_secret(dispatch):
    for method, path in (("GET", "/stats"), ("GET", "/integrations/0367"), ("POST", "/cache/invalidate/0367")):
        assert dispatch.open(path, method=method).status_code == 403
    shown = dispatch.get("/integrations/0367", headers=OPERATOR)

    assert shown.json["retailcrm"]["api_key_set"] is True
    assert "key-of-0367" not in shown.text
    assert TOKEN not in shown.text
    assert "v1.test." not in shown.text


def test_health_says_what_is_away(dispatch, process):
    from lib.runtime import config, db

    assert dispatch.get("/health").json["status"] == "ok"
    db.close()
    process.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:9/none")
    config.current.cache_clear()

    away = dispatch.get("/health")
    assert away.status_code == 200, "it still takes events in, through Pub/Sub"
    assert away.json["status"] == "degraded"
    assert "did not answer" in away.json["dependencies"]["database"]


def test_every_error_has_one_shape(dispatch):
    for answer in (
        dispatch.get("/nothing/here"),
        dispatch.get("/dispatch/call-event"),
        dispatch.post("/dispatch/call-event", data=b"x"),
        dispatch.get("/stats"),
    ):
        assert 400 <= answer.status_code < 500
        assert set(answer.json) == {"error"}
        assert set(answer.json["error"]) == {"code", "message"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/dispatch/call-event", "/dispatch/call-events", "/dial", "/hangup", "/bridge_create"]),
    body=st.one_of(
        st.binary(max_size=300),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
            max_leaves=12,
        ).map(
            lambda value: json.dumps(
                {
                    "token": TOKEN,
                    "Token": TOKEN,
                    "uniqueId": "1.1",
                    "event_type": "dial",
                    "raw": value,
                    "events": value,
                    "UniqueId": value,
                }
            ).encode()
        ),
    ),
)
def test_no_byte_string_is_a_server_error(dispatch, path, body):
    answer = dispatch.post(path, data=body)

    assert answer.status_code < 500, answer.text


def test_a_token_is_never_logged(dispatch, caplog):
    from lib.runtime.logs import JsonFormatter

    dispatch.post("/dispatch/call-event", json=envelope(token="canary-token"))
    dispatch.post("/dial", json=DIAL)
    written = "\n".join(JsonFormatter().format(record) for record in caplog.records)

    assert '"route": "POST /dispatch/call-event"' in written
    assert "canary-token" not in written
    assert TOKEN not in written


CUT = "\N{REPLACEMENT CHARACTER}"

# In place of the value of `x`, in bytes; what is stored of it.
BROKEN = {
    "a name cut in the middle of a letter": ('"Ива'.encode() + b'\xd0"', f"Ива{CUT}"),
    "a lone surrogate": (b'"\\u0418\\udcd0"', f"И{CUT}"),
    "another code page": ('"Иван"'.encode("cp1251"), "Иван"),
    "NUL": (b'"a\x00b"', "ab"),
    "NUL in JSON's own spelling": (b'"a\\u0000b"', "ab"),
    "a mark of the order of bytes": (b'"\xef\xbb\xbfa"', "a"),
    "a line break": (b'"a\nb"', "a\nb"),
    "a number that ends in zero": (b"1761010900.30", "1761010900.30"),
    "a float": (b"375291111111.0", "375291111111.0"),
    "no number": (b"NaN", "NaN"),
    "too large a number": (b"1e999", "1e999"),
    "a number of many digits": (b"1" * 5000, "1" * 5000),
    "nested too deep": (b"[" * 100 + b"]" * 100, None),
    "nested much too deep": (b"[" * 10_000 + b"]" * 10_000, None),
}


def with_value(body, value):
    return json.dumps(body).encode().replace(b'"<value>"', value)


@pytest.mark.parametrize("form", ["host", "envelope", "batch"])
@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_broken_costs_a_field_and_never_the_event(dispatch, published, sql, form, kind):
    value, kept = BROKEN[kind]
    raw = {**KEPT, "x": "<value>"}
    path, body = {
        "host": ("/dial", {**raw, "Token": TOKEN}),
        "envelope": ("/dispatch/call-event", envelope(raw=raw)),
        "batch": ("/dispatch/call-events", {"token": TOKEN, "events": [envelope(raw=raw), envelope(uniqueId="1.2")]}),
    }[form]

    answer = dispatch.post(path, data=with_value(body, value))

    assert answer.status_code in {200, 202}
    [(unique_id, stored)] = sql("SELECT unique_id, raw_data FROM call_events WHERE raw_data ? 'x'")
    assert unique_id == "1760000000.1"
    assert {name: stored[name] for name in KEPT} == KEPT
    assert kept is None or stored["x"] == kept
    assert stored in [event["raw"] for event in published()]
    if form == "batch":
        assert [result["success"] for result in answer.json["results"]] == [True, True]


def test_an_id_keeps_the_digits_that_were_sent(dispatch, sql):
    host = b'{"Token": "%s", "UniqueId": 1761010900.30, "Phone": "375291111111"}' % TOKEN.encode()
    ours = b'{"token": "%s", "uniqueId": 1761010900.10, "event_type": "dial", "raw": {}}' % TOKEN.encode()

    assert dispatch.post("/dial", data=host).status_code == 200
    assert dispatch.post("/dispatch/call-event", data=ours).status_code == 202
    assert sql("SELECT unique_id FROM call_events ORDER BY id") == [("1761010900.30",), ("1761010900.10",)]


@pytest.mark.parametrize(
    "address", ["None", "/monitor/x.wav", "ftp://example.com/1.wav", "javascript:alert(1)", ["x"], 5]
)
def test_a_recording_without_an_address_is_no_reason_to_lose_its_event(dispatch, sql, address):
    assert dispatch.post("/dispatch/call-event", json=envelope(record_url=address)).status_code == 202
    assert sql("SELECT record_url FROM call_events") == [
        (address if isinstance(address, str) else json.dumps(address),)
    ]


def test_an_event_of_a_batch_that_is_none_costs_no_other(dispatch, sql):
    events = [
        envelope(uniqueId="1.1"),
        "text",
        None,
        [1],
        {"uniqueId": "1.2", "event_type": "dial", "raw": "text"},
        envelope(uniqueId="1.3"),
    ]
    answer = dispatch.post("/dispatch/call-events", json={"token": TOKEN, "note": "\ud800\u0000", "events": events})

    assert answer.status_code == 200
    assert [result["success"] for result in answer.json["results"]] == [True, False, False, False, False, True]
    assert sql("SELECT unique_id FROM call_events ORDER BY id") == [("1.1",), ("1.3",)]


def test_one_event_of_a_batch_may_be_as_large_as_one_that_comes_alone(dispatch, sql):
    small, large = ({"uniqueId": f"1.{n}", "event_type": "start", "raw": {"x": "я" * n}} for n in (30_000, 33_000))

    answer = dispatch.post("/dispatch/call-events", json={"events": [large, small]}, headers={"Token": TOKEN})

    refused, taken = answer.json["results"]
    assert refused["error"]["code"] == "too_large"
    assert taken["success"]
    assert sql("SELECT unique_id FROM call_events") == [("1.30000",)]


def test_an_event_that_cannot_be_stored_for_a_reason_of_ours_goes_on_through_pub_sub(dispatch, published, database_url):
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("ALTER TABLE call_events RENAME COLUMN copies TO copies_of_another_version")
        try:
            status = dispatch.post("/dispatch/call-event", json=envelope()).status_code
        finally:
            conn.execute("ALTER TABLE call_events RENAME COLUMN copies_of_another_version TO copies")

    assert status == 202
    assert [event["raw"] for event in published()] == [KEPT]


def test_without_credentials_of_google_an_event_is_stored_and_waits_for_the_sweep(dispatch, sql, process, tmp_path):
    process.setenv("PUBSUB_EMULATOR_HOST", "")
    process.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    config.current.cache_clear()
    pubsub.close()

    answer = dispatch.post("/dispatch/call-event", json=envelope())
    delayed_publish.delayed_publisher().publish("call-events", {"a": 1}, seconds=0)
    time.sleep(0.3)

    assert answer.status_code == 202
    assert sql("SELECT count(*) FROM call_events WHERE call_id IS NULL") == [(1,)]
    assert delayed_publish.delayed_publisher()._thread.is_alive()
