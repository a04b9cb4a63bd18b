"""Findings about time: the host's clock and zone, events that came late, silence in which calls went on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Final

from lib.calls import clock
from lib.calls.directory import Directory
from lib.calls.doctor.finding import EXAMPLES_AT_MOST, Example, Finding, Stream, by_value, is_habit
from lib.calls.event import CallEvent

# A card is news for so long by default; what comes later shows nobody anything.
LATE_SECONDS: Final = 15.0
LATE_HANGUP_SECONDS: Final = 60.0
# Nothing came for so long, though a channel began in it, at least so long before its end.
GAP: Final = timedelta(minutes=5)
GAP_EDGE: Final = timedelta(minutes=2)
_ZONE_TOLERANCE_SECONDS: Final = 600.0
_LEAST_LAG_SECONDS: Final = -5.0
_MOST_LAG_SECONDS: Final = 60.0
_YEAR_2000: Final = int(clock.NEVER_SET_BEFORE.timestamp())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lag:
    """Of one event that is sent at once: seconds from the epoch of its channel to its receipt."""

    event: CallEvent
    seconds: float


def findings(streams: Sequence[Stream], directory: Directory) -> Iterator[Finding]:
    lags = [lag for stream in streams for lag in _lags(stream)]
    usual = median([lag.seconds for lag in lags]) if lags else 0.0
    offset = usual if not _LEAST_LAG_SECONDS <= usual <= _MOST_LAG_SECONDS else 0.0
    yield from _reset(streams)
    yield from _wrong_clock(lags, usual)
    yield from _wrong_zone(streams, directory)
    yield from _late(streams, lags, offset, directory)
    yield from _recovered(streams)
    yield from _gaps(streams, offset)


def _lags(stream: Stream) -> Iterator[_Lag]:
    """A `start` and an outgoing `dial` are sent as soon as their channel begins; other dials come after a greeting."""
    told: set[str] = set()
    for seen in stream:
        event = seen.event
        is_prompt = event.event_type == "start" or (event.event_type == "dial" and event.call_type == 1)
        if not is_prompt or not event.live or not _is_dated(event):
            continue
        if event.unique_id not in told:
            told.add(event.unique_id)
            yield _Lag(event=event, seconds=(event.received_at - event.moment).total_seconds())


def _reset(streams: Sequence[Stream]) -> Iterator[Finding]:
    named = [event for event in _events(streams) if event.epoch is not None]
    old = [event for event in named if not _is_dated(event)]
    if old:
        _, examples = by_value((f"{event.moment:%Y-%m-%d}", event.unique_id) for event in old)
        yield Finding(code="clock_reset", count=len(old), of=len(named), examples=examples)


def _wrong_clock(lags: Sequence[_Lag], usual: float) -> Iterator[Finding]:
    off = [lag for lag in lags if not _LEAST_LAG_SECONDS <= lag.seconds <= _MOST_LAG_SECONDS]
    if len(lags) < 3 or _LEAST_LAG_SECONDS <= usual <= _MOST_LAG_SECONDS:
        return
    examples = tuple(
        Example(unique_id=lag.event.unique_id, value=f"{lag.seconds:+.0f} s") for lag in off[:EXAMPLES_AT_MOST]
    )
    facts = {"seconds": abs(round(usual))}
    yield Finding(code="clock_wrong", count=len(off), of=len(lags), examples=examples, facts=facts)


def _wrong_zone(streams: Sequence[Stream], directory: Directory) -> Iterator[Finding]:
    """A StartTime that is whole hours off the epoch of its own channel."""
    walls: list[tuple[CallEvent, float]] = []
    told: set[str] = set()
    for event in _events(streams):
        if event.start_time is None or not _is_dated(event) or event.unique_id in told:
            continue
        told.add(event.unique_id)
        off = clock.to_utc(event.start_time, directory.zone) - event.moment
        walls.append((event, off.total_seconds()))
    wrong = [(event, off) for event, off in walls if abs(off) > _ZONE_TOLERANCE_SECONDS]
    if is_habit(len(wrong), len(walls), share=0.1):
        hours = round(median([off for _, off in wrong]) / 1800) / 2
        examples = tuple(
            Example(unique_id=event.unique_id, value=f"StartTime {event.start_time:%Y-%m-%d %H:%M:%S}")
            for event, _ in wrong[:EXAMPLES_AT_MOST]
        )
        facts = {"hours": f"{hours:+g}", "zone": directory.timezone}
        yield Finding(code="zone_wrong", count=len(wrong), of=len(walls), examples=examples, facts=facts)


def _late(streams: Sequence[Stream], lags: Sequence[_Lag], offset: float, directory: Directory) -> Iterator[Finding]:
    """
    By the channel's own epoch, corrected by what the host's clock is usually off; hangups by their `EndTime`.
    """
    timed = [(lag.event, lag.seconds - offset, LATE_SECONDS) for lag in lags]
    for event in _events(streams):
        ended = clock.hung_up_at(event, directory.zone) if event.event_type == "hangup" and event.live else None
        if ended is not None:
            seconds = (event.received_at - ended).total_seconds() - offset
            timed.append((event, seconds, LATE_HANGUP_SECONDS))
    late = [(event, seconds) for event, seconds, most in timed if seconds > most]
    if is_habit(len(late), len(timed), share=0.01):
        late.sort(key=lambda pair: -pair[1])
        examples = tuple(
            Example(unique_id=event.unique_id, value=f"{event.event_type} +{seconds:.0f} s")
            for event, seconds in late[:EXAMPLES_AT_MOST]
        )
        facts = {"percent": _percent(len(late), len(timed)), "worst": round(late[0][1])}
        yield Finding(code="late", count=len(late), of=len(timed), examples=examples, facts=facts)


def _recovered(streams: Sequence[Stream]) -> Iterator[Finding]:
    events = list(_events(streams))
    recovered = [event for event in events if not event.live]
    if recovered:
        _, examples = by_value((event.event_type, event.unique_id) for event in recovered)
        facts = {"percent": _percent(len(recovered), len(events))}
        yield Finding(code="recovered", count=len(recovered), of=len(events), examples=examples, facts=facts)


def _gaps(streams: Sequence[Stream], offset: float) -> Iterator[Finding]:
    """
    A gap is proved by a channel that began in it: had the host been connected, something of it would have come. Where
    recovery brings what was missing, that proves it too.
    """
    live = sorted((event for event in _events(streams) if event.live), key=lambda event: event.received_at)
    if not live:
        return
    began = sorted({_began(event, offset): event.unique_id for event in _events(streams) if _is_dated(event)}.items())
    pairs = list(pairwise(event.received_at for event in live))
    gaps: list[tuple[datetime, datetime, str]] = []
    for before, after in pairs:
        if after - before < GAP:
            continue
        inside = next((unique_id for at, unique_id in began if before + GAP_EDGE < at < after - GAP_EDGE), None)
        if inside is not None:
            gaps.append((before, after, inside))
    if gaps:
        gaps.sort(key=lambda gap: gap[0] - gap[1])
        longest = gaps[0]
        facts: dict[str, int | float | str] = {
            "minutes": round((longest[1] - longest[0]).total_seconds() / 60),
            "since": longest[0].isoformat(),
            "until": longest[1].isoformat(),
        }
        examples = tuple(
            Example(unique_id=unique_id, value=f"{before:%Y-%m-%d %H:%M} – {after:%H:%M} UTC")
            for before, after, unique_id in gaps[:EXAMPLES_AT_MOST]
        )
        yield Finding(code="gaps", count=len(gaps), of=len(gaps), examples=examples, facts=facts)


def _began(event: CallEvent, offset: float) -> datetime:
    return event.moment + timedelta(seconds=offset)


def _is_dated(event: CallEvent) -> bool:
    return event.epoch is not None and event.epoch >= _YEAR_2000


def _events(streams: Sequence[Stream]) -> Iterator[CallEvent]:
    return (seen.event for stream in streams for seen in stream)


def _percent(count: int, of: int) -> float:
    return round(100 * count / of, 1)
