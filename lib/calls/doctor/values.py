"""Findings about what the records name: numbers that cannot be read, lines, extensions and mobiles of nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from lib.calls import numbers
from lib.calls.channels import channel_named
from lib.calls.directory import Directory
from lib.calls.doctor.finding import (
    Finding,
    Seen,
    Stream,
    by_value,
    calls_as_examples,
    has_key,
    is_habit,
    records,
)
from lib.calls.event import CallEvent

_TELEPHONES: Final = frozenset({"sip", "pjsip", "iax2", "sccp"})
# Feature codes and departments are longer or not called by a telephone of their own.
_EXTENSION_DIGITS: Final = 6


def findings(streams: Sequence[Stream], directory: Directory) -> Iterator[Finding]:
    yield from _no_number(streams, directory)
    yield from _unread_numbers(streams, directory)
    yield from _unknown_lines(streams, directory)
    yield from _unknown_extensions(streams, directory)
    yield from _unknown_mobiles(streams, directory)


def _no_number(streams: Sequence[Stream], directory: Directory) -> Iterator[Finding]:
    """Calls over a line in whose records no number stands at all; a few are of callers who hide theirs."""
    over_lines = [stream for stream in streams if any(seen.event.trunk for seen in records(stream))]
    without = [stream for stream in over_lines if not any(_has_number(seen, directory) for seen in records(stream))]
    if is_habit(len(without), len(over_lines), share=0.05):
        yield Finding(code="no_number", count=len(without), of=len(over_lines), examples=calls_as_examples(without))


def _has_number(seen: Seen, directory: Directory) -> bool:
    """In `Phone`, or where a record has no such key in a field that may stand in for it."""
    event = seen.event
    others = () if has_key(seen, "phone") else (event.caller_id, event.connected_line, *event.extensions)
    return any(_is_number(value) and not directory.is_extension(value) for value in (event.phone, *others))


def _is_number(value: str) -> bool:
    """Not a word for a number that is hidden."""
    return any(character.isdecimal() for character in value)


def _unread_numbers(streams: Sequence[Stream], directory: Directory) -> Iterator[Finding]:
    ours = _own_numbers(directory)
    named = [
        seen.event
        for stream in streams
        for seen in records(stream)
        if _is_number(seen.event.phone) and not directory.is_extension(seen.event.phone)
    ]
    unread = [event for event in named if event.phone not in ours and not _is_read(event, directory)]
    count, examples = by_value((event.phone, event.unique_id) for event in unread)
    if count:
        yield Finding(code="unread_numbers", count=count, of=len(named), examples=examples)


def _own_numbers(directory: Directory) -> frozenset[str]:
    """Names of lines, and their numbers in E.164."""
    numbered = (line.phone_number for line in directory.lines.values() if line.phone_number)
    read = (numbers.normalize(number, directory) for number in numbered)
    return frozenset(directory.lines) | {number for number in read if number}


def _is_read(event: CallEvent, directory: Directory) -> bool:
    line = directory.lines.get(event.trunk) if event.call_type == 0 else None
    return numbers.normalize(event.phone, directory, line=line) is not None


def _unknown_lines(streams: Sequence[Stream], directory: Directory) -> Iterator[Finding]:
    named = [seen.event for stream in streams for seen in records(stream) if seen.event.trunk]
    bare = {line_id.lstrip("0") for line_id in directory.lines}
    unknown = [event for event in named if event.trunk.lstrip("0") not in bare]
    count, examples = by_value((event.trunk, event.unique_id) for event in unknown)
    if count:
        yield Finding(code="unknown_lines", count=count, of=len(named), examples=examples)


def _unknown_extensions(streams: Sequence[Stream], directory: Directory) -> Iterator[Finding]:
    """Rung by a record, or a telephone of its own: an extension for a person, and of nobody here."""
    named = [pair for stream in streams for pair in _extensions(stream, directory)]
    count, examples = by_value(pair for pair in named if not directory.knows(pair[0]))
    if count:
        yield Finding(code="unknown_extensions", count=count, of=len(named), examples=examples)


def _extensions(stream: Stream, directory: Directory) -> Iterator[tuple[str, str]]:
    for seen in stream:
        event = seen.event
        if event.event_type == "dial":
            yield from ((name, event.unique_id) for name in event.extensions if directory.is_extension(name))
        elif event.event_type == "bridge" and (peer := _telephone(event, directory)):
            yield peer, event.unique_id


def _telephone(event: CallEvent, directory: Directory) -> str | None:
    """The extension that a channel of a telephone is named after."""
    channel = channel_named(event.channel)
    is_one = channel.technology in _TELEPHONES and _looks_like_an_extension(channel.peer, directory)
    return channel.peer if is_one else None


def _looks_like_an_extension(peer: str, directory: Directory) -> bool:
    is_short = peer.isascii() and peer.isdecimal() and len(peer) <= _EXTENSION_DIGITS
    return is_short and peer not in directory.lines


def _unknown_mobiles(streams: Sequence[Stream], directory: Directory) -> Iterator[Finding]:
    """Outside numbers in the ring group of an incoming call that are nobody's personal phone."""
    ours = _own_numbers(directory)
    rung = [
        (number, seen.event.unique_id)
        for stream in streams
        for seen in records(stream)
        if seen.event.event_type == "dial" and seen.event.call_type == 0
        for name in seen.event.extensions
        if not directory.is_extension(name) and (number := numbers.normalize(name, directory)) and number not in ours
    ]
    count, examples = by_value(pair for pair in rung if pair[0] not in directory.personal_phones)
    if count:
        yield Finding(code="unknown_mobiles", count=count, of=len(rung), examples=examples)
