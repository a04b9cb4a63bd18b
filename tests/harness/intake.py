"""Intake as the platform runs it, in a process of its own, and whoever posts to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.harness.servers import Function

ANSWERED_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Intake:
    function: Function

    @classmethod
    @contextmanager
    def started(cls, environment: Mapping[str, str], *, log: Path) -> Iterator[Intake]:
        with Function.started("dispatch-call-event", environment, log=log) as function:
            yield cls(function=function)

    def post(self, path: str, body: object, *, token: str = "", address: str = "") -> requests.Response:
        """A body that is text or bytes goes as it is; `address`: from where, as the gateway saw it."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {**({"Token": token} if token else {}), **({"X-Forwarded-For": address} if address else {})}
        return requests.post(f"{self.function.url}{path}", data=data, headers=headers, timeout=ANSWERED_SECONDS)

    def ring(self, token: str, unique_id: str) -> int:
        """The status that one live event is answered with."""
        body = {"Token": token, "UniqueId": unique_id, "Phone": "375291111111", "CallType": 0, "Trunk": "0001301"}
        return self.post("/start", body).status_code

    @property
    def most_memory(self) -> int:
        """Bytes that the process that serves had at most, so far."""
        [worker] = psutil.Process(self.function.pid).children()
        lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
        [most] = [line.split()[1] for line in lines if line.startswith("VmHWM")]
        return int(most) * 1024


def together(acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each came to, all at once."""
    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(act) for act in acts]]
