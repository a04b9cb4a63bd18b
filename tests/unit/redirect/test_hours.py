from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lib.redirect import hours

WEEK = {
    "timezone": {"value": "Europe/Minsk"},
    "work_times": [
        {"day_type": "Monday", "start_time": "09:00", "end_time": "18:00", "lunch_start_time": "13:00", "lunch_end_time": "14:00"},
        {"day_type": "Friday", "start_time": "22:00", "end_time": "06:00"},
        {"day_type": "Sunday", "start_time": "00:00", "end_time": "24:00"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("local", "is_open"),
    [
        ("2025-09-22 08:59", False),  # a Monday
        ("2025-09-22 09:00", True),
        ("2025-09-22 12:59", True),
        ("2025-09-22 13:00", False),
        ("2025-09-22 14:00", True),
        ("2025-09-22 18:00", False),
        ("2025-09-23 12:00", False),
        ("2025-09-26 21:59", False),
        ("2025-09-26 22:00", True),
        ("2025-09-27 05:59", True),
        ("2025-09-27 06:00", False),
        ("2025-09-28 00:00", True),
        ("2025-09-28 23:59", True),
    ],
)
def test_people_work_by_the_hours_of_the_crm_in_its_zone(local, is_open):
    known = hours.read(WEEK)
    moment = datetime.fromisoformat(local).replace(tzinfo=known.zone).astimezone(UTC)

    assert known.is_open(moment) is is_open


@pytest.mark.parametrize("settings", [{}, {"work_times": []}, {"work_times": None, "timezone": None}])
def test_without_hours_it_is_always_open(settings):
    assert hours.read(settings).is_open(datetime.now(UTC))


@pytest.mark.parametrize(
    "days",
    [
        "always",
        [None],
        [{"day_type": "Someday"}],
        [{"day_type": "Monday"}],
        [{"day_type": "Monday", "start_time": "9", "end_time": "18:00"}],
        [{"day_type": "Monday", "start_time": "09:00", "end_time": "25:00"}],
    ],
)
def test_malformed_hours_are_refused(days):
    with pytest.raises(ValueError, match="work_times"):
        hours.read({"work_times": days})
