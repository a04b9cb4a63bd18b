"""Logs the choices from a thread of its own, after the answer: a slow database must not delay a ringing phone."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lib.runtime import db
from lib.runtime.errors import Unavailable
from lib.store import integration_logs

log = logging.getLogger(__name__)

WAITING: Final = 1000
_CLOSE_SECONDS: Final = 3.0


@dataclass(frozen=True, kw_only=True)
class Record:
    enterprise_number: str
    request: Mapping[str, Any]
    response: Mapping[str, Any]
    error: str | None


class Journal:
    def __init__(self) -> None:
        self._waiting: queue.Queue[Record | None] = queue.Queue(maxsize=WAITING)
        self._thread = threading.Thread(target=self._write_forever, name="redirect-journal", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, record: Record) -> None:
        """Never waits: with a full queue, while the database is away, only a log line is left."""
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            log.warning("a decision is not written down", extra={"enterprise": record.enterprise_number})

    def close(self) -> None:
        """Writes the queue, within a few seconds."""
        atexit.unregister(self.close)
        try:
            self._waiting.put(None, timeout=_CLOSE_SECONDS)
        except queue.Full:
            return
        self._thread.join(_CLOSE_SECONDS)

    def _write_forever(self) -> None:
        while (record := self._waiting.get()) is not None:
            try:
                with db.connection() as conn:
                    integration_logs.insert(
                        conn,
                        enterprise_number=record.enterprise_number,
                        event_type="smart_redirect",
                        request=record.request,
                        response=record.response,
                        error=record.error,
                    )
            except Unavailable:
                log.warning("a decision is not written down", extra={"enterprise": record.enterprise_number})
            except Exception:
                log.exception("bug")
