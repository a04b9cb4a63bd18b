from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.runtime.combine import PATIENCE_SECONDS, Combiner, by_halves
from lib.runtime.errors import Unavailable

WAIT_SECONDS = 10.0


class Work:
    """Doubles numbers, batch by batch; each batch waits until it may go on, and `fault` may end it."""

    def __init__(self, fault=lambda _: None):
        self.batches = []
        self.begun = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        self.fault = fault

    def __call__(self, items, _):
        self.batches.append(list(items))
        self.begun.release()
        assert self.may_go_on.wait(WAIT_SECONDS)
        self.fault(items)
        return [item * 2 for item in items]

    def wait_until_begun(self):
        assert self.begun.acquire(timeout=WAIT_SECONDS)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(32) as pool:
        yield pool


def wait_for(combiner, count):
    """Until so many wait for their turn."""
    deadline = time.monotonic() + WAIT_SECONDS
    while len(combiner._waiting) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def started(threads, work, *, limit=100, followers=(), within_seconds=WAIT_SECONDS):
    """A leader with the item 0 whose batch is under way, and those who came meanwhile, in order."""
    combiner = Combiner(work, limit=limit)
    answers = [threads.submit(combiner.run, 0, within_seconds=within_seconds)]
    work.wait_until_begun()
    for place, item in enumerate(followers):
        answers.append(threads.submit(combiner.run, item, within_seconds=within_seconds))
        wait_for(combiner, place + 1)
    return combiner, answers


def results(answers):
    return [answer.result(WAIT_SECONDS) for answer in answers]


@pytest.fixture
def patient(monkeypatch):
    monkeypatch.setattr("lib.runtime.combine.PATIENCE_SECONDS", WAIT_SECONDS)


def test_who_comes_alone_goes_at_once():
    work = Work()
    work.may_go_on.set()
    combiner = Combiner(work, limit=100)

    assert [combiner.run(item, within_seconds=1) for item in (1, 2)] == [2, 4]
    assert work.batches == [[1], [2]]


def test_who_comes_while_a_batch_is_under_way_shares_the_next_one(threads, patient):
    work = Work()
    _, answers = started(threads, work, followers=[1, 2, 3])
    work.may_go_on.set()

    assert results(answers) == [0, 2, 4, 6]
    assert work.batches == [[0], [1, 2, 3]]


def test_a_batch_is_never_larger_than_the_limit(threads, patient):
    work = Work()
    _, answers = started(threads, work, limit=2, followers=[1, 2, 3, 4, 5])
    work.may_go_on.set()

    assert results(answers) == [0, 2, 4, 6, 8, 10]
    assert work.batches == [[0], [1, 2], [3, 4], [5]]


def test_a_leader_that_takes_long_is_overtaken_by_all_who_wait(threads):
    work = Work()
    began = time.monotonic()
    _, answers = started(threads, work, followers=[1, 2, 3])
    work.wait_until_begun()
    waited = time.monotonic() - began
    work.may_go_on.set()

    assert PATIENCE_SECONDS <= waited < 5
    assert results(answers) == [0, 2, 4, 6]
    assert [item for batch in work.batches for item in batch] == [0, 1, 2, 3]


def test_nobody_waits_longer_than_they_said_behind_a_leader_that_hangs(threads, patient):
    work = Work()
    combiner, [leading] = started(threads, work)
    began = time.monotonic()
    late = [threads.submit(combiner.run, item, within_seconds=0.2) for item in range(5)]

    for one in late:
        with pytest.raises(Unavailable):
            one.result(WAIT_SECONDS)
    assert time.monotonic() - began < 2
    assert not combiner._waiting
    work.may_go_on.set()
    assert leading.result(WAIT_SECONDS) == 0
    assert combiner.run(7, within_seconds=1) == 14


def test_nobody_waits_longer_than_they_said_for_a_batch_that_they_are_part_of(threads):
    work = Work()
    _, [_, leading, member] = started(threads, work, followers=[1, 2], within_seconds=1)
    work.wait_until_begun()

    with pytest.raises(Unavailable):
        member.result(WAIT_SECONDS)
    work.may_go_on.set()
    assert leading.result(WAIT_SECONDS) == 2


def test_an_item_that_spoils_its_batch_harms_no_other(threads, patient):
    def fault(items):
        if 2 in items:
            raise ValueError("two")

    work = Work(fault)
    _, [first, one, two, three] = started(threads, work, followers=[1, 2, 3])
    work.may_go_on.set()

    assert results([first, one, three]) == [0, 2, 6]
    with pytest.raises(ValueError, match="two"):
        two.result(WAIT_SECONDS)
    assert work.batches[:2] == [[0], [1, 2, 3]]
    assert sorted(work.batches[2:]) == [[1], [2], [3]]


def test_what_an_item_raises_alone_it_is_told_and_not_tried_again():
    calls = []

    def work(items, _):
        calls.append(items)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Combiner(work, limit=9).run(1, within_seconds=1)
    assert calls == [[1]]


def test_when_a_leader_dies_those_it_led_go_by_themselves(threads, patient):
    def die(items):
        if len(items) > 1:
            raise SystemExit

    work = Work(die)
    _, [first, leading, *led] = started(threads, work, followers=[1, 2, 3])
    work.may_go_on.set()

    assert results([first, *led]) == [0, 4, 6]
    with pytest.raises(SystemExit):
        leading.result(WAIT_SECONDS)


def test_when_there_is_no_time_left_nobody_tries_alone(threads, patient):
    def late(items):
        if len(items) > 1:
            time.sleep(0.5)
            raise Unavailable("away")

    work = Work(late)
    _, [_, *led] = started(threads, work, followers=[1, 2], within_seconds=0.4)
    work.may_go_on.set()

    for one in led:
        with pytest.raises(Unavailable):
            one.result(WAIT_SECONDS)
    assert work.batches == [[0], [1, 2]]


@pytest.mark.parametrize("seed", range(5))
def test_with_many_at_once_each_has_its_own_result_and_was_done_once(threads, seed):
    chance = random.Random(seed)
    done, guard = [], threading.Lock()

    def work(items, _):
        time.sleep(chance.choice((0, 0.001, 0.003)))
        if len(items) > 1 and chance.random() < 0.1:
            raise ValueError("shared")
        with guard:
            done.append(list(items))
        return [item * 2 for item in items]

    combiner = Combiner(work, limit=chance.choice((1, 3, 100)))
    found = list(threads.map(lambda item: combiner.run(item, within_seconds=WAIT_SECONDS), range(600)))

    assert found == [item * 2 for item in range(600)]
    assert sorted(item for batch in done for item in batch) == list(range(600))
    assert combiner._leader is None
    assert not combiner._waiting


def test_by_halves_the_one_that_is_at_fault_is_found_with_few_tries():
    tries = []

    def work(items):
        tries.append(len(items))
        if 300 in items:
            raise ValueError("300")
        return [item * 2 for item in items]

    found = by_halves(work, range(500), on=ValueError)

    assert [found[place] for place in (0, 299, 301, 499)] == [0, 598, 602, 998]
    assert isinstance(found[300], ValueError)
    assert len(tries) < 20
