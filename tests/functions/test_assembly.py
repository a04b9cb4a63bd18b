"""Assembly through the store: whatever the order, the copies and the threads, the same calls as the rules alone."""

from __future__ import annotations

import random
import time

import pytest

from infra.commands import provision
from lib.ledger import assemble, derive, story
from lib.runtime import db
from lib.store import neighbourhood
from tests.harness.assembled import Desk, ended, row_differences, with_copies
from tests.harness.enterprises import enterprise
from tests.unit.calls import playback
from tests.unit.calls.streams import CUSTOMER, MOBILE, OTHER_MOBILE, Stream

pytestmark = pytest.mark.timeout(300)

_, SCENARIOS = playback.load()
BY_ID = {scenario["id"]: scenario for scenario in SCENARIOS}


# Ten houses in one: each with telephones, a person's mobile and a customer of its own.
NAMES = [
    {
        **{extension: f"{tag + 2}{extension[1:]}" for extension in ("109", "117", "150", "151", "152", "153")},
        "375291111111": f"3752933{tag:05}",
        MOBILE: f"3752944{tag:05}",
    }
    for tag in range(10)
]


def house(data):
    """The enterprise of the scenarios with ten times its people."""
    people = [user for user in data["users"] if user["internal_phones"]]
    crm = data["integrations_config"]["retailcrm"]
    for tag, names in enumerate(NAMES):
        for user in people:
            mobile = user.get("personal_phone", "").removeprefix("+")
            data["users"].append(
                {
                    **user,
                    "login": f"{user['login']}-{tag}",
                    "internal_phones": [names[phone] for phone in user["internal_phones"]],
                    **({"personal_phone": f"+{names[mobile]}"} if mobile else {}),
                }
            )
        data["internal_phones"] += [names[phone] for phone in ("109", "117", "150", "151", "152", "153")]
        crm["user_extensions"] |= {
            f"{user}{tag}": names[phone] for user, phone in list(crm["user_extensions"].items()) if phone in names
        }
    return data


@pytest.fixture
def desk(process, provisioned, crm_server, sql):
    """An enterprise by its number, known to the CRM."""
    crm_server.clear()

    def enrol(number, change=None):
        if change is None:
            provisioned(number, token=f"token-of-{number}", domain=crm_server.url)
        else:
            with db.transaction() as conn:
                provision.provision(conn, change(enterprise(number, domain=crm_server.url)))
        crm_server.account(number)
        return Desk(number=number, sql=sql)

    return enrol


@pytest.mark.parametrize("seed", [1])
def test_any_order_any_copies_any_threads_make_the_same_calls(desk, crm_server, seed):
    chance = random.Random(seed)
    wrong = {}

    for index, scenario in enumerate(SCENARIOS):
        one = desk(f"S{index}")
        played = ended(scenario, ago=600, tag=index + 1)
        messages = with_copies(one.store(played), chance)
        one.assemble_all(messages, threads=4)
        one.wake()
        calls, rows = one.judged()
        found = one.disorder() + row_differences(played, crm_server.rows(one.number))
        if one.held() != calls:
            found.append(f"{one.held() - calls} instead of {calls - one.held()}")
        if one.uploads() != rows:
            found.append(f"{one.uploads()} instead of {rows}")
        if found or one.failures:
            wrong[scenario["id"]] = found, one.failures

    assert wrong == {}


def test_a_ringing_phone_pops_up_once_whatever_the_order_and_the_threads(desk, crm_server):
    chance = random.Random(3)
    wrong = {}

    for index, scenario in enumerate(SCENARIOS):
        main, popups = scenario["main_unique_id"], scenario["expected"]["popups"]
        dials = [
            number
            for number, event in enumerate(scenario["events"])
            if event["endpoint"] == "/dial" and event["body"]["UniqueId"] == main
        ]
        if not dials or not popups:
            continue
        one = desk(f"S{index}")
        ringing = {**scenario, "events": scenario["events"][: dials[0] + 1]}
        one.assemble_all(with_copies(one.store(ended(ringing, ago=0)), chance), threads=4)
        one.wake()
        told = [(event["type"], event["phone"], sorted(event["codes"])) for event in crm_server.events(one.number)]
        if told != [(popups[0]["type"], popups[0]["phone"], popups[0]["codes"])]:
            wrong[scenario["id"]] = told

    assert wrong == {}


