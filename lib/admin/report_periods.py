"""The period of a report, and the one before that it is compared with: as far as the period itself has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

Span = Literal["day", "week", "month"]
_WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Period:
    """Days of the zone, `until` not included. `step`: of what a report shows the parts."""

    since: date
    until: date
    step: Literal["hour", "day"]

    def moments(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        return _midnight(self.since, zone), _midnight(self.until, zone)


def period(span: Span, around: date) -> Period:
    """The day, the week from Monday, or the month that this day is in."""
    if span == "day":
        return Period(since=around, until=around + timedelta(days=1), step="hour")
    if span == "week":
        monday = around - timedelta(days=around.weekday())
        return Period(since=monday, until=monday + _WEEK, step="day")
    first = around.replace(day=1)
    return Period(since=first, until=_next_month(first), step="day")


def before(span: Span, of: Period) -> Period:
    """The same weekday of the week before; the week before; the month before."""
    if span == "month":
        return period("month", of.since - timedelta(days=1))
    return Period(since=of.since - _WEEK, until=of.until - _WEEK, step=of.step)


def as_far(of: Period, than: Period, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The moments of the period before: while `of` goes on, up to the same time of the same day of it."""
    since, until = than.moments(zone)
    began, ends = of.moments(zone)
    if not began <= now < ends:
        return since, until
    local = now.astimezone(zone)
    day = than.since + (local.date() - of.since)
    return since, min(until, datetime.combine(day, local.time(), zone))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone)


def _next_month(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1)
