"""What was accepted and leads to nothing in the CRM can be seen by whoever does not know its id."""

from __future__ import annotations

import json
import sys
from datetime import timedelta

import psycopg
import pytest

from infra.commands import explain
from lib.runtime import db
from lib.store import rejected, silence
from tests.conftest import OPERATOR_TOKEN
from tests.functions.test_admin_api_journal import connected, crm, gateway  # noqa: F401  (fixtures)
from tests.functions.test_admin_api_overview import codes, item
from tests.functions.test_stats import steps_of
from tests.harness.assembled import counted
from tests.harness.servers import push_envelope

OPERATOR = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}


@pytest.fixture
def call(gateway):  # noqa: F811
    """A call of its own: its events, `{type: body}`."""
    begun = int(gateway.unique_id.partition(".")[0])

    def ring(sequence, *, system="", **events):
        gateway.unique_id = f"{system}{begun}.{sequence}"
        for event_type, body in events.items():
            gateway.happen(event_type, **body)
        return gateway.unique_id

    return ring


HIDDEN = {"Phone": "Anonymous", "CallType": 0, "Trunk": "0001301"}
KNOWN = {"Phone": "375291111111", "CallType": 0, "Trunk": "0001301"}
BETWEEN_US = {"Phone": "152", "CallType": 2, "Extensions": ["150"], "CallStatus": "2"}
CHANNEL = {"Channel": "SIP/151-0000001e", "CallerIDNum": "151", "ConnectedLineNum": "152"}


def age(sql, minutes):
    sql("UPDATE calls SET updated_at = updated_at - make_interval(mins => %s) RETURNING 1", minutes)


def test_events_without_a_number_are_counted_with_their_reason_and_the_first_call(connected, call):  # noqa: F811
    first = call(1, start=HIDDEN, hangup={**HIDDEN, "CallStatus": "0", "Extensions": [""]})
    call(2, start=HIDDEN)
    call(3, start=KNOWN, dial={**KNOWN, "Extensions": ["150"]})

    found = item(connected.get("stats/0367"), "led_to_nothing")

    assert (found["events"], found["calls"]) == (3, 2)
    [because] = found["because"]
    assert (because["reason"], because["events"], because["calls"]) == ("no_phone", 3, 2)
    assert because["unique_id"] == first
    assert connected.get(f"calls/0367/{first}").status_code == 200
    assert found["action"] == {"kind": "open", "screen": "host"}


def test_calls_between_colleagues_lack_nothing(connected, call, sql):  # noqa: F811
    call(1, hangup=BETWEEN_US)
    age(sql, 30)

    assert sql("SELECT kind FROM calls") == [("internal",)]
    assert not {"led_to_nothing", "host_without_effect"} & set(codes(connected.get("stats/0367")))


def test_channels_that_no_record_follows_are_said_when_a_talk_of_colleagues_would_be_over(connected, call, sql):  # noqa: F811
    call(1, new_callerid=CHANNEL)
    at_first = codes(connected.get("stats/0367"))

    age(sql, 20)

    assert "led_to_nothing" not in at_first
    [because] = item(connected.get("stats/0367"), "led_to_nothing")["because"]
    assert (because["reason"], because["events"]) == ("only_channels", 1)


def test_a_bridge_without_any_channel_is_said_though_nothing_names_it(connected, gateway, sql):  # noqa: F811
    gateway.unique_id = ""
    gateway.happen("bridge_create", BridgeUniqueid="a-bridge", BridgeNumChannels="0")
    age(sql, 20)

    [because] = item(connected.get("stats/0367"), "led_to_nothing")["because"]

    assert (because["reason"], because["unique_id"]) == ("only_channels", None)


def test_an_integration_that_is_switched_off_is_a_reason_for_what_came_since(connected, call, provisioned, crm):  # noqa: F811
    told = call(1, start=KNOWN, dial={**KNOWN, "Extensions": ["150"]})
    provisioned(domain=crm.url, enabled=False)
    from lib.enterprises.cache import enterprise_cache

    enterprise_cache().invalidate("0367")
    call(1, hangup={**KNOWN, "CallStatus": "0", "Extensions": [""]})
    silent = call(2, start=KNOWN)

    [because] = item(connected.get("stats/0367"), "led_to_nothing")["because"]

    assert told != silent
    assert (because["reason"], because["calls"], because["unique_id"]) == ("integration_disabled", 1, silent)


def test_what_is_older_than_an_hour_is_not_of_the_last_hour(connected, call, sql):  # noqa: F811
    call(1, start=HIDDEN)
    age(sql, 61)

    assert "led_to_nothing" not in codes(connected.get("stats/0367"))


