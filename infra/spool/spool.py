#!/usr/bin/env python3
"""
A spool for call events: takes them where the old gateway listened, keeps them on disk, and hands them to the gateway.

    spool.py --listen 127.0.0.1:8020 --to https://telephony.example.com --data /var/lib/telephony-spool

It stands on the machine of a call service or of an Asterisk host. An event is answered with 2xx once it is on disk
(SQLite, synchronous=FULL) and is deleted once the gateway has it. Events go in the order in which they came. While the
gateway cannot be reached they wait, for days if need be; what then goes late goes as `backfill`, because the time of
its receipt no longer says when it happened. What the gateway refuses is kept apart, with its answer: GET /health says
how many, `--retry-refused` sends them again.

One file, the standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.client
import json
import logging
import os
import signal
import sqlite3
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator, Sequence
from urllib.parse import urlsplit

log = logging.getLogger("spool")

HOST_KINDS = ("start", "dial", "bridge", "bridge_create", "bridge_leave", "bridge_destroy", "new_callerid", "hangup")
EVENT, BATCH = "/dispatch/call-event", "/dispatch/call-events"
PATHS = (EVENT, BATCH, *("/" + kind for kind in HOST_KINDS))
EVENT_BYTES, BATCH_BYTES = 64 * 1024, 4 * 1024 * 1024
# As much as the gateway takes at once, with room for the envelope of each event.
TOGETHER, TOGETHER_BYTES = 200, 2 * 1024 * 1024
LONGEST_BACKOFF = 60.0
REQUEST_SECONDS = 20.0
SLOW_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL, token TEXT NOT NULL, body BLOB NOT NULL,
    wall REAL NOT NULL, boot TEXT NOT NULL, uptime REAL NOT NULL);
CREATE TABLE IF NOT EXISTS refused (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL, token TEXT NOT NULL, body BLOB NOT NULL,
    wall REAL NOT NULL, boot TEXT NOT NULL, uptime REAL NOT NULL, status INTEGER NOT NULL, answer TEXT NOT NULL);
-- Counting must not read the bodies.
CREATE INDEX IF NOT EXISTS waiting_token_idx ON waiting (token);
"""
_COLUMNS = "id, path, token, body, wall, boot, uptime"


class DiskFull(Exception):
    """The event is not on disk, and must not be acknowledged."""


@dataclass(frozen=True)
class Kept:
    """An event, or a batch of them, as it was posted. `wall`, `uptime`: seconds of both clocks when it came."""

    id: int
    path: str
    token: str
    body: bytes
    wall: float
    boot: str
    uptime: float

    @property
    def age_seconds(self) -> float:
        """By the clock that nobody sets, unless the machine was started again since; never negative."""
        if self.boot == BOOT:
            return max(0.0, uptime() - self.uptime)
        return max(0.0, time.time() - self.wall)


def boot_id() -> str:
    """Another one after each start of the machine; where there is none, after each start of this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"process-{os.getpid()}-{time.time()}"


def uptime() -> float:
    """Seconds since the machine started; it goes on while the machine sleeps, where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


BOOT = boot_id()


