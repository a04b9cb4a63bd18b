"""What `link_keys` reach is what `group` joins: an index that is filled event by event finds the same calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from random import Random

from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.linking import LinkKeys, group, link_keys


class Index:
    """
    Keeps what was grouped, and regroups what two steps of the keys lead to from each new event. As in the store, an
    event stays as it was read, whatever a group makes of it.
    """

    def __init__(self, directory: Directory) -> None:
        self.calls: dict[int, list[CallEvent]] = {}
        self._directory = directory
        self._events: dict[str, CallEvent] = {}
        self._call_of: dict[str, int] = {}
        self._keys: dict[str, LinkKeys] = {}
        self._exact: dict[str, set[str]] = defaultdict(set)
        self._weak: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
        self._made = 0

    def add(self, event: CallEvent) -> None:
        self._events[event.event_id] = event
        self._keys[event.event_id] = keys = link_keys(event, self._directory)
        near = self._found_by([event])
        near |= self._found_by([other for call in near for other in self.calls[call]])
        members = [event, *(other for call in near for other in self.calls.pop(call))]
        for grouped in group(members, self._directory):
            self._made += 1
            self.calls[self._made] = [self._events[member.event_id] for member in grouped]
            self._call_of |= {member.event_id: self._made for member in grouped}
        for key in keys.exact:
            self._exact[key].add(event.event_id)
        for key in keys.weak:
            self._weak[key].append((event.event_id, event.moment))

    def _found_by(self, events: Sequence[CallEvent]) -> set[int]:
        found: set[str] = set()
        for keys in (self._keys[event.event_id] for event in events):
            for key in keys.exact:
                found |= self._exact[key]
            for key, since, until in keys.sought:
                found |= {event_id for event_id, moment in self._weak[key] if since <= moment <= until}
        return {self._call_of[event_id] for event_id in found}


def difference(events: Sequence[CallEvent], directory: Directory, random: Random) -> str | None:
    """How the calls of an index that is filled in some order differ from those of all events at once."""
    index = Index(directory)
    for event in random.sample(list(events), len(events)):
        index.add(event)
    whole = _parts(group(random.sample(list(events), len(events)), directory))
    found = _parts(index.calls.values())
    if found == whole:
        return None
    return f"one by one {_named(found - whole)}, all at once {_named(whole - found)}"


def _parts(groups: object) -> set[frozenset[str]]:
    return {frozenset(event.event_id for event in members) for members in groups}  # type: ignore[attr-defined]


def _named(parts: set[frozenset[str]]) -> list[list[str]]:
    return sorted(sorted(part) for part in parts)
