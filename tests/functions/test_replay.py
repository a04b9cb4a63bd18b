"""`make replay`: what it would do, what it does, and that it is done once, whoever asks at the same time."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import pytest

from tests.functions.test_retailcrm_deliver import Gateway
from tests.harness.servers import push_envelope


@pytest.fixture
def crm(crm_server):
    crm_server.clear()
    crm_server.account("0367")
    return crm_server


@pytest.fixture
def gateway(function, provisioned, crm, sql, broker, process):  # noqa: PLR0917  (fixtures)
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    provisioned(domain=crm.url)
    return Gateway(function, sql)


def started(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "infra.commands.replay", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments):
    """`python -m infra.commands.replay …`: the code, and what it said."""
    process = started(*arguments)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out + err


def confirmed(*arguments):
    return run(*arguments, "--yes", "--reason", "the CRM is mended", "--by", "ivanova")


@pytest.fixture
def refused(gateway, crm):
    """A call whose row RetailCRM refused; its id."""
    crm.fault("success_false", account="0367", endpoint="upload", status=400, error_msg="Validation error", requests=1)
    gateway.ring(["150"])
    gateway.missed()
    return gateway.unique_id


def generations(sql):
    return sql("SELECT effect, state, generation FROM deliveries ORDER BY id")


def test_without_yes_it_only_lists_what_it_would_do(refused, sql):
    before = generations(sql)

    for arguments in (("--enterprise", "0367", "--call", refused), ("--since", "1h")):
        code, said = run(*arguments)
        assert code == 0
        assert refused in said
        assert "permanent" in said
        assert "Nothing was done" in said
        assert "YES=1" in said

    assert generations(sql) == before
    assert sql("SELECT count(*) FROM replays") == [(0,)]


def test_a_row_is_sent_again_and_who_when_and_why_is_kept(refused, gateway, crm, sql):
    code, said = confirmed("--enterprise", "0367", "--call", refused)
    gateway.wake()

    assert code == 0, said
    assert "upload, failed (permanent): to be sent again" in said
    assert "popup, delivered: not sent again: a pop-up is news" in said
    assert [row["externalId"] for row in crm.rows("0367")] == [refused]
    assert generations(sql)[-2:] == [("upload", "failed", 0), ("upload", "delivered", 1)]
    assert sql("SELECT requested_by, reason, created_at IS NOT NULL, delivery_id, subject FROM replays") == [
        ("ivanova", "the CRM is mended", True, 4, f"upload {refused}, generation 1")
    ]
    [(logged,)] = sql("SELECT request_data FROM integration_logs WHERE event_type = 'replay'")
    assert logged == {"by": "ivanova", "reason": "the CRM is mended", "deliveries": [4]}


def test_it_is_due_at_once_without_any_message(refused, sql):
    confirmed("--since", "1h")

    assert sql("SELECT enterprise_number, crm, wake_at <= clock_timestamp() FROM row_timers") == [
        ("0367", "retailcrm", True)
    ]
    assert sql("SELECT expires_at > clock_timestamp() + interval '6 days' FROM deliveries WHERE generation = 1") == [
        (True,)
    ]


@pytest.mark.parametrize("arguments", [("--since", "1h"), ("--delivery", "3")])
def test_two_processes_at_once_make_one_generation(refused, gateway, crm, sql, arguments):
    command = (*arguments, "--yes", "--reason", "both of us")
    both = [started(*command, "--by", name) for name in ("ivanova", "petrova")]
    for process in both:
        process.communicate(timeout=60)
    gateway.wake()

    assert [generation for effect, _, generation in generations(sql) if effect == "upload"] == [0, 1]
    assert sql("SELECT count(*) FROM replays") == [(1,)]
    assert len(crm.rows("0367")) == 1


def test_four_processes_at_once_send_many_rows_once_each(provisioned, sql):
    provisioned()
    sql(
        """
        WITH made AS (
            INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at, last_event_at)
            SELECT '0367', n || '.1', 'in', now(), now(), now() FROM generate_series(1, 450) n
            RETURNING id, main_unique_id)
        INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, content, state, finished_at)
        SELECT '0367', id, 'upload', main_unique_id, '{}', 'failed', now() FROM made RETURNING 1
        """
    )

    four = [started("--since", "1d", "--yes", "--reason", "all", "--by", str(n)) for n in range(4)]
    said = [process.communicate(timeout=90)[0] for process in four]

    assert sql("SELECT generation, state, count(*) FROM deliveries GROUP BY 1, 2 ORDER BY 1") == [
        (0, "failed", 450),
        (1, "ready", 450),
    ]
    assert sql("SELECT count(*), count(DISTINCT delivery_id) FROM replays") == [(450, 450)]
    assert all("sent again, up to" in text for text in said if "0 rows go" not in text)


def test_a_row_that_fails_again_during_a_replay_is_not_sent_for_ever(refused, gateway, crm, provisioned, sql):
    for _ in range(2):
        crm.fault("success_false", account="0367", endpoint="upload", status=400, error_msg="Still wrong", requests=1)
        assert confirmed("--since", "1h")[0] == 0
        gateway.wake()

    assert [row for row in generations(sql) if row[0] == "upload"] == [
        ("upload", "failed", 0),
        ("upload", "failed", 1),
        ("upload", "failed", 2),
    ]
    provisioned("0368", token="375290000002")
    assert confirmed("--since", "1h", "--enterprise", "0368")[1].count("0 rows go") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "CALL="),
        (("--call", "1.1"), "needs ENTERPRISE"),
        (("--call", "1.1", "--enterprise", "0367"), "has no call 1.1"),
        (("--delivery", "77"), "no delivery 77"),
        (("--delivery", "3", "--enterprise", "0368"), "no enterprise 0368"),
        (("--since", "1h", "--enterprise", "0368"), "no enterprise 0368"),
        (("--call", "1.1", "--enterprise", "0367", "--since", "1h"), "CALL and SINCE"),
        (("--delivery", "3", "--call", "1.1"), "CALL and DELIVERY"),
        (("--rejected", "1", "--source", "ticks"), "REJECTED and SOURCE"),
        (("--rejected", "1", "--since", "1h"), "REJECTED and SINCE"),
        (("--rejected", "1", "--enterprise", "0367"), "ENTERPRISE has no meaning with REJECTED"),
        (("--source", "ticks", "--since", "1h", "--enterprise", "0367"), "ENTERPRISE has no meaning with SOURCE"),
        (("--since", "yesterday"), "must be like"),
        (("--rejected", "one"), "must be ids"),
        (("--rejected", "77"), "no such message"),
        (("--since", "1h", "--yes"), "Say why"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence_and_changes_nothing(refused, sql, arguments, words):
    before = generations(sql)

    code, said = run(*arguments)

    assert (code, words in said) == (1, True), said
    assert generations(sql) == before


def test_delivered_rows_and_pop_ups_are_not_replayed(refused, sql):
    for delivery, words in (("1", "a pop-up is news"), ("2", "a pop-up is news")):
        code, said = confirmed("--delivery", delivery)
        assert (code, words in said) == (1, True)
    confirmed("--delivery", "3")
    code, said = confirmed("--delivery", "3")

    assert (code, "sent again already" in said) == (1, True)
    assert sql("SELECT count(*) FROM replays") == [(1,)]


EVENT = {
    "event_id": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
    "enterprise_number": "0367",
    "unique_id": "1760000000.1",
    "event_type": "hangup",
    "raw": {"CallStatus": "2"},
    "record_url": None,
    "data_source": "live",
    "received_at": None,
}


def reject(client, body, **attributes):
    letter = push_envelope(body)
    letter["message"]["attributes"] = attributes
    letter["subscription"] += ".dead"
    assert client.post("/dead", json=letter).status_code == 204


DEAD = {
    "CloudPubSubDeadLetterSourceSubscription": "call-events.retailcrm-deliver",
    "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-01-01T10:00:00.5Z",
}


def test_a_rejected_message_goes_to_its_topic_again_and_is_marked(gateway, function, broker, sql):
    reject(function("sweep-calls"), {"event": EVENT}, **DEAD)
    subscription = broker.topic("call-events")

    code, said = run("--rejected", "1")
    assert (code, "would be published again" in said) == (0, True), said
    assert broker.pull(subscription) == []
    code, said = confirmed("--source", "retailcrm-deliver")
    assert (code, "1 message was published again" in said) == (0, True), said
    again = confirmed("--rejected", "1")

    assert broker.pull(subscription) == [{"event": EVENT | {"received_at": "2026-01-01T10:00:00.5Z"}}]
    assert again[0] == 1
    assert "not replayed: it was, at" in again[1]
    assert sql("SELECT replayed_at IS NOT NULL FROM rejected_messages") == [(True,)]
    assert sql("SELECT requested_by, reason, rejected_message_id, enterprise_number FROM replays") == [
        ("ivanova", "the CRM is mended", 1, "0367")
    ]


def test_a_dead_letter_with_several_events_goes_to_its_topic_with_the_time_of_each(gateway, function, broker, sql):
    known = EVENT | {"event_id": "6f9619ff-8b86-4d01-b42d-00cf4fc964fe", "received_at": "2026-01-01T09:00:00+00:00"}
    source = {"CloudPubSubDeadLetterSourceSubscription": "recovered-events.assemble-recovered"}
    reject(function("sweep-calls"), {"events": [EVENT, known]}, **DEAD | source)
    subscription = broker.topic("recovered-events")

    code, said = confirmed("--rejected", "1")

    assert (code, "1 message was published again" in said) == (0, True), said
    assert broker.pull(subscription) == [{"events": [EVENT | {"received_at": "2026-01-01T10:00:00.5Z"}, known]}]
    assert sql("SELECT enterprise_number FROM replays") == [("0367",)]


def test_an_event_in_a_dead_letter_was_received_when_it_was_first_published(gateway, function, sql):
    reject(function("sweep-calls"), {"event": EVENT}, **DEAD)

    assert (
        sql("SELECT received_at AT TIME ZONE 'UTC' FROM call_events")[0][0].isoformat() == "2026-01-01T10:00:00.500000"
    )


def test_two_processes_at_once_publish_a_message_once(gateway, function, broker, sql):
    reject(function("sweep-calls"), {"event": EVENT}, **DEAD)
    subscription = broker.topic("call-events")

    both = [started("--rejected", "1", "--yes", "--reason", "both") for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]

    assert len(broker.pull(subscription)) == 1
    assert sql("SELECT count(*) FROM replays") == [(1,)]
    assert sum("1 message was published" in text for text in said) == 1


def test_without_pubsub_nothing_is_marked(gateway, function, process, sql):
    reject(function("sweep-calls"), {"event": EVENT}, **DEAD)
    process.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:9")

    code, said = confirmed("--rejected", "1")

    assert (code, "Pub/Sub did not" in said) == (1, True), said
    assert sql("SELECT replayed_at FROM rejected_messages") == [(None,)]
    assert sql("SELECT count(*) FROM replays") == [(0,)]


def test_a_message_that_can_only_be_rejected_again_stays_and_says_why(gateway, function, sql):
    deliver, sweep = function("retailcrm-deliver"), function("sweep-calls")
    deliver.post("/", data=b"not JSON", content_type="application/json")
    deliver.post("/", json={"message": {"data": "%%%"}, "subscription": "projects/local/subscriptions/call-events.x"})
    deliver.post("/", json={"message": {"data": base64.b64encode(b"[]").decode()}, "subscription": "call-events.x"})
    reject(sweep, {"at": "now"}, CloudPubSubDeadLetterSourceSubscription="ticks.sweep-calls")
    reject(sweep, {"at": "now"}, CloudPubSubDeadLetterSourceSubscription="elsewhere.sweep-calls")

    code, said = run("--rejected", "1,2,3,4,5")

    assert code == 1
    assert "0 messages would be published again, 5 cannot be" in said
    assert "not base64" in said
    assert "a tick" in said
    assert "nothing says which topic" in said


def test_a_message_in_its_unwrapped_form_is_replayed_too(gateway, broker, sql):
    subscription = broker.topic("call-events")
    name = "projects/local/subscriptions/call-events.retailcrm-deliver"
    headers = {
        "x-goog-pubsub-message-id": "1",
        "x-goog-pubsub-publish-time": "2026-01-01T10:00:00Z",
        "x-goog-pubsub-subscription-name": name,
    }
    unknown = {"event": EVENT | {"enterprise_number": "0999"}}
    assert gateway.deliver.post("/", data=json.dumps(unknown), headers=headers).status_code == 204

    code, said = confirmed("--source", "call-events.retailcrm-deliver", "--since", "1h")

    assert code == 0, said
    [message] = broker.pull(subscription)
    assert message["event"]["event_id"] == EVENT["event_id"]


def test_ids_of_which_some_cannot_be_replayed_are_a_failure_that_names_them(gateway, function, broker, sql):
    reject(function("sweep-calls"), {"event": EVENT}, **DEAD)
    function("retailcrm-deliver").post("/", data=b"not JSON", content_type="application/json")
    subscription = broker.topic("call-events")

    code, said = confirmed("--rejected", "1,2,77")

    assert code == 1
    assert "message 2: not replayed" in said
    assert "message 77: there is none" in said
    assert "1 message was published again" in said
    assert len(broker.pull(subscription)) == 1
