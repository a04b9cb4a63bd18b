"""The calls that cases are made of: every scenario, each for a customer, ids and a time of its own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from lib.calls.directory import Directory
from tests.measure.fuzz.stream import Sent
from tests.unit.calls import playback
from tests.unit.calls.renaming import Renaming

FIELD: Final = playback.SCENARIOS.with_name("field.json")
# When the calls of every case begin.
TOGETHER_AT: Final = 1_760_500_000
_CUSTOMERS: Final = {"375291111111": "3752933{:05}", "80291111111": "802933{:05}", "375292345678": "3752944{:05}"}
_SPELLED_AS_NUMBERS: Final = ("Phone", "ExtPhone", "Extensions")


@dataclass(frozen=True, kw_only=True)
class Source:
    """
    `events`: as in `scenarios.json`. `enterprise`: of the whole file, with what the case changes. `fixed`: its times mean
    something, so that it cannot be moved. `restarts`: its ids begin again, and stand for two calls.
    """

    name: str
    events: Sequence[Mapping[str, Any]] = field(hash=False, compare=False)
    enterprise: str
    main_id: str
    customer: str | None
    fixed: bool = False
    restarts: bool = False
    expected: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)

    @property
    def directory(self) -> Directory:
        return _directory(self.enterprise)


@cache
def _directory(enterprise: str) -> Directory:
    return playback.directory_of(json.loads(enterprise))


@cache
def load() -> tuple[Source, ...]:
    enterprise, scenarios = playback.load()
    found = [_source(scenario, enterprise) for scenario in scenarios]
    if FIELD.exists():
        document = json.loads(Path(FIELD).read_text("utf-8"))
        found += [_source(case, enterprise) for case in document["cases"]]
    return tuple(found)


def _source(scenario: Mapping[str, Any], enterprise: Mapping[str, Any]) -> Source:
    events = [_in_host_form(event) for event in scenario["events"]]
    changed = dict(scenario.get("enterprise") or {})
    changed |= {name: value for name, value in changed.pop("retailcrm", {}).items() if name == "crm_timezone"}
    uploads = scenario["expected"].get("upload")
    told = uploads[0] if isinstance(uploads, list) else uploads
    hangups = [event for event in events if event["endpoint"] == "/hangup"]
    ids = [scenario["main_unique_id"], *(event["body"].get("UniqueId") for event in (*hangups, *events))]
    return Source(
        name=scenario["id"],
        events=events,
        enterprise=json.dumps({**enterprise, **changed}, sort_keys=True),
        main_id=str(next(one for one in ids if one)),
        customer=told["phone"] if told else None,
        fixed=bool(scenario.get("times_are_fixed")),
        restarts=isinstance(uploads, list),
        expected=scenario["expected"],
    )


def _in_host_form(event: Mapping[str, Any]) -> dict[str, Any]:
    """An envelope is opened, numbers become text: only then they can be renamed."""
    body = event["body"] if "body" in event else json.loads(event["raw"], parse_float=str)
    found = {"at": event["at"], "endpoint": event["endpoint"], "origin": event.get("origin", "live")}
    if "raw" in body:
        found |= {"endpoint": "/" + body["event_type"], "enveloped": True, "origin": body.get("origin", "live")}
        found["record_url"] = body.get("record_url")
        body = {"UniqueId": body["uniqueId"], **body["raw"]}
    return {**found, "body": {name: _as_text(name, value) for name, value in body.items()}}


def _as_text(name: str, value: object) -> object:
    if isinstance(value, list):
        return [_as_text(name, item) for item in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number and name in _SPELLED_AS_NUMBERS else value


def placed(source: Source, call: int, *, offset: float = 0, ids_of: int | None = None) -> list[Sent]:
    """
    Its events as call number `call` of a case, `offset` seconds after the others, for a customer of its own; its ids
    are its own too, or those of call `ids_of`.
    """
    names = {old: new.format(call) for old, new in _CUSTOMERS.items()}
    if source.customer and source.customer not in names:
        names[source.customer] = f"3752955{call:05}"
    began = playback.base_of({"main_unique_id": source.main_id, "events": []})
    shift = 0 if source.fixed else TOGETHER_AT + int(offset) - began
    moved = Renaming(names=names, shift=shift, tag=(call if ids_of is None else ids_of) + 1).scenario(
        {"main_unique_id": source.main_id, "events": list(source.events)}
    )
    return [
        Sent(
            tag=f"{call}.{number:02}",
            at=moved["base"] + event["at"],
            kind=event["endpoint"].strip("/"),
            body={name: value for name, value in event["body"].items() if name != "Token"},
            origin=event["origin"],
            record_url=event.get("record_url"),
            enveloped=event.get("enveloped", False) or event["origin"] != "live",
        )
        for number, event in enumerate(moved["events"])
    ]


def later(stream: Sequence[Sent], seconds: float) -> list[Sent]:
    return [dataclasses.replace(sent, at=sent.at + seconds) for sent in stream]
