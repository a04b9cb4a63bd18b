"""Findings about bridges, by which it is known who talked, and for how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from lib.calls.doctor.finding import EXAMPLES_AT_MOST, Example, Finding, Stream, calls_as_examples, has, is_habit
from lib.calls.doctor.finding import records as records_of
from lib.calls.event import CallEvent

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


def _none(over: Sequence[Stream]) -> Iterator[Finding]:
    """Answered, as the hangup says, and no bridge was told of."""
    answered = [stream for stream in over if any(_is_answered(seen.event) for seen in records_of(stream))]
    without = [stream for stream in answered if not has(stream, "bridge")]
    if is_habit(len(without), len(answered), share=0.1, least=3):
        yield Finding(code="no_bridges", count=len(without), of=len(answered), examples=calls_as_examples(without))


def _is_answered(event: CallEvent) -> bool:
    return event.event_type == "hangup" and event.status == _ANSWERED


def _one_sided(over: Sequence[Stream]) -> Iterator[Finding]:
    joined: dict[str, list[CallEvent]] = defaultdict(list)
    waits: set[str] = set()
    for stream in over:
        for seen in stream:
            event = seen.event
            if event.bridge_id and _HOLDING in map(str, seen.raw.values()):
                waits.add(event.bridge_id)
            if event.event_type == "bridge" and event.bridge_id:
                joined[event.bridge_id].append(event)
    talks = {bridge: events for bridge, events in joined.items() if bridge not in waits}
    alone = [events for events in talks.values() if len({(one.unique_id, one.channel) for one in events}) == 1]
    if is_habit(len(alone), len(talks), share=0.2, least=3):
        examples = tuple(Example(unique_id=one[0].unique_id, value=one[0].channel) for one in alone[:EXAMPLES_AT_MOST])
        yield Finding(code="one_sided_bridges", count=len(alone), of=len(talks), examples=examples)


def _no_leaves(over: Sequence[Stream]) -> Iterator[Finding]:
    joins = [one for stream in over for one in _joins(stream)]
    open_ones = [event for event, has_left in joins if not has_left]
    if is_habit(len(open_ones), len(joins), share=0.02, least=3):
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
