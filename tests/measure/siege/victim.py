"""An enterprise whose phone rings twice a second; when each pop-up came is read at its CRM."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import requests

from tests.harness.servers import CRM
from tests.measure.siege.http_posts import Client
from tests.measure.siege.verdict import Ring

EVERY_SECONDS: Final = 0.5
_RINGS_SECONDS: Final = 2.0
# More calls than ever go on at a time, each with three posts that may take three seconds.
_CALLS_AT_ONCE: Final = 64
_ZONE: Final = timedelta(hours=3)  # Europe/Minsk
_PHONES: Final = 1_000_000


@dataclass(kw_only=True)
class _Rung:
    unique_id: str
    due_at: float
    refused: int = 0


class Victim:
    """Rings from `start` to `stop`; a late answer to one ring delays no other."""

    def __init__(self, host: Client, *, number: str, crm: CRM) -> None:
        self._host, self._number, self._crm = host, number, crm
        self._rung: list[_Rung] = []
        self._shown: dict[str, float] = {}
        self._last_entry = 0
        self._over = threading.Event()
        self._calls = ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="ring")
        self._thread = threading.Thread(target=self._ring, name="victim")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No more rings; those that rang are hung up first."""
        self._over.set()
        self._thread.join()
        self._calls.shutdown()

    def rings(self, *, since: float = 0.0, until: float = float("inf")) -> Sequence[Ring]:
        """Those of this time, in order, as far as the CRM has heard of them by now."""
        self._look()
        return [
            Ring(due_at=rung.due_at, shown_at=self._shown.get(rung.unique_id), refused=rung.refused)
            for rung in list(self._rung)
            if since <= rung.due_at < until
        ]

    def _look(self) -> None:
        asked: dict[str, Any] = {"account": self._number, "kind": "event", "after": self._last_entry}
        entries = requests.get(f"{self._crm.url}/_sim/ledger", params=asked, timeout=30).json()["entries"]
        for entry in entries:
            self._last_entry = max(self._last_entry, entry["seq"])
            event = (entry["applied"] or {}).get("event", {})
            if event.get("type") == "in":
                self._shown.setdefault(event["callExternalId"], entry["received_at"])

    def _ring(self) -> None:
        begin = time.time()
        for index in itertools.count():
            due_at = begin + index * EVERY_SECONDS
            if self._over.wait(max(0.0, due_at - time.time())):
                return
            rung = _Rung(unique_id=f"{int(due_at)}.{index + 1}", due_at=due_at)
            self._rung.append(rung)
            self._calls.submit(self._call, rung, f"37529{_PHONES + index}")

    def _call(self, rung: _Rung, phone: str) -> None:
        common: dict[str, Any] = {"UniqueId": rung.unique_id, "Phone": phone, "CallType": 0, "Trunk": "0001301"}
        self._post(rung, "/start", common)
        self._post(rung, "/dial", {**common, "Extensions": ["150", "151"], "ExtTrunk": "", "ExtPhone": phone})
        time.sleep(max(0.0, rung.due_at + _RINGS_SECONDS - time.time()))
        began, ended = (_local(at) for at in (rung.due_at, time.time()))
        times = {"StartTime": began, "DateReceived": began, "EndTime": ended}
        self._post(rung, "/hangup", {**common, "Extensions": [""], "CallStatus": "0", **times})

    def _post(self, rung: _Rung, path: str, body: dict[str, Any]) -> None:
        content = json.dumps({**body, "Token": self._host.token}).encode()
        if not self._host.post(path, content).is_accepted:
            rung.refused += 1


def _local(at: float) -> str:
    return (datetime.fromtimestamp(at, UTC) + _ZONE).strftime("%Y-%m-%d %H:%M:%S")
