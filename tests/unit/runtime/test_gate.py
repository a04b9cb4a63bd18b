from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lib.runtime import gate
from lib.runtime.gate import Answer, Breaker, Lane, Limits, Pause

START = datetime(2026, 1, 1, tzinfo=UTC)
FAULT = Answer(outcome="in_doubt")
DONE = Answer(outcome="done", http_status=200)


def at(seconds):
    return START + timedelta(seconds=seconds)


def most_in_a_second(arrivals):
    ordered = sorted(arrivals)
    return max((sum(1 for other in ordered if one <= other < one + 1) for one in ordered), default=0)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.floats(0, 0.4), st.floats(0, 3), st.floats(0, 1)), min_size=1, max_size=80),
)
def test_however_requests_dawdle_no_second_sees_more_of_them_than_there_are_places(per_second, asked):
    """Each asks a while after the one before, takes its time, and arrives at the CRM somewhere in it."""
    lane, limits, now = Lane(), Limits(per_second=per_second), 0.0
    under_way, arrivals = [], []
    for pause, duration, where in asked:
        now += pause
        for end, until in sorted(one for one in under_way if one[0] <= now):
            lane = gate.leave(lane, limits, now=at(end), until=until)
            under_way.remove((end, until))
        until = at(now + 25)
        entered = gate.enter(lane, limits, now=at(now), until=until)
        if isinstance(entered, float):
            assert entered > 0
            continue
        lane = entered
        under_way.append((now + duration, until))
        arrivals.append(now + duration * where)

    assert most_in_a_second(arrivals) <= per_second


def test_a_full_lane_says_when_a_place_is_free_and_then_one_is():
    limits = Limits(per_second=2)
    lane = Lane(ended=[at(0.1), at(0.4)])

    wait = gate.enter(lane, limits, now=at(0.5), until=at(25))
    assert isinstance(wait, float)

    assert wait == pytest.approx(0.6)
    assert isinstance(gate.enter(lane, limits, now=at(0.5 + wait), until=at(25)), Lane)


def test_so_many_at_once_and_who_never_comes_back_frees_the_place_when_its_time_is_over():
    limits = Limits(per_second=40, at_once=2)
    lane = Lane(under_way=[at(10), at(20)])

    assert isinstance(gate.enter(lane, limits, now=at(9), until=at(34)), float)
    assert isinstance(gate.enter(lane, limits, now=at(10), until=at(35)), Lane)


def test_what_can_wait_leaves_room_for_what_cannot():
    limits = Limits(per_second=40, at_once=4)
    busy = Lane(ended=[at(0.5)] * 30)

    assert limits.without_reserve() == Limits(per_second=30, at_once=2)
    assert isinstance(gate.enter(busy, limits.without_reserve(), now=at(1), until=at(26)), float)
    assert isinstance(gate.enter(busy, limits, now=at(1), until=at(26)), Lane)
    assert Limits(per_second=1, at_once=1).without_reserve() == Limits(per_second=1, at_once=1)


def test_without_limits_nothing_is_counted():
    lane = Lane()
    for _ in range(100):
        entered = gate.enter(lane, Limits(per_second=0), now=at(0), until=at(25))
        assert isinstance(entered, Lane)
        lane = gate.leave(entered, Limits(per_second=0), now=at(0), until=at(25))

    assert not lane.under_way
    assert not lane.ended


@pytest.mark.parametrize(
    ("answer", "opens"),
    [
        (Answer(outcome="unavailable"), True),
        (Answer(outcome="in_doubt"), True),
        (Answer(outcome="in_doubt", http_status=502), True),
        (Answer(outcome="busy", http_status=503), True),
        (Answer(outcome="busy", http_status=429), False),
        (Answer(outcome="permanent", http_status=400), False),
        (Answer(outcome="authentication", http_status=403), False),
        (Answer(outcome="done", http_status=200), False),
    ],
)
def test_the_breaker_opens_on_faults_of_the_crm_in_a_row_and_on_nothing_else(answer, opens):
    breaker = Breaker()
    for _ in range(gate.FAILURES):
        assert breaker.away_since is None
        breaker = gate.after(breaker, answer, now=at(0), was_probe=False)

    assert (breaker.away_since is not None) == opens


