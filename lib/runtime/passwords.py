"""
Passwords at rest, by werkzeug: PBKDF2 with SHA-256, at the cost that OWASP recommends.

Not scrypt: at the recommended cost it takes 128 MB for each person who signs in at the same moment, and an instance has
as much for everything. Hashes from before, `scrypt$n$r$p$salt$hash` at a lower cost, are still read, and are replaced
when their owner signs in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import threading
from typing import Final, NamedTuple

from werkzeug.security import check_password_hash, generate_password_hash

# NIST SP 800-63B asks for eight or more, for no rules of composition, and for none that are guessed first.
CHARACTERS: Final = (10, 1000)
_LEFT_CHARACTERS: Final = 8
_DIFFERENT_CHARACTERS: Final = 5
_GUESSED_FIRST: Final = ("password", "qwerty", "12345", "пароль", "йцукен")
# A shorter login is part of many words.
_LOGIN_CHARACTERS: Final = 3
METHOD: Final = "pbkdf2:sha256:600000"
# What werkzeug reads, also as other systems of the platform may have written it.
_READ: Final = ("pbkdf2:", "scrypt:")
_OLD_COST: Final = (2**14, 8, 1)
# Of such a hash 16 MB are needed at a time, so not by everybody at once.
_old_at_once: Final = threading.BoundedSemaphore(2)


class _Old(NamedTuple):
    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes


_NO_OLD: Final = _Old(*_OLD_COST, bytes(16), b"")


def weakness(password: str, login: str) -> str | None:
    """Why nobody may have this password, as "must …"; None where somebody may."""
    least, most = CHARACTERS
    if not least <= len(password) <= most or not password.isprintable():
        return f"must have {least} characters or more, at most {most}"
    left = password.casefold()
    for word in (login.casefold(), *_GUESSED_FIRST):
        left = left.replace(word, "") if len(word) >= _LOGIN_CHARACTERS else left
    if len(left) < _LEFT_CHARACTERS or len(set(left)) < _DIFFERENT_CHARACTERS:
        return "must not be made of the login, or of what is guessed first"
    return None


def hash_password(password: str) -> str:
    return generate_password_hash(password, METHOD)


def is_password(password: str, stored: str | None) -> bool:
    """
    Takes as long for somebody who does not exist, or has no password (`stored` None), as for a hash of either form.
    """
    old = _old(stored)
    # Half of a character is in nobody's password, and werkzeug cannot encode it; it takes its time all the same.
    text = password.encode("utf-8", "replace").decode()
    is_by_old = _is_by_old(text, old or _NO_OLD)
    known = stored if stored and stored.startswith(_READ) else None
    is_by_new = check_password_hash(known or _nobody(), text)
    return text == password and (is_by_old if old else bool(known) and is_by_new)


def needs_rehash(stored: str) -> bool:
    """Whether it was made in another way than hashes are made now."""
    return not stored.startswith(f"{METHOD}$")


def _nobody() -> str:
    """A hash of the present cost that no password has."""
    return f"{METHOD}$0000000000000000${'0' * 64}"


def _is_by_old(password: str, old: _Old) -> bool:
    with _old_at_once:
        digest = hashlib.scrypt(password.encode(), salt=old.salt, n=old.n, r=old.r, p=old.p)
    return hmac.compare_digest(digest, old.digest)


def _old(stored: str | None) -> _Old | None:
    try:
        scheme, n, r, p, salt, digest = (stored or "").split("$")
        if scheme == "scrypt":
            return _Old(int(n), int(r), int(p), base64.b64decode(salt), base64.b64decode(digest))
    except (ValueError, binascii.Error):
        pass
    return None
