"""
Enterprises in memory: what every event needs to know without asking the database.

Of every enterprise the packed row is kept; the thousand that were asked for last are kept unpacked too, with
what the rules made of them. So an enterprise that this instance has seen keeps working while the database is away,
however many there are: what is evicted is only unpacked again.

A row is fresh for a TTL and loaded by one thread at a time; all are refreshed every few minutes at a jittered time,
in pages; a NOTIFY makes the row that changed stale; while the database is away stale rows serve.
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

from lib.enterprises import host_networks
from lib.enterprises.old_tokens import OldTokens
from lib.runtime import config, db, metrics
from lib.runtime.auth import token_sha256
from lib.runtime.client_address import site_of
from lib.runtime.errors import NotFound, RateLimited, Unavailable
from lib.runtime.guesses import Guesses
from lib.runtime.lazy import lazy
from lib.store import enterprises
from lib.store.enterprises import Enterprise, Packed

log = logging.getLogger(__name__)

UNKNOWN_TOKENS_REMEMBERED = 1000
UNKNOWN_TOKEN_SECONDS = 5.0
# LRU size: enterprises that are kept unpacked.
UNPACKED = 1000
# A page is one short statement and one short hold of the lock; between two pages whoever waits gets the processor.
PAGE = 100
BETWEEN_PAGES_SECONDS = 0.005
_NEVER = float("-inf")


@dataclass(kw_only=True, slots=True)
class Entry:
    """`loaded_at`: when the row was asked for; `changed_at`: when somebody said that it changed."""

    packed: Packed
    loaded_at: float
    changed_at: float = _NEVER
    enterprise: Enterprise | None = None

    @property
    def is_stale(self) -> bool:
        return self.loaded_at <= self.changed_at


class EnterpriseCache:
    def __init__(self, settings: config.EnterpriseCache) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._unpacked: OrderedDict[str, Entry] = OrderedDict()
        self._by_token: dict[bytes, str] = {}
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._guesses = Guesses("token")
        self._loading: dict[str, threading.Lock] = {}
        self._old_tokens = OldTokens()
        self._refreshing = threading.Lock()
        self._changed_unseen_at = _NEVER
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.hits = 0
        self.misses = 0
        self.invalidations = 0
        self.last_full_refresh: str | None = None
        self.last_invalidation: str | None = None

    def by_token(self, token: str, *, address: str) -> Enterprise:
        """
        The enterprise whose token or secret this is; while its token is being replaced, the old one and the next.
        `address`: from where it came.

        Raises NotFound (`unknown_token`), Unavailable when it is not known here and the database is away, RateLimited
        while somebody guesses from there, unless it came from there before, and Forbidden (`network_not_allowed`).
        """
        self._start()
        hashed, source = token_sha256(token), site_of(address)
        number = self._by_token.get(hashed)
        is_known = number is not None and self._guesses.is_known(source, number)
        if not is_known:
            self._check(source, number)
        try:
            enterprise = self.by_number(number or self._find_number(hashed))
            if not _is_token_of(enterprise, hashed):  # it was changed a moment ago
                self._by_token.pop(hashed, None)
                raise _no_token()
        except NotFound:
            self._guesses.wrong(source, hashed)
            raise
        if not is_known:
            self._guesses.right(source, enterprise.number)
        if enterprise.next_token_sha256 and enterprise.token_sha256 == hashed:
            self._old_tokens.note(enterprise.number)
        host_networks.require(enterprise, address)
        return enterprise

    def _check(self, source: str, number: str | None) -> None:
        """Raises RateLimited; `number`: whose token it is, as far as this instance knows."""
        try:
            self._guesses.check(source)
        except RateLimited:
            if number is not None:
                self._guesses.right_but_refused(source, number)
            raise

    def by_number(self, number: str) -> Enterprise:
        """Raises NotFound, or Unavailable when it is not known here and the database is away."""
        self._start()
        entry = self._entries.get(number)
        if entry is not None and self._is_fresh(entry):
            self.hits += 1
            return self._unpack(entry)
        self.misses += 1
        with self._lock:
            loading = self._loading.setdefault(number, threading.Lock())
        with loading:
            entry = self._entries.get(number)
            if entry is None or not self._is_fresh(entry):
                entry = self._load(number)
            return self._unpack(entry)

    def age_seconds(self, number: str) -> float:
        """How long ago the row that serves was asked for; 0 for one that is not here."""
        entry = self._entries.get(number)
        return time.monotonic() - entry.loaded_at if entry else 0.0

    def invalidate(self, number: str) -> None:
        """The next look-up asks the database; while that is away the old row serves."""
        with self._lock:
            entry = self._entries.get(number)
            if entry is not None:
                entry.changed_at = time.monotonic()
            else:  # it may be on its way here as it was before
                self._changed_unseen_at = time.monotonic()
            self._unknown.clear()
            self.invalidations += 1
            self.last_invalidation = _now()

    def refresh(self) -> int:
        """Loads every enterprise, a page at a time; how many there are. Raises Unavailable."""
        with self._refreshing, metrics.CACHE_LOAD_SECONDS.labels("all").time():
            began, after, seen = time.monotonic(), "", set[str]()
            while page := self._load_page(after):
                seen.update(page)
                after = page[-1]
                if len(page) < PAGE or self._stop.wait(BETWEEN_PAGES_SECONDS):
                    break
            if not self._stop.is_set():
                self._forget_all_but(seen, began)
            return len(seen)

    def stats(self) -> dict[str, object]:
        asked = self.hits + self.misses
        return {
            "hits": self.hits,
            "misses": self.misses,
            "invalidations": self.invalidations,
            "hit_ratio": round(self.hits / asked, 4) if asked else None,
            "total_entries": len(self._entries),
            "unpacked_entries": len(self._unpacked),
            "last_full_refresh": self.last_full_refresh,
            "last_invalidation": self.last_invalidation,
        }

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _is_fresh(self, entry: Entry) -> bool:
        age = time.monotonic() - entry.loaded_at
        return not entry.is_stale and age < self._settings.enterprise_cache_ttl_seconds

    def _unpack(self, entry: Entry) -> Enterprise:
        # Two threads may unpack it at once, outside of the lock, which is everybody's.
        enterprise = entry.enterprise or entry.packed.unpack()
        with self._lock:
            entry.enterprise = enterprise = entry.enterprise or enterprise
            number = entry.packed.number
            if self._entries.get(number) is entry:
                self._unpacked[number] = entry
                self._unpacked.move_to_end(number)
                if len(self._unpacked) > UNPACKED:
                    _, evicted = self._unpacked.popitem(last=False)
                    evicted.enterprise = None
        return enterprise

    def _load(self, number: str) -> Entry:
        asked_at = time.monotonic()
        try:
            with (
                metrics.CACHE_LOAD_SECONDS.labels("one").time(),
                db.connection(within_seconds=db.QUICK_SECONDS) as conn,
            ):
                packed = enterprises.find_packed(conn, number)
        except Unavailable:
            entry = self._entries.get(number)
            if entry is None:
                raise
            return entry
        with self._lock:
            self._loading.pop(number, None)
            if packed is None:
                self._forget(number)
                raise NotFound(f"No enterprise {number}", code="unknown_enterprise")
            return self._keep(packed, asked_at)

    def _load_page(self, after: str) -> list[str]:
        """The numbers of the page, which is empty behind the last one."""
        asked_at = time.monotonic()
        with db.connection() as conn:
            page = enterprises.list_packed(conn, after=after, limit=PAGE)
        with self._lock:
            for packed in page:
                self._keep(packed, asked_at)
        return [packed.number for packed in page]

    def _keep(self, packed: Packed, asked_at: float) -> Entry:
        """Under the lock. What was asked for earlier than what is here is older; the same again stays unpacked."""
        entry = self._entries.get(packed.number)
        if entry is not None and (entry.loaded_at > asked_at or entry.packed == packed):
            entry.loaded_at = max(entry.loaded_at, asked_at)
            return entry
        changed_at = entry.changed_at if entry else self._changed_unseen_at
        self._unpacked.pop(packed.number, None)
        self._by_token |= dict.fromkeys(packed.hashes, packed.number)
        self._forget_tokens(entry, but=packed.hashes)
        entry = self._entries[packed.number] = Entry(packed=packed, loaded_at=asked_at, changed_at=changed_at)
        return entry

    def _forget(self, number: str) -> None:
        """Under the lock."""
        self._unpacked.pop(number, None)
        self._forget_tokens(self._entries.pop(number, None))

    def _forget_tokens(self, entry: Entry | None, *, but: tuple[bytes, ...] = ()) -> None:
        """Under the lock. A token that is another enterprise's by now stays."""
        if entry is None:
            return
        for hashed in entry.packed.hashes:
            if hashed not in but and self._by_token.get(hashed) == entry.packed.number:
                del self._by_token[hashed]

    def _forget_all_but(self, seen: set[str], began: float) -> None:
        """After all were loaded: what is not there any more, but for what was loaded meanwhile."""
        with self._lock:
            gone = [number for number, entry in self._entries.items() if number not in seen and entry.loaded_at < began]
            for number in gone:
                self._forget(number)
            self._unknown.clear()
            self.last_full_refresh = _now()

    def _find_number(self, hashed: bytes) -> str:
        now = time.monotonic()
        if now - self._unknown.get(hashed, _NEVER) < UNKNOWN_TOKEN_SECONDS:
            raise _no_token()
        with db.connection(within_seconds=db.QUICK_SECONDS) as conn:
            number = enterprises.find_number_by_token(conn, hashed)
        if number is not None:
            return number
        with self._lock:
            self._unknown[hashed] = now
            while len(self._unknown) > UNKNOWN_TOKENS_REMEMBERED:
                self._unknown.popitem(last=False)
        raise _no_token()

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
        with db.open_session() as conn:
            conn.execute(f"LISTEN {enterprises.INTEGRATION_CONFIG_CHANGED}")
            for number in list(self._entries):  # what was missed while nobody listened
                self.invalidate(number)
            while not self._stop.is_set():
                for notice in conn.notifies(timeout=0.5):
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        self.invalidate(str(json.loads(notice.payload)["enterprise_number"]))
                self._write_old_tokens()

    def _write_old_tokens(self) -> None:
        try:
            self._old_tokens.write()
        except (Unavailable, psycopg.Error) as error:
            log.warning("uses of old tokens are not written down", extra={"reason": type(error).__name__})


@lazy
def enterprise_cache() -> EnterpriseCache:
    return EnterpriseCache(config.current(config.EnterpriseCache))


def _is_token_of(enterprise: Enterprise, hashed: bytes) -> bool:
    """All are compared, so that time does not tell which of them was close."""
    is_token = hmac.compare_digest(enterprise.token_sha256, hashed)
    is_secret = hmac.compare_digest(enterprise.secret_sha256, hashed)
    is_next = hmac.compare_digest(enterprise.next_token_sha256 or b"", hashed)
    return is_token or is_secret or is_next


def _no_token() -> NotFound:
    return NotFound("No enterprise has this token", code="unknown_token")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
