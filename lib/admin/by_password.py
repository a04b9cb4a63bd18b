"""
Letting in by login and password.

A browser that has signed in at this login before (by its cookie, as OWASP's "device cookies") has a budget of its own.
All others are strangers: they wait for their turn (`lib/admin/throttle.py`), and are told so at once, so that no thread
waits with them. Few of their passwords are hashed at a time: each costs a processor a third of a second.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Final

from lib.admin import cookies, guard, throttle
from lib.admin.operation import AdminRequest
from lib.runtime import db
from lib.runtime.auth import token_sha256
from lib.runtime.client_address import site_of, source_of
from lib.runtime.errors import Forbidden, RateLimited, Unauthorized
from lib.runtime.json_schema import MISSING
from lib.runtime.passwords import hash_password, is_password, needs_rehash
from lib.store import administrators, integration_logs, known_browsers, sessions, sign_in_attempts
from lib.store.sessions import Credentials

log = logging.getLogger(__name__)

STRANGERS_AT_ONCE: Final = 2
# Of one day at one login: when the log of the enterprise says so.
_TELLING: Final = frozenset({5, 50, 500})
_COUNTED_SECONDS: Final = 3600
_BROWSER_SECONDS: Final = known_browsers.DAYS * 24 * 3600

_places = threading.Lock()
# Whose passwords are being judged: of each site one at a time, so that no site has all places.
_sites: set[str] = set()


@dataclass(frozen=True, kw_only=True)
class Admitted:
    enterprise_number: str
    user_id: int
    set_cookie: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class _Try:
    number: str
    login: str
    password: str = field(repr=False)
    browser: str = field(repr=False)
    address: str

    @property
    def login_sha256(self) -> bytes:
        return token_sha256(f"{self.number}/{self.login}")

    @property
    def source(self) -> str:
        return source_of(self.address)

    @property
    def site(self) -> str:
        return site_of(self.address)


def admit(request: AdminRequest) -> Admitted:
    """Raises RateLimited with the seconds to wait, Unauthorized, and Forbidden for somebody who is no administrator."""
    missing = {name: MISSING for name in ("enterprise_number", "login", "password") if name not in request.body}
    guard.refuse(missing)
    made = _Try(
        number=request.body["enterprise_number"],
        login=request.body["login"],
        password=request.body["password"],
        browser=request.cookies.get(cookies.BROWSER, ""),
        address=request.address,
    )
    if _is_known(made):
        return _judged(made, failures=None)
    _require_turn(made)
    with _among_strangers(made):
        return _judged(made, failures=_take_turn(made))


def count_failures(conn: db.Connection) -> dict[str, object]:
    """For the operator: who guesses, within the last hour."""
    return {**sign_in_attempts.count(conn, seconds=_COUNTED_SECONDS), "within_seconds": _COUNTED_SECONDS}


def _is_known(made: _Try) -> bool:
    if not made.browser:
        return False
    with db.connection() as conn:
        return known_browsers.take_try(
            conn, token_sha256(made.browser), enterprise_number=made.number, login=made.login
        )


@contextmanager
def _among_strangers(made: _Try) -> Iterator[None]:
    with _places:
        if made.site in _sites or len(_sites) >= STRANGERS_AT_ONCE:
            raise _delayed(made, 1.0)
        _sites.add(made.site)
    try:
        yield
    finally:
        with _places:
            _sites.remove(made.site)


def _require_turn(made: _Try) -> None:
    """Whoever has to wait takes no place of those who have not. Raises RateLimited."""
    with db.connection() as conn:
        found = sign_in_attempts.find(conn, made.login_sha256, source=made.source, site=made.site)
    verdict = throttle.decide(throttle.Seen(**asdict(found)))
    if verdict.seconds and verdict.turn_in is None:
        raise _delayed(made, verdict.seconds)


def _take_turn(made: _Try) -> int:
    """How many attempts at this login failed today, with this one. Raises RateLimited."""
    with db.transaction() as conn:
        sign_in_attempts.lock(conn, made.login_sha256, made.source)
        found = sign_in_attempts.find(conn, made.login_sha256, source=made.source, site=made.site)
        verdict = throttle.decide(throttle.Seen(**asdict(found)))
        if verdict.seconds == 0:
            sign_in_attempts.insert(conn, made.login_sha256, source=made.source, site=made.site)
        elif verdict.turn_in is not None:
            sign_in_attempts.keep_turn(conn, made.login_sha256, site=made.site, seconds=verdict.turn_in)
    if verdict.seconds:
        raise _delayed(made, verdict.seconds)
    return found.of_login + 1


def _delayed(made: _Try, seconds: float) -> RateLimited:
    log.warning("sign-in delayed", extra={"address": made.address, "seconds": round(seconds, 1)})
    return RateLimited("Too many attempts to sign in: wait, then try again", retry_after_seconds=seconds)


def _judged(made: _Try, *, failures: int | None) -> Admitted:
    """`failures`: of strangers at this login today, with this attempt; None for a known browser."""
    with db.connection() as conn:
        found = sessions.find_credentials(conn, made.number, made.login)
    if not is_password(made.password, found.password_hash if found else None) or found is None:
        _remember_failure(made, found, failures)
        raise Unauthorized("The enterprise, the login or the password is wrong", code="wrong_credentials")
    # At no other moment is the password here, of which a better hash can be made.
    again = hash_password(made.password) if needs_rehash(found.password_hash or "") else None
    secret = cookies.new_secret()
    with db.transaction() as conn:
        sign_in_attempts.delete(conn, made.login_sha256, source=made.source)
        if again:
            sessions.replace_password_hash(conn, found.user_id, before=found.password_hash, after=again)
        if found.is_admin:
            known_browsers.remember(conn, found.user_id, before=token_sha256(made.browser), after=token_sha256(secret))
    if not found.is_admin:
        log.warning("sign-in refused", extra={"enterprise": made.number, "address": made.address, "is_admin": False})
        raise Forbidden("This page is for administrators", code="not_an_administrator")
    return Admitted(
        enterprise_number=made.number,
        user_id=found.user_id,
        set_cookie=cookies.setting(cookies.BROWSER, secret, seconds=_BROWSER_SECONDS),
    )


def _remember_failure(made: _Try, found: Credentials | None, failures: int | None) -> None:
    """What was typed is named only where it is known: people type passwords into the wrong field."""
    with db.transaction() as conn:
        is_there = administrators.has_enterprise(conn, made.number)
        if found is not None and failures in _TELLING:
            integration_logs.insert(
                conn,
                enterprise_number=made.number,
                event_type="sign_in",
                request={"login": made.login, "failed": failures, "address": made.address},
                response={},
                error="wrong_credentials",
            )
    log.warning(
        "sign-in refused",
        extra={"enterprise": made.number if is_there else None, "address": made.address, "failed": failures},
    )
