"""
One call that is posted a thousand events, and a thousand calls under one bridge id: what each event costs, and that
nothing of a call is lost by it. The work is counted (events parsed, events folded), not timed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from lib.calls import call as folding
from lib.calls import event as parsing
from lib.ledger import silence, story
from lib.runtime import db
from lib.store import long_calls
from tests.functions.conftest import broker, crm_process, crm_server, provisioned, sql  # noqa: F401  (fixtures)
from tests.harness.assembled import Desk
from tests.unit.calls.streams import CUSTOMER, Stream

pytestmark = pytest.mark.timeout(300)

LINE = "SIP/0001301-0000001c"


@pytest.fixture
def desk(process, provisioned, crm_server, sql):  # noqa: F811
    crm_server.clear()

    def enrol(number):
        provisioned(number, token=f"token-of-{number}", domain=crm_server.url)
        crm_server.account(number)
        return Desk(number=number, sql=sql)

    return enrol


@dataclass
class Work:
    """So many events were read as the rules read them, and so many folded into calls."""

    parsed: int = 0
    folded: int = 0


@contextmanager
def counted(patch) -> Iterator[Work]:
    work = Work()
    parse, fold = parsing.parse, folding.assemble

    def parsing_one(raw):
        work.parsed += 1
        return parse(raw)

    def folding_some(events, *rest):
        work.folded += len(events)
        return fold(events, *rest)

    with patch.context() as patched:
        patched.setattr(parsing, "parse", parsing_one)
        patched.setattr(folding, "assemble", folding_some)
        yield work


def ringing(ago=5):
    """An incoming call that rings 151."""
    stream = Stream(epoch=int(time.time()) - ago)
    return stream.start(0, stream.id(0)).dial(1, stream.id(0), ["151"])


def shown_again_and_again(stream, count):
    for index in range(count):
        stream.callerid(1 + index / 1000, stream.id(0), LINE, CUSTOMER, str(index))
    return stream


def rest_is_over(desk):
    """As when the sweep finds the timers of its calls due."""
    desk.sql(
        "UPDATE calls SET updated_at = updated_at - interval '1 minute', due_at = due_at - interval '1 minute', "
        "next_wake_at = next_wake_at - interval '1 minute' RETURNING 1"
    )
    desk.wake()


def test_a_call_that_gains_many_events_one_by_one_costs_each_of_them_the_same(desk, monkeypatch):
    one, count = desk("0367"), 600
    stream = shown_again_and_again(ringing(), count)
    messages = one.messages(stream.scenario(stream.id(0)))

    with counted(monkeypatch) as work:
        one.assemble_all(messages, deliver=False)

    print(work)
    # A slow machine reads it more often; to read the whole call for each event would be 300 of each.
    assert work.parsed < 100 * count
    assert work.folded < 100 * count
    assert one.lost() == []
    rest_is_over(one)
    assert one.held() == one.judged()[0]
    assert one.disorder() == []


def test_many_events_of_one_call_that_wait_together_are_read_together(desk, monkeypatch):
    one, count = desk("0367"), 400
    stream = shown_again_and_again(ringing(), count)
    messages = one.store(stream.scenario(stream.id(0)))

    with counted(monkeypatch) as work:
        one.assemble_all(messages, deliver=False)

    print(work)
    assert work.parsed < 10 * count
    assert work.folded < 3 * count
    rest_is_over(one)
    assert one.held() == one.judged()[0]


def test_a_message_that_comes_again_has_nothing_read_and_nothing_folded(desk, monkeypatch):
    one = desk("0367")
    stream = shown_again_and_again(ringing(), 60)
    messages = one.store(stream.scenario(stream.id(0)))
    one.assemble_all(messages, deliver=False)
    before = one.held()

    with counted(monkeypatch) as work:
        one.assemble_all(messages, deliver=False)

    assert work.parsed == len(messages), "each message says of itself where it belongs"
    assert work.folded == 0
    assert one.held() == before


def test_a_telephone_that_rings_in_a_long_call_pops_up_and_its_end_is_told_and_entered(desk, crm_server):  # noqa: F811
    """Its rest is a fraction of a second, and its timer ends it."""
    one = desk("0367")
    stream = shown_again_and_again(ringing(), 150)
    one.assemble_all(one.store(stream.scenario(stream.id(0))))
    stream.events.clear()
    stream.dial(4, stream.id(0), ["152"]).hangup(5, stream.id(0), 0, "0", [""])
    one.sql("UPDATE calls SET updated_at = clock_timestamp() + interval '1 second' RETURNING 1")
    one.assemble_all(one.store(stream.scenario(stream.id(0)), 0))
    [(timer,)] = one.sql("SELECT next_wake_at < clock_timestamp() + interval '2 seconds' FROM calls")
    rest_is_over(one)
    one.assemble_all(one.store(stream.scenario(stream.id(0)), 1))
    rest_is_over(one)

    assert timer
    assert [(told["type"], told["codes"]) for told in crm_server.events("0367")] == [
        ("in", ["151"]),
        ("in", ["152"]),
        ("hangup", ["151", "152"]),
    ]
    assert [row["result"] for row in crm_server.rows("0367")] == ["no answer"]


def test_what_a_call_has_beyond_a_thousand_events_is_kept_and_said_and_changes_nothing(desk, crm_server):  # noqa: F811
    one, beyond = desk("0367"), 40
    stream = ringing()
    one.assemble_all(one.store(stream.scenario(stream.id(0))))
    one.sql(
        "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, received_at) "
        "SELECT gen_random_uuid(), '0367', unique_id, 'new_callerid', raw_data - 'Phone', sha256(n::text::bytea), "
        "  received_at + n * interval '1 ms' FROM call_events, generate_series(1, %s) n WHERE event_type = 'start' "
        "RETURNING 1",
        long_calls.READ_AT_MOST - 2 + beyond,
    )
    while left := one.lost():
        one.assemble(left[0])
    stream.events.clear()
    one.assemble_all(one.store(stream.hangup(4, stream.id(0), 0, "0", ["151"]).scenario(stream.id(0))))
    rest_is_over(one)

    assert [row["result"] for row in crm_server.rows("0367")] == ["no answer"], "what ends the call still counts"
    [(held,)] = one.sql("SELECT count(*) FROM call_events WHERE call_id IS NOT NULL")
    assert held == long_calls.READ_AT_MOST + beyond + 1
    told = story.tell("0367", stream.id(0), crm="retailcrm")
    assert {"events": held, "unread": beyond + 1} in [one["params"] for one in told["decisions"]]
    assert len(told["timeline"]) == long_calls.READ_AT_MOST
    with db.connection() as conn:
        [because] = [one for one in silence.read(conn, "0367").because if one.reason == "too_many_events"]
    assert (because.calls, because.events, because.unique_id) == (1, beyond + 1, stream.id(0))


def test_events_that_nobody_read_go_with_their_call_into_another_one(desk):
    """No row of a call that is gone stands in the way, and none is lost."""
    one, stream = desk("0367"), shown_again_and_again(ringing(), 120)
    earlier = Stream(epoch=stream.epoch - 60)
    earlier.start(0, earlier.id(7), CUSTOMER).joins(5, earlier.id(7), "SIP/0001301-000000ff", "B", CUSTOMER, "151")
    one.assemble_all(one.store(earlier.scenario("")))
    one.assemble_all(one.store(stream.scenario(stream.id(0))))
    one.sql(
        "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, call_id, "
        "  received_at) SELECT gen_random_uuid(), '0367', unique_id, 'new_callerid', raw_data - 'Phone', "
        "  sha256(n::text::bytea), call_id, received_at + interval '1 hour' "
        "FROM call_events, generate_series(1, %s) n WHERE event_type = 'start' AND unique_id = %s RETURNING 1",
        long_calls.READ_AT_MOST,
        stream.id(0),
    )
    rest_is_over(one)
    joining = Stream(epoch=stream.epoch)
    one.assemble_all(one.store(joining.joins(6, stream.id(0), LINE, "B", CUSTOMER, "151").scenario("")))
    rest_is_over(one)

    [(call_id, events)] = one.sql("SELECT id, events FROM calls")
    assert one.sql("SELECT DISTINCT call_id FROM call_events") == [(call_id,)]
    assert one.sql("SELECT count(*)::int FROM call_events") == [(events,)]


@pytest.mark.parametrize("seed", [1, 2])
def test_many_calls_under_one_bridge_id_are_calls_of_their_own_in_any_order(desk, crm_server, monkeypatch, seed):  # noqa: F811
    one, other, count = desk("0367"), desk("0368"), 70
    epoch = int(time.time()) - 900
    stream = Stream(epoch=epoch)
    for index in range(count):
        main, phone, at = stream.id(index, index), f"3752933{index:05}", float(index)
        stream.start(at, main, phone).joins(at + 2, main, f"SIP/0001301-{index:08x}", "one-bridge", phone, "151")
        stream.hangup(at + 9, main, 0, "0", [""], phone, started=at, ended=at + 8)
    messages = one.messages(stream.scenario(""))
    random.Random(seed).shuffle(messages)
    victim = ringing()

    with counted(monkeypatch) as work:
        one.assemble_all(messages)
    with counted(monkeypatch) as beside:
        other.assemble_all(other.messages(victim.scenario("")))
    one.wake()

    print(work)
    assert work.parsed < 60 * len(messages)
    assert work.folded < 60 * len(messages)
    assert (beside.parsed, beside.folded) == (2 + 2 + 1 + 2, 1 + 2), "its own two events, and their keys"
    calls, rows = one.judged()
    assert len(calls) == len(rows) == count
    assert one.held() == calls
    assert one.uploads().keys() == rows.keys()
    assert len(crm_server.rows("0367")) == count
    assert one.disorder() == []
    assert "shared_by_many" in one.decisions()


def test_a_customer_of_a_thousand_calls_is_sought_among_the_nearest_in_time(desk, monkeypatch):
    """Each call has a channel that names the customer, which any of the calls might own."""
    one, count = desk("0367"), 240
    stream = Stream(epoch=int(time.time()) - 900)
    for index in range(count):
        main, phone = stream.id(2 * index, index), stream.id(2 * index + 1, index)
        stream.start(index, main).dial(index + 0.5, main, ["150", "151"])
        stream.joins(index + 1, phone, f"SIP/151-{index:08x}", f"B{index}", "151", CUSTOMER)
        stream.joins(index + 1, main, f"SIP/0001301-{index:08x}", f"B{index}", CUSTOMER, "151")
        stream.hangup(index + 30, main, 0, "2", ["151"], started=index)
    messages = one.messages(stream.scenario(""))
    one.store(stream.scenario(""), *range(len(messages) - 5))
    while left := one.lost():
        one.assemble(left[0], deliver=False)

    worst = Work()
    for message in messages[-5:]:
        with counted(monkeypatch) as work:
            one.assemble(message, deliver=False)
        worst = max(worst, work, key=lambda one: one.parsed)

    print(worst)
    assert worst.parsed < 850, (
        "fifty-two calls of five events in each of three steps, and no more however many there are"
    )
    one.wake()
    assert len(one.uploads()) == count
    assert one.held() == one.judged()[0]
