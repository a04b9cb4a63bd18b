"""The state that must survive a restart: an append-only file of JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from io import BufferedWriter
from pathlib import Path
from typing import Any


class StateFile:
    """Without a path nothing is kept. Raises OSError where the file cannot be used."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BufferedWriter | None = None

    def read(self) -> Iterator[dict[str, Any]]:
        """What was appended so far; a line torn by a crash is left out."""
        if self._path is None or not self._path.exists():
            return
        with self._path.open("rb") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record

    def open(self) -> None:
        """To be called once, after `read`."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.touch(mode=0o600)
        self._path.chmod(0o600)  # also one that an older version left
        self._file = self._path.open("ab")
        if self._file.tell() and self._last_byte() != b"\n":
            self._file.write(b"\n")

    def append(self, record: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _last_byte(self) -> bytes:
        if self._path is None:
            return b""
        with self._path.open("rb") as existing:
            existing.seek(-1, os.SEEK_END)
            return existing.read(1)