class Store:
    """What waits and what was refused. One process at a time, any thread."""

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SystemExit(f"Another spool is at work in {folder}: end it, or name another --data") from None
        self._lock = threading.Lock()
        self._conn = sqlite3.connect(str(folder / "spool.db"), isolation_level=None, check_same_thread=False)
        self._conn.execute("PRAGMA journal_mode=WAL")
        self._conn.execute("PRAGMA synchronous=FULL")
        self._conn.execute("PRAGMA journal_size_limit=16777216")
        (page,) = self._conn.execute("PRAGMA page_size").fetchone()
        self._conn.execute(f"PRAGMA max_page_count={max(64, most_bytes // page)}")
        self._conn.executescript(_SCHEMA)
        self.most_bytes = most_bytes

    def add(self, path: str, token: str, body: bytes) -> int:
        """On disk when it returns. Raises DiskFull."""
        values = (path, token, body, time.time(), BOOT, uptime())
        with self._lock:
            try:
                cursor = self._conn.execute(
                    "INSERT INTO waiting (path, token, body, wall, boot, uptime) VALUES (?, ?, ?, ?, ?, ?)", values
                )
            except sqlite3.Error as error:
                raise DiskFull(str(error)) from error
            return int(cursor.lastrowid or 0)

    def oldest(self, *, but_of: Sequence[str] = (), limit: int = 1) -> list[Kept]:
        """Of those behind the first one no more than TOGETHER_BYTES."""
        marks = ",".join("?" * len(but_of))
        found: list[Kept] = []
        size = 0
        with self._lock:
            rows = self._conn.execute(
                f"SELECT {_COLUMNS} FROM waiting WHERE +token NOT IN ({marks}) ORDER BY id LIMIT ?",  # noqa: S608
                (*but_of, limit),
            )
            for row in rows:
                kept = Kept(*row)
                size += len(kept.body)
                if found and size > TOGETHER_BYTES:
                    break
                found.append(kept)
        return found

    def forget(self, ids: Sequence[int]) -> None:
        with self._lock, self._transaction():
            self._conn.executemany("DELETE FROM waiting WHERE id = ?", [(one,) for one in ids])

    def refuse(self, kept: Kept, status: int, answer: str) -> None:
        """Out of the way of what waits behind it."""
        with self._lock, self._transaction():
            # First, so that a full disk has room for it again.
            self._conn.execute("DELETE FROM waiting WHERE id = ?", (kept.id,))
            self._conn.execute(
                "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (kept.id, kept.path, kept.token, kept.body, kept.wall, kept.boot, kept.uptime, status, answer[:500]),
            )

    def retry_refused(self) -> int:
        with self._lock, self._transaction():
            cursor = self._conn.execute(
                f"INSERT OR IGNORE INTO waiting ({_COLUMNS}) SELECT {_COLUMNS} FROM refused"  # noqa: S608
            )
            self._conn.execute("DELETE FROM refused")
            return cursor.rowcount

    def forget_refused(self, *, days: float) -> int:
        with self._lock:
            return self._conn.execute("DELETE FROM refused WHERE wall < ?", (time.time() - days * 86400,)).rowcount

    def counts(self) -> dict[str, Any]:
        with self._lock:
            (waiting,) = self._conn.execute("SELECT count(*) FROM waiting").fetchone()
            refused, answer = self._conn.execute(
                "SELECT count(*), max(status || ' ' || answer) FROM refused"
            ).fetchone()
            (pages,) = self._conn.execute("PRAGMA page_count").fetchone()
            (free,) = self._conn.execute("PRAGMA freelist_count").fetchone()
            (page,) = self._conn.execute("PRAGMA page_size").fetchone()
        oldest = self.oldest()
        return {
            "waiting": waiting,
            "oldest_seconds": round(oldest[0].age_seconds) if oldest else 0,
            "refused": refused,
            "refused_with": answer or "",
            "disk_bytes": (pages - free) * page,
            "disk_limit_bytes": self.most_bytes,
        }

    def close(self) -> None:
        with self._lock:
            self._conn.close()
            self._lock_file.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._conn.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._conn.execute("COMMIT")
        except BaseException:
            if self._conn.in_transaction:
                self._conn.execute("ROLLBACK")
            raise


@dataclass(frozen=True)
class Answer:
    """Of the gateway; status 0: nobody answered. `retry_after`: seconds it asks for, of one sender only."""

    status: int
    text: str
    retry_after: float | None = None

    @property
    def is_ours(self) -> bool:
        """A proxy's page, or another server's, refuses nothing: only the gateway itself speaks of an event."""
        error = as_object(self.text).get("error")
        return isinstance(error, dict) and "code" in error

    @property
    def is_taken(self) -> bool:
        """Said by a gateway: a page that a network shows in its place takes nothing."""
        content = as_object(self.text)
        return 200 <= self.status < 300 and (content.get("success") is True or content.get("status") == "ok")

    @property
    def results(self) -> list[Any]:
        """Of a batch, what became of each."""
        found = as_object(self.text).get("results")
        return found if isinstance(found, list) and 200 <= self.status < 300 else []

    @property
    def is_refusal(self) -> bool:
        if self.results:
            return not any(can_be_sent_again(result) for result in self.results)
        return self.is_ours and 400 <= self.status < 500 and self.status not in (408, 425, 429)


