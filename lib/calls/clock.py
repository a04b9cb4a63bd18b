"""The host's two clocks, the epoch of an id (UTC) and wall-clock times without a zone, against our receipt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from lib.calls.event import CallEvent

# A wall-clock time further than this from the epoch of its own call was read in the wrong zone, or by a wrong clock.
_ZONE_TOLERANCE: Final = timedelta(minutes=10)
# A host sends `start` within seconds; less than nothing, or minutes, is a clock or a queue that we cannot count by.
_LEAST_LAG: Final = timedelta(seconds=-5)
_MOST_LAG: Final = timedelta(seconds=60)
_LONGEST: Final = timedelta(days=1)
# An id as Asterisk makes it; what a test call writes in its place is no clock.
_CHANNEL_ID: Final = re.compile(r"(?:.*-)?\d{1,10}\.\d+", re.ASCII)
# No host of ours is older: a clock that was never set.
NEVER_SET_BEFORE: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """The host's clocks as one call shows them: the lag of receipts behind ids, and of wall-clock times behind ids."""

    lag_seconds: float | None = None
    wall_seconds: float | None = None

    @property
    def zone_is_wrong(self) -> bool:
        return self.wall_seconds is not None and abs(self.wall_seconds) > _ZONE_TOLERANCE.total_seconds()

    @property
    def clock_is_wrong(self) -> bool:
        lag = self.lag_seconds
        return lag is not None and not (_LEAST_LAG.total_seconds() <= lag <= _ZONE_TOLERANCE.total_seconds())


def to_utc(local: datetime, zone: ZoneInfo) -> datetime:
    return _readings(local, zone)[0]


@lru_cache(maxsize=4_000)
def _readings(local: datetime, zone: ZoneInfo) -> Sequence[datetime]:
    """The instants that a wall clock may mean: two in the hour that a clock which goes back has twice."""
    if local.tzinfo is not None:
        return (local.astimezone(UTC),)
    first = local.replace(tzinfo=zone).astimezone(UTC)
    second = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return (first,) if first == second else (min(first, second), max(first, second))


def wall_start(event: CallEvent, zone: ZoneInfo) -> datetime | None:
    """`StartTime` in UTC, of two readings the nearer to the epoch of the id."""
    if event.start_time is None:
        return None
    readings = _readings(event.start_time, zone)
    return readings[0] if event.epoch is None else min(readings, key=lambda reading: abs(reading - event.moment))


def started_at(event: CallEvent, zone: ZoneInfo) -> datetime | None:
    """`StartTime` in UTC; the epoch of the channel's id, where the two are too far apart."""
    return event.moment if _gives_way(event, zone) else wall_start(event, zone)


def _gives_way(event: CallEvent, zone: ZoneInfo) -> bool:
    start = wall_start(event, zone)
    if start is None or event.epoch is None or abs(start - event.moment) <= _ZONE_TOLERANCE:
        return False
    return _CHANNEL_ID.fullmatch(event.sent_id) is not None


def _wall_end(event: CallEvent, zone: ZoneInfo) -> datetime | None:
    """`EndTime` in UTC, of two readings the first that is not before the start."""
    if event.end_time is None:
        return None
    readings = _readings(event.end_time, zone)
    start = wall_start(event, zone)
    if start is None and event.epoch is not None:
        start = event.moment
    return next((reading for reading in readings if start is None or reading >= start), readings[0])


def observe(main_events: Iterable[CallEvent], zone: ZoneInfo) -> Clock:
    """`lag`: of the first live `start` or `dial`, the only ones sent as soon as the channel begins."""
    lag = wall = None
    for event in main_events:
        if event.epoch is None:
            continue
        if lag is None and event.live and event.event_type in ("start", "dial"):
            lag = (event.received_at - event.moment).total_seconds()
        if wall is None and (start := wall_start(event, zone)) is not None:
            wall = (start - event.moment).total_seconds()
    return Clock(lag_seconds=lag, wall_seconds=wall)


def hung_up_at(hangup: CallEvent, zone: ZoneInfo) -> datetime | None:
    """
    `EndTime` in UTC. Where `StartTime` is too far from the epoch, either both are moved together, or `EndTime` was
    right: what lies nearer to the receipt. A time before the channel, far after it or after we heard of it is no time.
    """
    end = _wall_end(hangup, zone)
    if end is None or hangup.epoch is None:
        return end
    start = wall_start(hangup, zone)
    off = start - hangup.moment if start is not None else timedelta(0)
    readings = [end - off, end] if abs(off) > _ZONE_TOLERANCE else [end]
    latest = hangup.moment + _LONGEST
    if hangup.moment <= hangup.received_at:
        latest = min(latest, hangup.received_at + _ZONE_TOLERANCE)
    found = [time for time in readings if hangup.moment <= time <= latest]
    if not hangup.live:
        return next(iter(found), None)
    return min(found, key=lambda time: abs(time - hangup.received_at), default=None)


def lasted(hangup: CallEvent, zone: ZoneInfo) -> timedelta | None:
    """From `StartTime` to `EndTime`, or between what stands in for them; None: the host does not say."""
    gives_way = _gives_way(hangup, zone)
    # Against the epoch, an `EndTime` without its `StartTime` is as doubtful as one whose `StartTime` is wrong.
    doubtful = gives_way or hangup.start_time is None
    end = hung_up_at(hangup, zone) if doubtful else _wall_end(hangup, zone)
    start = hangup.moment if gives_way else wall_start(hangup, zone) or _other_start(hangup, zone)
    return end - start if end is not None and start is not None and end - start <= _LONGEST else None


def _other_start(hangup: CallEvent, zone: ZoneInfo) -> datetime | None:
    if hangup.date_received is not None:
        return to_utc(hangup.date_received, zone)
    return hangup.moment if hangup.epoch is not None else None


def counting_from(main_events: list[CallEvent]) -> datetime | None:
    """
    The start of the call, from which waiting counts: the epoch of the main id, unless the receipt of the event
    that opened the call says that the host's clock cannot be compared with ours.
    """
    if not main_events:
        return None
    opening = next((event for event in main_events if event.event_type in ("start", "dial")), main_events[0])
    if opening.epoch is None:
        return opening.received_at
    lag = opening.received_at - opening.moment
    if not opening.live:
        return opening.moment if opening.moment >= NEVER_SET_BEFORE else opening.received_at
    if opening.event_type == "hangup":
        return opening.moment if _LEAST_LAG <= lag <= _LONGEST else opening.received_at
    most = _MOST_LAG if opening.event_type == "start" or opening.call_type == 1 else _ZONE_TOLERANCE
    return opening.moment if _LEAST_LAG <= lag <= most else opening.received_at
