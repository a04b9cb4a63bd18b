"""One request on a connection of its own, from an address of loopback: strangers and hosts are told apart by it."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Client:
    """`source`: the address that its connections come from; `patience_seconds`: how long it waits for an answer."""

    url: str
    source: str = "127.0.0.1"
    patience_seconds: float = 3.0
    token: str = field(default="", repr=False)

    def post(self, path: str, content: bytes) -> Answer:
        return self._ask("POST", path, content)

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, None)

    def _ask(self, method: str, path: str, content: bytes | None) -> Answer:
        connection = http.client.HTTPConnection(
            urlsplit(self.url).netloc, timeout=self.patience_seconds, source_address=(self.source, 0)
        )
        headers = {"Content-Type": "application/json"} if content is not None else {}
        headers |= {"Token": self.token} if self.token else {}
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return Answer(status=response.status, body=response.read(), headers=dict(response.headers.items()))
        except (OSError, http.client.HTTPException):
            return Answer(status=0)
        finally:
            connection.close()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`status`: 0 when there was none in time."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_accepted(self) -> bool:
        return 200 <= self.status < 300

    @property
    def retry_after_seconds(self) -> float:
        named = {name.lower(): value for name, value in self.headers.items()}
        with contextlib.suppress(ValueError):
            return max(0.0, float(named.get("retry-after", "")))
        return 0.0

    def json(self) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            found = json.loads(self.body)
            return found if isinstance(found, dict) else {}
        return {}
