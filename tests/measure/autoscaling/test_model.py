"""The model does what is said of it: else its figures mean nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from tests.measure.autoscaling.__main__ import is_well, what_is_short
from tests.measure.autoscaling.model import (
    SERVED,
    Clock,
    Costs,
    Documented,
    Gateway,
    Guesses,
    Load,
    Service,
    Size,
    Subscription,
    percentile,
)

SIZES = {
    "dispatch-call-event": Size(min=1, max=4, threads=8, pool=4),
    "retailcrm-deliver": Size(min=1, max=6, threads=8, pool=8),
    "retailcrm-upload": Size(min=1, max=2, threads=8, pool=8),
}
LOAD = Load(enterprises=200, seconds=60.0, call_seconds=20.0, peak=1.0)


def test_the_same_seed_gives_the_same_run():
    first, second = (Gateway(LOAD, SIZES, cores=2).run() for _ in range(2))

    assert first == second
    assert first != Gateway(LOAD, SIZES, cores=2, seed=2).run()
    assert first.events % LOAD.events_a_call == 0


def test_a_load_that_is_borne_shows_every_card_within_what_its_steps_take():
    result = Gateway(LOAD, SIZES, cores=2).run()

    assert is_well(result)
    assert len(result.pop_ups) == result.events / LOAD.events_a_call
    # Intake 1.99 + 1 + 1 + 3, Pub/Sub 30, delivery 5.4 + 4.6 + 4 × 1 + 3.
    assert percentile(result.pop_ups, 0.0) == pytest.approx(54.0, abs=0.1)


def test_a_database_without_a_free_core_is_what_is_short():
    result = Gateway(LOAD, SIZES, cores=1, costs=Costs(assemble_ms=120.0)).run()

    assert result.processor > 0.99
    assert not is_well(result)
    assert "the database's processor" in what_is_short(result, SIZES)
    assert is_well(Gateway(LOAD, SIZES, cores=8, costs=Costs(assemble_ms=120.0)).run())


def test_instances_grow_with_the_load_and_never_beyond_their_most():
    busy = replace(LOAD, enterprises=4000)

    result = Gateway(busy, SIZES, cores=16, costs=Costs(deliver_ms=30.0)).run()

    assert result.instances["retailcrm-deliver"] == 6
    assert "retailcrm-deliver at its 6 instances" in what_is_short(result, SIZES)
    assert result.connections == sum(count * (SIZES[name].pool + 1) for name, count in result.instances.items())
    few = Gateway(LOAD, SIZES, cores=16).run()
    assert few.instances["retailcrm-deliver"] < 6


def test_what_is_refused_is_pushed_again_until_it_is_served():
    clock, served = Clock(), []
    service = Service(clock, Size(min=1, max=1, threads=1, pool=1), Guesses(), Documented(queue_seconds=0.5))
    subscription = Subscription(clock, service, Documented())

    def work(number, _, answered):
        served.append(number)
        clock.after(1.0, answered)

    for number in range(20):
        subscription.publish(partial(work, number))
    clock.run(600.0)

    assert service.refused > 0
    assert sorted(served) == list(range(20))


def test_pushes_at_once_grow_with_answers_and_shrink_with_refusals():
    clock, at_once = Clock(), []
    service = Service(clock, Size(min=1, max=1, threads=1000, pool=1), Guesses(), Documented())
    subscription = Subscription(clock, service, Documented(first_window=2))

    def work(instance, answered):
        at_once.append(instance.requests)
        clock.after(1.0, answered)

    for _ in range(100):
        subscription.publish(work)
    clock.run(0.5)
    assert max(at_once) == 2
    clock.run(10.0)
    assert max(at_once) > 16
    assert len(at_once) == 100


def test_one_enterprise_is_assembled_by_one_at_a_time_however_many_instances_there_are():
    flood = Load(enterprises=1, calls_an_hour=36_000, seconds=30.0, call_seconds=20.0, peak=1.0)
    many = {name: replace(size, min=size.max) for name, size in SIZES.items()}

    alone = Gateway(flood, many, cores=16).run()
    shared = Gateway(replace(flood, enterprises=100, calls_an_hour=360), many, cores=16).run()

    assert percentile(alone.pop_ups, 0.99) > 1.2 * percentile(shared.pop_ups, 0.99)
    assert alone.unsent == 0, "what is left is taken along"


def test_a_request_beyond_the_threads_waits_for_an_instance():
    clock, answers = Clock(), []
    service = Service(clock, Size(min=1, max=2, threads=1, pool=1), Guesses(cold_start_seconds=3.0), Documented())

    for _ in range(2):
        service.request(
            lambda _, answered: clock.after(60.0, answered), lambda status: answers.append((clock.now, status))
        )
    clock.run(100.0)

    assert answers == [(60.0, SERVED), (63.0, SERVED)]
    assert service.instances == 2
