"""
Plays call scenarios against a running stack, as a host would: `make call SCENARIO=2-1-doc`.

A scenario is moved to now: every epoch in a UniqueId and every local time by the same whole number of seconds.
Names that are unique on a host (channels, bridges) are changed for every play: otherwise two plays were one call.
"""

from __future__ import annotations

import http.client
import json
import math
import re
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

SCENARIOS: Final = Path(__file__).parent / "scenarios" / "scenarios.json"
SALTS: Final = 10_000

_HOST_TIMEOUT_SECONDS: Final = 3.0
_EPOCH: Final = re.compile(r"(?<!\d)1\d{9}(?!\d)")
_CHANNEL_ID: Final = re.compile(r"(\d{10})\.(\d+)")
_LOCAL_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d")
_CHANNEL_NAME: Final = re.compile(r"(.+-)([0-9a-f]{8})((?:;[12])?)")


@dataclass(frozen=True, kw_only=True)
class Event:
    """`at`: seconds after the epoch of the call's main UniqueId."""

    at: float
    endpoint: str
    body: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`epoch`: the origin of `at`. `expected`: what the CRM should be told, in the form of the scenarios."""

    id: str
    title: str
    epoch: float
    main_unique_id: str | None
    events: tuple[Event, ...]
    expected: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sent:
    """`status`: the HTTP status, 0 when there was no answer at all."""

    event: Event
    sent_at: float
    answered_at: float
    status: int


@dataclass(frozen=True, kw_only=True)
class Played:
    scenario: Scenario
    sent: tuple[Sent, ...]

    @property
    def rang_at(self) -> float | None:
        """When the first event that rings a phone was sent."""
        return next((sent.sent_at for sent in self.sent if sent.event.endpoint == "/dial"), None)

    @property
    def refused(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.status != 200]


def load(path: Path = SCENARIOS) -> dict[str, Scenario]:
    return {item["id"]: _read(item) for item in json.loads(path.read_text())["scenarios"]}


def _read(item: Mapping[str, Any]) -> Scenario:
    ids = [str(event["body"].get("UniqueId", "")) for event in item["events"]]
    epochs = [int(epoch) for text in ids for epoch in _EPOCH.findall(text)]
    main = item["main_unique_id"]
    return Scenario(
        id=item["id"],
        title=item["title"],
        epoch=int(_EPOCH.findall(main)[0]) if main else min(epochs),
        main_unique_id=main,
        events=tuple(Event(at=e["at"], endpoint=e["endpoint"], body=e["body"]) for e in item["events"]),
        expected=item["expected"],
    )


def rebase(scenario: Scenario, *, now: float, token: str, salt: int) -> Scenario:
    """
    The scenario as if its first event were received at `now`, or within the second after it.

    `salt` (below SALTS) tells plays apart: with the same one, ids of the same second are the same.
    """
    shift = math.ceil(now - scenario.epoch - scenario.events[0].at)

    def moved(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: moved(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [moved(name, item) for item in value]
        return _moved_text(name, value, shift, salt) if isinstance(value, str) else value

    def moved_event(event: Event) -> Event:
        body = moved("", dict(event.body))
        return replace(event, body=body | ({"Token": token} if "Token" in body else {}))

    return replace(
        scenario,
        epoch=scenario.epoch + shift,
        main_unique_id=moved("UniqueId", scenario.main_unique_id),
        events=tuple(moved_event(event) for event in scenario.events),
        expected=moved("", dict(scenario.expected)),
    )


def _moved_text(name: str, value: str, shift: int, salt: int) -> str:
    if name == "UniqueId":
        if channel := _CHANNEL_ID.fullmatch(value):
            return f"{int(channel[1]) + shift}.{salt * 100_000 + int(channel[2])}"
        return _EPOCH.sub(lambda epoch: str(int(epoch[0]) + shift), value)
    if name == "BridgeUniqueid" and value:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{shift} {salt} {value}"))
    if name in {"Channel", "DestChannel"} and (channel := _CHANNEL_NAME.fullmatch(value)):
        unique = (int(channel[2], 16) + (shift + salt) * 0x1000) % 2**32
        return f"{channel[1]}{unique:08x}{channel[3]}"
    if _LOCAL_TIME.fullmatch(value):
        return (datetime.fromisoformat(value) + timedelta(seconds=shift)).isoformat(value[10], "seconds")
    return value


def play(
    scenario: Scenario,
    base_url: str,
    token: str,
    *,
    speed: float = 1.0,
    pause: Callable[[float], None] = time.sleep,
    tell: Callable[[Sent], None] = lambda _: None,
) -> Played:
    """
    Posts the scenario's events to a gateway, each at its time, in order, never twice, as the hosts do.

    `tell` is called after each answer. At a `speed` over 1 the talk is shorter than the times in the events say.
    """
    rebased = rebase(scenario, now=time.time(), token=token, salt=secrets.randbelow(SALTS))
    first = rebased.events[0].at
    begin = rebased.epoch + first
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=_HOST_TIMEOUT_SECONDS)
    sent: list[Sent] = []
    try:
        for event in rebased.events:
            wait = begin + (event.at - first) / speed - time.time()
            if wait > 0:
                pause(wait)
            sent.append(_post(connection, event, token))
            tell(sent[-1])
    finally:
        connection.close()
    return Played(scenario=rebased, sent=tuple(sent))


def _post(connection: http.client.HTTPConnection, event: Event, token: str) -> Sent:
    sent_at = time.time()
    try:
        headers = {"Content-type": "application/json", "Token": token}
        connection.request("POST", event.endpoint, json.dumps(event.body), headers)
        response = connection.getresponse()
        response.read()
        status = response.status
    except (OSError, http.client.HTTPException):
        connection.close()
        status = 0
    return Sent(event=event, sent_at=sent_at, answered_at=time.time(), status=status)
