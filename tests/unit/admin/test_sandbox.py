"""Situations are played with an enterprise's own numbers, and come to what the same events come to in earnest."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from lib.admin.screens import sandbox
from lib.calls.directory import Directory, Line
from lib.calls.settings import Settings

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
DEMO = Directory(
    internal_phones=frozenset({"109", "117", "150", "151", "152", "153"}),
    extension_users={"150": 18, "151": 19, "152": 20, "153": 21},
    personal_phones={"+375292222222": "153"},
    lines={
        "0001301": Line(line_id="0001301", phone_number="+375290000101"),
        "0001302": Line(line_id="0001302", phone_number="+375290000102"),
    },
)
# Pop-ups, end, row: extensions; result and owner of the row.
EXPECTED = {
    "incoming-answered": ([["150", "151", "152"]], ["150", "151", "152"], ("answered", "151")),
    "incoming-missed": ([["150", "151", "152"]], ["150", "151", "152"], ("no answer", "150")),
    "incoming-cascade": ([["150"], ["151"], ["152"]], ["150", "151", "152"], ("answered", "151")),
    "incoming-mobile": ([["150"], ["151"], ["152", "153"]], ["150", "151", "152", "153"], ("answered", "153")),
    "incoming-transfer": ([["150", "151", "152"]], ["150", "151", "152"], ("answered", "150")),
    "incoming-abandoned": ([], None, ("no answer", None)),
    "incoming-anonymous": ([], None, None),
    "outgoing-answered": ([["151"]], ["151"], ("answered", "151")),
    "outgoing-missed": ([["151"]], ["151"], ("no answer", "151")),
    "outgoing-click": ([["151"]], ["151"], ("answered", "151")),
    "outgoing-consultation": ([["151"]], ["151"], ("answered", "151")),
    "internal": ([], None, None),
}


def play(name, known=DEMO, **changes):
    policy = dataclasses.replace(Settings(), **changes)
    return sandbox.play(sandbox.situations()[name], known, policy, at=AT)


def told(story):
    """As in EXPECTED."""
    by_effect = {
        effect: [row for row in story["told"] if row["effect"] == effect] for effect in ("popup", "hangup", "upload")
    }
    rows = [call for row in by_effect["upload"] for call in row["attempts"][0]["request"]["calls"]]
    return (
        [sorted(row["extensions"]) for row in by_effect["popup"]],
        next((sorted(row["extensions"]) for row in by_effect["hangup"]), None),
        next(((row["result"], row.get("code")) for row in rows), None),
    )


def test_every_situation_is_known_and_expected():
    assert sandbox.situations().keys() == EXPECTED.keys()
    for situation in sandbox.situations().values():
        assert situation.title.keys() == situation.what.keys() == {"ru", "en"}
        assert "Token" not in json.dumps([event["body"] for event in situation.events])


@pytest.mark.parametrize("name", EXPECTED)
def test_a_played_situation_has_the_outcome_of_a_real_call(name):
    [main, *others] = play(name)

    assert told(main) == EXPECTED[name]
    assert not any(story["told"] for story in others)
    assert {row["state"] for row in main["told"]} <= {"preview"}


def test_a_situation_is_played_now_in_the_time_zone_of_the_enterprise():
    elsewhere = dataclasses.replace(DEMO, timezone="Asia/Yekaterinburg", crm_timezone="Asia/Yekaterinburg")

    [story] = play("incoming-answered", elsewhere)

    assert story["date"] == "2026-01-05T14:00:00"
    assert story["warnings"] == []
    assert (story["told"][0]["effect"], story["told"][0]["at"]) == ("popup", 2.0)


def test_it_is_played_by_the_enterprises_own_people_and_lines():
    known = Directory(
        internal_phones=frozenset({"201", "202", "203"}),
        extension_users={"203": 7, "202": 8},
        personal_phones={"+375293333333": "203"},
        lines={"trunk-1": Line(line_id="trunk-1", phone_number="+375170000105", name="Shop")},
    )

    [story] = play("incoming-answered", known)
    [mobile] = play("incoming-mobile", known)

    assert (story["line_id"], story["owner"]) == ("trunk-1", "202")
    assert told(story)[0] == [["202"]]
    assert {decision["code"] for decision in story["decisions"]} == {"no_mapping"}
    assert mobile["owner"] == "203"


def test_settings_change_what_would_be_told():
    [first] = play("incoming-transfer", owner_policy="first_talker")
    [last] = play("incoming-transfer")
    [nobody] = play("incoming-missed", missed_owner="none")

    assert (first["owner"], last["owner"], nobody["owner"]) == ("151", "150", None)


def test_an_empty_enterprise_sees_why_there_is_no_pop_up():
    [story] = play("incoming-answered", Directory())

    assert told(story)[0] == []
    assert {"no_mapping"} <= {decision["code"] for decision in story["decisions"]}
    assert [warning["code"] for warning in story["warnings"]] == ["unknown_line"]
