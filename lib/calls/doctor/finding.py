"""A finding: what a host does, how often, an example of it, and whether calls are lost by it or only guessed at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from lib.calls.event import CallEvent

Weight = Literal["loss", "guess"]

# In the order in which they are told. `loss`: cards, rows or owners are missing in the CRM for it; `guess`: the rules
# find another way, and may be wrong.
WEIGHTS: Final[Mapping[str, Weight]] = {
    "clock_reset": "loss",
    "clock_wrong": "loss",
    "late": "loss",
    "gaps": "loss",
    "recovered": "loss",
    "no_number": "loss",
    "unread_numbers": "loss",
    "no_dials": "loss",
    "no_hangups": "loss",
    "ids_again": "loss",
    "shared_bridges": "loss",
    "unknown_extensions": "loss",
    "unknown_mobiles": "loss",
    "unknown_lines": "loss",
    "zone_wrong": "guess",
    "no_starts": "guess",
    "no_bridges": "guess",
    "one_sided_bridges": "guess",
    "no_leaves": "guess",
    "phone_key_missing": "guess",
    "call_type_missing": "guess",
    "spoiled_text": "guess",
    "copies": "guess",
}
EXAMPLES_AT_MOST: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A stored event: as the rules read it, as it was sent, and how often it came again."""

    event: CallEvent
    raw: Mapping[str, object]
    copies: int


# The events of one call, in the order of their receipt.
Stream = Sequence[Seen]


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """`unique_id`: of an event that shows it, empty where none has one; `count`: how often this value was seen."""

    unique_id: str
    value: str = ""
    count: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """`count` of `of` (events, calls, bridges, …, by the code); `facts`: what its sentence names beside them."""

    code: str
    count: int
    of: int
    examples: tuple[Example, ...]
    facts: Mapping[str, int | float | str] = field(default_factory=dict)

    @property
    def weight(self) -> Weight:
        return WEIGHTS[self.code]


def is_habit(count: int, of: int, *, share: float, least: int = 2) -> bool:
    """Often enough to be the host's doing, and not one odd call."""
    return count >= least and count >= share * of


def by_value(seen: Iterable[tuple[str, str]]) -> tuple[int, tuple[Example, ...]]:
    """From pairs of a value and the id that shows it: how many, and the values that were seen most often."""
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    for value, unique_id in seen:
        first.setdefault(value, unique_id)
        counts[value] = counts.get(value, 0) + 1
    most = sorted(counts, key=lambda value: (-counts[value], value))[:EXAMPLES_AT_MOST]
    examples = tuple(Example(unique_id=first[value], value=value, count=counts[value]) for value in most)
    return sum(counts.values()), examples


def calls_as_examples(streams: Sequence[Stream]) -> tuple[Example, ...]:
    return tuple(Example(unique_id=id_of(stream)) for stream in streams[:EXAMPLES_AT_MOST])


def id_of(stream: Stream) -> str:
    return next((seen.event.unique_id for seen in stream if seen.event.unique_id), "")


def has(stream: Stream, *event_types: str) -> bool:
    return any(seen.event.event_type in event_types for seen in stream)


def has_key(seen: Seen, key: str) -> bool:
    """Whether it was sent at all, in any case; empty is another thing."""
    return key in {name.lower() for name in seen.raw}


def records(stream: Stream) -> list[Seen]:
    """What the dialplan wrote of calls over a line: of a local context, type 2, it says nothing of a customer."""
    return [seen for seen in stream if is_record(seen.event)]


def is_record(event: CallEvent) -> bool:
    return event.event_type in ("start", "dial", "hangup") and event.call_type != 2
