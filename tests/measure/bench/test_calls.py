from __future__ import annotations

import itertools

import pytest

from lib.intake import forms
from tests.measure.bench import capacity
from tests.measure.bench.calls import GAP_SECONDS, PROFILES, endless_dials, schedule

BEGIN = 1_767_225_600.0


@pytest.mark.parametrize("size", sorted(PROFILES))
def test_the_rate_is_the_wanted_one_while_it_is_full(size):
    wanted = schedule(PROFILES[size], per_second=70, seconds=10, first=0, begin=BEGIN)

    full = [at for at, _ in wanted.events if wanted.full_from <= at < wanted.full_until]

    assert len(full) == pytest.approx(700, rel=0.02)
    assert [at for at, _ in wanted.events] == sorted(at for at, _ in wanted.events)


@pytest.mark.parametrize("size", sorted(PROFILES))
def test_every_call_has_all_its_events_and_a_customer_of_its_own(size):
    wanted = schedule(PROFILES[size], per_second=20, seconds=5, first=1_000_000, begin=BEGIN)

    starts = {body["Phone"]: at for at, (path, body) in wanted.events if path == "/start"}
    ends = {body["Phone"]: at for at, (path, body) in wanted.events if path == "/hangup"}

    assert len(wanted.events) == len(starts) * size
    assert {phone: end - starts[phone] for phone, end in ends.items()} == pytest.approx(
        dict.fromkeys(starts, (size - 1) * GAP_SECONDS)
    )


@pytest.mark.parametrize("size", sorted(PROFILES))
def test_the_gateway_takes_every_event_of_the_load(size):
    for path, body in PROFILES[size].events_of(5, BEGIN):
        taken = forms.from_host(path.removeprefix("/"), dict(body), enterprise_number="0367")
        assert taken.event_type == path.removeprefix("/")


def test_only_dials_at_the_full_rate_count_as_due():
    wanted = schedule(PROFILES[3], per_second=30, seconds=2, first=0, begin=BEGIN)

    due = capacity.due_at_full_rate(wanted, 100.0)

    assert len(due) == 20
    assert all(100.0 + wanted.full_from <= at < 100.0 + wanted.full_until for at in due.values())


def test_dials_for_ingest_never_repeat_a_customer():
    dials = list(itertools.islice(endless_dials(7, BEGIN), 100))

    assert {path for path, _ in dials} == {"/dial"}
    assert len({body["Phone"] for _, body in dials}) == 100
