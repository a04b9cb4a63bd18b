"""
Records of type 1 are written for every outgoing Dial: a manager's call, and also the leg to a mobile that rings
for somebody else's call. This module tells them apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lib.calls.channels import channel_named
from lib.calls.directory import Directory
from lib.calls.event import CallEvent

NEAR: Final = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """
    What the `dial`s and `hangup`s of type 1 on one channel say. `number` and `customers` are external numbers as
    `Directory.outside` spells them; `customers` stand where a caller's extension would. `local_callers`: the caller ids
    of the Local channel that shows the leg. `owner`: the extension of the person whose own phone is dialled.
    """

    unique_id: str
    number: str | None
    extensions: tuple[str, ...]
    customers: frozenset[str]
    owner: str | None
    on_phone: bool
    on_local: bool
    local_callers: tuple[str, ...]
    dialled: bool
    moment: datetime

    @property
    def like_mobile_leg(self) -> bool:
        """Rule 4, seen from the leg: the customer's number, or nothing, in place of an extension."""
        return not self.on_phone and self.number is not None and not self.extensions

    @property
    def like_follow_me_leg(self) -> bool:
        """Rule 5, seen from the leg. A real outgoing call starts on the channel of a telephone."""
        return not self.on_phone and bool(self.extensions) and (self.owner is not None or self.on_local)

    def forwarded_by(self, customers: Collection[str], rung: Collection[str], directory: Directory) -> frozenset[str]:
        """
        Rule 5a, seen from the leg: which of the telephones that ring for these customers may have forwarded. The
        extension is the one in its `Extensions`, else the caller id of its Local channel, else the owner of the phone.
        """
        if self.on_phone or self.number is None:
            return frozenset()
        if self.extensions:
            return frozenset(name for name in self.extensions if name in rung and (self.on_local or name == self.owner))
        callers = [name for name in self.local_callers if directory.is_extension(name)]
        if callers:
            return frozenset(callers) & frozenset(rung)
        if any(directory.outside(name) in customers for name in self.local_callers):
            return frozenset(rung)
        return frozenset(name for name in rung if name == self.owner)

    @property
    def certainly_a_leg(self) -> bool:
        """Even where its call is not to be found: a customer does not dial out through the enterprise."""
        return self.like_mobile_leg and bool(self.customers)


def outgoing_records(by_id: Mapping[str, Sequence[CallEvent]], directory: Directory) -> list[Outgoing]:
    found = (_outgoing(unique_id, events, directory) for unique_id, events in sorted(by_id.items()))
    return [record for record in found if record is not None]


def _outgoing(unique_id: str, events: Sequence[CallEvent], directory: Directory) -> Outgoing | None:
    records = [event for event in events if is_outgoing_record(event)]
    if not unique_id or not records:
        return None
    number = next((number for event in records if (number := directory.outside(event.phone))), None)
    owners = (directory.mobile_person(event.phone) for event in records)
    extensions = dict.fromkeys(name for event in records for name in named_extensions(event, directory))
    return Outgoing(
        unique_id=unique_id,
        number=number,
        extensions=tuple(extensions),
        customers=frozenset(name for event in records for name in named_customers(event, directory)) - {number},
        owner=next((owner for owner in owners if owner is not None), None),
        on_phone=any(extension_shown(event, directory) is not None for event in events),
        on_local=any(is_local(event) for event in events),
        local_callers=tuple(dict.fromkeys(event.caller_id for event in events if is_local(event) and event.caller_id)),
        dialled=any(event.event_type == "dial" for event in records),
        moment=records[0].moment,
    )


def is_outgoing_record(event: CallEvent) -> bool:
    return event.call_type == 1 and event.event_type in ("dial", "hangup")


def is_local(event: CallEvent) -> bool:
    return channel_named(event.channel).is_local


