"""The roles in one group of events: the main id, the direction, the customer, the line, and the legs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from lib.calls import numbers
from lib.calls.channels import channel_named
from lib.calls.conversation import ChannelKey
from lib.calls.directory import Directory, Line
from lib.calls.event import CHANNEL_EVENTS, CallEvent
from lib.calls.legs import Outgoing, bridged_telephones, follows, is_main_hangup, outgoing_records
from lib.calls.telephones import Telephones, of_the_caller, telephones

Kind = Literal["in", "out", "internal", "unknown"]
LegRole = Literal["mobile", "follow_me", "manager", "consultation"]

_KIND_OF_TYPE: Final[Mapping[int | None, Kind]] = {0: "in", 1: "out"}
_OPENING: Final = ("start", "dial")


@dataclass(frozen=True, kw_only=True)
class Roles:
    main_id: str
    kind: Kind
    customer: str | None
    line: Line | None
    line_id: str | None
    legs: Mapping[str, LegRole]
    outgoing: Mapping[str, Outgoing]
    by_id: Mapping[str, Sequence[CallEvent]]
    telephones: Telephones

    @cached_property
    def main_events(self) -> list[CallEvent]:
        return list(self.by_id.get(self.main_id, ()))

    @property
    def has_records(self) -> bool:
        """Whether a dialplan wrote a record of the call; otherwise there are only channels."""
        return any(event.event_type in ("start", "dial", "hangup") for event in self.main_events)

    @cached_property
    def main_dials(self) -> list[CallEvent]:
        return [event for event in self.main_events if event.event_type == "dial"]

    @cached_property
    def main_hangup(self) -> CallEvent | None:
        """The first hangup of the main id: recovery repeats hangups."""
        return next((event for event in self.main_events if event.event_type == "hangup"), None)

    @cached_property
    def hangups(self) -> Mapping[str, Sequence[CallEvent]]:
        """By id."""
        found: dict[str, list[CallEvent]] = defaultdict(list)
        for unique_id, events in self.by_id.items():
            found[unique_id] += (event for event in events if event.event_type == "hangup")
        return found


def roles(events: Sequence[CallEvent], directory: Directory) -> Roles:
    by_id: dict[str, list[CallEvent]] = defaultdict(list)
    for event in events:
        if event.unique_id:
            by_id[event.unique_id].append(event)
    outgoing = {record.unique_id: record for record in outgoing_records(by_id, directory)}
    legs = _outgoing_legs(events, by_id, outgoing, directory)
    main_id = _main_id(by_id, outgoing, legs)
    main_events = by_id.get(main_id, [])
    kind = _kind(main_events, legs, main_id, directory)
    line_id = _line_id(main_events, kind)
    line = directory.lines.get(line_id) if line_id else None
    phones = telephones(events, directory)
    if kind == "out":
        dials = [event for event in main_events if event.event_type == "dial"]
        phones = of_the_caller(phones, main_id, dials, _shown(events))
    return Roles(
        main_id=main_id,
        kind=kind,
        customer=_customer(main_events, kind, directory) if kind in ("in", "out") else None,
        line=line,
        line_id=line_id,
        legs=legs | _other_legs(by_id, main_id, legs, phones),
        outgoing=outgoing,
        by_id=by_id,
        telephones=phones,
    )


def _outgoing_legs(
    events: Sequence[CallEvent],
    by_id: Mapping[str, Sequence[CallEvent]],
    outgoing: Mapping[str, Outgoing],
    directory: Directory,
) -> dict[str, LegRole]:
    """In an incoming call every record of type 1 is a leg's; elsewhere it must look like one."""
    incoming = {event.unique_id for event in events if _opens_incoming(event)}
    bridged = bridged_telephones(events, directory)
    opened = {unique_id for unique_id, members in by_id.items() if _has_opening(members)}
    legs: dict[str, LegRole] = {}
    for unique_id, record in outgoing.items():
        if unique_id in incoming:
            continue
        if record.certainly_a_leg or (incoming and not record.extensions):
            legs[unique_id] = "mobile"
        elif incoming or (record.like_follow_me_leg and _follows_another(record, bridged, opened, directory)):
            legs[unique_id] = "follow_me"
    return legs


