"""The link keys of an event, by which an index finds the other events of its call (see `linking`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from lib.calls.channels import channel_named
from lib.calls.directory import Directory
from lib.calls.event import CHANNEL_EVENTS, CallEvent
from lib.calls.legs import (
    NEAR,
    extensions_shown,
    is_line,
    is_local,
    is_main_hangup,
    is_outgoing_record,
    named_customers,
    named_extensions,
    other_party,
)
from lib.calls.records import understood

LONGEST_CALL: Final = timedelta(hours=4)
LONGEST_RINGING: Final = timedelta(minutes=10)
LOCAL_NAMES_LAST: Final = timedelta(hours=1)


class Sought(NamedTuple):
    """A weak key that matters if it was stored for a moment within this span, both ends included."""

    key: str
    since: datetime
    until: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkKeys:
    """
    `exact`: stored and looked up, whatever the time. `weak`: stored with `CallEvent.moment`. `sought`: looked up
    among the weak keys of others. The two sides of a weak key differ (`c<…` a call of this customer, `c>…` something
    that such a call may own), so that a thousand calls that only resemble each other do not find each other.
    """

    exact: frozenset[str]
    weak: frozenset[str]
    sought: frozenset[Sought]


def link_keys(event: CallEvent, directory: Directory) -> LinkKeys:
    return keys_of(understood(event, directory), directory)


def keys_of(event: CallEvent, directory: Directory) -> LinkKeys:
    """Of an event that is understood already."""
    exact = {f"u:{event.sent_id}"} if event.unique_id else set()
    if event.bridge_id:
        exact.add(f"b:{event.bridge_id}")
    weak = set(_weak_keys(event, directory))
    return LinkKeys(
        exact=frozenset(exact), weak=frozenset(weak), sought=frozenset(_sought(key, event.moment) for key in weak)
    )


# What a side of a weak key seeks: its other side, this long before and after itself.
SPANS: Final = {
    # rule 3: the halves of one Local channel seek each other
    "l:": ("l:", LOCAL_NAMES_LAST, LOCAL_NAMES_LAST),
    # rules 4 and 6 to 8: a call of a customer; a leg or channel that names the customer
    "c<": ("c>", NEAR, LONGEST_CALL),
    "c>": ("c<", LONGEST_CALL, NEAR),
    # rule 4: a call that rings a mobile; a leg to it that does not name its customer
    "m<": ("m>", NEAR, LONGEST_RINGING),
    "m>": ("m<", LONGEST_RINGING, NEAR),
    # rule 5: a call in which the extension was bridged; a follow-me leg in the name of the extension
    "e<": ("e>", NEAR, LONGEST_CALL),
    "e>": ("e<", LONGEST_CALL, NEAR),
    # rule 5a: a dial that rings the extension; a leg to its person's own phone, or on a Local channel in its name
    "r<": ("r>", NEAR, LONGEST_RINGING),
    "r>": ("r<", LONGEST_RINGING, NEAR),
    # rule 6: a dial of the extension; its own leg with a party that is not known
    "x<": ("x>", NEAR, NEAR),
    "x>": ("x<", NEAR, NEAR),
}


def _sought(key: str, moment: datetime) -> Sought:
    other, before, after = SPANS[key[:2]]
    return Sought(other + key[2:], moment - before, moment + after)


def _weak_keys(event: CallEvent, directory: Directory) -> Iterator[str]:
    customer = directory.outside(event.phone)
    kind = event.event_type
    if is_outgoing_record(event):
        yield from _outgoing_keys(event, customer, directory)
    elif kind in ("start", "dial") or is_main_hangup(event):
        if customer:
            yield f"c<{customer}"
        yield from _ringing_keys(event, directory) if kind == "dial" else ()
    elif kind == "hangup":
        yield from _secondary_hangup_keys(event, customer, directory)
    elif kind in CHANNEL_EVENTS:
        yield from _channel_keys(event, directory)
    if is_local(event):
        yield f"l:{channel_named(event.channel).pair}"


def _ringing_keys(event: CallEvent, directory: Directory) -> Iterator[str]:
    yield from (f"m<{mobile}" for mobile in named_customers(event, directory))
    yield from (f"r<{extension}" for extension in named_extensions(event, directory))


def _secondary_hangup_keys(event: CallEvent, customer: str | None, directory: Directory) -> Iterator[str]:
    extensions = named_extensions(event, directory)
    if customer:
        yield f"c>{customer}"
    elif len(extensions) == 1 and event.phone in ("", extensions[0]):
        yield f"x>{extensions[0]}"


def _outgoing_keys(event: CallEvent, number: str | None, directory: Directory) -> Iterator[str]:
    extensions = named_extensions(event, directory)
    customers = named_customers(event, directory)
    if number and not customers:
        yield f"c<{number}"
    owner = directory.mobile_person(event.phone)
    for extension in extensions:
        yield f"x<{extension}"
        if owner is not None:
            yield f"e>{extension}"
    if owner is not None and (owner in extensions or not extensions):
        yield f"r>{owner}"
    if not extensions:
        yield from (f"c>{customer}" for customer in customers)
        if number and not customers:
            yield f"m>{number}"


def _channel_keys(event: CallEvent, directory: Directory) -> Iterator[str]:
    extensions = extensions_shown(event, directory)
    if extensions:
        for extension in extensions:
            yield from _phone_keys(event, extension, directory)
    elif event.event_type == "bridge_leave":
        return
    elif is_local(event):
        yield from _local_keys(event, directory)
    elif is_line(event, directory) and directory.is_extension(event.connected_line):
        caller = directory.outside(event.caller_id)
        if caller:
            yield f"c>{caller}"


def _local_keys(event: CallEvent, directory: Directory) -> Iterator[str]:
    """
    The half that runs the dialplan, and so dials, bears the name of whom it does it for: of an extension, or of the
    customer. Named after an extension it is a consultation, which shows itself by its bridges.
    """
    channel = channel_named(event.channel)
    if channel.half == "1" or directory.is_extension(channel.peer):
        return
    if directory.is_extension(event.caller_id):
        yield f"e>{event.caller_id}"
        yield f"r>{event.caller_id}"
    elif customer := directory.outside(event.caller_id):
        yield f"c>{customer}"


def _phone_keys(event: CallEvent, extension: str, directory: Directory) -> Iterator[str]:
    if event.event_type != "new_callerid":
        yield f"e<{extension}"
    if event.event_type == "bridge":
        party = other_party(event, directory)
        if party:
            yield f"c>{party}"
        elif not event.connected_line:
            yield f"x>{extension}"
