"""
Letting in by the link of the account.

Whoever opens the link has its session at once, but in a cookie of its own, `link`: only the page exchanges that for a
session to work with. A form that another site posts brings none of our cookies, so at that moment nobody can tell
whether somebody is working in another enterprise; the page can, and asks.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from lib.admin import cookies, guard
from lib.admin.operation import AdminRequest
from lib.enterprises import account_link
from lib.enterprises.account_link import Link
from lib.runtime import db
from lib.runtime.auth import token_sha256
from lib.runtime.errors import Conflict, Unauthorized
from lib.store import enterprises, sessions

log = logging.getLogger(__name__)

# For the answer to a question.
_WAITING_MINUTES: Final = 10


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """`instead_of`: the enterprise whose session ends."""

    enterprise_number: str
    instead_of: str | None


def read(token: str, *, address: str, expected: str | None = None) -> str:
    """The number of the enterprise that the link opens; `expected`: what stood beside it. Raises Unauthorized."""
    number = None
    try:
        link = account_link.read(token)
        number = link.enterprise_number
        _require_valid(link, expected)
    except Unauthorized as error:
        log.warning("link refused", extra={"enterprise": number, "address": address, "code": error.code})
        raise
    return number


def _require_valid(link: Link, expected: str | None) -> None:
    with db.connection() as conn:
        version = sessions.find_link_version(conn, link.enterprise_number)
    if version is None or link.version < version:
        raise Unauthorized("This link was replaced by a newer one: open the module in RetailCRM", code="link_revoked")
    if expected not in {None, link.enterprise_number}:
        raise Unauthorized("This link is for another enterprise", code="link_invalid")


def keep(number: str) -> str:
    """The cookie for a link that was opened."""
    secret = cookies.new_secret()
    with db.connection() as conn:
        sessions.insert_session(conn, number, user_id=None, token_sha256=token_sha256(secret))
    return cookies.setting(cookies.LINK, secret, seconds=_WAITING_MINUTES * 60)


def admit(request: AdminRequest) -> Admitted:
    """
    By the token in the body, or by the link that was opened. Raises Unauthorized, and Conflict while somebody works in
    another enterprise and the body does not say that they leave it.
    """
    number = _wanted(request)
    with db.connection() as conn:
        session = guard.live_session(conn, request.cookies.get(cookies.SESSION, ""))
        if session is None or session.enterprise_number == number:
            return Admitted(enterprise_number=number, instead_of=None)
        if request.body.get("leave") == session.enterprise_number:
            return Admitted(enterprise_number=number, instead_of=session.enterprise_number)
        other = enterprises.find_enterprise(conn, number)
    log.warning(
        "link of another enterprise",
        extra={"enterprise": number, "session_of": session.enterprise_number, "address": request.address},
    )
    raise Conflict(
        "Somebody works in another enterprise here: ask whether they want to leave it",
        code="other_enterprise",
        details={"other": {"enterprise_number": number, "enterprise_name": other.name if other else ""}},
    )


def _wanted(request: AdminRequest) -> str:
    if "token" in request.body:
        return read(request.body["token"], address=request.address, expected=request.body.get("enterprise_number"))
    with db.connection() as conn:
        waiting = sessions.touch_session(
            conn, token_sha256(request.cookies.get(cookies.LINK, "")), idle_minutes=_WAITING_MINUTES, absolute_hours=1
        )
    if waiting is None:
        log.warning("link refused", extra={"address": request.address, "code": "link_waited"})
        raise Unauthorized("The link waited too long: open the module in RetailCRM again", code="link_waited")
    return waiting.enterprise_number
