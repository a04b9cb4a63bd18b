"""Passwords at rest: scrypt with a salt of their own, `scrypt$n$r$p$salt$hash`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from typing import Final

_COST: Final = (2**14, 8, 1)


def hash_password(password: str) -> str:
    """Salt and hash in base64."""
    salt = os.urandom(16)
    n, r, p = _COST
    digest = hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p)
    return f"scrypt${n}${r}${p}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def is_password(password: str, stored: str | None) -> bool:
    """Takes as long for a user who does not exist or has no password (`stored` None)."""
    n, r, p, salt, expected = _parts(stored)
    digest = hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=n, r=r, p=p)
    return hmac.compare_digest(digest, expected) and bool(expected)


def _parts(stored: str | None) -> tuple[int, int, int, bytes, bytes]:
    try:
        scheme, n, r, p, salt, digest = (stored or "").split("$")
        if scheme == "scrypt":
            return int(n), int(r), int(p), base64.b64decode(salt), base64.b64decode(digest)
    except (ValueError, binascii.Error):
        pass
    return *_COST, bytes(16), b""
