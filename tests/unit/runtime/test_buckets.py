from __future__ import annotations

import pytest

from lib.runtime.buckets import Buckets


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_burst_fits_at_once_and_then_as_much_as_leaked(clock):
    buckets = Buckets(per_second=2, burst=10, clock=clock)

    assert [buckets.take("a") for _ in range(11)] == [0.0] * 10 + [0.5]
    clock.now += 0.5
    assert (buckets.take("a"), buckets.take("a")) == (0.0, 0.5)
    clock.now += 100
    assert buckets.level("a") == 0.0


def test_what_was_refused_is_not_counted(clock):
    buckets = Buckets(per_second=1, burst=1, clock=clock)
    buckets.take("a")

    assert [buckets.take("a") for _ in range(100)] == [1.0] * 100


def test_each_key_has_a_bucket_of_its_own(clock):
    buckets = Buckets(per_second=1, burst=1, clock=clock)

    assert (buckets.take("a"), buckets.take("b"), buckets.is_full("a"), buckets.is_full("c")) == (0.0, 0.0, True, False)


def test_what_is_larger_than_a_bucket_fits_an_empty_one(clock):
    buckets = Buckets(per_second=1, burst=10, clock=clock)

    assert (buckets.take("a", 25), buckets.take("a")) == (0.0, 16.0)


def test_keys_are_bounded_and_those_used_longest_ago_are_forgotten(clock):
    buckets = Buckets(per_second=1, burst=1, keys=3, clock=clock)
    for key in "abca":
        buckets.take(key)
    clock.now += 1
    for key in "ad":
        buckets.take(key)

    assert len(buckets._levels) == 3
    assert (buckets.is_full("a"), buckets.level("b")) == (True, 0.0)
