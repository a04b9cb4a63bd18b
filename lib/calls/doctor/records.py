"""Findings about the records of calls, `start`, `dial` and `hangup`: which are missing, what is missing in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from lib.calls.doctor.finding import (
    EXAMPLES_AT_MOST,
    Example,
    Finding,
    Seen,
    Stream,
    by_value,
    calls_as_examples,
    has,
    has_key,
    is_habit,
    records,
)

_ANSWERED: Final = "2"
_SPOILED: Final = "\ufffd"
# After a leave a hangup follows within seconds; without one, somebody may still talk.
_AFTER_LEAVE: Final = timedelta(minutes=5)
_LONGEST: Final = timedelta(hours=4)


def findings(streams: Sequence[Stream], now: datetime) -> Iterator[Finding]:
    live = [stream for stream in streams if all(seen.event.live for seen in stream)]
    yield from _no_dials(live)
    yield from _no_starts(live)
    yield from _no_hangups(live, now)
    yield from _ids_again(streams)
    yield from _missing_key(streams, "phone_key_missing", "phone")
    yield from _missing_key(streams, "call_type_missing", "calltype")
    yield from _spoiled(streams)
    yield from _copies(streams)


def _no_dials(live: Sequence[Stream]) -> Iterator[Finding]:
    """Somebody was rung, as the hangup says, and no `dial` came: no card while it rang."""
    ended = [stream for stream in live if any(_rang(seen) for seen in records(stream))]
    without = [stream for stream in ended if not has(stream, "dial")]
    yield from _of_calls("no_dials", without, ended, share=0.01)


def _rang(seen: Seen) -> bool:
    event = seen.event
    if event.event_type != "hangup" or event.call_type not in (0, 1) or not event.trunk:
        return False
    return bool(event.extensions) or event.status == _ANSWERED


def _no_starts(live: Sequence[Stream]) -> Iterator[Finding]:
    """Of incoming calls over a line; a department's call has neither line nor `start`."""
    incoming = [
        stream
        for stream in live
        if any(one.event.event_type == "dial" and one.event.call_type == 0 and one.event.trunk for one in stream)
    ]
    yield from _of_calls("no_starts", [one for one in incoming if not has(one, "start")], incoming, share=0.01)


def _no_hangups(live: Sequence[Stream], now: datetime) -> Iterator[Finding]:
    begun = [stream for stream in live if has(stream, "start", "dial") and records(stream) and _is_quiet(stream, now)]
    yield from _of_calls("no_hangups", [one for one in begun if not has(one, "hangup")], begun, share=0.01)


def _is_quiet(stream: Stream, now: datetime) -> bool:
    last = stream[-1].event
    has_left = last.event_type in ("bridge_leave", "bridge_destroy", "hangup", "recording")
    return now - last.received_at > (_AFTER_LEAVE if has_left else _LONGEST)


def _of_calls(code: str, found: Sequence[Stream], of: Sequence[Stream], *, share: float) -> Iterator[Finding]:
    if is_habit(len(found), len(of), share=share):
        yield Finding(code=code, count=len(found), of=len(of), examples=calls_as_examples(found))


def _ids_again(streams: Sequence[Stream]) -> Iterator[Finding]:
    """One id, several callers: two hosts count alike, or one began to count anew."""
    callers: dict[str, set[str]] = {}
    for stream in streams:
        for seen in stream:
            if seen.event.event_type == "start" and seen.event.unique_id and seen.event.phone:
                callers.setdefault(seen.event.unique_id, set()).add(seen.event.phone)
    again = [unique_id for unique_id, phones in callers.items() if len(phones) > 1]
    if again:
        examples = tuple(Example(unique_id=one, value=one) for one in again[:EXAMPLES_AT_MOST])
        yield Finding(code="ids_again", count=len(again), of=len(callers), examples=examples)


def _missing_key(streams: Sequence[Stream], code: str, key: str) -> Iterator[Finding]:
    sent = [seen for stream in streams for seen in records(stream) if seen.raw]
    without = [seen for seen in sent if not has_key(seen, key)]
    if is_habit(len(without), len(sent), share=0.01):
        _, examples = by_value((seen.event.event_type, seen.event.unique_id) for seen in without)
        yield Finding(code=code, count=len(without), of=len(sent), examples=examples)


def _spoiled(streams: Sequence[Stream]) -> Iterator[Finding]:
    seen_all = [seen for stream in streams for seen in stream]
    spoiled = [(name, seen.event.unique_id) for seen in seen_all for name in _spoiled_fields(seen)]
    if spoiled:
        _, examples = by_value(spoiled)
        count = len({id(seen) for seen in seen_all if any(_spoiled_fields(seen))})
        yield Finding(code="spoiled_text", count=count, of=len(seen_all), examples=examples)


def _spoiled_fields(seen: Seen) -> Iterator[str]:
    """Where bytes that are no text were replaced."""
    return (name for name, value in seen.raw.items() if isinstance(value, str) and _SPOILED in value)


def _copies(streams: Sequence[Stream]) -> Iterator[Finding]:
    seen_all = [seen for stream in streams for seen in stream]
    again = [seen for seen in seen_all if seen.copies]
    count = sum(seen.copies for seen in again)
    if is_habit(count, len(seen_all) + count, share=0.01):
        _, examples = by_value((seen.event.event_type, seen.event.unique_id) for seen in again)
        yield Finding(code="copies", count=count, of=len(seen_all) + count, examples=examples)
