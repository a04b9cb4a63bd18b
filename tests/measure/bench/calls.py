"""The calls of the load: what their hosts post, and when."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.harness.enterprises import TOKEN

Event = tuple[str, Mapping[str, Any]]

GAP_SECONDS: Final = 2.0
_ZONE: Final = timedelta(hours=3)  # Europe/Minsk
_LINE: Final = "0001301"
_EXTENSIONS: Final = ("150", "151", "152", "153")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """`events_of`: what is posted about the call of an index that begins at a time since the epoch."""

    name: str
    size: int
    events_of: Callable[[int, float], Sequence[Event]]

    @property
    def span_seconds(self) -> float:
        return (self.size - 1) * GAP_SECONDS


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """
    `events`: with the seconds from the begin, in order. Between `full_from` and `full_until` the rate is the wanted
    one; before, the first calls come up to it, and after, the last ones end.
    """

    events: Sequence[tuple[float, Event]]
    full_from: float
    full_until: float


def schedule(profile: Profile, *, per_second: float, seconds: float, first: int, begin: float) -> Schedule:
    """Calls that begin evenly; `per_second` events in all while the rate is full, for `seconds`."""
    span = profile.span_seconds
    calls_per_second = per_second / profile.size
    events = []
    for number in range(round((seconds + span) * calls_per_second)):
        at = number / calls_per_second
        told = profile.events_of(first + number, begin + at)
        events += [(at + index * GAP_SECONDS, event) for index, event in enumerate(told)]
    events.sort(key=lambda item: item[0])
    return Schedule(events=events, full_from=span, full_until=span + seconds)


def endless_dials(first: int, begin: float) -> Iterator[Event]:
    """Of ever new calls: each is something that the CRM must hear."""
    index = first
    while True:
        yield missed(index, begin)[1]
        index += 1


def phone_of(index: int) -> str:
    return f"37529{index % 10**7:07d}"


def missed(index: int, begin: float) -> list[Event]:
    """Nobody answers: start, dial, hangup."""
    common = _common(index, begin)
    phone = common["Phone"]
    ends = {"StartTime": _local(begin), "DateReceived": _local(begin), "EndTime": _local(begin + 2 * GAP_SECONDS)}
    return [
        ("/start", common),
        ("/dial", {**common, "Extensions": list(_EXTENSIONS[:2]), "ExtTrunk": "", "ExtPhone": phone}),
        ("/hangup", {**common, "Extensions": [""], "CallStatus": "0", **ends}),
    ]


def answered(index: int, begin: float) -> list[Event]:
    """The usual call, answered by one of those who are rung: the events of scenario 2-1-doc."""
    common = _common(index, begin)
    phone, extension = common["Phone"], _EXTENSIONS[index % len(_EXTENSIONS)]
    bridge = {"Token": TOKEN, "BridgeUniqueid": str(uuid.uuid5(uuid.NAMESPACE_OID, common["UniqueId"]))}
    customer = {
        "Channel": f"SIP/{_LINE}-{2 * index:08x}",
        "UniqueId": common["UniqueId"],
        "CallerIDName": f"-{phone}",
        "CallerIDNum": phone,
    }
    manager = {
        "Channel": f"SIP/{extension}-{2 * index + 1:08x}",
        "UniqueId": f"{int(begin + 3 * GAP_SECONDS)}.{index + 10**7}",
        "CallerIDName": "",
        "CallerIDNum": extension,
    }
    unknown = {"ConnectedLineNum": "<unknown>", "ConnectedLineName": "<unknown>"}
    ends = {"StartTime": _local(begin), "DateReceived": _local(begin), "EndTime": _local(begin + 6 * GAP_SECONDS)}
    return [
        ("/start", common),
        ("/new_callerid", {"Token": TOKEN, **customer, **unknown, "Exten": _LINE, "Context": "from-out-office"}),
        ("/dial", {**common, "Extensions": list(_EXTENSIONS), "ExtTrunk": "", "ExtPhone": phone}),
        (
            "/bridge_create",
            {
                **bridge,
                "BridgeType": "",
                "UniqueId": "",
                "BridgeCreator": "<unknown>",
                "BridgeName": "<unknown>",
                "BridgeNumChannels": "0",
                "BridgeTechnology": "simple_bridge",
            },
        ),
        ("/bridge", {**bridge, **manager, "ConnectedLineNum": phone, "ConnectedLineName": f"-{phone}", "Exten": ""}),
        (
            "/bridge",
            {**bridge, **customer, "ConnectedLineNum": extension, "ConnectedLineName": extension, "Exten": ""},
        ),
        ("/hangup", {**common, "Extensions": [extension], "CallStatus": "2", "ExternalInitiated": True, **ends}),
    ]


PROFILES: Final = {
    3: Profile(name="start, dial, hangup", size=3, events_of=missed),
    7: Profile(name="seven events of an answered call", size=7, events_of=answered),
}


def _common(index: int, begin: float) -> dict[str, Any]:
    return {
        "Token": TOKEN,
        "UniqueId": f"{int(begin)}.{index}",
        "Phone": phone_of(index),
        "CallType": 0,
        "Trunk": _LINE,
    }


def _local(moment: float) -> str:
    return (datetime.fromtimestamp(moment, UTC) + _ZONE).strftime("%Y-%m-%d %H:%M:%S")
