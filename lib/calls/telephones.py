"""Whose telephone each channel of a call is, and whom a device's own number stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lib.calls.channels import channel_named
from lib.calls.conversation import ChannelKey
from lib.calls.directory import Directory
from lib.calls.event import CHANNEL_EVENTS, CallEvent
from lib.calls.legs import extension_shown, is_strangers


@dataclass(frozen=True, kw_only=True)
class Telephones:
    """`at`: the extension at a channel; `devices`: the known extension behind a number that is none, `91151`."""

    directory: Directory
    at: Mapping[ChannelKey, str] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)

    def extension(self, name: str) -> str:
        return self.devices.get(name, name)

    def person(self, name: str) -> str | None:
        """The extension of the person at this number, as `Directory.person`."""
        return self.directory.person(self.extension(name))


def telephones(events: Iterable[CallEvent], directory: Directory) -> Telephones:
    """The first caller id that is a known extension counts: a transfer overwrites it later."""
    at: dict[ChannelKey, str] = {}
    strangers: set[ChannelKey] = set()
    devices: dict[str, str] = {}
    for event in events:
        if event.event_type not in CHANNEL_EVENTS or not event.channel:
            continue
        key = ChannelKey(event.unique_id, event.channel)
        if key in strangers or directory.knows(at.get(key, "")):
            continue
        extension = extension_shown(event, directory)
        if extension is None:
            if is_strangers(event, directory):
                strangers.add(key)
            continue
        at[key] = extension
        peer = channel_named(event.channel).peer
        if peer != extension:
            devices[peer] = extension
    return Telephones(directory=directory, at=at, devices=devices)


def of_the_caller(
    found: Telephones, main_id: str, dials: Sequence[CallEvent], shown: Iterable[ChannelKey]
) -> Telephones:
    """The same for an outgoing call, whose main channel is the telephone that its `dial` names, whatever its peer."""
    directory = found.directory
    names = [name for dial in dials for name in dial.extensions if name and name != dial.trunk]
    own = [key for key in shown if key.unique_id == main_id and not channel_named(key.channel).is_local]
    known = [caller for key in own if directory.knows(caller := found.at.get(key, ""))]
    callers = (name for name in names if directory.is_extension(name))
    # The number of a device may be longer than any extension, and its name no number at all.
    devices_of_known = (name for name in names if known and not _is_elsewhere(name, directory))
    name = next(callers, None) or next(devices_of_known, None)
    if name is None or not own:
        return found
    devices = dict(found.devices)
    if not directory.knows(name) and name not in devices:
        devices[name] = known[0] if known else name
    extension = devices.get(name, name)
    return Telephones(directory=directory, at={**found.at, **dict.fromkeys(own, extension)}, devices=devices)


def _is_elsewhere(name: str, directory: Directory) -> bool:
    return name in directory.lines or directory.valid_number(name) is not None
