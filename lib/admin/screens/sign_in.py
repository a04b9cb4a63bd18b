"""Signing in, by password or by the link of the account; who is signed in; signing out."""

from __future__ import annotations

import logging
from typing import Final

from lib.admin import by_link, by_password, cookies
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import COUNT, FLAG, MAYBE_TEXT, MOMENT, TEXT, obj, record, text
from lib.runtime import config, db
from lib.runtime.auth import token_sha256
from lib.runtime.http import Answer
from lib.store import enterprises, sessions

log = logging.getLogger(__name__)


def sign_in(request: AdminRequest) -> Answer:
    """
    Makes a new cookie each time, so that one that was planted in the browser before is worthless (session fixation).
    """
    facts: dict[str, object] = {"address": request.address}
    user_id: int | None = None
    set_cookies: list[str] = []
    if "token" in request.body or request.body.get("opened"):
        linked = by_link.admit(request)
        number = linked.enterprise_number
        facts |= {"by_link": True, "instead_of": linked.instead_of}
    else:
        known = by_password.admit(request)
        number, user_id = known.enterprise_number, known.user_id
        set_cookies.append(known.set_cookie)
    cookie = cookies.new_secret()
    set_cookies.append(cookies.setting(cookies.SESSION, cookie))
    with db.transaction() as conn:
        set_cookies += _end(conn, request)
        sessions.insert_session(conn, number, user_id=user_id, token_sha256=token_sha256(cookie))
        enterprise = enterprises.find_enterprise(conn, number)
    log.info("signed in", extra={"enterprise": number, **facts})
    content = {
        "enterprise_number": number,
        "enterprise_name": enterprise.name if enterprise else "",
        "timezone": enterprise.timezone if enterprise else None,
        "login": request.body.get("login") if user_id else None,
        "idle_minutes": config.current(config.Sessions).session_idle_minutes,
    }
    return content, 200, {"Set-Cookie": set_cookies}


def _end(conn: db.Connection, request: AdminRequest) -> list[str]:
    """Ends the session before, and a link that waits; the cookie that goes."""
    for kind in (cookies.SESSION, cookies.LINK):
        sessions.revoke_session(conn, token_sha256(request.cookies.get(kind, "")))
    return [cookies.setting(cookies.LINK, "")] if request.cookies.get(cookies.LINK) else []


def show(request: AdminRequest) -> Answer:
    return {
        "enterprise_number": request.enterprise.number,
        "enterprise_name": request.enterprise.name,
        "timezone": request.enterprise.timezone,
        "login": request.session.login,
        "signed_in_at": request.session.created_at,
        "idle_minutes": config.current(config.Sessions).session_idle_minutes,
    }, 200


def sign_out(request: AdminRequest) -> Answer:
    """Succeeds also when nobody is signed in."""
    with db.connection() as conn:
        sessions.revoke_session(conn, token_sha256(request.cookies.get(cookies.SESSION, "")))
    return {"success": True}, 200, {"Set-Cookie": cookies.setting(cookies.SESSION, "")}


def decline_link(request: AdminRequest) -> Answer:
    """Succeeds also when no link waits."""
    with db.connection() as conn:
        sessions.revoke_session(conn, token_sha256(request.cookies.get(cookies.LINK, "")))
    log.info("link declined", extra={"address": request.address})
    return {"success": True}, 200, {"Set-Cookie": cookies.setting(cookies.LINK, "")}


SESSION: Final = record(
    {
        "enterprise_number": TEXT,
        "enterprise_name": TEXT,
        "timezone": MAYBE_TEXT,
        "login": MAYBE_TEXT,
        "signed_in_at": MOMENT,
        "idle_minutes": COUNT,
    },
    optional=("signed_in_at",),
)
SUCCESS: Final = record({"success": FLAG})

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/session",
        summary="Sign in with enterprise_number, login and password; with the token of the account link; or, `opened`, "
        "with the link that this browser has opened. `leave`: the enterprise that somebody works in, and leaves",
        handle=sign_in,
        gives=SESSION,
        access="anybody",
        body=obj(
            {
                "enterprise_number": text(32, least=1),
                "login": text(200, least=1),
                "password": text(1000, least=1),
                "token": text(4000, least=1),
                "opened": FLAG,
                "leave": text(32, least=1),
            }
        ),
        answers={
            200: "A session, as a cookie",
            401: "Not let in",
            409: "Somebody works in another enterprise in this browser; `other` is the one of the link",
            429: "Too many attempts; Retry-After says in how many seconds there is a turn for this one",
        },
    ),
    Operation(method="GET", path="/session", summary="Who is signed in", handle=show, gives=SESSION),
    Operation(method="DELETE", path="/session", summary="Sign out", handle=sign_out, gives=SUCCESS, access="anybody"),
    Operation(
        method="DELETE",
        path="/session/link",
        summary="Do not follow the link that this browser has opened",
        handle=decline_link,
        gives=SUCCESS,
        access="anybody",
    ),
)
