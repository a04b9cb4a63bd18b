"""`make doctor` and the page's: what a host does is read from what it sent, whole calls, up to a number of events."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from infra.commands import doctor
from lib.ledger import checkup
from lib.runtime import db
from lib.store import host_events
from tests.functions.test_admin_api_journal import connected, crm, gateway  # noqa: F401  (fixtures)
from tests.functions.test_silence import KNOWN, call  # noqa: F401  (fixture)
from tests.functions.test_stats import steps_of
from tests.harness.assembled import counted


@pytest.fixture
def spoiled(call):  # noqa: F811
    """Two calls over a line that nobody knows, to an extension that nobody has."""
    strange = {**KNOWN, "Trunk": "0009999"}
    return [call(sequence, start=strange, dial={**strange, "Extensions": ["777"]}) for sequence in (1, 2)]


def by_code(answer):
    return {finding["code"]: finding for finding in answer["findings"]}


def test_the_page_is_told_what_the_host_does_with_counts_and_examples(connected, spoiled):  # noqa: F811
    answer = connected.get("doctor/0367").json

    found = by_code(answer)
    assert (answer["events"], answer["calls"], answer["is_capped"]) == (4, 2, False)
    assert found.keys() == {"unknown_lines", "unknown_extensions"}
    assert (found["unknown_lines"]["count"], found["unknown_lines"]["of"]) == (4, 4)
    assert found["unknown_extensions"]["examples"] == [{"unique_id": spoiled[0], "value": "777", "count": 2}] or (
        found["unknown_extensions"]["examples"][0]["unique_id"] in spoiled
    )
    assert {finding["weight"] for finding in answer["findings"]} == {"loss"}


def test_a_host_without_events_and_one_that_does_well_have_no_finding(connected, call):  # noqa: F811
    nothing = connected.get("doctor/0367").json
    call(1, start=KNOWN, dial={**KNOWN, "Extensions": ["150"]})

    well = connected.get("doctor/0367").json

    assert (nothing["events"], nothing["findings"]) == (0, [])
    assert (well["events"], well["findings"]) == (2, [])


def test_only_what_came_in_the_time_that_is_asked_for_is_read(connected, spoiled, sql):  # noqa: F811
    sql(
        "UPDATE calls SET started_at = started_at - interval '2 hours' WHERE main_unique_id = %s RETURNING 1",
        spoiled[0],
    )
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()

    assert connected.get("doctor/0367").json["calls"] == 2
    assert connected.get("doctor/0367", since=hour_ago).json["calls"] == 1
    assert connected.get("doctor/0367", since="1999-01-01T00:00:00Z").json["calls"] == 2
    assert connected.get("doctor/0367", since="yesterday").status_code == 400


def test_copies_are_counted_though_they_are_not_kept(connected, gateway):  # noqa: F811
    gateway.ring()
    for _ in range(3):
        gateway.take("start", **KNOWN)

    copies = by_code(connected.get("doctor/0367").json)["copies"]

    assert (copies["count"], copies["of"]) == (3, 5)
    assert copies["examples"] == [{"unique_id": gateway.unique_id, "value": "start", "count": 1}]


def test_half_a_call_is_never_read_and_it_is_said_that_there_are_more(connected, spoiled):  # noqa: F811
    whole = checkup.examine_host("0367", since=None, events_at_most=4)
    capped = checkup.examine_host("0367", since=None, events_at_most=3)

    assert (whole["events"], whole["calls"], whole["is_capped"]) == (4, 2, False)
    assert (capped["events"], capped["calls"], capped["is_capped"]) == (2, 1, True)
    assert capped["since"] > whole["since"]


def test_events_that_are_not_kept_any_more_are_no_fault_of_the_host(connected, spoiled, sql):  # noqa: F811
    sql("UPDATE calls SET events_forgotten = true RETURNING 1")

    assert connected.get("doctor/0367").json["events"] == 0


def test_a_million_events_are_no_reason_to_wait(provisioned, database_url, process):
    """Its cost is that of the events that it reads, however many there are."""
    provisioned()
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            """
            WITH held AS (
                INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at, last_event_at)
                SELECT '0367', n || '.1', 'in', at, at, at
                FROM (SELECT n, now() - n * interval '1 second' AS at FROM generate_series(1, 5000) n) numbered
                RETURNING id, main_unique_id
            )
            INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, call_id)
            SELECT gen_random_uuid(), '0367', main_unique_id, 'start', '{"Phone": "375291111111"}',
                   sha256((main_unique_id || n)::bytea), id
            FROM held, generate_series(1, 8) n
            """
        )
        conn.execute("VACUUM ANALYZE calls, call_events")
    since = datetime.now(UTC) - timedelta(days=1)

    with db.connection() as conn, counted(process) as sent:
        last = host_events.read_last_calls(conn, "0367", since=since, events_at_most=1000)

    assert (len(last.calls), sum(map(len, last.calls)), last.is_capped) == (125, 1000, True)
    assert len(sent) <= 4
    with psycopg.connect(database_url) as conn:
        for statement in sent:
            [[[plan]]] = conn.execute(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.parameters).fetchall()
            assert "Seq Scan" not in {step["Node Type"] for step in steps_of(plan["Plan"])}


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["doctor", *arguments])
    code = doctor.main()
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_the_command_says_what_to_change_in_both_languages(spoiled, capsys, monkeypatch):
    code, russian = run(monkeypatch, capsys)
    _, english = run(monkeypatch, capsys, "--language", "en", "--since", "2h")
    _, data = run(monkeypatch, capsys, "--json", "--events", "3")

    assert code == 0
    assert "Линии, которых нет в списке: событий 4 из 4" in russian
    assert "например, 0009999 ×4, звонок" in russian
    assert "Lost:\n  Extensions ring that the enterprise does not have: 2 of 2" in english
    assert "Add them to the enterprise" in english
    assert (json.loads(data)["is_capped"], json.loads(data)["events"]) == (True, 2)


def test_the_command_says_that_all_is_well_or_that_nothing_came(call, capsys, monkeypatch):  # noqa: F811
    _, nothing = run(monkeypatch, capsys)
    call(1, start=KNOWN, dial={**KNOWN, "Extensions": ["150"]})

    _, well = run(monkeypatch, capsys)

    assert "Событий за это время нет" in nothing
    assert "АТС делает всё, что нужно" in well


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--enterprise", "9999"], "doctor: No enterprise 9999"),
        (["--since", "soon"], "doctor: SINCE=soon: must be like"),
    ],
)
def test_what_the_command_cannot_do_is_one_sentence(spoiled, capsys, monkeypatch, arguments, sentence):
    code, text = run(monkeypatch, capsys, *arguments)

    assert code == 1
    assert text.startswith(sentence)
