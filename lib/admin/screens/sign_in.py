"""Signing in, by password or by the link of the account; who is signed in; signing out."""

from __future__ import annotations

import logging
from typing import Final

from lib.admin import guard
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import COUNT, FLAG, MAYBE_TEXT, MOMENT, TEXT, obj, record, text
from lib.enterprises import account_link
from lib.runtime import config, db
from lib.runtime.auth import token_sha256
from lib.runtime.errors import Forbidden, RateLimited, Unauthorized
from lib.runtime.http import Answer
from lib.runtime.passwords import hash_password, is_password, needs_rehash
from lib.store import enterprises, sessions
from lib.store.sessions import Attempts

log = logging.getLogger(__name__)

# Within fifteen minutes.
_MOST: Final = Attempts(of_both=10, of_login=60, of_address=40)


def sign_in(request: AdminRequest) -> Answer:
    """
    Makes a new cookie each time, so that one that was planted in the browser before is worthless (session fixation).
    """
    number, user_id = _by_link(request) if "token" in request.body else _by_password(request)
    cookie = guard.new_cookie()
    limits = config.current(config.Sessions)
    with db.transaction() as conn:
        sessions.revoke_session(conn, token_sha256(request.cookie))
        sessions.insert_session(conn, number, user_id=user_id, token_sha256=token_sha256(cookie))
        enterprise = enterprises.find_enterprise(conn, number)
    log.info("signed in", extra={"enterprise": number, "by_link": "token" in request.body})
    content = {
        "enterprise_number": number,
        "enterprise_name": enterprise.name if enterprise else "",
        "login": request.body.get("login"),
        "idle_minutes": limits.session_idle_minutes,
    }
    return content, 200, guard.cookie_header(cookie)


def show(request: AdminRequest) -> Answer:
    return {
        "enterprise_number": request.enterprise.number,
        "enterprise_name": request.enterprise.name,
        "login": request.session.login,
        "signed_in_at": request.session.created_at,
        "idle_minutes": config.current(config.Sessions).session_idle_minutes,
    }, 200


def sign_out(request: AdminRequest) -> Answer:
    """Succeeds also when nobody is signed in."""
    with db.connection() as conn:
        sessions.revoke_session(conn, token_sha256(request.cookie))
    return {"success": True}, 200, guard.cookie_header("")


def _by_link(request: AdminRequest) -> tuple[str, None]:
    link = account_link.read(request.body["token"])
    with db.connection() as conn:
        version = sessions.find_link_version(conn, link.enterprise_number)
    if version is None or link.version < version:
        raise Unauthorized("This link was replaced by a newer one: open the module in RetailCRM", code="link_revoked")
    if request.body.get("enterprise_number", link.enterprise_number) != link.enterprise_number:
        raise Unauthorized("This link is for another enterprise", code="link_invalid")
    return link.enterprise_number, None


def _by_password(request: AdminRequest) -> tuple[str, int]:
    missing = {name: "is missing" for name in ("enterprise_number", "login", "password") if name not in request.body}
    guard.refuse(missing)
    number, login = request.body["enterprise_number"], request.body["login"]
    name = token_sha256(f"{number}/{login}")
    with db.transaction() as conn:
        if _is_too_much(sessions.lock_attempts(conn, name, request.address)):
            log.warning("sign-in throttled", extra={"enterprise": number, "address": request.address})
            raise RateLimited("Too many attempts: wait a quarter of an hour, then try again")
        sessions.insert_attempt(conn, name, request.address)
        found = sessions.find_credentials(conn, number, login)
    if not is_password(request.body["password"], found.password_hash if found else None) or found is None:
        raise Unauthorized("The enterprise, the login or the password is wrong", code="wrong_credentials")
    # At no other moment is the password here, of which a better hash can be made.
    again = hash_password(request.body["password"]) if needs_rehash(found.password_hash or "") else None
    with db.connection() as conn:
        sessions.delete_attempts(conn, name, request.address)
        if again:
            sessions.replace_password_hash(conn, found.user_id, before=found.password_hash, after=again)
    if not found.is_admin:
        raise Forbidden("This page is for administrators", code="not_an_administrator")
    return number, found.user_id


def _is_too_much(made: Attempts) -> bool:
    return made.of_both >= _MOST.of_both or made.of_login >= _MOST.of_login or made.of_address >= _MOST.of_address


SESSION: Final = record(
    {
        "enterprise_number": TEXT,
        "enterprise_name": TEXT,
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
        summary="Sign in with enterprise_number, login and password, or with the token of the account link",
        handle=sign_in,
        gives=SESSION,
        access="anybody",
        body=obj(
            {
                "enterprise_number": text(32, least=1),
                "login": text(200, least=1),
                "password": text(1000, least=1),
                "token": text(4000, least=1),
            }
        ),
        answers={200: "A session, as a cookie", 401: "Not let in", 429: "Too many attempts"},
    ),
    Operation(method="GET", path="/session", summary="Who is signed in", handle=show, gives=SESSION),
    Operation(method="DELETE", path="/session", summary="Sign out", handle=sign_out, gives=SUCCESS, access="anybody"),
)
