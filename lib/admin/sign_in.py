"""Signing in, by password or by the link of the account; who is signed in; signing out."""

from __future__ import annotations

import logging
from typing import Final

from lib.admin import answers, guard
from lib.admin.operation import Call, Operation, obj, text
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


def sign_in(call: Call) -> Answer:
    """With a new secret each time: one that was planted in a browser before is worth nothing after."""
    number, user_id = _by_link(call) if "token" in call.body else _by_password(call)
    cookie = guard.new_cookie()
    limits = config.current(config.Sessions)
    with db.transaction() as conn:
        sessions.revoke_session(conn, token_sha256(call.cookie))
        sessions.insert_session(conn, number, user_id=user_id, token_sha256=token_sha256(cookie))
        enterprise = enterprises.find_enterprise(conn, number)
    log.info("signed in", extra={"enterprise": number, "by_link": "token" in call.body})
    content = {
        "enterprise_number": number,
        "enterprise_name": enterprise.name if enterprise else "",
        "login": call.body.get("login"),
        "idle_minutes": limits.session_idle_minutes,
    }
    return content, 200, guard.cookie_header(cookie)


def show(call: Call) -> Answer:
    return {
        "enterprise_number": call.enterprise.number,
        "enterprise_name": call.enterprise.name,
        "login": call.session.login,
        "signed_in_at": call.session.created_at,
        "idle_minutes": config.current(config.Sessions).session_idle_minutes,
    }, 200


def sign_out(call: Call) -> Answer:
    """Also when nobody is signed in: the wish is granted."""
    with db.connection() as conn:
        sessions.revoke_session(conn, token_sha256(call.cookie))
    return {"success": True}, 200, guard.cookie_header("")


def _by_link(call: Call) -> tuple[str, None]:
    link = account_link.read(call.body["token"])
    with db.connection() as conn:
        version = sessions.find_link_version(conn, link.enterprise_number)
    if version is None or link.version < version:
        raise Unauthorized("This link was replaced by a newer one: open the module in RetailCRM", code="link_revoked")
    if call.body.get("enterprise_number", link.enterprise_number) != link.enterprise_number:
        raise Unauthorized("This link is for another enterprise", code="link_invalid")
    return link.enterprise_number, None


def _by_password(call: Call) -> tuple[str, int]:
    missing = {name: "is missing" for name in ("enterprise_number", "login", "password") if name not in call.body}
    guard.refuse(missing)
    number, login = call.body["enterprise_number"], call.body["login"]
    name = token_sha256(f"{number}/{login}")
    with db.transaction() as conn:
        if _is_too_much(sessions.lock_attempts(conn, name, call.address)):
            log.warning("sign-in throttled", extra={"enterprise": number, "address": call.address})
            raise RateLimited("Too many attempts: wait a quarter of an hour, then try again")
        sessions.insert_attempt(conn, name, call.address)
        found = sessions.find_credentials(conn, number, login)
    if not is_password(call.body["password"], found.password_hash if found else None) or found is None:
        raise Unauthorized("The enterprise, the login or the password is wrong", code="wrong_credentials")
    # At no other moment is the password here, of which a better hash can be made.
    again = hash_password(call.body["password"]) if needs_rehash(found.password_hash or "") else None
    with db.connection() as conn:
        sessions.delete_attempts(conn, name, call.address)
        if again:
            sessions.replace_password_hash(conn, found.user_id, before=found.password_hash, after=again)
    if not found.is_admin:
        raise Forbidden("This page is for administrators", code="not_an_administrator")
    return number, found.user_id


def _is_too_much(made: Attempts) -> bool:
    return made.of_both >= _MOST.of_both or made.of_login >= _MOST.of_login or made.of_address >= _MOST.of_address


OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/session",
        summary="Sign in with enterprise_number, login and password, or with the token of the account link",
        handle=sign_in,
        gives=answers.SESSION,
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
    Operation(method="GET", path="/session", summary="Who is signed in", handle=show, gives=answers.SESSION),
    Operation(
        method="DELETE", path="/session", summary="Sign out", handle=sign_out, gives=answers.SUCCESS, access="anybody"
    ),
)