def _follows_another(
    record: Outgoing,
    bridged: Mapping[str, Sequence[CallEvent]],
    opened: Collection[str],
    directory: Directory,
) -> bool:
    """`bridged`: entries into bridges and leaves, by extension; `opened`: ids with a start or dial of their own."""
    others = [event for extension in record.extensions for event in bridged.get(extension, ()) if event.unique_id]
    return any(follows(record, [event], own_call=event.unique_id in opened, directory=directory) for event in others)


def _opens_incoming(event: CallEvent) -> bool:
    """Also a hangup, where the rest was lost; a department's has type 0 as well, but no start."""
    if event.event_type == "hangup":
        return event.call_type == 0 and event.start_time is not None
    return event.event_type == "start" or (event.event_type == "dial" and event.call_type == 0)


def _has_opening(events: Iterable[CallEvent]) -> bool:
    return any(event.event_type in _OPENING for event in events)


def _main_id(
    by_id: Mapping[str, Sequence[CallEvent]], outgoing: Mapping[str, Outgoing], legs: Mapping[str, LegRole]
) -> str:
    """
    The id of the `start`, or of the first `dial`; else of the hangup of type 0 or 1, else the smallest. Where events
    were lost, evidence for a call's own channel ranks before evidence that may be a leg's.
    """

    def rank(unique_id: str) -> int:
        events = by_id[unique_id]
        dials = {event.call_type for event in events if event.event_type == "dial"}
        hangups = [event for event in events if event.event_type == "hangup"]
        calls_out = unique_id in outgoing and unique_id not in legs
        ranks = (
            any(event.event_type == "start" for event in events),
            bool(dials & {0, None}),
            calls_out and outgoing[unique_id].dialled,
            calls_out or any(is_main_hangup(event) and event.call_type != 1 for event in hangups),
            bool(dials - {1}),
            bool(hangups) and unique_id not in legs,
        )
        return next((rank for rank, holds in enumerate(ranks) if holds), len(ranks))

    return min(by_id, key=lambda unique_id: (rank(unique_id), _age(unique_id, by_id)), default="")


def _age(unique_id: str, by_id: Mapping[str, Sequence[CallEvent]]) -> tuple[float, int, str]:
    """Ids of one host in the order in which they were made."""
    sequence = unique_id.rpartition(".")[2]
    number = int(sequence) if sequence.isascii() and sequence.isdecimal() and len(sequence) < 12 else 0
    return by_id[unique_id][0].moment.timestamp(), number, unique_id


def _kind(main_events: Sequence[CallEvent], legs: Mapping[str, LegRole], main_id: str, directory: Directory) -> Kind:
    records = [event for event in main_events if event.event_type in ("start", "dial", "hangup")]
    if not records or main_id in legs:
        return "unknown"
    if _is_internal(records, directory):
        return "internal"
    first = next((event for event in records if event.event_type in _OPENING), records[0])
    if first.event_type == "start":
        return "in"
    return _KIND_OF_TYPE.get(first.call_type) or _by_who_is_internal(first, directory)


def _is_internal(records: Sequence[CallEvent], directory: Directory) -> bool:
    """
    A property of both ends. The other end is written in the same fields for every type of record, so a short number
    there is internal only if it is one of the internal phones, or where no line took part.
    """
    if any(directory.outside(event.phone) for event in records):
        return False
    near = [event for event in records if event.phone]
    if not near or any(not _is_internal_party(event, directory) for event in near):
        return False
    return all(directory.is_extension(name) for event in records for name in event.extensions)


