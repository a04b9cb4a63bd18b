#!/usr/bin/env python3
"""
Posts what a host could not deliver, from the logs that it keeps: `Listen_AMI_YYYY-MM-DD.db`.

    recover.py --to http://127.0.0.1:8020 --data /var/lib/telephony-spool Listen_AMI_2026-01-31.db …

Goes to the spool or to the gateway itself. What was answered with 200 is left out, and so is what this command has
posted before; the rest is posted as `download`, because the time of its receipt no longer says when it happened.

One file, the standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import sqlite3
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Sequence

KINDS = ("start", "dial", "bridge", "bridge_create", "bridge_leave", "bridge_destroy", "new_callerid", "hangup")
DELIVERED = "<Response [200]>"
TOGETHER = 200


@dataclass(frozen=True)
class Event:
    """One line of the log. `body` is None where its request cannot be read."""

    kind: str
    at: str
    body: dict[str, Any] | None
    sha256: bytes

    @property
    def token(self) -> str:
        return str((self.body or {}).get("Token", ""))

    @property
    def is_readable(self) -> bool:
        return self.body is not None and self.kind in KINDS and bool(self.token)

    @property
    def envelope(self) -> dict[str, Any]:
        raw = {name: value for name, value in (self.body or {}).items() if name.lower() != "token"}
        return {"uniqueId": raw.get("UniqueId", ""), "event_type": self.kind, "raw": raw}


def undelivered(path: Path, table: str) -> list[Event]:
    """In the order of the log. What was posted again with success is delivered."""
    if not path.is_file():
        raise SystemExit(f"There is no file {path}")
    conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = conn.execute(
            f'SELECT "DateTime", Uniqueid, event, request, status FROM "{table}" ORDER BY rowid'  # noqa: S608
        ).fetchall()
    except sqlite3.Error as error:
        raise SystemExit(f"{path}: {error}; name another table with --table") from None
    finally:
        conn.close()
    delivered = {(unique_id, kind, request) for _, unique_id, kind, request, status in rows if status == DELIVERED}
    found: dict[bytes, Event] = {}
    for at, unique_id, kind, request, _ in rows:
        if (unique_id, kind, request) not in delivered:
            sha256 = hashlib.sha256(f"{unique_id}\n{kind}\n{request}".encode("utf-8", "replace")).digest()
            found.setdefault(sha256, Event(kind=str(kind).strip("/"), at=str(at), body=read(request), sha256=sha256))
    return list(found.values())


def read(request: Any) -> dict[str, Any] | None:
    """JSON, or what Python prints of a dictionary: hosts write both."""
    text = request.decode("utf-8", "replace") if isinstance(request, bytes) else str(request)
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, dict) else None
    return None


class Posted:
    """What this command has posted, so that a second run posts nothing twice."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._conn = sqlite3.connect(str(folder / "recovered.db"), isolation_level=None)
        self._conn.execute("CREATE TABLE IF NOT EXISTS posted (sha256 BLOB PRIMARY KEY)")

    def __contains__(self, sha256: bytes) -> bool:
        return self._conn.execute("SELECT 1 FROM posted WHERE sha256 = ?", (sha256,)).fetchone() is not None

    def add(self, events: Sequence[Event]) -> None:
        self._conn.executemany("INSERT OR IGNORE INTO posted VALUES (?)", [(event.sha256,) for event in events])


def batches(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Each of one token, in the order of the log."""
    by_token: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_token[event.token].append(event)
    for same in by_token.values():
        for start in range(0, len(same), TOGETHER):
            yield same[start : start + TOGETHER]


def post(url: str, batch: Sequence[Event]) -> list[Any]:
    """What became of each. Raises SystemExit where nothing was taken: what was not posted is posted by the next run."""
    token = batch[0].token
    body = {"token": token, "origin": "download", "events": [event.envelope for event in batch]}
    request = urllib.request.Request(  # noqa: S310  (an address that the operator names)
        url.rstrip("/") + "/dispatch/call-events",
        json.dumps(body, ensure_ascii=False).encode(),
        {"Content-Type": "application/json", "Token": token},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            results = json.loads(response.read()).get("results")
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{error.code}: {error.read().decode('utf-8', 'replace')[:300]}") from None
    except (OSError, ValueError) as error:
        raise SystemExit(f"{url}: {error}; run it again, it goes on where it stopped") from None
    if not isinstance(results, list) or len(results) != len(batch):
        raise SystemExit(f"{url} did not answer as a gateway or a spool does")
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", type=Path, help="Listen_AMI_YYYY-MM-DD.db of the host, or copies of them")
    parser.add_argument("--to", required=True, help="the spool or the gateway, as http://127.0.0.1:8020")
    parser.add_argument("--data", type=Path, required=True, help="folder that remembers what was posted")
    parser.add_argument("--table", default="AlternativeAPIlogs", help="table of the log (AlternativeAPIlogs)")
    parser.add_argument("--dry", action="store_true", help="only say what would be posted")
    given = parser.parse_args()
    os.umask(0o077)
    found = [event for path in sorted(given.logs) for event in undelivered(path, given.table)]
    readable = [event for event in found if event.is_readable]
    for event in found:
        if not event.is_readable:
            print(f"left out: {event.at} {event.kind}: its request cannot be read", file=sys.stderr)
    posted = Posted(given.data)
    new = [event for event in readable if event.sha256 not in posted]
    print(f"{len(found)} not delivered, {len(readable) - len(new)} posted before, {len(new)} to post")
    if given.dry:
        return 0
    taken = post_all(given.to, new, posted)
    return 1 if taken < len(new) or len(readable) < len(found) else 0


def post_all(url: str, new: Sequence[Event], posted: Posted) -> int:
    """How many were taken; the others are named."""
    taken = 0
    for batch in batches(new):
        results = post(url, batch)
        done = [event for event, result in zip(batch, results) if result.get("success") is True]
        for event, result in zip(batch, results):
            if event not in done:
                print(f"refused: {event.at} {event.kind}: {result.get('error')}", file=sys.stderr)
        posted.add(done)
        taken += len(done)
        print(f"\r{taken} of {len(new)} posted", end="", flush=True)
    print()
    return taken


if __name__ == "__main__":
    sys.exit(main())
