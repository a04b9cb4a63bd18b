"""The files of the administrators' page, compressed and with entity tags."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from infra.routes import PAGE_HEADERS

_SMALL: Final = 512


@dataclass(frozen=True, kw_only=True)
class _Content:
    body: bytes
    packed: bytes | None
    etag: str
    media_type: str


class Page:
    """The files of a folder, read again when they change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._kept: dict[Path, tuple[tuple[int, int], _Content]] = {}

    def answer(self, request: web.BaseRequest, name: str) -> web.Response | None:
        """The file of this name; None when there is none."""
        file = _inside(self._folder, name or "index.html")
        if file is None:
            return None
        content = self._content(file)
        headers = PAGE_HEADERS | {"ETag": content.etag}
        if content.etag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
            return web.Response(status=304, headers=headers)
        body = content.body
        if content.packed and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            body = content.packed
            headers |= {"Content-Encoding": "gzip"}
        return web.Response(body=body, headers=headers | {"Content-Type": content.media_type})

    def _content(self, file: Path) -> _Content:
        found = file.stat()
        version = (found.st_mtime_ns, found.st_size)
        kept = self._kept.get(file)
        if kept is None or kept[0] != version:
            kept = self._kept[file] = (version, _read(file))
        return kept[1]


def _read(file: Path) -> _Content:
    body = file.read_bytes()
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    is_text = kind.startswith("text/") or kind in {"image/svg+xml", "application/json"}
    return _Content(
        body=body,
        packed=gzip.compress(body, mtime=0) if is_text and len(body) > _SMALL else None,
        etag=f'W/"{hashlib.sha256(body).hexdigest()[:20]}"',
        media_type=f"{kind}; charset=utf-8" if is_text else kind,
    )


def _inside(folder: Path, name: str) -> Path | None:
    """The file of this name, if there is one and it lies in the folder."""
    try:
        file = (folder / name).resolve()
        return file if file.is_relative_to(folder) and file.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None
