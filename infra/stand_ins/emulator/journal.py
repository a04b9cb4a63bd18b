"""
The state that must outlive the process: an append-only file, written before a request is answered.

A write to the operating system survives `kill -9`; nothing is flushed to the disk, so a power cut may lose the end.
A record is its length, its checksum, its kind and a protobuf message. A record cut short by a kill was never answered,
so reading stops there without loss.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from infra.stand_ins.emulator import wire
from infra.stand_ins.emulator.errors import CannotStart

_HEADER: Final = struct.Struct("<IIB")
_REWRITE_ABOVE_BYTES: Final = 64 * 1024 * 1024


class Kind(IntEnum):
    TOPIC = 1
    TOPIC_DELETED = 2
    SUBSCRIPTION = 3
    SUBSCRIPTION_DELETED = 4
    PUBLISHED = 5
    ACKNOWLEDGED = 6  # ack_ids hold message ids: leases do not outlive the process
    SOUGHT = 7
    BACKLOG = 8  # messages of one subscription; its name stands in the field `topic`


_SHAPES: Final[dict[Kind, Any]] = {
    Kind.TOPIC: wire.Topic,
    Kind.TOPIC_DELETED: wire.DeleteTopicRequest,
    Kind.SUBSCRIPTION: wire.Subscription,
    Kind.SUBSCRIPTION_DELETED: wire.DeleteSubscriptionRequest,
    Kind.PUBLISHED: wire.PublishRequest,
    Kind.ACKNOWLEDGED: wire.AcknowledgeRequest,
    Kind.SOUGHT: wire.SeekRequest,
    Kind.BACKLOG: wire.PublishRequest,
}


@dataclass(frozen=True, slots=True)
class Record:
    kind: Kind
    body: Any


class Journal:
    """Without a directory nothing is written."""

    def __init__(self, directory: Path | None) -> None:
        self._path: Path | None = None
        self._fd = self._lock = -1
        self._size = self._rewritten_size = 0
        if directory is None:
            return
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = directory / "journal"
        self._lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(self._lock)
            raise CannotStart(f"another emulator is already using {directory}.") from exc
        self._fd = _open(self._path)
        self._size = os.fstat(self._fd).st_size

    def read(self) -> Iterator[Record]:
        if self._path is None:
            return
        with self._path.open("rb") as file:
            while (record := _next(file.read(_HEADER.size), file.read)) is not None:
                yield record

    def append(self, kind: Kind, body: Any) -> None:
        if self._path is None:
            return
        try:
            self._size += _write(self._fd, _packed(Record(kind, body)))
        except OSError:
            os.ftruncate(self._fd, self._size)  # half a record would hide everything after it
            raise

    @property
    def bloated(self) -> bool:
        return self._size > max(_REWRITE_ABOVE_BYTES, 2 * self._rewritten_size)

    def rewrite(self, records: Iterable[Record]) -> None:
        """Replaces the records by a shorter list with the same result."""
        if self._path is None:
            return
        draft = self._path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        fd = _open(draft)
        try:
            size = sum(_write(fd, _packed(record)) for record in records)
            draft.replace(self._path)
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self._size, self._rewritten_size = fd, size, size

    def close(self) -> None:
        for fd in (self._fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._path = None


def _open(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)


def _packed(record: Record) -> bytes:
    body: bytes = record.body.SerializeToString()
    return _HEADER.pack(len(body), zlib.crc32(body), record.kind) + body


def _next(header: bytes, read: Any) -> Record | None:
    if len(header) < _HEADER.size:
        return None
    length, checksum, kind = _HEADER.unpack(header)
    body = read(length)
    if len(body) < length or zlib.crc32(body) != checksum:
        return None
    return Record(Kind(kind), _SHAPES[Kind(kind)].FromString(body))


def _write(fd: int, data: bytes) -> int:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
    return len(data)