def test_any_answer_in_between_starts_the_count_anew():
    breaker = Breaker()
    for answer in [FAULT] * (gate.FAILURES - 1) + [DONE] + [FAULT] * (gate.FAILURES - 1):
        breaker = gate.after(breaker, answer, now=at(0), was_probe=False)

    assert breaker.away_since is None


def test_retry_after_is_kept_to_within_bounds():
    asked = Answer(outcome="busy", http_status=429, retry_after_seconds=7)
    for_ever = Answer(outcome="busy", http_status=429, retry_after_seconds=10**6)

    def pause(answer):
        breaker = gate.after(Breaker(), answer, now=at(0), was_probe=False)
        return gate.may_ask(breaker, now=at(0), until=at(25))

    assert pause(asked) == ("crm_busy", 7.0)
    assert pause(for_ever) == ("crm_busy", gate.BUSY_SECONDS[1])


def test_refused_credentials_are_tried_by_one_after_a_pause_and_others_at_once():
    pause = gate.pause_after(None, b"old", Answer(outcome="authentication", http_status=403), now=at(0))
    assert pause is not None
    later = gate.AUTHENTICATION_SECONDS + 1

    assert gate.may_try(pause, b"old", now=at(1), until=at(26)) == ("authentication", gate.AUTHENTICATION_SECONDS - 1)
    assert gate.may_try(pause, b"new", now=at(1), until=at(26)) == pause
    probed = gate.may_try(pause, b"old", now=at(later), until=at(later + 25))
    assert isinstance(probed, Pause)
    assert gate.may_try(probed, b"old", now=at(later), until=at(later + 25)) == ("authentication", 25.0)
    assert gate.pause_after(probed, b"old", FAULT, now=at(later)) == probed
    assert gate.pause_after(probed, b"old", DONE, now=at(later)) is None


UNPAID = Answer(outcome="permanent", http_status=402, concerns_account=True)
PAGE = Answer(outcome="in_doubt", http_status=200, concerns_account=True)


@pytest.mark.parametrize("answer", [UNPAID, PAGE])
def test_an_account_that_takes_nothing_is_asked_less_and_less_often(answer):
    pause, waits = None, []
    for _ in range(9):
        pause = gate.pause_after(pause, b"key", answer, now=at(0))
        assert pause is not None
        refused = gate.may_try(pause, b"key", now=at(0), until=at(25))
        assert isinstance(refused, tuple)
        assert refused[0] == "account_refused"
        waits.append(refused[1])

    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert gate.may_try(pause, b"other", now=at(0), until=at(25)) is pause
    assert gate.pause_after(pause, b"key", FAULT, now=at(9)) is pause
    assert gate.pause_after(pause, b"key", DONE, now=at(9)) is None


@pytest.mark.parametrize("answer", [UNPAID, PAGE])
def test_an_account_that_takes_nothing_is_no_fault_of_the_crm(answer):
    breaker = Breaker()
    for _ in range(gate.FAILURES + 1):
        breaker = gate.after(breaker, answer, now=at(0), was_probe=False)

    assert breaker == Breaker()


def test_another_reason_begins_a_pause_of_its_own():
    refused = gate.pause_after(None, b"key", Answer(outcome="authentication", http_status=403), now=at(0))
    unpaid = gate.pause_after(refused, b"key", UNPAID, now=at(400))

    assert unpaid is not None
    assert (unpaid.reason, unpaid.since, unpaid.refusals) == ("account_refused", at(400), 1)


