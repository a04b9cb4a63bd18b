"""The working hours in the settings of the CRM."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from lib.calls.directory import zone_named

_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(:[0-9]{2})?", re.ASCII)
_DAY_MINUTES: Final = 24 * 60

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Hours:
    """`work` and `lunch`: weekday (0 is Monday) to minutes of the day; an end before its start is on the next day."""

    zone: ZoneInfo
    work: Mapping[int, Span] = field(default_factory=dict)
    lunch: Mapping[int, Span] = field(default_factory=dict)

    def is_open(self, moment: datetime) -> bool:
        """Always True where no hours are set."""
        if not self.work:
            return True
        local = moment.astimezone(self.zone)
        today, minute = local.weekday(), local.hour * 60 + local.minute
        return _within(self.work, today, minute) and not _within(self.lunch, today, minute)


def read(settings: Mapping[str, Any]) -> Hours:
    """Parses the CRM's `settings`. Raises ValueError for hours that cannot be understood."""
    zone = settings.get("timezone")
    name = zone.get("value") if isinstance(zone, dict) else zone
    days = settings.get("work_times") or []
    if not isinstance(days, list):
        raise ValueError("work_times is not a list")  # noqa: TRY004  (data of somebody else)
    work: dict[int, Span] = {}
    lunch: dict[int, Span] = {}
    for day in days:
        weekday = _weekday(day)
        work[weekday] = _minutes(day.get("start_time")), _minutes(day.get("end_time"))
        if day.get("lunch_start_time") and day.get("lunch_end_time"):
            lunch[weekday] = _minutes(day["lunch_start_time"]), _minutes(day["lunch_end_time"])
    return Hours(zone=zone_named(str(name or "UTC")), work=work, lunch=lunch)


def _within(spans: Mapping[int, Span], today: int, minute: int) -> bool:
    start, end = spans.get(today, (0, 0))
    if start < end and start <= minute < end:
        return True
    if start > end and minute >= start:
        return True
    start, end = spans.get((today - 1) % 7, (0, 0))
    return start > end and minute < end


def _weekday(day: object) -> int:
    name = str(day.get("day_type")).lower() if isinstance(day, dict) else ""
    if name not in _DAYS:
        raise ValueError("a day of work_times is not known")
    return _DAYS.index(name)


def _minutes(text: object) -> int:
    found = _TIME.fullmatch(str(text))
    minutes = int(found[1]) * 60 + int(found[2]) if found else _DAY_MINUTES + 1
    if minutes > _DAY_MINUTES:
        raise ValueError("a time of work_times is not known")
    return minutes