def _is_internal_party(event: CallEvent, directory: Directory) -> bool:
    if directory.knows(event.phone):
        return True
    return directory.is_extension(event.phone) and (event.call_type == 2 or not event.trunk)


def _by_who_is_internal(event: CallEvent, directory: Directory) -> Kind:
    """A record of type 2, or of none: an internal caller with an external number dialled out."""
    if not directory.outside(event.phone) and not directory.outside(event.caller_id):
        return "unknown"
    if event.caller_id and directory.is_extension(event.caller_id) and directory.outside(event.phone):
        return "out"
    return "in"


def _line_id(main_events: Sequence[CallEvent], kind: Kind) -> str | None:
    """The first inbound or the last outbound trunk; a leg's trunk is not the call's."""
    opening = [event.trunk for event in main_events if event.event_type in _OPENING and event.trunk]
    closing = [event.trunk for event in main_events if event.event_type == "hangup" and event.trunk]
    known = [*closing, *reversed(opening)] if kind == "out" else [*opening, *closing]
    return next(iter(known), None)


def _customer(main_events: Sequence[CallEvent], kind: Kind, directory: Directory) -> str | None:
    """The first valid external number of `start` and `dial`, in E.164; of the hangup, where it came alone."""
    opening = [event for event in main_events if event.event_type in _OPENING]
    closing = [event for event in main_events if event.event_type == "hangup"]
    for event in (*opening, *closing):
        if not event.phone or event.phone == event.trunk:
            continue
        line = directory.lines.get(event.trunk) if kind == "in" else None
        number = numbers.normalize(event.phone, directory, line=line)
        if number is not None and not directory.is_own_line(number):
            return number
    return None


def _other_legs(
    by_id: Mapping[str, Sequence[CallEvent]], main_id: str, legs: Mapping[str, LegRole], phones: Telephones
) -> dict[str, LegRole]:
    """Records of other channels of the call: their hangups end nothing."""
    found: dict[str, LegRole] = {}
    for unique_id, events in by_id.items():
        if unique_id == main_id or unique_id in legs:
            continue
        if any(event.event_type == "hangup" for event in events):
            on_phone = any(ChannelKey(unique_id, event.channel) in phones.at for event in events)
            found[unique_id] = "manager" if on_phone else "consultation"
    return found


def customer_channels(found: Roles, events: Sequence[CallEvent], directory: Directory) -> frozenset[ChannelKey]:
    """
    Incoming: the channel of the main id. Outgoing: the line's channel with the customer's number; where the host
    does not give that number, the line's channels that have nobody's.
    """
    shown = _shown(events)
    if found.kind == "in":
        own = frozenset(key for key in shown if key.unique_id == found.main_id)
        return frozenset(key for key in own if key not in found.telephones.at) or own
    callers = _callers_of_lines(found, shown, directory)
    number = directory.outside(found.customer or "")
    named = frozenset(key for key, caller in callers.items() if caller == number)
    return named or frozenset(key for key, caller in callers.items() if caller is None)


def _callers_of_lines(
    found: Roles, shown: Mapping[ChannelKey, CallEvent], directory: Directory
) -> dict[ChannelKey, str | None]:
    """The lines' channels beside the main one, each with the outside number that it shows as its caller."""
    return {
        key: directory.outside(event.caller_id)
        for key, event in shown.items()
        if key.unique_id != found.main_id and key not in found.telephones.at
        if key.channel or directory.outside(event.caller_id)
    }


def _shown(events: Sequence[CallEvent]) -> dict[ChannelKey, CallEvent]:
    """Real channels, each with the event that first shows it; older hosts give no names."""
    shown: dict[ChannelKey, CallEvent] = {}
    for event in events:
        if event.event_type in CHANNEL_EVENTS and event.unique_id and not channel_named(event.channel).is_local:
            shown.setdefault(ChannelKey(event.unique_id, event.channel), event)
    return shown