def test_an_event_that_comes_after_everything_was_told_corrects_the_call_and_tells_nothing_twice(desk, crm_server, sql):
    """Every case is a call of its own, six hours before the last one."""
    chance, one = random.Random(4), desk("0367")
    cases = [
        (scenario, late)
        for scenario in SCENARIOS
        for late in chance.sample(range(len(scenario["events"])), min(2, len(scenario["events"])))
    ]

    told = {}
    for index, (scenario, late) in enumerate(cases):
        played = ended(scenario, ago=600 + index * 6 * 3600, tag=index + 1)
        early = [number for number in range(len(played["events"])) if number != late]
        one.assemble_all(one.store(played, *early) if early else [], threads=2)
        told |= one.uploads()
        one.assemble_all(one.store(played, late))
    one.wake()

    calls, rows = one.judged()
    assert one.held() == calls
    assert one.disorder() == []
    assert told.items() <= one.uploads().items()
    assert len(crm_server.rows("0367")) == len(one.uploads())
    by_main = dict(sql("SELECT main_unique_id, decisions FROM calls"))
    uploads = sql(
        "SELECT main_unique_id, d.external_id, d.content FROM deliveries d JOIN calls c ON c.id = d.call_id "
        "WHERE effect = 'upload' AND d.content ->> 'phone' = c.customer"
    )
    assert sorted(main for main, _, _ in uploads) == sorted(rows)
    for main, external_id, content in uploads:
        corrected = any(decision["code"] == "corrected_after_upload" for decision in by_main[main])
        assert corrected == (external_id == main and content != rows[main]), main


LINE, DESK, SECOND = "SIP/0001301-0000000a", "SIP/151-0000001e", "SIP/151-0000002e"


def begun(ago):
    return Stream(epoch=int(time.time() - ago))


def talking(stream):
    """An incoming call in which 151 talks with the customer."""
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150", "151"])
    stream.joins(5, stream.id(0), LINE, f"B{stream.epoch}", CUSTOMER, "151")
    return stream.joins(5.5, stream.id(1), DESK, f"B{stream.epoch}", "151", CUSTOMER)


def over(stream, at):
    stream.leaves(at, stream.id(1), DESK, f"B{stream.epoch}", "151", CUSTOMER, 1)
    stream.leaves(at + 0.5, stream.id(0), LINE, f"B{stream.epoch}", CUSTOMER, "151", 0)
    return stream.hangup(at + 1, stream.id(0), 0, "2", ["151"], ended=at)


def follow(one, stream):
    """What the host sends next, stored and looked at, as if nothing were known of what comes after it."""
    for message in one.store(stream.scenario(stream.id(0))):
        one.assemble(message)
    stream.events.clear()


def popups(crm, number="0367"):
    return [(event["callExternalId"], event["codes"]) for event in crm.events(number) if event["type"] != "hangup"]


def test_a_leg_that_was_taken_for_a_call_becomes_part_of_the_call_and_what_was_sent_stays_sent(desk, crm_server, sql):
    one, stream = desk("0367"), begun(10)
    main, leg = stream.id(0), stream.id(2, 6)
    follow(one, talking(stream))
    follow(one, stream.dial_out(7, leg, ["151"], OTHER_MOBILE))
    apart = sql("SELECT main_unique_id, kind FROM calls ORDER BY id")
    follow(one, stream.callerid(8, leg, "Local/375293333333@ctx-0001;2", "151", "300"))
    follow(one, over(stream, 9))
    stream.hangup(9.8, leg, 1, "0", ["151"], OTHER_MOBILE, started=7)
    follow(one, stream)
    one.wake()

    assert apart == [(main, "in"), (leg, "out")]
    assert sql("SELECT main_unique_id, kind, owner_extension FROM calls") == [(main, "in", "151")]
    assert popups(crm_server) == [(main, ["150", "151"]), (leg, ["151"])]
    assert [row["externalId"] for row in crm_server.rows("0367")] == [main]
    assert one.disorder() == []


def test_a_leg_whose_row_was_sent_leaves_the_customers_row_to_be_sent(desk, crm_server, sql):
    one, stream = desk("0367"), begun(100)
    main, leg = stream.id(0), stream.id(2, 6)
    follow(one, talking(stream))
    follow(one, stream.dial_out(7, leg, ["151"], OTHER_MOBILE))
    follow(one, stream.hangup(9, leg, 1, "0", ["151"], OTHER_MOBILE, started=7))
    one.wake()
    first = [row["externalId"] for row in crm_server.rows("0367")]
    follow(one, stream.callerid(9.5, leg, "Local/375293333333@ctx-0001;2", "151", "300"))
    follow(one, over(stream, 50))
    one.wake()

    assert first == [leg]
    assert sql("SELECT main_unique_id FROM calls") == [(main,)]
    assert [row["externalId"] for row in crm_server.rows("0367")] == [leg, main]
    assert one.disorder() == []


