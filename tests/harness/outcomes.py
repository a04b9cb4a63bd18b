"""What the CRM was told about a call, held against what a scenario expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def differences(
    expected: Mapping[str, Any], events: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> list[str]:
    """In words, none when it is right; ranges of seconds are inclusive, null waiting means left out."""
    found: list[str] = []

    def same(name: str, is_: object, should: object) -> None:
        if is_ != should:
            found.append(f"{name} is {is_!r}, should be {should!r}")

    popups = [
        {"type": event["type"], "phone": event["phone"], "codes": sorted(event["codes"])}
        for event in events
        if event["type"] != "hangup"
    ]
    same("popups", popups, expected["popups"])
    hangups = [
        {"status": event["hangupStatus"], "codes": sorted(event["codes"])}
        for event in events
        if event["type"] == "hangup"
    ]
    same("hangups", hangups, [expected["hangup"]] if expected["hangup"] else [])
    same("number of rows", len(rows), 1 if expected["upload"] else 0)
    if rows and expected["upload"]:
        row, upload = rows[0], expected["upload"]
        for name, key in (
            ("type", "type"),
            ("phone", "phone"),
            ("result", "result"),
            ("code", "code"),
            ("userId", "user_id"),
            ("date", "date"),
            ("externalPhone", "external_phone"),
        ):
            same(name, row.get(name), upload[key])
        within(found, "duration", row.get("duration"), upload["duration"])
        within(found, "durationWaiting", row.get("durationWaiting"), upload["duration_waiting"])
    return found


def within(found: list[str], name: str, value: int | None, bounds: Sequence[int] | None) -> None:
    if bounds is None:
        if value is not None:
            found.append(f"{name} is {value}, should be left out")
    elif value is None or not bounds[0] <= value <= bounds[1]:
        found.append(f"{name} is {value}, should be {bounds[0]} to {bounds[1]}")
