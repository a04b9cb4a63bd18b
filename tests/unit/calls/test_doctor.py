"""Each finding, with a host that does it and one that does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, get_args

import pytest

from lib.calls.doctor import words
from lib.calls.doctor.examination import examine
from lib.calls.doctor.finding import EXAMPLES_AT_MOST, WEIGHTS, Finding, Seen, Weight
from tests.unit.calls import playback
from tests.unit.calls.streams import CUSTOMER, MOBILE, OTHER_MOBILE, Stream

ENTERPRISE, SCENARIOS = playback.load()
DIRECTORY = playback.directory_of(ENTERPRISE)
EPOCH = 1_760_100_000
CALLS = 6
EVERY_MINUTES = 10
REPLACED = "\ufffd"


@dataclass
class Talk:
    """An incoming call over a line that 151 answers: what a host with nothing to mend sends of it."""

    number: int
    stream: Stream = field(default_factory=Stream)
    origin: str = "live"
    copies: int = 0
    late_seconds: float = 0

    def __post_init__(self):
        self.stream.epoch = EPOCH + self.number * EVERY_MINUTES * 60
        line, desk, bridge = "SIP/0001301-0000001c", "SIP/151-0000001e", f"bridge-{self.number}"
        self.stream.start(0.5, self.main).dial(1, self.main, ["150", "151"])
        self.stream.joins(6, self.desk, desk, bridge, "151", CUSTOMER).joins(
            7, self.main, line, bridge, CUSTOMER, "151"
        )
        self.stream.leaves(40, self.desk, desk, bridge, "151", CUSTOMER)
        self.stream.leaves(41, self.main, line, bridge, CUSTOMER, "151")
        self.stream.hangup(43, self.main, 0, "2", ["151"])

    @property
    def main(self):
        return self.stream.id(2 * self.number + 1)

    @property
    def desk(self):
        return self.stream.id(2 * self.number + 2, 2)

    def of(self, *event_types):
        return [event for event in self.stream.events if event["endpoint"].strip("/") in event_types]

    def drop(self, *event_types):
        dropped = self.of(*event_types)
        self.stream.events = [event for event in self.stream.events if event not in dropped]

    def say(self, *event_types, **body: Any):
        for event in self.of(*event_types):
            event["body"] |= {name: value for name, value in body.items() if name in event["body"]}

    def forget(self, key):
        for event in self.stream.events:
            event["body"].pop(key, None)

    def seen(self):
        scenario = self.stream.scenario(self.main)
        scenario["events"] = [
            {**event, "origin": self.origin, "at": event["at"] + self.late_seconds} for event in scenario["events"]
        ]
        events = playback.parsed(scenario)
        return [
            Seen(event=event, raw=sent["body"], copies=self.copies)
            for event, sent in zip(events, scenario["events"], strict=True)
        ]


def talks(spoil: Callable[[Talk], object] = lambda talk: None, count: int = CALLS) -> list[Talk]:
    made = [Talk(number) for number in range(count)]
    for talk in made:
        spoil(talk)
    return made


def found(made: list[Talk]) -> dict[str, Finding]:
    calls = [talk.seen() for talk in made if talk.stream.events]
    now = max(seen.event.received_at for call in calls for seen in call) + timedelta(hours=6)
    return {finding.code: finding for finding in examine(calls, DIRECTORY, now)}


def some(count: int, spoil: Callable[[Talk], object]) -> Callable[[Talk], object]:
    """Of the first calls only."""

    def chosen(talk: Talk) -> None:
        if talk.number < count:
            spoil(talk)

    return chosen


def made_so(**fields: Any) -> Callable[[Talk], object]:
    def change(talk: Talk) -> None:
        for name, value in fields.items():
            setattr(talk, name, value)

    return change


def set_back(talk: Talk) -> None:
    """The host lives in 1970: so do its ids, while we receive today."""
    receipt = talk.stream.epoch
    talk.late_seconds = receipt - 500 - talk.number
    for event in talk.stream.events:
        event["body"]["UniqueId"] = f"{500 + talk.number}.{talk.number}"
        event["body"] |= {name: "" for name in ("StartTime", "EndTime", "DateReceived") if name in event["body"]}
    talk.stream.epoch = 500 + talk.number


def alone(talk: Talk) -> None:
    """Bridge events of the line's channel only."""
    talk.stream.events = [
        event for event in talk.stream.events if not str(event["body"].get("Channel", "")).startswith("SIP/151")
    ]


def one_id(talk: Talk) -> None:
    for event in talk.stream.events:
        event["body"]["UniqueId"] = "1760100000.7"
    talk.say("start", Phone=CUSTOMER if talk.number % 2 else OTHER_MOBILE)