def test_a_call_that_was_taken_for_a_leg_becomes_a_call_of_its_own(desk, crm_server, sql):
    one, stream = desk("0367"), begun(60)
    main, other = stream.id(0), stream.id(2, 6)
    follow(one, talking(stream))
    follow(one, stream.dial_out(7, other, ["151"], MOBILE))
    together = sql("SELECT main_unique_id, kind FROM calls")
    follow(one, stream.callerid(8, other, SECOND, "151", "<unknown>"))
    follow(one, over(stream, 20))
    follow(one, stream.hangup(30, other, 1, "0", ["151"], MOBILE, started=7))
    one.wake()

    assert together == [(main, "in")]
    assert sql("SELECT main_unique_id, kind FROM calls ORDER BY main_unique_id") == [(main, "in"), (other, "out")]
    rows = {row["externalId"]: (row["type"], row["phone"]) for row in crm_server.rows("0367")}
    assert rows == {main: ("in", CUSTOMER), other: ("out", MOBILE)}
    assert one.disorder() == []


def test_two_rows_of_one_customers_call_that_were_both_sent_stay_two_and_no_third_is_sent(desk, crm_server, sql):
    """The halves of a call whose bridge was told of last: each was a call by itself, as far as anybody knew."""
    one, stream = desk("0367"), begun(300)
    first, second = stream.id(0), stream.id(1, 10)
    stream.start(0, first).dial(1, first, ["150"]).hangup(20, first, 0, "0", [""])
    stream.start(10, second).dial(11, second, ["151"]).hangup(25, second, 0, "0", [""])
    follow(one, stream)
    one.wake()
    sent = [row["externalId"] for row in crm_server.rows("0367")]
    stream.joins(15, first, LINE, "B", CUSTOMER, "151").joins(
        15.5, second, "SIP/0001301-0000000b", "B", CUSTOMER, "150"
    )
    follow(one, stream)
    one.wake()

    assert sorted(sent) == [first, second]
    assert sql("SELECT main_unique_id FROM calls") == [(first,)]
    sent = [row for entry in crm_server.entries("0367", "upload") for row in entry["fields"]["calls"]]
    assert len(crm_server.rows("0367")) == len(sent) == 2
    assert "corrected_after_upload" in one.decisions()
    assert one.disorder() == []


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_an_id_that_begins_again_for_another_customer_is_another_call_with_a_row_of_its_own(desk, crm_server, seed):
    """One event after the other as they came, and all at once in any order."""
    one, stream = desk("0367"), begun(300)
    over(talking(stream), 20)
    stream.start(40, stream.id(0), OTHER_MOBILE).dial(41, stream.id(0), ["152"], OTHER_MOBILE)
    stream.joins(45, stream.id(0), LINE, "again", OTHER_MOBILE, "152")
    stream.joins(45, stream.id(1), "SIP/152-0000002e", "again", "152", OTHER_MOBILE)
    stream.leaves(50, stream.id(0), LINE, "again", OTHER_MOBILE, "152", 1)
    stream.hangup(51, stream.id(0), 0, "2", ["152"], OTHER_MOBILE, started=0, ended=11)
    first, again = stream.id(0), f"{stream.id(0)}_2"
    messages = one.store(stream.scenario(first))
    if seed is not None:
        messages = random.Random(seed).sample(messages, len(messages))

    one.assemble_all(messages, threads=1 if seed is None else 4)
    one.wake()

    assert sorted((row["externalId"], row["phone"], row["code"]) for row in crm_server.rows("0367")) == [
        (first, CUSTOMER, "151"),
        (again, OTHER_MOBILE, "152"),
    ]
    assert [story.tell("0367", name, crm="retailcrm")["unique_id"] for name in (first, again)] == [first, again]
    assert len(one.held()) == 2


def test_a_row_of_an_unanswered_call_is_corrected_in_the_story_only(desk, crm_server):
    one, stream = desk("0367"), begun(300)
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150", "151"]).hangup(60, stream.id(0), 0, "0", ["151"])
    follow(one, stream)
    first = crm_server.rows("0367")
    follow(one, stream.joins(5, stream.id(0), LINE, "B", CUSTOMER, "151"))
    one.wake()

    assert [row["result"] for row in first] == ["no answer"]
    assert crm_server.rows("0367") == first
    assert len(crm_server.entries("0367", "upload")) == 1
    assert {held.result for held in one.held()} == {"answered"}
    assert "corrected_after_upload" in one.decisions()


def due_again(sql):
    sql("UPDATE deliveries SET run_at = clock_timestamp() WHERE state = 'retry' RETURNING id")


