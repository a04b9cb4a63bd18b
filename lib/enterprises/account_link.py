"""
The link by which RetailCRM opens the page: a signed statement of which enterprise it is for.

It stands in an address, so all that it can do is to be exchanged for a session, until its version is raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

import jwt
from jwt.types import Options

from lib.runtime import config
from lib.runtime.errors import ConfigError, Unauthorized

SOURCE: Final = "retailcrm"
SECRET_BYTES: Final = 32
_CLAIMS: Final = ["enterprise_number", "source", "version", "iat", "exp"]


@dataclass(frozen=True, kw_only=True)
class Link:
    enterprise_number: str
    version: int


def url(link: Link) -> str:
    query = urlencode({"enterprise_number": link.enterprise_number, "token": issue(link)})
    return f"{config.current(config.Public).public_url.rstrip('/')}/retailcrm-admin/?{query}"


def without_token(enterprise_number: str) -> str:
    """Opens the page, which then asks for a password."""
    query = urlencode({"enterprise_number": enterprise_number})
    return f"{config.current(config.Public).public_url.rstrip('/')}/retailcrm-admin/?{query}"


def issue(link: Link) -> str:
    now = datetime.now(UTC)
    claims = {
        "enterprise_number": link.enterprise_number,
        "source": SOURCE,
        "version": link.version,
        "iat": now,
        "exp": now + timedelta(days=config.current(config.AccountLink).account_link_days),
    }
    return jwt.encode(claims, _secret(), algorithm="HS256")


def read(token: str) -> Link:
    """Whose link it is; whether its version still stands is the caller's to ask. Raises Unauthorized."""
    try:
        # When it was issued decides nothing, and may lie ahead: another instance signed it by its own clock.
        options: Options = {"require": _CLAIMS, "verify_iat": False}
        claims = jwt.decode(token, _secret(), algorithms=["HS256"], options=options)
    except jwt.ExpiredSignatureError as error:
        raise Unauthorized("This link is too old: register the module again", code="link_expired") from error
    except (jwt.PyJWTError, ValueError) as error:
        raise Unauthorized("This link is not one of ours", code="link_invalid") from error
    number, version = claims["enterprise_number"], claims["version"]
    if claims["source"] != SOURCE or not isinstance(number, str) or type(version) is not int:
        raise Unauthorized("This link is not one of ours", code="link_invalid")
    return Link(enterprise_number=number, version=version)


def check() -> None:
    """Raises ConfigError while the secret is missing or weak."""
    _secret()


def _secret() -> str:
    secret: str = config.current(config.AccountLink).account_link_secret
    if len(secret.encode()) < SECRET_BYTES:
        raise ConfigError(f"ACCOUNT_LINK_SECRET is shorter than {SECRET_BYTES} bytes")
    return secret