def away(talk: Talk) -> None:
    """The host is away while the second call begins and ends, and tells of it when the third does."""
    if talk.number == 1:
        talk.late_seconds = EVERY_MINUTES * 60 - 60


def hangups_later(talk: Talk) -> None:
    """As recovery brings them."""
    talk.drop("start", "dial", "bridge", "bridge_leave")
    talk.origin = "backfill"


def unrung(talk: Talk, **said: Any) -> None:
    talk.drop("dial")
    talk.say("hangup", Extensions=[""], **said)


def in_everybodys_bridge(talk):
    """Nine channels of each call in one bridge: fifty-four of six."""
    for number in range(9):
        unique_id, channel = talk.stream.id(1000 + 10 * talk.number + number, 3), f"SIP/151-{number:08x}"
        talk.stream.joins(8, unique_id, channel, "everybody", "151", CUSTOMER)
        talk.stream.leaves(30, unique_id, channel, "everybody", "151", CUSTOMER)


SPOILED: dict[str, tuple[Callable[[Talk], object], dict[str, Any]]] = {
    "clock_reset": (set_back, {"count": 7 * CALLS, "of": 7 * CALLS}),
    "clock_wrong": (
        made_so(late_seconds=400),
        {"count": CALLS, "of": CALLS, "facts": {"seconds": 400}},
    ),
    "late": (
        some(2, made_so(late_seconds=100)),
        {"count": 4, "of": 2 * CALLS, "facts": {"percent": 33.3, "worst": 102}},
    ),
    "gaps": (away, {"count": 1}),
    "recovered": (
        some(3, made_so(origin="download")),
        {"count": 21, "of": 42, "facts": {"percent": 50.0}},
    ),
    "no_number": (
        lambda talk: talk.number < 2 and talk.say("start", "dial", "hangup", Phone="Anonymous"),
        {"count": 2, "of": CALLS},
    ),
    "unread_numbers": (
        lambda talk: talk.number == 0 and talk.say("start", "dial", Phone="12345678901234567"),
        {"count": 2, "of": 18},
    ),
    "no_dials": (lambda talk: talk.number < 2 and talk.drop("dial"), {"count": 2, "of": CALLS}),
    "no_hangups": (lambda talk: talk.number < 2 and talk.drop("hangup"), {"count": 2, "of": CALLS}),
    "ids_again": (one_id, {"count": 1, "of": 1}),
    "unknown_extensions": (
        lambda talk: talk.number == 0 and talk.say("dial", Extensions=["150", "777"]),
        {"count": 1, "of": 18},
    ),
    "unknown_mobiles": (
        lambda talk: talk.number < 2 and talk.say("dial", Extensions=["150", OTHER_MOBILE, MOBILE]),
        {"count": 2, "of": 4},
    ),
    "shared_bridges": (in_everybodys_bridge, {"count": 1, "of": CALLS + 1}),
    "unknown_lines": (lambda talk: talk.number == 0 and talk.say("start", Trunk="0009999"), {"count": 1, "of": 18}),
    "zone_wrong": (
        lambda talk: talk.say("hangup", StartTime=(talk.stream.base).strftime("%Y-%m-%d %H:%M:%S")),
        {"count": CALLS, "of": CALLS, "facts": {"hours": "-3", "zone": "Europe/Minsk"}},
    ),
    "no_starts": (lambda talk: talk.number < 2 and talk.drop("start"), {"count": 2, "of": CALLS}),
    "no_bridges": (
        lambda talk: talk.number < 3 and talk.drop("bridge", "bridge_leave"),
        {"count": 3, "of": CALLS},
    ),
    "one_sided_bridges": (some(3, alone), {"count": 3, "of": CALLS}),
    "no_leaves": (lambda talk: talk.number < 2 and talk.drop("bridge_leave"), {"count": 4, "of": 2 * CALLS}),
    "phone_key_missing": (lambda talk: talk.forget("Phone"), {"count": 3 * CALLS, "of": 3 * CALLS}),
    "call_type_missing": (lambda talk: talk.forget("CallType"), {"count": 3 * CALLS, "of": 3 * CALLS}),
    "spoiled_text": (
        lambda talk: talk.number == 0 and talk.of("bridge")[0]["body"].update(CallerIDName=f"Ив{REPLACED}"),
        {"count": 1, "of": 42},
    ),
    "copies": (some(1, made_so(copies=2)), {"count": 14, "of": 56}),
}


def test_a_host_that_does_all_that_is_needed_has_no_finding():
    assert found(talks()) == {}


@pytest.mark.parametrize("code", SPOILED)
def test_what_a_host_does_is_found_with_counts_and_an_example(code):
    spoil, expected = SPOILED[code]

    finding = found(talks(spoil))[code]

    said = {name: getattr(finding, name) for name in expected if name != "facts"}
    facts = {name: finding.facts[name] for name in expected.get("facts", {})}
    assert said | ({"facts": facts} if facts else {}) == expected
    assert finding.examples
    assert all(example.unique_id for example in finding.examples)


