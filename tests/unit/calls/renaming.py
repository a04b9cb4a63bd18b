"""The same stream at another host: other numbers, extensions, lines, ids, at another time, in another zone."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tests.unit.calls.playback import base_of

_WORD = re.compile(r"[0-9A-Za-z]+")
_EPOCH = re.compile(r"(\d{9,10})(?=$|\.)")
_MINSK = ZoneInfo("Europe/Minsk")


@dataclass(frozen=True, kw_only=True)
class Renaming:
    """`names`: extensions, numbers and lines, word for word; `tag` sets this host's ids apart from all others."""

    names: Mapping[str, str] = field(default_factory=dict)
    shift: int = 0
    tag: int = 0
    zone: str = "Europe/Minsk"
    crm_zone: str = "Europe/Minsk"

    def scenario(self, scenario: Mapping) -> dict:
        changed = copy.deepcopy(dict(scenario))
        changed["base"] = base_of(scenario) + self.shift
        if changed["main_unique_id"]:
            changed["main_unique_id"] = self._unique_id(changed["main_unique_id"])
        for event in changed["events"]:
            event["body"] = {name: self._value(name, value) for name, value in event["body"].items()}
        if "expected" in changed:
            changed["expected"] = self._expected(changed["expected"])
        return changed

    def words(self, text: str) -> str:
        return _WORD.sub(lambda word: self.names.get(word[0], word[0]), text)

    def _value(self, name: str, value: object) -> object:
        if isinstance(value, list):
            return [self._value(name, item) for item in value]
        if not isinstance(value, str) or not value or name == "Token":
            return value
        renamed = {
            "UniqueId": self._unique_id,
            "BridgeUniqueid": self._bridge,
            "StartTime": self._wall,
            "EndTime": self._wall,
            "DateReceived": self._wall,
            "Channel": self._channel,
            "DestChannel": self._channel,
        }.get(name, self.words)
        return renamed(value)

    def _bridge(self, value: str) -> str:
        return f"{value}-{self.tag}" if self.tag else value

    def _unique_id(self, value: str) -> str:
        moved = _EPOCH.sub(lambda epoch: str(int(epoch[0]) + self.shift), value)
        return moved + f"{self.tag:03}" if self.tag else moved

    def _channel(self, value: str) -> str:
        name, dash, rest = value.rpartition("-")
        return self.words(name) + dash + (f"{self.tag:04x}{rest[4:]}" if self.tag else rest)

    def _wall(self, value: str) -> str:
        separator = "T" if "T" in value else " "
        instant = datetime.fromisoformat(value).replace(tzinfo=_MINSK) + timedelta(seconds=self.shift)
        return instant.astimezone(ZoneInfo(self.zone)).strftime(f"%Y-%m-%d{separator}%H:%M:%S")

    def _expected(self, expected: Mapping) -> dict:
        changed = copy.deepcopy(dict(expected))
        for told in [*changed["popups"], *([changed["hangup"]] if changed["hangup"] else [])]:
            told["codes"] = sorted(self.words(code) for code in told["codes"])
        for popup in changed["popups"]:
            popup["phone"] = self.words(popup["phone"])
        if row := changed["upload"]:
            for name in ("phone", "code", "external_phone"):
                row[name] = row[name] and self.words(row[name])
            start = datetime.fromisoformat(row["date"]).replace(tzinfo=_MINSK) + timedelta(seconds=self.shift)
            row["date"] = start.astimezone(ZoneInfo(self.crm_zone)).strftime("%Y-%m-%d %H:%M:%S")
        return changed


def customer_of(scenario: Mapping) -> str | None:
    told = scenario["expected"]["upload"]
    return told["phone"] if told else None
