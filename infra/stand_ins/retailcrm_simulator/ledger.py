"""The simulator's own record: every request, what it did and what it was answered, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final

_SUBSCRIBER_QUEUE: Final = 1000


@dataclass(kw_only=True)
class Entry:
    """
    One request. `*_at` are seconds since the epoch. `account` is empty for a key that nobody has. `applied` is
    the effect, None when there was none; `answer` what was meant to be sent, whatever `fault` made of it.
    """

    seq: int = 0
    account: str
    kind: str
    method: str
    path: str
    received_at: float
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    unread: str = ""
    warnings: list[str] = field(default_factory=list)
    fault: str | None = None
    limited: bool = False
    applied: Mapping[str, Any] | None = None
    applied_at: float | None = None
    answer: Mapping[str, Any] | None = None
    answered_at: float | None = None

    @property
    def status(self) -> int | None:
        """Of the answer; None when none got out whole."""
        return self.answer["status"] if self.answer else None

    def as_json(self) -> dict[str, Any]:
        moment = datetime.fromtimestamp(self.received_at, UTC)
        return {**asdict(self), "received": moment.isoformat(timespec="milliseconds")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entry:
        names = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in names})


class Ledger:
    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._last = 0
        self._subscribers: set[asyncio.Queue[Entry]] = set()

    def arrive(self, entry: Entry) -> None:
        self._last += 1
        entry.seq = self._last
        self._entries.append(entry)

    def restore(self, entries: Iterable[Entry]) -> None:
        """They were kept in the order in which they were decided; here the order of arrival counts."""
        self._entries = sorted(entries, key=lambda entry: entry.seq)
        self._last = max((entry.seq for entry in self._entries), default=0)

    def announce(self, entry: Entry) -> None:
        """Tells the subscribers that an entry is decided; one that does not keep up misses some."""
        for queue in self._subscribers:
            if not queue.full():
                queue.put_nowait(entry)

    def subscribe(self) -> asyncio.Queue[Entry]:
        queue: asyncio.Queue[Entry] = asyncio.Queue(_SUBSCRIBER_QUEUE)
        self._subscribers.add(queue)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[Entry]) -> None:
        self._subscribers.discard(queue)

    def clear(self, account: str | None) -> None:
        self._entries = [entry for entry in self._entries if account is not None and entry.account != account]

    def select(
        self,
        *,
        account: str | None = None,
        kind: str | None = None,
        since: float = 0.0,
        after: int = 0,
        limit: int = 0,
    ) -> list[Entry]:
        """`since` compares the time of receipt, `after` the number; `limit` keeps the last ones."""
        found = [entry for entry in self._entries if _matches(entry, account, kind, since, after)]
        return found[-limit:] if limit else found


def count_by(entries: Iterable[Entry], name: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in entries:
        value = str(getattr(entry, name))
        counts[value] = counts.get(value, 0) + 1
    return counts


def _matches(entry: Entry, account: str | None, kind: str | None, since: float, after: int) -> bool:
    return (
        (account is None or entry.account == account)
        and (kind is None or entry.kind == kind)
        and entry.received_at >= since
        and entry.seq > after
    )
