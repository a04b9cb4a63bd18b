"""What a dialplan's record says of both ends of a call, where it names them by caller id alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.naming import named

_RECORDS: Final = ("start", "dial", "hangup")


def understood(event: CallEvent, directory: Directory) -> CallEvent:
    """The event in the enterprise's own names; the same object, where it has them already."""
    if event.event_type not in _RECORDS:
        return event
    event = named(event, directory)
    if not event.caller_id and not event.connected_line:
        return event
    if event.has_phone:
        return _with_caller(event, directory)
    return replace(event, has_phone=True, **_ends(event, event.extensions, directory))


def _with_caller(event: CallEvent, directory: Directory) -> CallEvent:
    """A `dial` that has its number, and says only by its caller id that it is an outgoing one, or whose."""
    if event.event_type != "dial" or event.call_type not in (None, 1) or not directory.is_extension(event.caller_id):
        return event
    if directory.outside(event.phone) is None:
        return event
    silent = not any(directory.is_extension(name) or directory.valid_number(name) for name in event.extensions)
    extensions = (*event.extensions, event.caller_id) if silent else event.extensions
    return replace(event, call_type=1, extensions=extensions)


def _ends(event: CallEvent, extensions: Sequence[str], directory: Directory) -> dict[str, Any]:
    """
    The external number is the caller's or the one called, by the direction, which the caller shows where no type does.
    An internal caller stands in where no extension is named.
    """
    call_type = _type(event, directory)
    own = event.caller_id if directory.is_extension(event.caller_id) else None
    phone = event.caller_id
    if call_type == 1 or (call_type == 2 and own is not None):
        called = [name for name in (event.connected_line, *extensions) if not directory.is_own_line(name)]
        phone = next((number for number in called if directory.outside(number)), event.connected_line or phone)
    if call_type == 1 and own is not None and not any(directory.is_extension(name) for name in extensions):
        extensions = [*(name for name in extensions if name != phone), own]
    return {"call_type": call_type, "phone": phone, "extensions": tuple(extensions)}


def _type(event: CallEvent, directory: Directory) -> int | None:
    if event.event_type == "start":
        return 0
    if event.call_type is not None:
        return event.call_type
    if directory.is_extension(event.caller_id):
        return 1
    if directory.is_own_line(event.caller_id):
        return None
    return 0 if directory.outside(event.caller_id) else None
