"""The host's two clocks, the epoch of an id (UTC) and wall-clock times without a zone, against our receipt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from lib.calls.event import CallEvent

# A wall-clock time further than this from the epoch of its own call was read in the wrong zone, or by a wrong clock.
_ZONE_TOLERANCE: Final = timedelta(minutes=10)
# A host sends `start` within seconds; less than nothing, or minutes, is a clock or a queue that we cannot count by.
_LEAST_LAG: Final = timedelta(seconds=-5)
_MOST_LAG: Final = timedelta(seconds=60)
_LONGEST: Final = timedelta(days=1)


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
    return (local if local.tzinfo is not None else local.replace(tzinfo=zone)).astimezone(UTC)


def observe(main_events: Iterable[CallEvent], zone: ZoneInfo) -> Clock:
    """`lag`: of the first live `start` or `dial`, the only ones sent as soon as the channel begins."""
    lag = wall = None
    for event in main_events:
        if event.epoch is None:
            continue
        if lag is None and event.live and event.event_type in ("start", "dial"):
            lag = (event.received_at - event.moment).total_seconds()
        if wall is None and event.start_time is not None:
            wall = (to_utc(event.start_time, zone) - event.moment).total_seconds()
    return Clock(lag_seconds=lag, wall_seconds=wall)


def hung_up_at(hangup: CallEvent, zone: ZoneInfo) -> datetime | None:
    """
    `EndTime` in UTC. Where `StartTime` shows that the zone is wrong, both are moved together to the epoch; a time that
    then still lies before the channel or far after it is no time.
    """
    if hangup.end_time is None:
        return None
    end = to_utc(hangup.end_time, zone)
    if hangup.epoch is None:
        return end
    if hangup.start_time is not None:
        off = to_utc(hangup.start_time, zone) - hangup.moment
        if abs(off) > _ZONE_TOLERANCE:
            end -= off
    return end if timedelta(0) <= end - hangup.moment <= _LONGEST else None


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
        return opening.moment
    if opening.event_type == "hangup":
        return opening.moment if _LEAST_LAG <= lag <= _LONGEST else opening.received_at
    most = _MOST_LAG if opening.event_type == "start" or opening.call_type == 1 else _ZONE_TOLERANCE
    return opening.moment if _LEAST_LAG <= lag <= most else opening.received_at
