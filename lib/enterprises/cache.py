"""
Enterprises in memory: what every event needs to know without asking the database.

An entry is fresh for a TTL and loaded by one thread at a time; all are refreshed every few minutes at a
jittered time; a NOTIFY drops the entry that changed; while the database is away stale entries serve.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import random
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from lib.runtime import config, db
from lib.runtime.auth import token_sha256
from lib.runtime.errors import NotFound, RateLimited, Unavailable
from lib.runtime.lazy import lazy
from lib.store import enterprises
from lib.store.enterprises import Enterprise

log = logging.getLogger(__name__)

UNKNOWN_TOKENS_REMEMBERED = 1000
UNKNOWN_TOKEN_SECONDS = 5.0
UNKNOWN_TOKENS_PER_SECOND = 50


@dataclass(frozen=True, kw_only=True)
class Entry:
    enterprise: Enterprise
    loaded_at: float


class EnterpriseCache:
    def __init__(self, settings: config.EnterpriseCache) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._stale: dict[str, Entry] = {}
        self._by_token: dict[bytes, str] = {}
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._loading: dict[str, threading.Lock] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.hits = 0
        self.misses = 0
        self.last_full_refresh: str | None = None
        self.last_invalidation: str | None = None

    def by_token(self, token: str) -> Enterprise:
        """
        The enterprise whose token or secret this is.

        Raises NotFound (`unknown_token`), Unavailable when it is not known here and the database is away, and
        RateLimited when unknown tokens rain.
        """
        self._start()
        hashed = token_sha256(token)
        number = self._by_token.get(hashed)
        if number is None:
            number = self._find_number(hashed)
        enterprise = self.by_number(number)
        # Both are compared, so that time does not tell which of them was close.
        is_token = hmac.compare_digest(enterprise.token_sha256, hashed)
        is_secret = hmac.compare_digest(enterprise.secret_sha256, hashed)
        if not (is_token or is_secret):  # the token was changed a moment ago
            self._by_token.pop(hashed, None)
            raise NotFound("No enterprise has this token", code="unknown_token")
        return enterprise

    def by_number(self, number: str) -> Enterprise:
        """Raises NotFound, or Unavailable when it is not known here and the database is away."""
        self._start()
        entry = self._entries.get(number)
        if entry is not None and time.monotonic() - entry.loaded_at < self._settings.enterprise_cache_ttl_seconds:
            self.hits += 1
            return entry.enterprise
        self.misses += 1
        with self._lock:
            loading = self._loading.setdefault(number, threading.Lock())
        with loading:
            again = self._entries.get(number)
            if again is not None and again is not entry:
                return again.enterprise
            return self._load(number)

    def known(self) -> list[Enterprise]:
        """All that are in memory: every one that there is, a moment after the first look-up."""
        with self._lock:
            return [entry.enterprise for entry in (self._stale | self._entries).values()]

    def invalidate(self, number: str) -> None:
        """The next look-up asks the database; while that is away the old entry serves."""
        with self._lock:
            entry = self._entries.pop(number, None)
            if entry is not None:
                self._stale[number] = entry
            self._unknown.clear()
            self.last_invalidation = _now()

    def refresh(self) -> int:
        """Loads every enterprise; how many there are. Raises Unavailable."""
        with db.connection() as conn:
            found = enterprises.list_enterprises(conn)
        loaded_at = time.monotonic()
        entries = {e.number: Entry(enterprise=e, loaded_at=loaded_at) for e in found}
        tokens = {hashed: e.number for e in found for hashed in (e.token_sha256, e.secret_sha256)}
        with self._lock:
            self._entries, self._by_token, self._stale = entries, tokens, {}
            self._unknown.clear()
            self.last_full_refresh = _now()
        return len(found)

    def stats(self) -> dict[str, object]:
        asked = self.hits + self.misses
        return {
            "hits": self.hits,
            "misses": self.misses,
            "hit_ratio": round(self.hits / asked, 4) if asked else None,
            "total_entries": len(self._entries),
            "last_full_refresh": self.last_full_refresh,
            "last_invalidation": self.last_invalidation,
        }

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _load(self, number: str) -> Enterprise:
        try:
            with db.connection(within_seconds=db.QUICK_SECONDS) as conn:
                enterprise = enterprises.find_enterprise(conn, number)
        except Unavailable:
            entry = self._entries.get(number) or self._stale.get(number)
            if entry is None:
                raise
            return entry.enterprise
        with self._lock:
            self._stale.pop(number, None)
            self._by_token = {hashed: n for hashed, n in self._by_token.items() if n != number}
            if enterprise is None:
                self._entries.pop(number, None)
                self._loading.pop(number, None)
                raise NotFound(f"No enterprise {number}", code="unknown_enterprise")
            self._entries[number] = Entry(enterprise=enterprise, loaded_at=time.monotonic())
            self._by_token |= dict.fromkeys((enterprise.token_sha256, enterprise.secret_sha256), number)
        return enterprise

    def _find_number(self, hashed: bytes) -> str:
        now = time.monotonic()
        with self._lock:
            unknown_at = self._unknown.get(hashed)
            recent = sum(1 for at in self._unknown.values() if now - at < 1)
        if unknown_at is not None and now - unknown_at < UNKNOWN_TOKEN_SECONDS:
            raise NotFound("No enterprise has this token", code="unknown_token")
        if recent >= UNKNOWN_TOKENS_PER_SECOND:
            raise RateLimited("Too many unknown tokens; try again in a second")
        with db.connection(within_seconds=db.QUICK_SECONDS) as conn:
            number = enterprises.find_number_by_token(conn, hashed)
        if number is not None:
            return number
        with self._lock:
            self._unknown[hashed] = now
            while len(self._unknown) > UNKNOWN_TOKENS_REMEMBERED:
                self._unknown.popitem(last=False)
        raise NotFound("No enterprise has this token", code="unknown_token")

    def _start(self) -> None:
        """Starts listening and refreshing on first use: the server forks before it serves."""
        if self._threads:
            return
        with self._lock:
            if self._threads:
                return
            self._threads = [
                threading.Thread(target=target, name=f"enterprise-cache-{target.__name__}", daemon=True)
                for target in (self._refresh_forever, self._listen_forever)
            ]
        for thread in self._threads:
            thread.start()

    def _refresh_forever(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                self.refresh()
                pause = random.uniform(  # noqa: S311  (jitter)
                    self._settings.enterprise_cache_refresh_min_seconds,
                    self._settings.enterprise_cache_refresh_max_seconds,
                )
            except (Unavailable, psycopg.Error) as error:  # also a table that is not there yet
                log.warning("configurations are not refreshed", extra={"reason": type(error).__name__})
                pause = random.uniform(1, 5)  # noqa: S311  (jitter)

    def _listen_forever(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except (psycopg.Error, OSError):
                log.warning("not listening for changed configurations")
                self._stop.wait(random.uniform(1, 5))  # noqa: S311  (jitter)

    def _listen(self) -> None:
        settings = config.current(config.Database)
        with db.BoundedConnection.connect(settings.database_url, **db.connection_options(settings)) as conn:  # type: ignore[arg-type]
            conn.execute(f"LISTEN {enterprises.INTEGRATION_CONFIG_CHANGED}")
            for number in list(self._entries):  # what was missed while nobody listened
                self.invalidate(number)
            while not self._stop.is_set():
                for notice in conn.notifies(timeout=0.5):
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        self.invalidate(str(json.loads(notice.payload)["enterprise_number"]))


@lazy
def enterprise_cache() -> EnterpriseCache:
    return EnterpriseCache(config.current(config.EnterpriseCache))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
