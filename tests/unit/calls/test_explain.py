from __future__ import annotations

import json
import re
from datetime import datetime

import pytest

from lib.calls import explain as explaining
from lib.calls.call import assemble
from lib.calls.explain import as_text, explain, sentence
from lib.calls.linking import group
from lib.calls.plan import plan
from lib.calls.settings import Settings
from tests.unit.calls import playback

ENTERPRISE, SCENARIOS = playback.load()
DIRECTORY = playback.directory_of(ENTERPRISE)
TOLD = {"effect": "popup", "extensions": ["150"], "state": "delivered", "attempts": [{"http_status": 200}]}


def explained(name: str) -> dict:
    (scenario,) = [scenario for scenario in SCENARIOS if scenario["id"] == name]
    events = playback.parsed(scenario)
    members = max(group(events, DIRECTORY), key=len)
    now = events[-1].received_at
    call = assemble(members, DIRECTORY, Settings(), now)
    return explain(call, members, [TOLD], plan(call, (), now, Settings()).decisions)


def test_a_call_is_explained_as_data():
    data = explained("2-25")

    assert json.loads(json.dumps(data)) == data
    assert (data["kind"], data["result"], data["owner"], data["duration_seconds"]) == ("in", "answered", "150", 46)
    assert [ring["people"] for ring in data["rang"]] == [["150", "151", "152"]]
    assert [talk["person"] for talk in data["talked"]] == ["151", "150", "150"]
    assert data["transfers"] == [{"at": 43.0, "from": "151", "to": "150"}]
    assert len(data["timeline"]) == 34
    assert {leg["role"] for leg in data["legs"]} == {"customer", "phone", "line", "local"}
    assert data["told"] == [TOLD]
    assert {decision["code"] for decision in data["decisions"]} == {"expired", "leg_of_another_call"}


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "en",
            [
                "Incoming call from +375291111111",
                "owner 150",
                "talk 46 s",
                "Rang:",
                "of a follow-me number",
                "Decisions:",
            ],
        ),
        (
            "ru",
            [
                "Входящий звонок от +375291111111",
                "ответственный 150",
                "разговор 46 с",
                "Звонило:",
                "переадресации",
                "Решения:",
            ],
        ),
    ],
)
def test_and_as_text_in_two_languages(language, expected):
    text = as_text(explained("2-25"), language)

    assert [words for words in expected if words not in text] == []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["id"])
def test_every_decision_has_a_sentence(scenario):
    for name in ("ru", "en"):
        text = as_text(explained(scenario["id"]), name)
        assert "{" not in re.sub(r"effect=.*", "", text)


def test_both_languages_know_the_same():
    for tables in (explaining._SENTENCES, explaining._CODES, explaining._WORDS):
        assert tables["ru"].keys() == tables["en"].keys()


def test_a_code_without_a_sentence_stands_for_itself():
    assert sentence("something_new", {}, "en") == "something_new"
    assert sentence("no_mapping", {}, "en") == "no_mapping: {}"
    assert (
        sentence("no_mapping", {"numbers": ["109", "117"]}, "en")
        == "No manager is mapped to 109, 117: left out of the pop-up."
    )


def test_a_correction_names_what_would_change():
    changed = {"extension": ["150", "151"], "duration": [12, 40]}

    assert "extension: 150, 151; duration: 12, 40" in sentence("corrected_after_upload", {"changed": changed}, "en")


def test_the_text_tells_each_talk_and_what_became_of_each_notice():
    data = explained("2-25")
    data["told"] = [{**TOLD, "state": "expired", "reason": "too_old"}]

    text = as_text(data, "en")

    talks = [f"{talk['since']:8.1f} – {talk['until']:8.1f}  {talk['person']}" for talk in data["talked"]]
    assert [talk for talk in talks if talk not in text] == []
    assert "state=expired" in text
    assert "(it rang too long ago)" in text


def test_a_result_that_nobody_knows_is_called_unknown_and_no_other_one():
    answered = explained("2-25")
    unknown = {**answered, "result": "unknown", "answered": False}

    assert ["result unknown" in as_text(data, "en") for data in (answered, unknown)] == [False, True]


def test_each_event_says_what_the_host_said_and_nothing_that_it_did_not():
    start = next(event for event in explained("2-25")["timeline"] if event["event_type"] == "start")

    assert re.fullmatch(r"phone=\d+ type=0 trunk=\d+", start["says"].strip())


def test_decisions_are_dated():
    [first, *_] = explained("2-25")["decisions"]

    assert datetime.fromisoformat(first["at"]).tzinfo is not None