class Gateway:
    """One connection, kept open, to where the events go."""

    def __init__(self, url: str, *, ca_file: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SystemExit(f"--to: {url} is no address; it looks like https://telephony.example.com")
        self._parts = parts
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._conn: http.client.HTTPConnection | None = None

    def post(self, path: str, token: str, body: bytes) -> Answer:
        headers = {"Content-Type": "application/json"}
        if token.isascii() and token.isprintable():
            headers["Token"] = token
        for _ in range(2):
            is_new = self._conn is None
            try:
                return self._exchange(self._parts.path.rstrip("/") + path, headers, body)
            except (OSError, http.client.HTTPException) as error:
                self._close()
                # A connection that was kept may have been closed by the other side meanwhile.
                if is_new:
                    return Answer(0, f"{type(error).__name__}: {error}")
        return Answer(0, "the connection broke twice")

    def _exchange(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if self._conn is None:
            host, port = self._parts.hostname or "", self._parts.port
            if self._tls is not None:
                self._conn = http.client.HTTPSConnection(host, port, timeout=REQUEST_SECONDS, context=self._tls)
            else:
                self._conn = http.client.HTTPConnection(host, port, timeout=REQUEST_SECONDS)
        self._conn.request("POST", path, body, headers)
        response = self._conn.getresponse()
        text = response.read(1024 * 1024).decode("utf-8", "replace")
        after = response.headers.get("Retry-After", "")
        if response.will_close:
            self._close()
        return Answer(response.status, text, float(after) if after.isdigit() else None)

    def _close(self) -> None:
        if self._conn is not None:
            self._conn.close()
        self._conn = None


class Forwarder(threading.Thread):
    """Sends what waits, oldest first. One that the gateway asks to wait holds up nobody but its own enterprise."""

    def __init__(self, store: Store, gateway: Gateway, *, late_seconds: float, refused_days: float) -> None:
        super().__init__(name="forwarder", daemon=True)
        self._store, self._gateway = store, gateway
        self._late_seconds, self._refused_days = late_seconds, refused_days
        self._paused: dict[str, float] = {}
        self.new = threading.Event()
        self.stopping = threading.Event()
        self.forwarded = 0
        self.last_problem = ""
        self.is_reachable = True

    def run(self) -> None:
        backoff, swept_at = 1.0, 0.0
        while not self.stopping.is_set():
            try:
                if time.monotonic() - swept_at > 3600 or not swept_at:
                    swept_at = time.monotonic()
                    self._store.forget_refused(days=self._refused_days)
                went = self._step()
            except sqlite3.Error as error:
                self._trouble(f"the spool's own disk: {error}")
                went = False
            except Exception as error:  # a thread that ends would end in silence
                log.exception("a fault of the spool")
                self._trouble(f"a fault of the spool: {error!r}")
                went = False
            if went is None:
                self.new.wait(self._pause())
                self.new.clear()
            elif went:
                backoff = 1.0
            else:
                self.stopping.wait(backoff)
                backoff = min(backoff * 2, LONGEST_BACKOFF)

    def _pause(self) -> float:
        return max(0.05, min([1.0, *(until - time.monotonic() for until in self._paused.values())]))

    def _step(self) -> bool | None:
        """None: nothing may go now; False: the gateway could not be reached."""
        now = time.monotonic()
        self._paused = {token: until for token, until in self._paused.items() if until > now}
        waiting = self._store.oldest(but_of=sorted(self._paused))
        if waiting and waiting[0].age_seconds >= self._late_seconds:
            waiting = self._store.oldest(but_of=sorted(self._paused), limit=TOGETHER)
        if not waiting:
            return None
        together = late_together(waiting, self._late_seconds)
        if together:
            return self._send_late(together)
        first = waiting[0]
        answer = self._gateway.post(first.path, first.token, first.body)
        return self._settle(first, answer)

    def _send_late(self, together: Sequence[Kept]) -> bool:
        token, body = as_backfill(together)
        answer = self._gateway.post(BATCH, token, body)
        results = answer.results
        if len(results) != len(together):
            if answer.is_refusal:
                # Whose fault it is, each tells alone.
                return self._settle(together[0], self._gateway.post(BATCH, *as_backfill(together[:1])))
            return self._settle(together[0], answer)
        taken = [kept.id for kept, result in zip(together, results) if is_taken(result)]
        for kept, result in zip(together, results):
            if not is_taken(result) and not can_be_sent_again(result):
                self._refuse(kept, Answer(400, json.dumps(result, ensure_ascii=False)))
        self._store.forget(taken)
        if not taken and any(can_be_sent_again(result) for result in results):
            self._trouble("the gateway could store none of them")
            return False
        self._went(len(taken))
        return True

    def _settle(self, kept: Kept, answer: Answer) -> bool:
        """Of one request. A batch of which some were refused is kept as a whole: copies harm nobody."""
        if answer.is_taken:
            self._store.forget([kept.id])
            self._went(1)
            return True
        if answer.is_refusal:
            self._refuse(kept, answer)
            return True
        if answer.status == 429 and answer.is_ours:
            self._paused[kept.token] = time.monotonic() + min(answer.retry_after or 1.0, LONGEST_BACKOFF)
            self.last_problem = "the gateway asks an enterprise to wait"
            return True
        self._trouble(f"{answer.status or 'no answer'}: {answer.text[:200]}")
        return False

    def _refuse(self, kept: Kept, answer: Answer) -> None:
        self._store.refuse(kept, answer.status, answer.text)
        log.error("refused by the gateway, kept apart: %s with %s", kept.path, f"{answer.status} {answer.text[:200]}")

    def _went(self, count: int) -> None:
        self.forwarded += count
        if not self.is_reachable:
            log.warning("the gateway takes events again")
        self.is_reachable, self.last_problem = True, ""

    def _trouble(self, problem: str) -> None:
        if self.is_reachable:
            log.warning("events wait: %s", problem)
        self.is_reachable, self.last_problem = False, problem


def late_together(waiting: Sequence[Kept], late_seconds: float) -> list[Kept]:
    """Of the token that waits longest, the late events that can go in one batch before anything else of it."""
    found: list[Kept] = []
    for kept in waiting:
        if kept.token != waiting[0].token:
            continue
        if kept.path == BATCH or kept.age_seconds < late_seconds or envelope(kept) is None:
            break
        found.append(kept)
    return found


def as_backfill(together: Sequence[Kept]) -> tuple[str, bytes]:
    """Token and body of the batch. An event that was recovered already stays what it is."""
    events = [envelope(kept) or {} for kept in together]
    token = together[0].token
    # In ASCII: half of a letter, which hosts send, has no other form.
    return token, json.dumps({"token": token, "origin": "backfill", "events": events}).encode()


def envelope(kept: Kept) -> dict[str, Any] | None:
    """The event as an item of a batch, which has its origin from the batch; None where it is no JSON."""
    body = as_object(kept.body)
    if not body:
        return None
    if kept.path == EVENT:
        event = {name: value for name, value in body.items() if name != "token"}
        if event.get("origin") == "live":
            del event["origin"]
        return event
    raw = {name: value for name, value in body.items() if name.lower() != "token"}
    return {"uniqueId": raw.get("UniqueId", ""), "event_type": kept.path[1:], "raw": raw}


def as_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object in it, else an empty one. A letter that was cut, or is of an old code page, costs itself."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def is_taken(result: Any) -> bool:
    return isinstance(result, dict) and result.get("success") is True


def can_be_sent_again(result: Any) -> bool:
    error = result.get("error") if isinstance(result, dict) else None
    return isinstance(error, dict) and error.get("code") in ("unavailable", "rate_limited")


def token_of(header: str, body: bytes) -> str:
    found = as_object(body)
    return str(header or found.get("token") or found.get("Token") or "")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SLOW_SECONDS
    # An answer is one packet; two would wait for each other.
    wbufsize = -1
    store: Store
    forwarder: Forwarder
    accepted = 0

    def do_POST(self) -> None:
        path = urlsplit(self.path).path.rstrip("/") or "/"
        if path not in PATHS:
            self._refuse(404, "not_found", f"The spool takes {', '.join(PATHS)}")
            return
        body = self._body(BATCH_BYTES if path == BATCH else EVENT_BYTES)
        if body is None:
            return
        events = as_object(body).get("events") if path == BATCH else None
        if path == BATCH and not isinstance(events, list):
            self._refuse(400, "invalid_payload", "events: must be a list")
            return
        try:
            number = self.store.add(path, token_of(self.headers.get("Token", ""), body), body)
        except DiskFull as error:
            log.warning("not taken: %s", error)
            self._refuse(503, "unavailable", f"The event is not on disk ({error}); send it again")
            return
        type(self).accepted += len(events) if isinstance(events, list) else 1
        self.forwarder.new.set()
        self._answer(*accepted(path, number, events))

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200, self._health())
        elif self.path == "/metrics":
            self._write(200, metrics(self._health()).encode(), "text/plain; version=0.0.4")
        else:
            self._refuse(404, "not_found", "There are /health and /metrics")

    def _health(self) -> dict[str, Any]:
        counts = self.store.counts()
        status = "ok" if self.forwarder.is_reachable else "behind"
        return {
            "status": "refused" if counts["refused"] and status == "ok" else status,
            **counts,
            "accepted": self.accepted,
            "forwarded": self.forwarder.forwarded,
            "last_problem": self.forwarder.last_problem,
        }

    def _body(self, most: int) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or self.headers.get("Transfer-Encoding"):
            self._refuse(411, "length_required", "Send Content-Length")
            return None
        if int(length) > most:
            self._refuse(413, "too_large", f"The body is over {most // 1024} kB")
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self._refuse(400, "invalid_payload", "The body broke off")
            return None
        return body

    def _refuse(self, status: int, code: str, message: str) -> None:
        # What is left of the body is not read, so the connection cannot be used again.
        self.close_connection = True
        self._answer(status, {"error": {"code": code, "message": message}})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        self._write(status, json.dumps(content, ensure_ascii=False).encode(), "application/json")

    def _write(self, status: int, content: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """An access log would hold what nobody reads; /health counts."""


def accepted(path: str, number: int, events: Sequence[Any] | None) -> tuple[int, dict[str, Any]]:
    """As the gateway answers. Its own ids are not known yet."""
    if path == EVENT:
        return 202, {"success": True, "event_id": f"spool-{number}"}
    if path == BATCH:
        results = [{"success": True, "event_id": f"spool-{number}-{place}"} for place in range(len(events or ()))]
        return 200, {"success": True, "results": results}
    return 200, {"status": "ok", "message": "Event queued for processing"}


def metrics(health: dict[str, Any]) -> str:
    """Prometheus text."""
    names = {
        "waiting": ("gauge", "spool_waiting_events", "Requests that the gateway does not have yet"),
        "oldest_seconds": ("gauge", "spool_oldest_seconds", "Age of the oldest of them"),
        "refused": ("gauge", "spool_refused_events", "Requests that the gateway refused, kept apart"),
        "disk_bytes": ("gauge", "spool_disk_bytes", "Disk in use"),
        "disk_limit_bytes": ("gauge", "spool_disk_limit_bytes", "Disk that may be used"),
        "accepted": ("counter", "spool_accepted_events_total", "Events taken since the start"),
        "forwarded": ("counter", "spool_forwarded_total", "Requests handed over since the start"),
    }
    lines = []
    for key, (kind, name, says) in names.items():
        lines += [f"# HELP {name} {says}", f"# TYPE {name} {kind}", f"{name} {health[key]}"]
    return "\n".join(lines) + "\n"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], store: Store, forwarder: Forwarder, *, at_once: int = 64) -> None:
        handler = type("Bound", (Handler,), {"store": store, "forwarder": forwarder})
        self._free = threading.BoundedSemaphore(at_once)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """No more threads than that: who comes then waits in the queue of the socket."""
        self._free.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.info("a connection broke: %s", sys.exc_info()[1])


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is no address; it looks like 127.0.0.1:8020")
    return host.strip("[]"), int(port)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=address, default=("127.0.0.1", 8020), help="address:port (127.0.0.1:8020)")
    parser.add_argument("--to", required=True, help="where the gateway is, as https://telephony.example.com")
    parser.add_argument("--data", type=Path, required=True, help="folder of the spool; it holds customers' numbers")
    parser.add_argument("--late-seconds", type=float, default=60.0, help="older events go as backfill (60)")
    parser.add_argument("--most-mb", type=int, default=1024, help="disk that the spool may use (1024)")
    parser.add_argument("--refused-days", type=float, default=14.0, help="what was refused is kept so long (14)")
    parser.add_argument("--retry-refused", action="store_true", help="send what was refused once more")
    parser.add_argument("--ca-file", help="certificates to trust in place of the system's")
    given = parser.parse_args()
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    gateway = Gateway(given.to, ca_file=given.ca_file)
    store = Store(given.data, most_bytes=given.most_mb * 1024 * 1024)
    if given.retry_refused:
        log.info("%s refused requests are sent once more", store.retry_refused())
    forwarder = Forwarder(store, gateway, late_seconds=given.late_seconds, refused_days=given.refused_days)
    try:
        server = Server(given.listen, store, forwarder)
    except OSError as error:
        host, port = given.listen
        raise SystemExit(
            f"--listen: {host}:{port} cannot be had ({error.strerror}): free it, or name another"
        ) from None
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: threading.Thread(target=server.shutdown).start())
    forwarder.start()
    log.info("listening on %s:%s, %s waiting", *server.server_address[:2], store.counts()["waiting"])
    server.serve_forever()
    server.server_close()
    forwarder.stopping.set()
    forwarder.new.set()
    forwarder.join(REQUEST_SECONDS + 1)
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
