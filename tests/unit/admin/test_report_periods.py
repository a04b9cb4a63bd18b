from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from lib.admin import report_periods

MINSK = ZoneInfo("Europe/Minsk")


@pytest.mark.parametrize(
    ("span", "now", "until"),
    [
        ("day", "2026-01-15T10:30:00+03:00", "2026-01-08T10:30:00+03:00"),
        ("week", "2026-01-15T10:30:00+03:00", "2026-01-08T10:30:00+03:00"),
        ("month", "2026-01-15T10:30:00+03:00", "2025-12-15T10:30:00+03:00"),
        ("month", "2026-03-31T10:30:00+03:00", "2026-03-01T00:00:00+03:00"),  # February has no 31st
        ("day", "2026-01-16T10:30:00+03:00", "2026-01-09T00:00:00+03:00"),  # it is over
    ],
)
def test_what_goes_on_is_compared_with_as_much_of_the_period_before(span, now, until):
    moment = datetime.fromisoformat(now)
    around = date(2026, 3, 31) if moment.month == 3 else date(2026, 1, 15)
    period = report_periods.period(span, around)

    _, ends = report_periods.as_far(period, report_periods.before(span, period), moment.astimezone(UTC), MINSK)

    assert ends == datetime.fromisoformat(until)