def test_a_message_that_was_rejected_is_said_to_its_enterprise_alone(connected, gateway, provisioned, browser, sql):  # noqa: F811
    provisioned("0368", token="375290000002")
    event = {"event_id": "no id", "enterprise_number": "0367", "event_type": "start"}
    assert gateway.deliver.post("/", json=push_envelope({"event": event})).status_code == 204
    assert len(sql("SELECT 1 FROM rejected_messages")) == 1
    other = browser()
    assert other.sign_in("0368").status_code == 200

    found = item(connected.get("stats/0367"), "led_to_nothing")

    assert (found["events"], found["calls"]) == (1, 0)
    assert [because["reason"] for because in found["because"]] == ["rejected"]
    assert "led_to_nothing" not in codes(other.get("stats/0368"))


def test_many_rejected_messages_of_others_hide_none_of_an_enterprise(connected, gateway, provisioned, sql):  # noqa: F811
    provisioned("0368", token="375290000002")
    other = json.dumps({"event_id": "no id", "enterprise_number": "0368"})
    sql(
        "INSERT INTO rejected_messages (source, reason, raw, received_at) "
        "SELECT 'a', 'b', convert_to(%s, 'UTF8'), now() - n * interval '1 second' FROM generate_series(1, 60) n "
        "RETURNING 1",
        other,
    )
    event = {"event_id": "no id", "enterprise_number": "0367", "event_type": "start"}
    for _ in range(2):
        assert gateway.deliver.post("/", json=push_envelope({"event": event})).status_code == 204

    [because] = item(connected.get("stats/0367"), "led_to_nothing")["because"]

    assert (because["reason"], because["events"]) == ("rejected", 2)


def test_of_rejected_messages_no_more_than_some_bytes_are_read(provisioned, database_url, sql):
    provisioned()
    sql(
        "INSERT INTO rejected_messages (source, reason, raw, received_at, replayed_at) VALUES "
        "('a', 'old', '\\x0000', now() - interval '3 s', NULL), ('a', 'new', '\\x00', now() - interval '1 s', NULL), "
        "('a', 'newest', '\\x00', now(), NULL), ('a', 'replayed', '\\x00', now(), now()), "
        "('a', 'before', '\\x00', now() - interval '1 day', NULL) RETURNING 1"
    )
    with psycopg.connect(database_url) as conn:
        since = db.now(conn) - timedelta(hours=1)

        def read(limit, bytes_at_most):
            found = rejected.list_latest(conn, since=since, limit=limit, bytes_at_most=bytes_at_most)
            return [one.reason for one in found]

        assert read(10, 100) == ["newest", "new", "old"]
        assert read(10, 3) == ["newest", "new"]
        assert read(1, 100) == ["newest"]


def test_a_host_of_which_no_call_leads_to_anything_is_named_once(connected, call):  # noqa: F811
    for sequence in (1, 2):
        call(sequence, start=HIDDEN)
    few = codes(connected.get("stats/0367"))
    last = call(3, start={**HIDDEN, "Trunk": "0001302"})

    found = item(connected.get("stats/0367"), "host_without_effect")

    assert "host_without_effect" not in few
    assert (found["source"], found["name"], found["calls"], found["unique_id"]) == ("enterprise", "", 3, last)


def test_a_line_or_a_second_host_of_which_no_call_leads_to_anything_is_named(connected, call):  # noqa: F811
    call(1, start=KNOWN, dial={**KNOWN, "Extensions": ["150"]})
    call(2, start=HIDDEN)
    for sequence in (3, 4, 5):
        call(sequence, system="office2-", start={**HIDDEN, "Trunk": "0001302"})

    named = [
        (found["source"], found["name"], found["calls"])
        for found in connected.get("stats/0367").json["attention"]
        if found["code"] == "host_without_effect"
    ]

    assert named == [("line", "0001302", 3), ("system", "office2", 3)]


def explained(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["explain", *arguments])
    code = explain.main()
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_explain_without_a_call_lists_what_led_to_nothing(call, capsys, monkeypatch):
    begun = [call(sequence, start=HIDDEN) for sequence in (1, 2, 3)]

    code, russian = explained(monkeypatch, capsys)
    _, english = explained(monkeypatch, capsys, "--language", "en", "--since", "2d")

    assert code == 0
    assert "ни к чему в CRM не привели события: 3" in russian
    assert "no_phone, звонков 3, событий 3: В звонке нет корректного внешнего номера" in russian
    assert f"Первый: {begun[0]}" in russian
    assert "No call of the host led to anything: 3 since" in english
    assert f"the last is {begun[-1]}" in english
    assert "make doctor ENTERPRISE=0367" in english