class BreakerMachine(RuleBasedStateMachine):
    """Against a model in words: closed; away, and nobody; away, and one finds out."""

    def __init__(self):
        super().__init__()
        self.breaker, self.now = Breaker(), 0.0
        self.model, self.failures, self.waits = "closed", 0, at(0)
        self.ordinary, self.probes = 0, 0

    @rule(seconds=st.floats(0.01, 40))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def somebody_asks(self):
        allowed = gate.may_ask(self.breaker, now=at(self.now), until=at(self.now + 25))
        if isinstance(allowed, tuple):
            assert allowed[0] == "crm_away"
            assert self.model == "away"
            assert 0 < allowed[1] <= gate.OPEN_SECONDS[1]
            return
        self.breaker = allowed
        if self.model == "closed":
            self.ordinary += 1
            return
        assert at(self.now) >= self.waits
        self.probes = 1
        self.waits = at(self.now + 25)

    @precondition(lambda self: self.ordinary)
    @rule(answer=st.sampled_from([FAULT, DONE, Answer(outcome="busy", http_status=503)]))
    def an_ordinary_answer(self, answer):
        self.ordinary -= 1
        self.answer(answer, was_probe=False)

    @precondition(lambda self: self.probes)
    @rule(answer=st.sampled_from([FAULT, DONE, None]))
    def the_probe_answers(self, answer):
        self.probes = 0
        self.answer(answer, was_probe=True)

    def answer(self, answer, *, was_probe):
        self.breaker = gate.after(self.breaker, answer, now=at(self.now), was_probe=was_probe)
        if answer is None:
            self.waits = at(self.now)
        elif answer is DONE:
            self.model, self.failures, self.probes = "closed", 0, 0
        else:
            self.failures += 1
            opens = self.model == "closed" and self.failures >= gate.FAILURES
            if opens or (was_probe and self.model == "away"):
                assert self.breaker.ask_at is not None
                self.model, self.waits = "away", self.breaker.ask_at
                left = (self.waits - at(self.now)).total_seconds()
                assert gate.OPEN_SECONDS[0] <= left <= gate.OPEN_SECONDS[1]

    @invariant()
    def it_is_as_the_model_says(self):
        assert (self.breaker.away_since is not None) == (self.model == "away")
        assert self.breaker.failures == self.failures


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)


def test_through_half_an_hour_without_the_crm_few_requests_ask_and_the_backlog_then_keeps_to_the_limit():
    """Virtual time: a call ends every second; sixteen workers look every tenth of one; the CRM is away for 30 minutes."""
    limits = Limits(per_second=40, at_once=4).without_reserve()
    lane, breaker = Lane(), Breaker()
    away, over = (60.0, 60.0 + 1800), 2400.0
    waiting, delivered, asked_while_away, arrivals = 0, 0, 0, []
    under_way = []
    drained_at = None
    for tick in range(int(over * 10)):
        now = tick / 10
        waiting += tick % 10 == 0
        for one in [one for one in under_way if one[0] <= now]:
            under_way.remove(one)
            end, until, size, was_probe, is_fine = one
            lane = gate.leave(lane, limits, now=at(end), until=until)
            answer = DONE if is_fine else FAULT
            breaker = gate.after(breaker, answer, now=at(end), was_probe=was_probe)
            delivered += size if is_fine else 0
            waiting += 0 if is_fine else size
        for _ in range(16):
            if not waiting:
                break
            until = at(now + 25)
            asked = gate.may_ask(breaker, now=at(now), until=until)
            entered = gate.enter(lane, limits, now=at(now), until=until)
            if isinstance(asked, tuple) or isinstance(entered, float):
                break
            lane, breaker = entered, asked
            is_away = away[0] <= now < away[1]
            size = min(50, waiting)
            waiting -= size
            under_way.append((now + (15 if is_away else 0.05), until, size, breaker.is_probed, not is_away))
            arrivals.append(now)
            asked_while_away += is_away
        if now > away[1] and not waiting and not under_way and drained_at is None:
            drained_at = now

    assert delivered + waiting + sum(one[2] for one in under_way) == over
    assert asked_while_away <= 40
    assert drained_at is not None
    assert drained_at - away[1] <= gate.OPEN_SECONDS[1] + 25
    assert most_in_a_second(arrivals) <= 40
