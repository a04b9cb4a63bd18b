"""The facts that the events of one group show, before any conclusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from lib.calls.conversation import ChannelKey, Conversation, Stay, conversation
from lib.calls.directory import Directory
from lib.calls.event import CallEvent, in_order
from lib.calls.records import understood
from lib.calls.roles import Roles, customer_channels, roles

_COPIES_COME_WITHIN: Final = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """`events` in order; `customer`: the customer's channels; `copies`: the ids of events that say nothing new."""

    events: Sequence[CallEvent]
    directory: Directory
    roles: Roles
    conversation: Conversation
    customer: frozenset[ChannelKey]
    copies: frozenset[str]

    @cached_property
    def stays(self) -> list[Stay]:
        """The customer's."""
        return self.conversation.of(self.customer)

    @cached_property
    def last_news(self) -> CallEvent:
        """Copies do not count: they must not extend a wait for silence."""
        news = [event for event in self.events if event.event_id not in self.copies]
        return (news or self.events)[-1]

    @property
    def last_news_at(self) -> datetime:
        return self.last_news.received_at


def picture(events: Sequence[CallEvent], directory: Directory) -> Picture:
    ordered = [understood(event, directory) for event in in_order(events)]
    found = roles(ordered, directory)
    talking = conversation(ordered, directory)
    return Picture(
        events=ordered,
        directory=directory,
        roles=found,
        conversation=talking,
        customer=customer_channels(found, ordered, directory) if found.customer else frozenset(),
        copies=_copies(ordered) | _started_again(ordered, directory) | talking.copies,
    )


def _copies(events: Sequence[CallEvent]) -> frozenset[str]:
    """Of records that change no channel: the same type and body within seconds; of a hangup, at any time."""
    seen: dict[tuple[str, str, str], datetime] = {}
    copies = set()
    for event in events:
        if event.event_type in ("bridge", "bridge_leave"):
            continue
        key = (event.event_type, event.unique_id, event.fingerprint)
        before = seen.get(key)
        if before is not None and (event.event_type == "hangup" or event.received_at - before <= _COPIES_COME_WITHIN):
            copies.add(event.event_id)
        else:
            seen[key] = event.received_at
    return frozenset(copies)


def _started_again(events: Sequence[CallEvent], directory: Directory) -> frozenset[str]:
    """A `start` with the same customer, however late: with another one it would be another call's."""
    seen: set[tuple[str, str]] = set()
    copies = set()
    for event in events:
        if event.event_type == "start":
            key = (event.unique_id, directory.outside(event.phone) or event.phone)
            if key in seen:
                copies.add(event.event_id)
            seen.add(key)
    return frozenset(copies)