def test_every_finding_has_a_host_that_does_it():
    assert SPOILED.keys() == WEIGHTS.keys()


@pytest.mark.parametrize("code", [code for code in SPOILED if code not in {"clock_reset", "ids_again"}])
def test_one_fault_is_not_taken_for_many(code):
    """What follows from it by itself may be said too, and nothing else."""
    follows = {"clock_wrong": {"late"}, "late": {"gaps"}, "gaps": {"late"}, "phone_key_missing": {"no_number"}}
    spoil, _ = SPOILED[code]

    assert found(talks(spoil)).keys() <= {code} | follows.get(code, set())


def test_a_bridge_of_as_many_channels_as_a_conference_may_have_is_not_shared():
    def in_a_conference(talk):
        in_everybodys_bridge(talk)
        talk.stream.events = [one for one in talk.stream.events if one["body"].get("UniqueId") not in beyond]

    beyond = {Talk(5).stream.id(1000 + 50 + number, 3) for number in range(5, 9)}

    assert "shared_bridges" not in found(talks(in_a_conference))


@pytest.mark.parametrize(("call_type", "is_unread"), [(0, False), (1, True)])
def test_the_rule_of_a_line_reads_the_numbers_of_incoming_calls_alone(call_type, is_unread):
    lines = {**DIRECTORY.lines, "0001301": replace(DIRECTORY.lines["0001301"], incoming_transform="+37529{7}")}
    made = talks(lambda talk: talk.say("start", "dial", "hangup", Phone="1111111", CallType=call_type))

    calls = [talk.seen() for talk in made]
    findings = examine(calls, replace(DIRECTORY, lines=lines), calls[-1][-1].event.received_at + timedelta(hours=6))

    assert ("unread_numbers" in {finding.code for finding in findings}) == is_unread


def test_examples_are_the_most_frequent_values_and_few():
    def ring(talk):
        talk.say("dial", Extensions=["150", *(str(700 + one) for one in range(talk.number + 1))])

    finding = found(talks(ring, count=10))["unknown_extensions"]

    assert [(one.value, one.count) for one in finding.examples] == [(str(700 + one), 10 - one) for one in range(5)]
    assert (len(finding.examples), finding.count) == (EXAMPLES_AT_MOST, 55)


@pytest.mark.parametrize(
    ("code", "spoil"),
    [
        # A greeting of a minute before anybody rings: `start` came at once.
        ("late", lambda talk: [event.update(at=event["at"] + 60) for event in talk.stream.events[1:-1]]),
        # One caller of very many hides the number.
        ("no_number", lambda talk: talk.number == 0 and talk.say("start", "dial", "hangup", Phone="Anonymous")),
        # One lost event of many is no habit.
        ("no_dials", lambda talk: talk.number == 0 and talk.drop("dial")),
        ("no_leaves", lambda talk: talk.number == 0 and talk.drop("bridge_leave")),
        # The host sends nothing at night because nobody calls.
        ("gaps", lambda talk: talk.number in (2, 3) and talk.stream.events.clear()),
        # Our own number, and an extension, are no customers' numbers.
        ("unread_numbers", lambda talk: talk.say("start", Phone="0001301")),
        ("unread_numbers", lambda talk: talk.say("start", Phone="152")),
        # A trunk without the zeros of its line's name is that line.
        ("unknown_lines", lambda talk: talk.say("start", "dial", "hangup", Trunk="1301")),
        # A personal phone in the ring group is known.
        ("unknown_mobiles", lambda talk: talk.say("dial", Extensions=["150", MOBILE])),
        # Ten minutes are no other zone.
        ("zone_wrong", lambda talk: talk.say("hangup", StartTime=talk.stream.wall(500))),
        # What recovery brought was late already.
        ("late", some(3, made_so(origin="download", late_seconds=3600))),
        # Of what nothing but the hangup came, the `start` is the least.
        ("no_starts", lambda talk: talk.number < 2 and talk.drop("start", "dial")),
        # Refused before anybody rang.
        ("no_dials", some(2, lambda talk: unrung(talk, CallStatus="0"))),
        # What a telephone wrote of a colleague says nothing of lines and customers.
        (
            "unread_numbers",
            lambda talk: talk.stream.hangup(42, talk.desk, 2, "0", ["152"], "12345678901234567", started=None),
        ),
        # Nothing of a channel came for nine minutes, and it began at their very end.
        ("gaps", lambda talk: talk.number == 1 and made_so(late_seconds=119)(talk)),
        # Recovery brings hangups only.
        (
            "no_dials",
            hangups_later,
        ),
    ],
)
def test_what_only_looks_like_it_is_not_found(code, spoil):
    assert code not in found(talks(spoil))