def test_a_row_that_waits_for_the_crm_says_what_is_known_when_it_goes(desk, crm_server, sql):
    one, stream = desk("0367"), begun(300)
    crm_server.fault("error_503", endpoint="upload", requests=1)
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150", "151"]).hangup(60, stream.id(0), 0, "0", ["151"])
    follow(one, stream)
    waiting = one.uploads()[stream.id(0)]["result"]
    follow(one, stream.joins(5, stream.id(0), LINE, "B", CUSTOMER, "151"))
    due_again(sql)
    one.wake()

    assert waiting == "no answer"
    assert [row["result"] for row in crm_server.rows("0367")] == ["answered"]
    assert len(one.uploads()) == 1
    assert "corrected_after_upload" not in one.decisions()


def test_a_row_that_may_have_arrived_is_said_again_as_it_was(desk, crm_server, sql):
    one, stream = desk("0367"), begun(300)
    crm_server.fault("ok_then_rst", endpoint="upload", requests=1)
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150", "151"]).hangup(60, stream.id(0), 0, "0", ["151"])
    follow(one, stream)
    follow(one, stream.joins(5, stream.id(0), LINE, "B", CUSTOMER, "151"))
    due_again(sql)
    one.wake()

    said = sql(
        "SELECT a.request #>> '{calls,0,result}' FROM attempts a JOIN deliveries d ON d.id = delivery_id WHERE effect = 'upload'"
    )
    assert said == [("no answer",), ("no answer",)]
    assert [row["result"] for row in crm_server.rows("0367")] == ["no answer"]
    assert "corrected_after_upload" in one.decisions()


def test_a_row_whose_call_changed_while_it_was_sent_waits_for_its_own_call(desk, crm_server, sql):
    one, stream = desk("0367"), begun(100)
    main, leg = stream.id(0), stream.id(2, 6)
    follow(one, talking(stream))
    follow(one, stream.dial_out(7, leg, ["151"], OTHER_MOBILE))
    crm_server.fault("error_503", endpoint="upload", requests=1)
    follow(one, stream.hangup(9, leg, 1, "0", ["151"], OTHER_MOBILE, started=7))
    one.wake()
    sql(
        "UPDATE deliveries SET state = 'leased', lease_until = now() + interval '1 min' WHERE effect = 'upload' RETURNING 1"
    )
    follow(one, stream.callerid(9.5, leg, "Local/375293333333@ctx-0001;2", "151", "300"))
    sql("UPDATE deliveries SET state = 'retry', lease_until = NULL, run_at = now() WHERE state = 'leased' RETURNING 1")
    sql("UPDATE crm_gates SET pause_until = NULL, away_since = NULL, ask_at = NULL RETURNING 1")

    other = Stream(epoch=stream.epoch - 7200)
    other.start(0, other.id(0), MOBILE).dial(1, other.id(0), ["150"], MOBILE)
    follow(one, other.hangup(20, other.id(0), 0, "0", [""], MOBILE))
    beside = [row["externalId"] for row in crm_server.rows("0367")]
    follow(one, over(stream, 50))
    one.wake()

    assert beside == [other.id(0)]
    assert [row["externalId"] for row in crm_server.rows("0367")] == [other.id(0), main]
    assert sql("SELECT state, reason FROM deliveries WHERE external_id = %s AND effect = 'upload'", leg) == [
        ("superseded", "withdrawn")
    ]
    assert one.disorder() == []


def test_the_waiting_row_of_a_leg_goes_when_the_leg_joins_its_call(desk, crm_server, sql):
    one, stream = desk("0367"), begun(100)
    main, leg = stream.id(0), stream.id(2, 6)
    follow(one, talking(stream))
    follow(one, stream.dial_out(7, leg, ["151"], OTHER_MOBILE))
    crm_server.fault("error_503", endpoint="upload", requests=1)
    follow(one, stream.hangup(9, leg, 1, "0", ["151"], OTHER_MOBILE, started=7))
    one.wake()
    waiting = sorted(one.uploads())
    follow(one, stream.callerid(9.5, leg, "Local/375293333333@ctx-0001;2", "151", "300"))
    follow(one, over(stream, 50))
    due_again(sql)
    one.wake()

    assert waiting == [leg]
    assert [row["externalId"] for row in crm_server.rows("0367")] == [main]
    assert sql("SELECT external_id, state, reason FROM deliveries WHERE effect = 'upload' ORDER BY id") == [
        (leg, "superseded", "withdrawn"),
        (main, "delivered", None),
    ]
    assert one.disorder() == []


