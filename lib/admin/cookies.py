"""The cookies of the page: each holds a secret, of which the database keeps the hash."""

from __future__ import annotations

import secrets
from typing import Final
from urllib.parse import urlsplit

from flask import Request
from werkzeug.http import dump_cookie

from lib.runtime import config

SESSION: Final = "session"
# A link of the account that was opened, until the page has exchanged it for a session.
LINK: Final = "link"
# A browser that has signed in by password.
BROWSER: Final = "browser"
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def name_of(kind: str) -> str:
    """Browsers accept a name with `__Host-` from a secure page only."""
    return f"__Host-{kind}" if _is_secure() else kind


def read(request: Request) -> dict[str, str]:
    """The secrets by their kind; "" for a cookie that did not come."""
    return {kind: request.cookies.get(name_of(kind), "") for kind in (SESSION, LINK, BROWSER)}


def setting(kind: str, secret: str, *, seconds: int | None = None) -> str:
    """For `Set-Cookie`. `seconds` None: as long as the browser is open. An empty secret removes the cookie."""
    return dump_cookie(
        name_of(kind),
        secret,
        path="/",
        max_age=seconds if secret else 0,
        httponly=True,
        secure=_is_secure(),
        samesite="Lax",
    )


def _is_secure() -> bool:
    """Always, but for a gateway on this machine."""
    address = urlsplit(config.current(config.Public).public_url)
    return not (address.scheme == "http" and address.hostname in _LOOPBACK)