def test_a_call_that_goes_on_misses_nothing_yet():
    made = talks(lambda talk: talk.number >= 3 and talk.drop("bridge_leave", "hangup"))
    calls = [talk.seen() for talk in made]
    now = calls[-1][-1].event.received_at + timedelta(minutes=30)

    assert {finding.code for finding in examine(calls, DIRECTORY, now)} == set()


def test_a_hangup_that_says_answered_had_rung_somebody_though_it_names_nobody():
    assert found(talks(some(2, unrung)))["no_dials"].count == 2


def test_a_gap_is_proved_by_a_channel_that_began_two_minutes_before_its_end():
    assert "gaps" in found(talks(some(2, lambda talk: talk.number and made_so(late_seconds=122)(talk))))


@pytest.mark.parametrize(("hours", "is_missing"), [(4, False), (4.01, True)])
def test_a_talk_may_go_on_for_four_hours_before_its_hangup_is_missed(hours, is_missing):
    made = talks(lambda talk: talk.drop("bridge_leave", "hangup"), count=2)
    calls = [talk.seen() for talk in made]
    now = calls[-1][-1].event.received_at + timedelta(hours=hours)
    calls[0] = [
        replace(seen, event=replace(seen.event, received_at=calls[-1][-1].event.received_at)) for seen in calls[0]
    ]

    assert ("no_hangups" in {finding.code for finding in examine(calls, DIRECTORY, now)}) == is_missing


def test_a_customer_who_waits_in_a_holding_bridge_is_alone_rightly():
    def wait(talk):
        alone(talk)
        for event in talk.of("bridge", "bridge_leave"):
            event["body"]["BridgeTechnology"] = "holding_bridge"

    assert "one_sided_bridges" not in found(talks(wait))


def test_a_gap_is_told_from_when_to_when():
    finding = found(talks(away))["gaps"]

    assert finding.facts["minutes"] == 18
    assert str(finding.facts["since"]).startswith("2025-10-10T")
    assert finding.examples[0].unique_id in {Talk(1).main, Talk(1).desk}


def test_a_host_that_was_away_for_a_night_was_away_for_so_many_minutes():
    def away_for_a_night(talk):
        if talk.number == 1:
            talk.late_seconds = 10 * 60 * 60
        if talk.number > 1:
            talk.stream.events.clear()

    assert found(talks(away_for_a_night))["gaps"].facts["minutes"] == 609


@pytest.mark.parametrize(("epoch", "is_reset"), [(946_684_799, True), (946_684_800, False)])
def test_a_clock_was_never_set_if_it_shows_a_time_before_2000(epoch, is_reset):
    made = talks(count=1)
    for event in made[0].stream.events:
        event["body"] |= {"UniqueId": f"{epoch}.1", "StartTime": "", "EndTime": ""}

    assert ("clock_reset" in found(made)) == is_reset


def test_a_clock_that_is_wrong_makes_no_event_late():
    assert "late" not in found(talks(made_so(late_seconds=-40)))


def test_the_order_of_events_and_calls_changes_nothing():
    for spoil, _ in SPOILED.values():
        made = talks(spoil)
        calls = [talk.seen() for talk in made if talk.stream.events]
        now = max(seen.event.received_at for call in calls for seen in call) + timedelta(hours=6)

        forth = examine(calls, DIRECTORY, now)
        back = examine([list(reversed(call)) for call in calls], DIRECTORY, now)

        assert forth == back


def test_all_that_real_hosts_sent_can_be_examined():
    calls = []
    for scenario in SCENARIOS:
        events = playback.parsed(scenario)
        calls.append(
            [Seen(event=one, raw=sent["body"], copies=0) for one, sent in zip(events, scenario["events"], strict=True)]
        )
    now = max(seen.event.received_at for call in calls for seen in call) + timedelta(hours=6)

    codes = [finding.code for finding in examine(calls, DIRECTORY, now)]

    assert codes == sorted(codes, key=list(WEIGHTS).index)
    assert "unknown_extensions" not in codes
    assert examine([], DIRECTORY, now) == []


@pytest.mark.parametrize("language", get_args(words.Language))
def test_every_finding_has_words_that_its_facts_fill(language):
    assert words.SENTENCES[language].keys() == WEIGHTS.keys()
    assert set(WEIGHTS.values()) == set(get_args(Weight))
    for code, (spoil, _) in SPOILED.items():
        finding = found(talks(spoil))[code]
        facts = {**finding.facts, "count": finding.count, "of": finding.of}
        for text in words.SENTENCES[language][code]:
            assert "{" not in text.format_map(facts)