def woken_in_vain(sql, messages):
    sql("UPDATE call_events SET wakes = 9 WHERE event_id = ANY(%s::uuid[]) RETURNING 1", [m.event_id for m in messages])


def test_a_row_is_whole_however_long_the_events_of_its_call_waited_for_assembly(desk, crm_server, sql):
    """As after minutes in which hardly anything was assembled: the others were woken again and again."""
    one, stream = desk("0367"), begun(5 * 3600)
    first, *others = one.store(over(talking(stream), 50).scenario(stream.id(0)))
    woken_in_vain(sql, others)

    one.assemble_all([first, *others])

    [row] = crm_server.rows("0367")
    assert (row["result"], row["code"]) == ("answered", "151")
    assert one.disorder() == []


def test_an_event_that_is_stored_between_two_reads_waits_for_its_own_message(desk, monkeypatch):
    one, stream = desk("0367"), begun(100)
    scenario = over(talking(stream), 50).scenario(stream.id(0))
    hangup = len(scenario["events"]) - 1
    first, *_ = one.store(scenario, *range(hangup - 1))
    one.assemble(first)
    [before_the_hangup] = one.store(scenario, hangup - 1)
    other = begun(100)
    [start] = one.store(other.start(0, other.id(77), "375297777777").scenario(other.id(77)))
    came = []
    read = neighbourhood.read

    def reading(conn, question, spans):
        # The second read is for the neighbours of what else waits.
        if len(question.keys) > 1 and not came:
            came.extend(one.store(scenario, hangup))
        return read(conn, question, spans)

    monkeypatch.setattr(neighbourhood, "read", reading)
    one.assemble(start)
    is_waiting = one.lost() == came
    one.assemble_all(came)

    assert came
    assert is_waiting
    assert len(one.held()) == 2
    assert before_the_hangup.event_id in next(call for call in one.held() if call.result == "answered").events
    assert one.disorder() == []


def test_an_event_that_cannot_be_assembled_holds_up_nothing_but_itself(desk, crm_server, sql, monkeypatch):
    one, stream = desk("0367"), begun(100)
    *messages, broken = one.store(
        over(talking(stream), 50).callerid(51, stream.id(0), DESK, "151", "1").scenario(stream.id(0))
    )
    parse = derive.parsed

    def parsed(event):
        if event.event_id == broken.event_id:
            raise ValueError("a bug in the rules")
        return parse(event)

    for module in (assemble, derive):
        monkeypatch.setattr(module, "parsed", parsed)
    with pytest.raises(ValueError, match="a bug"):
        one.assemble(messages[-1])
    woken_in_vain(sql, [broken])
    one.assemble_all(messages)

    [row] = crm_server.rows("0367")
    assert (row["result"], row["code"]) == ("answered", "151")
    assert sql("SELECT event_id::text FROM call_events WHERE call_id IS NULL") == [(broken.event_id,)]


@pytest.mark.parametrize("seed", [5, 6])
def test_calls_of_other_customers_and_telephones_do_not_change_each_other(desk, crm_server, seed):
    """Ten calls at one time in one enterprise, with telephones, numbers and channels of their own."""
    chance = random.Random(seed)
    chosen = chance.sample([one for one in SCENARIOS if one["main_unique_id"] != "test-fio-update-1755758400"], 10)
    one, messages, alone, rows = desk("0367", house), [], set(), {}
    for tag, scenario in enumerate(chosen):
        played = ended(scenario, ago=600 + chance.randrange(20), tag=tag + 1, names=NAMES[tag])
        stored = one.store(played)
        alone |= one.judged(stored)[0]
        rows |= one.judged(stored)[1]
        messages += stored
    one.assemble_all(with_copies(messages, chance), threads=4)
    one.wake()

    assert one.held() == alone
    assert one.uploads() == rows
    sent = [row for entry in crm_server.entries("0367", "upload") for row in entry["fields"]["calls"]]
    assert len(crm_server.rows("0367")) == len(rows) == len(sent)
    assert one.disorder() == []


@pytest.mark.parametrize("seed", [7, 8])
def test_calls_that_ring_the_same_telephones_at_once_are_what_the_rules_say(desk, seed):
    chance = random.Random(seed)
    one, messages = desk("0367"), []
    for tag, scenario in enumerate(chance.sample(SCENARIOS, 10)):
        names = {"375291111111": f"3752933{tag:05}"}
        messages += one.store(ended(scenario, ago=600 + chance.randrange(60), tag=tag + 1, names=names))
    one.assemble_all(with_copies(messages, chance), threads=4)
    one.wake()

    calls, rows = one.judged()
    assert one.held() == calls
    assert one.uploads() == rows
    assert one.disorder() == []