def test_explain_says_what_was_looked_for_when_it_finds_nothing(call, capsys, monkeypatch):
    call(1, start=KNOWN, dial={**KNOWN, "Extensions": ["150"]})

    code, text = explained(monkeypatch, capsys)
    _, english = explained(monkeypatch, capsys, "--language", "en")
    _, data = explained(monkeypatch, capsys, "--json")

    assert code == 0
    assert "не нашлось того, что ищется" in text
    assert "no_phone, only_channels, no_date, integration_disabled" in text
    assert "no_phone, only_channels, no_date, integration_disabled; messages" in english
    assert (json.loads(data)["because"], json.loads(data)["hosts"]) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--enterprise", "9999"], "explain: No enterprise 9999"),
        (["--since", "yesterday"], "explain: SINCE=yesterday: must be like"),
        (["--since", "2999-01-01"], "explain: SINCE=2999-01-01: is not in the past"),
    ],
)
def test_what_explain_cannot_do_is_one_sentence(call, capsys, monkeypatch, arguments, sentence):
    code, text = explained(monkeypatch, capsys, *arguments)

    assert code == 1
    assert text.startswith(sentence)
    assert text.count("\n") == 1


def test_the_operators_figures_have_every_reason_and_name_the_enterprises(connected, call, function, sql):  # noqa: F811
    call(1, start=HIDDEN)
    call(2, new_callerid=CHANNEL)
    call(3, hangup=BETWEEN_US)
    sql(
        "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, received_at) "
        "VALUES (gen_random_uuid(), '0367', '1.1', 'bridge', '{}', '\\x00', now() - interval '2 minutes') RETURNING 1"
    )
    sql("INSERT INTO rejected_messages (source, reason, raw) VALUES ('a', 'b', '') RETURNING 1")

    found = function("sweep-calls").get("/stats", headers=OPERATOR).get_json()["led_to_nothing"]

    assert found == {
        "calls": {"no_phone": 1, "only_channels": 0, "no_date": 0, "integration_disabled": 0},
        "enterprises": ["0367"],
        "rejected": 1,
        "waiting": 1,
        "within_seconds": 3600,
    }


@pytest.fixture
def busy(provisioned, database_url):
    """Two enterprises with 10 000 calls each; every hundredth of the first has no number."""
    provisioned()
    provisioned("0368", token="375290000002")
    decided = json.dumps([{"crm": "retailcrm", "code": "no_phone", "params": {}, "at": None}])
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            """
            INSERT INTO calls (enterprise_number, main_unique_id, kind, line_id, started_at, first_event_at,
                               last_event_at, decisions, updated_at)
            SELECT CASE WHEN n %% 2 = 0 THEN '0367' ELSE '0368' END, n || '.1', 'in', '0001301', at, at, at,
                   CASE WHEN n %% 200 = 0 THEN %s::jsonb ELSE '[]' END, at
            FROM (SELECT n, now() - n * interval '1 second' AS at FROM generate_series(1, 20000) n) numbered
            """,
            [decided],
        )
        conn.execute("VACUUM ANALYZE calls, call_events, deliveries")
    return database_url


@pytest.mark.parametrize(
    "look",
    [
        lambda conn: silence.list_reasons(conn, "0367", seconds=3600),
        lambda conn: silence.list_late_calls(conn, "0367", seconds=86_400, limit=1000),
        lambda conn: silence.count_all(conn, seconds=3600),
    ],
    ids=["reasons", "late calls", "figures"],
)
def test_looking_reads_no_call_that_it_does_not_tell_of(busy, process, look):
    with db.connection() as conn, counted(process) as sent:
        found = look(conn)

    assert found
    with psycopg.connect(busy) as conn:
        for statement in [one for one in sent if "FROM calls" in one.text]:
            [[[plan]]] = conn.execute(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.parameters).fetchall()
            scans = {(step["Node Type"], step.get("Relation Name")) for step in steps_of(plan["Plan"])}
            assert ("Seq Scan", "calls") not in scans
            assert "Index Scan" in {kind for kind, relation in scans if relation == "calls"}


def test_every_reason_of_the_index_is_decided_somewhere():
    from tests.unit.test_reason_codes import decisions

    assert set(silence.REASONS) <= decisions()
    assert all(f'@.code == "{reason}"' in silence._DECIDED for reason in silence.REASONS)
