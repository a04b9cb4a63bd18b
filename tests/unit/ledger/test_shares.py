"""Which messages of an enterprise are worked on, which are parked, and who goes on with those."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lib.intake.messages import WakeCall
from lib.ledger import deliver
from lib.ledger import shares as module
from lib.ledger.shares import PARKED_CALLS, Shares, share
from lib.runtime import log_context
from lib.store.events import NewEvent

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(name, kind="start", number="0367"):
    return NewEvent(event_id=name, enterprise_number=number, unique_id="1.1", event_type=kind, raw={}, received_at=NOW)


def call(call_id, number="0367"):
    return WakeCall(enterprise_number=number, call_id=call_id)


@pytest.fixture(autouse=True)
def handed_on(monkeypatch):
    """Every event is stored; what was published instead of worked on."""
    published = []
    monkeypatch.setattr(module, "is_stored", lambda _: True)
    monkeypatch.setattr(deliver, "publish_soon", lambda topic, body: published.append((topic, body)))
    return published


def parked_at(shares, messages, *, threads=3):
    """While one message of 0367 is worked on, these come; what is worked on behind it, in order."""
    worked = []
    with shares.of(event("first"), threads=threads, work=worked.append) as is_ours:
        assert is_ours
        for message in messages:
            with shares.of(message, threads=threads, work=worked.append) as is_theirs:
                assert not is_theirs
    return worked


@pytest.mark.parametrize(("threads", "most"), [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (8, 3), (16, 6)])
def test_the_share_of_an_enterprise_is_a_third_rounded_up(threads, most):
    assert share(threads) == most


def test_of_parked_events_one_is_worked_on_which_is_the_newest_ring_if_there_is_one():
    shares = Shares()

    assert [one.event_id for one in parked_at(shares, [event("a"), event("b")])] == ["b"]
    rings = [event("a"), event("b", "dial"), event("c", "dial"), event("d", "hangup")]
    assert [one.event_id for one in parked_at(shares, rings)] == ["c"]
    assert shares.parked == 6


def test_each_parked_call_is_worked_on_once_behind_the_event():
    worked = parked_at(Shares(), [call(1), call(2), call(1), event("a")])

    assert worked == [event("a"), call(1), call(2)]


def test_calls_beyond_the_bound_are_left_to_their_timers():
    assert len(parked_at(Shares(), [call(n) for n in range(PARKED_CALLS + 50)])) == PARKED_CALLS


def test_an_enterprise_that_nobody_is_at_has_its_whole_share_again():
    shares = Shares()
    parked_at(shares, [event("a")])

    assert shares._places == {}
    assert parked_at(shares, [event("b")]) == [event("b")]


def test_others_and_processes_that_do_not_know_their_threads_are_not_bounded():
    shares, worked = Shares(), []
    with shares.of(event("first"), threads=3, work=worked.append):
        with shares.of(event("a", number="0368"), threads=3, work=worked.append) as is_ours:
            assert is_ours
        with shares.of(event("b"), threads=0, work=worked.append) as is_ours:
            assert is_ours
    assert worked == []


def test_what_fails_behind_a_message_fails_alone_and_a_message_that_fails_keeps_nobody():
    shares, worked = Shares(), []

    def work(message):
        worked.append(message)
        raise ValueError("broken")

    with (  # noqa: PT012  (it is what the block raises)
        pytest.raises(RuntimeError, match="its own"),
        shares.of(event("first"), threads=3, work=work),
    ):
        for message in (event("a"), call(1)):
            with shares.of(message, threads=3, work=work):
                pass
        raise RuntimeError("its own")

    assert worked == [event("a"), call(1)]
    assert shares._places == {}


def test_a_thread_that_went_on_for_long_hands_the_rest_on(handed_on, monkeypatch):
    monkeypatch.setattr(module, "GO_ON_SECONDS", -1.0)

    assert parked_at(Shares(), [call(1), event("a")]) == []
    assert [next(iter(body)) for _, body in handed_on] == ["event", "call_id"]


def test_an_event_that_only_pub_sub_has_is_stored_before_it_is_parked(monkeypatch):
    kept = []
    monkeypatch.setattr(module, "is_stored", lambda _: False)

    def stored(message):
        kept.append(message)
        return event("as stored")

    monkeypatch.setattr(module, "stored", stored)

    assert parked_at(Shares(), [event("a")]) == [event("as stored")]
    assert kept == [event("a")]


def test_what_was_parked_is_worked_on_under_its_own_name_in_the_log():
    shares, said = Shares(), []

    def work(_):
        said.append(log_context.fields())

    with log_context.request(""), shares.of(event("first"), threads=3, work=work):
        log_context.bind(event_id="first")
        with log_context.request(""):
            log_context.bind(event_id="parked")
            with shares.of(event("parked"), threads=3, work=work) as is_ours:
                assert not is_ours

    assert said == [{"event_id": "parked"}]
