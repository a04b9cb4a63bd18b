"""Findings about bridges, by which it is known who talked, and for how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from lib.calls.doctor.finding import EXAMPLES_AT_MOST, Example, Finding, Stream, calls_as_examples, has, is_habit
from lib.calls.doctor.finding import records as records_of
from lib.calls.event import CallEvent
from lib.calls.trees import CHANNELS_AT_MOST

# After so much silence nothing more is expected of a call that was hung up.
QUIET: Final = timedelta(minutes=5)
# In a bridge of this technology a channel waits alone.
_HOLDING: Final = "holding_bridge"
_ANSWERED: Final = "2"


def findings(streams: Sequence[Stream], now: datetime) -> Iterator[Finding]:
    over = [stream for stream in streams if has(stream, "hangup") and now - stream[-1].event.received_at > QUIET]
    yield from _none(over)
    yield from _one_sided(over)
    yield from _no_leaves(over)
    yield from _shared(streams)


def _shared(streams: Sequence[Stream]) -> Iterator[Finding]:
    """Bridge ids that more channels carry than any call has, in however many calls."""
    channels: dict[str, dict[str, None]] = defaultdict(dict)
    for event in (seen.event for stream in streams for seen in stream):
        if event.bridge_id and event.unique_id:
            channels[event.bridge_id][event.unique_id] = None
    shared = sorted(bridge for bridge in channels if len(channels[bridge]) > CHANNELS_AT_MOST)
    examples = tuple(
        Example(unique_id=next(iter(channels[bridge])), value=bridge, count=len(channels[bridge]))
        for bridge in shared[:EXAMPLES_AT_MOST]
    )
    if shared:
        yield Finding(code="shared_bridges", count=len(shared), of=len(channels), examples=examples)


def _none(over: Sequence[Stream]) -> Iterator[Finding]:
    """Answered, as the hangup says, and no bridge was told of."""
    answered = [stream for stream in over if any(_is_answered(seen.event) for seen in records_of(stream))]
    without = [stream for stream in answered if not has(stream, "bridge")]
    if is_habit(len(without), len(answered), share=0.1, least=3):
        yield Finding(code="no_bridges", count=len(without), of=len(answered), examples=calls_as_examples(without))


def _is_answered(event: CallEvent) -> bool:
    return event.event_type == "hangup" and event.status == _ANSWERED


def _one_sided(over: Sequence[Stream]) -> Iterator[Finding]:
    """Calls in which no bridge shows two channels; in a transfer one bridge of several may show one."""
    bridged = [events for events in map(_joined, over) if events]
    alone = [events for events in bridged if all(len(channels) == 1 for channels in _channels(events).values())]
    if is_habit(len(alone), len(bridged), share=0.1, least=3):
        examples = tuple(
            Example(unique_id=events[0].unique_id, value=events[0].channel) for events in alone[:EXAMPLES_AT_MOST]
        )
        yield Finding(code="one_sided_bridges", count=len(alone), of=len(bridged), examples=examples)


def _joined(stream: Stream) -> list[CallEvent]:
    """The joins of bridges in which people talk."""
    holding = {seen.event.bridge_id for seen in stream if _HOLDING in map(str, seen.raw.values())}
    return [
        seen.event
        for seen in stream
        if seen.event.event_type == "bridge" and seen.event.bridge_id and seen.event.bridge_id not in holding
    ]


def _channels(events: Sequence[CallEvent]) -> dict[str, set[tuple[str, str]]]:
    """By bridge."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for event in events:
        found[event.bridge_id].add((event.unique_id, event.channel))
    return found


def _no_leaves(over: Sequence[Stream]) -> Iterator[Finding]:
    joins = [one for stream in over for one in _joins(stream)]
    open_ones = [event for event, has_left in joins if not has_left]
    if is_habit(len(open_ones), len(joins), share=0.05, least=3):
        examples = tuple(
            Example(unique_id=event.unique_id, value=event.channel) for event in open_ones[:EXAMPLES_AT_MOST]
        )
        yield Finding(code="no_leaves", count=len(open_ones), of=len(joins), examples=examples)


def _joins(stream: Stream) -> Iterator[tuple[CallEvent, bool]]:
    """Each channel's last join of each bridge, and whether it left after it."""
    last: dict[tuple[str, str, str], tuple[CallEvent, bool]] = {}
    for seen in stream:
        event = seen.event
        key = event.bridge_id, event.unique_id, event.channel
        if event.event_type == "bridge" and event.bridge_id:
            last[key] = event, False
        elif event.event_type == "bridge_leave" and key in last:
            last[key] = last[key][0], True
    yield from last.values()