def extension_shown(event: CallEvent, directory: Directory) -> str | None:
    """
    The extension whose telephone this channel is, by this event alone: `SIP/<extension>-…`. A peer that is neither a
    known extension nor a line, such as a second device, gives way to the caller id of its channel.
    """
    channel = channel_named(event.channel)
    peer = channel.peer
    if channel.is_local or not channel.technology or (peer in directory.lines and not directory.knows(peer)):
        return None
    if directory.knows(peer):
        return peer
    if directory.knows(event.caller_id):
        return event.caller_id
    if directory.knows(extension := directory.extension_named(peer)) and not is_strangers(event, directory):
        return extension
    return peer if directory.is_extension(peer) else None


def is_strangers(event: CallEvent, directory: Directory) -> bool:
    """Its caller is somebody outside, and not the enterprise itself, whose number often replaces a telephone's own."""
    return directory.outside(event.caller_id) is not None and not directory.is_own_line(event.caller_id)


def extensions_shown(event: CallEvent, directory: Directory) -> tuple[str, ...]:
    """The same, and the number of the device itself, by which a dialplan may name it as well."""
    extension = extension_shown(event, directory)
    if extension is None:
        return ()
    peer = channel_named(event.channel).peer
    return (extension, peer) if peer != extension and directory.is_extension(peer) else (extension,)


def is_line(event: CallEvent, directory: Directory) -> bool:
    channel = channel_named(event.channel)
    return bool(channel.technology) and not channel.is_local and extension_shown(event, directory) is None


def named_extensions(event: CallEvent, directory: Directory) -> list[str]:
    return [name for name in event.extensions if directory.is_extension(name) and name != event.trunk]


def named_customers(event: CallEvent, directory: Directory) -> list[str]:
    """
    External numbers among the extensions; over SIP lines the line itself stands there. Only valid ones: `912151` is
    the second device of 2151.
    """
    names = (name for name in event.extensions if name != event.trunk and not directory.is_own_line(name))
    return [number for name in names if (number := directory.valid_number(name))]


def other_party(event: CallEvent, directory: Directory) -> str | None:
    """Whom a desk phone's channel talks to: the connected line, else the number that it dialled."""
    return directory.outside(event.connected_line) or (
        directory.outside(event.exten) if not event.connected_line else None
    )


def is_main_hangup(event: CallEvent) -> bool:
    """Records of consultations and of a manager's own leg have type 2, and neither a start nor a line."""
    return event.event_type == "hangup" and (
        event.call_type in (0, 1) or event.start_time is not None or bool(event.trunk)
    )


def is_clicked(record: Outgoing, bridges: Iterable[CallEvent], directory: Directory) -> bool:
    """The caller's own telephone was put through to this very number first: click-to-call, whatever rings now."""
    return record.number is not None and any(
        event.event_type == "bridge"
        and not set(record.extensions).isdisjoint(extensions_shown(event, directory))
        and other_party(event, directory) == record.number
        and abs(event.moment - record.moment) <= NEAR
        for event in bridges
    )


def bridged_telephones(events: Iterable[CallEvent], directory: Directory) -> dict[str, list[CallEvent]]:
    """By the extensions that a channel shows: its entries into bridges, and its leaves."""
    found: dict[str, list[CallEvent]] = defaultdict(list)
    for event in events:
        if event.event_type in ("bridge", "bridge_leave"):
            for extension in extensions_shown(event, directory):
                found[extension].append(event)
    return found


def follows(leg: Outgoing, bridges: Iterable[CallEvent], *, own_call: bool, directory: Directory) -> list[CallEvent]:
    """
    Rule 5, seen from the other call: where the telephone that stands in the leg's `Extensions` was bridged. The
    manager's own leg of a click-to-call to the same number is not another call: its other party is that number, or
    unknown (`own_call`: the bridges belong to a call with a start or dial of its own; unknown then says nothing).
    """
    found = []
    for event in bridges:
        if event.event_type not in ("bridge", "bridge_leave") or event.unique_id == leg.unique_id:
            continue
        if set(leg.extensions).isdisjoint(extensions_shown(event, directory)):
            continue
        party = other_party(event, directory)
        if party == leg.number or (party is None and not own_call and not event.connected_line):
            continue
        found.append(event)
    return found
