"""Streams in the hosts' own form, written down event by event: `at` counts from the epoch of the main id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

TOKEN = "375290000001"
CUSTOMER = "375291111111"
MOBILE = "375292222222"
OTHER_MOBILE = "375293333333"


# ruff: noqa: PLR0917  (written as tables: time, channel, bridge, who, with whom)


class Stream:
    """One host; `epoch` is that of the main id, `zone` is what its wall clock shows."""

    def __init__(self, epoch: int = 1_760_100_000, zone: str = "Europe/Minsk", trunk: str = "0001301") -> None:
        self.epoch, self.zone, self.trunk = epoch, ZoneInfo(zone), trunk
        self.events: list[dict] = []

    @property
    def base(self) -> datetime:
        return datetime.fromtimestamp(self.epoch, UTC)

    def id(self, sequence: int, at: float = 0) -> str:
        return f"{self.epoch + int(at)}.{sequence}"

    def wall(self, at: float | None) -> str:
        if at is None:
            return ""
        return (self.base + timedelta(seconds=at)).astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S")

    def add(self, at: float, event_type: str, unique_id: str, **body: object) -> Stream:
        self.events.append(
            {"at": at, "endpoint": f"/{event_type}", "body": {"Token": TOKEN, "UniqueId": unique_id, **body}}
        )
        return self

    def start(self, at: float, unique_id: str, phone: str = CUSTOMER, **more: object) -> Stream:
        return self.add(at, "start", unique_id, **{"Phone": phone, "CallType": 0, "Trunk": self.trunk, **more})

    def dial(self, at: float, unique_id: str, extensions: list[str], phone: str = CUSTOMER, **more: object) -> Stream:
        body = {
            "Phone": phone,
            "CallType": 0,
            "Extensions": extensions,
            "Trunk": self.trunk,
            "ExtTrunk": "",
            "ExtPhone": phone,
        }
        return self.add(at, "dial", unique_id, **{**body, **more})

    def dial_out(
        self, at: float, unique_id: str, extensions: list[str], phone: str = CUSTOMER, **more: object
    ) -> Stream:
        return self.dial(at, unique_id, extensions, phone, **{"CallType": 1, "ExtPhone": "", **more})

    def callerid(
        self, at: float, unique_id: str, channel: str, caller: str, connected: str = "<unknown>", **more: object
    ) -> Stream:
        body = {"Channel": channel, "CallerIDNum": caller, "ConnectedLineNum": connected, "Exten": "", "Context": "x"}
        return self.add(at, "new_callerid", unique_id, **{**body, **more})

    def created(self, at: float, bridge: str) -> Stream:
        return self.add(at, "bridge_create", "", BridgeUniqueid=bridge, BridgeNumChannels="0")

    def destroyed(self, at: float, bridge: str) -> Stream:
        return self.add(at, "bridge_destroy", "", BridgeUniqueid=bridge, BridgeNumChannels="0")

    def joins(
        self, at: float, unique_id: str, channel: str, bridge: str | None, caller: str, connected: str, exten: str = ""
    ) -> Stream:
        body = {"Channel": channel, "CallerIDNum": caller, "ConnectedLineNum": connected, "Exten": exten}
        return self.add(at, "bridge", unique_id, **body, **({"BridgeUniqueid": bridge} if bridge else {}))

    def leaves(
        self,
        at: float,
        unique_id: str,
        channel: str,
        bridge: str | None,
        caller: str,
        connected: str,
        left: int | None = None,
    ) -> Stream:
        body = {"Channel": channel, "CallerIDNum": caller, "ConnectedLineNum": connected}
        if left is not None:
            body["BridgeNumChannels"] = str(left)
        return self.add(at, "bridge_leave", unique_id, **body, **({"BridgeUniqueid": bridge} if bridge else {}))

    def hangup(
        self,
        at: float,
        unique_id: str,
        call_type: int | None,
        status: str,
        extensions: list[str],
        phone: str = CUSTOMER,
        *,
        started: float | None = 0,
        ended: float | None = None,
        **more: object,
    ) -> Stream:
        body: dict[str, object] = {
            "Phone": phone,
            "Extensions": extensions,
            "CallStatus": status,
            "StartTime": self.wall(started),
            "DateReceived": self.wall(started if started is not None else 0),
            "EndTime": self.wall(at - 2 if ended is None else ended),
        }
        if call_type is not None:
            body["CallType"] = call_type
        if call_type in (0, 1):
            body["Trunk"] = self.trunk
        return self.add(at, "hangup", unique_id, **{**body, **more})

    def scenario(self, main: str) -> dict:
        events = sorted(self.events, key=lambda event: event["at"])
        return {"id": "own", "base": self.epoch, "main_unique_id": main, "events": events}
