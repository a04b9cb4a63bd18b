"""Promises about copies, changed copies, order and poison, by what the CRM was told (docs/reliability.md)."""

from __future__ import annotations

import base64
import itertools
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.intake.messages import event_message
from lib.runtime import db
from lib.store import events
from lib.store.events import NewEvent, fingerprint
from tests.harness.assembled import Desk
from tests.harness.servers import push_envelope
from tests.unit.calls.streams import Stream

LINE = "SIP/0001301-0000000a"


@pytest.fixture
def desk(process, provisioned, crm_server, sql):
    crm_server.clear()
    crm_server.account("0367", behaviour={"telephony_per_second": 0})
    provisioned(domain=crm_server.url)
    return Desk(number="0367", sql=sql)


def missed_call(tag=0, ago=1.0):
    stream = Stream(epoch=int(time.time() - ago))
    main, phone = stream.id(tag), f"3752933{tag:05}"
    stream.start(0, main, phone).dial(0.1, main, ["150", "151"], phone).hangup(0.5, main, 0, "0", [""], phone)
    return stream.scenario(main)


def test_a_message_a_hundred_times_on_fifty_threads_under_two_ids_has_its_effect_once(desk, function, crm_server, sql):
    scenario = missed_call()
    messages = [event_message(event, received_at=event.received_at) for event in desk.messages(scenario)]
    deliver = function("retailcrm-deliver")
    app = deliver.application

    def push(item):
        number, message = item
        return app.test_client().post("/", json=push_envelope(message, message_id=str(number))).status_code

    many = [(number, message) for message in messages for number in (1, 2) for _ in range(50)]
    random.Random(1).shuffle(many)
    with ThreadPoolExecutor(50) as pool:
        answers = set(pool.map(push, many))
    for _ in range(20):  # what was given back, because its call was being told of, comes again
        if sql("SELECT count(*) FROM deliveries WHERE state IN ('ready', 'leased', 'retry')") == [(0,)]:
            break
        time.sleep(0.2)
        desk.wake()
    late = {push((3, message)) for message in messages}

    assert answers <= {204, 503}
    assert late == {204}
    assert [row["externalId"] for row in crm_server.rows("0367")] == [scenario["main_unique_id"]]
    assert len(crm_server.entries("0367", "upload")) == 1
    told = [(event["type"], tuple(sorted(event["codes"]))) for event in crm_server.events("0367")]
    assert len(told) == len(set(told)) <= 2
    assert sql("SELECT count(*) FROM call_events") == [(3,)]


BODY = {
    "Token": "375290000001",
    "UniqueId": "1700000000.1",
    "Phone": "375291111111",
    "CallType": 0,
    "Trunk": "0001301",
    "Extensions": ["150", "151"],
}
VALUES = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12) | st.integers() | st.none()


def event_of(raw):
    return NewEvent(
        event_id="00000000-0000-0000-0000-000000000000",
        enterprise_number="0367",
        unique_id="1700000000.1",
        event_type="dial",
        raw=raw,
    )


@given(
    changes=st.dictionaries(st.sampled_from([*BODY, "ExtTrunk", "ExtPhone"]), VALUES, max_size=3), shuffled=st.randoms()
)
def test_only_the_same_words_are_a_copy_whatever_their_order_and_the_token(changes, shuffled):
    keys = list(BODY | changes)
    shuffled.shuffle(keys)
    changed = {key: (BODY | changes)[key] for key in keys}

    def words(raw):
        return {key: value for key, value in raw.items() if key != "Token"}

    is_copy = fingerprint(event_of(changed)) == fingerprint(event_of(BODY))
    assert is_copy == (json.dumps(words(changed), sort_keys=True) == json.dumps(words(BODY), sort_keys=True))


def test_two_hangups_of_one_channel_that_say_different_things_are_both_kept_and_told_once(desk, crm_server, sql):
    scenario = missed_call()
    messages = desk.store(scenario)
    desk.assemble_all(messages)
    told = crm_server.rows("0367")
    other = NewEvent(
        **{
            **{name: getattr(messages[-1], name) for name in ("enterprise_number", "unique_id", "event_type")},
            "event_id": "00000000-0000-0000-0000-000000000001",
            "raw": {**messages[-1].raw, "CallStatus": "2", "Extensions": ["150"]},
        }
    )
    with db.transaction() as conn:
        assert not events.insert_event(conn, other).is_copy
    desk.assemble(other)
    desk.wake()

    kept = sql("SELECT raw_data ->> 'CallStatus', call_id FROM call_events WHERE event_type = 'hangup' ORDER BY id")
    assert [status for status, _ in kept] == ["0", "2"]
    assert len({call for _, call in kept}) == 1
    assert crm_server.rows("0367") == told
    assert len(crm_server.entries("0367", "upload")) == 1


@pytest.mark.parametrize("is_stored", [True, False], ids=["stored by intake", "known to Pub/Sub alone"])
def test_in_any_order_on_three_threads_no_pop_up_comes_after_its_hangup(desk, crm_server, is_stored):
    """Orders of start, dial, bridge, hangup and the dial again, each a call of its own."""
    chance = random.Random(is_stored)
    orders = list(itertools.permutations(range(5)))
    chosen = chance.sample(orders, len(orders) // 3)
    for tag, order in enumerate(chosen):
        # Fresh enough for a pop-up, and long enough ago for a row.
        stream = Stream(epoch=int(time.time()) - 8)
        main, phone = stream.id(tag), f"3752933{tag:05}"
        stream.start(0, main, phone).dial(0.1, main, ["150", "151"], phone)
        stream.joins(0.2, main, f"{LINE[:-3]}{tag:03x}", f"bridge-{tag}", phone, "151")
        stream.hangup(0.5, main, 0, "2", ["151"], phone)
        scenario = stream.scenario(main)
        messages = desk.store(scenario) if is_stored else desk.messages(scenario)
        messages.append(messages[1])
        with ThreadPoolExecutor(chance.choice((2, 3))) as pool:
            list(pool.map(desk.assemble, [messages[place] for place in order]))
    desk.wake()

    shown, ended = set(), set()
    for event in (entry["applied"]["event"] for entry in crm_server.entries("0367", "event") if entry["applied"]):
        call = event["callExternalId"]
        if event["type"] == "hangup":
            assert call not in ended
            assert any(told == call for told, _ in shown)
            ended.add(call)
            continue
        assert call not in ended
        for code in event["codes"]:
            assert (call, code) not in shown
            shown.add((call, code))
    # What is stored is looked at together: the hangup is known with the dial, and nothing is news any more.
    assert bool(shown) != is_stored
    assert len(crm_server.rows("0367")) == len(chosen)
    assert desk.disorder() == []


NOT_A_MESSAGE = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(str.encode),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
    st.text(max_size=20).map(lambda text: json.dumps({"message": {"data": text + "*"}}).encode()),
    st.binary(max_size=50).map(
        lambda data: json.dumps({"message": {"data": base64.b64encode(b"[" + data).decode()}}).encode()
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=NOT_A_MESSAGE)
def test_whatever_is_pushed_that_is_no_message_is_acknowledged_and_kept_byte_by_byte(push, sql, body):
    assert push(body) == 204

    [(raw, reason)] = sql("SELECT raw, reason FROM rejected_messages ORDER BY id DESC LIMIT 1")
    assert bytes(raw) == body
    assert reason


@pytest.fixture
def push(process, function):
    deliver = function("retailcrm-deliver")
    return lambda body: deliver.post("/", data=body).status_code
