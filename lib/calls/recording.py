"""The address of a recording: nothing but http(s) ever becomes a link."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

# Kept as they are: what RFC 3986 lets stand in a path or a query, and what is encoded already.
_KEPT: Final = "/:@!$&'()*+,;=~%?"
_LOOSE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LONGEST: Final = 2000
# What a program prints in place of a host that it was not told.
_NO_HOSTS: Final = frozenset({"none", "null", "nil", "nan", "undefined"})
_NEVER_IN_A_HOST: Final = " \\<>\"'"


def address(sent: str) -> str | None:
    """An absolute http(s) address, its spaces and letters percent-encoded; None where it is anything else."""
    sent = sent.strip()
    try:
        parts = urlsplit(sent)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme.lower() not in ("http", "https") or not host or host in _NO_HOSTS:
        return None
    if "%" in host or any(mark in parts.netloc for mark in _NEVER_IN_A_HOST):
        return None
    try:
        netloc = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    path, query, fragment = (_encoded(part) for part in (parts.path, parts.query, parts.fragment))
    found = urlunsplit((parts.scheme.lower(), netloc, path, query, fragment))
    return found if len(found) <= _LONGEST else None


def _encoded(part: str) -> str:
    return quote(_LOOSE_PERCENT.sub("%25", part), safe=_KEPT, errors="replace")
