"""What an event calls by another name than the enterprise does: extensions behind a prefix, lines without zeros."""

from __future__ import annotations

from dataclasses import replace

from lib.calls.directory import Directory
from lib.calls.event import CallEvent


def named(event: CallEvent, directory: Directory) -> CallEvent:
    """The event with the enterprise's names in `extensions` and `trunk`; the same object, where it has them already."""
    if not event.trunk and not event.extensions:
        return event
    trunk = directory.line_named(event.trunk)
    phone = trunk if event.phone == event.trunk else event.phone
    extensions = tuple(
        dict.fromkeys(trunk if name == event.trunk else directory.extension_named(name) for name in event.extensions)
    )
    if (trunk, extensions) == (event.trunk, event.extensions):
        return event
    return replace(event, trunk=trunk, phone=phone, extensions=extensions)
