"""
Places each order once: of two identical clicks, on any two instances, only one rings a phone.

PostgreSQL decides which is first; no connection or lock is held during the request to the Asterisk service.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from lib.click import asterisk, settings
from lib.click.order import Order
from lib.click.under_way import under_way
from lib.runtime import config, db
from lib.runtime.errors import RateLimited, Unavailable
from lib.store import clicks, enterprises
from lib.store.clicks import Click
from lib.store.enterprises import Enterprise

log = logging.getLogger(__name__)

REPEAT_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1
_RECORDING_SECONDS: Final = 2.0

_ERRORS: Final[Mapping[asterisk.Outcome, tuple[int, str]]] = {
    "refused": (502, "asterisk_refused"),
    "unreachable": (502, "asterisk_unreachable"),
    "broken": (502, "asterisk_broke_off"),
    "timeout": (504, "asterisk_timeout"),
}


@dataclass(frozen=True, kw_only=True)
class Told:
    """
    The answer to the CRM. `click_id`: the click that placed the order; `is_repeat`: that was an earlier, identical
    click.
    """

    status: int
    body: Mapping[str, Any]
    click_id: int
    is_repeat: bool = False

    @property
    def answer(self) -> str:
        """For `/metrics`."""
        if "error" in self.body:
            return str(self.body["error"]["code"])
        return "repeat" if self.is_repeat else "called"


def place(enterprise: Enterprise, order: Order) -> Told:
    """Raises RateLimited, and Unavailable when the database is away: then nothing rings."""
    with under_way().order(enterprise.number, _service(enterprise)):
        return _place(enterprise, order)


def _place(enterprise: Enterprise, order: Order) -> Told:
    timeout = config.current(config.Asterisk).asterisk_timeout_seconds
    patience = timeout + _RECORDING_SECONDS
    with db.transaction() as conn:
        clicks.lock(conn, enterprise.number)
        earlier = clicks.find_recent(
            conn,
            enterprise.number,
            extension=order.extension,
            phone=order.phone,
            within_seconds=REPEAT_SECONDS,
            unfinished_within_seconds=max(REPEAT_SECONDS, patience),
        )
        if earlier is None:
            _refuse_too_many(conn, enterprise, order)
            secret = enterprises.get_secret(conn, enterprise.number)
            click_id = clicks.insert_click(
                conn, enterprise.number, user_id=order.user_id, extension=order.extension, phone=order.phone
            )
    if earlier is not None:
        return _answer_of(earlier, patience)
    told = _told(_call(enterprise, secret, order, timeout), order, click_id)
    try:
        with db.connection() as conn:
            clicks.finish_click(conn, click_id, http_status=told.status, answer=told.body)
    except Unavailable:  # the phone rings all the same
        log.warning("a click has no answer", extra={"click_id": click_id, "status": told.status})
    return told


def _refuse_too_many(conn: db.Connection, enterprise: Enterprise, order: Order) -> None:
    limits = config.current(config.Clicks)
    by_manager, by_enterprise = clicks.count_last_minute(conn, enterprise.number, extension=order.extension)
    if by_manager >= limits.clicks_per_manager_per_minute:
        raise RateLimited(f"Extension {order.extension} made {by_manager} calls within a minute; try again later")
    if by_enterprise >= limits.clicks_per_enterprise_per_minute:
        raise RateLimited(f"The enterprise made {by_enterprise} calls within a minute; try again later")
    daily = settings.of(enterprise).daily_limit
    if clicks.count_last_day(conn, enterprise.number, most=daily) >= daily:
        raise RateLimited(
            f"The enterprise made {daily} calls by click within 24 hours: an administrator raises this limit on the"
            " page (Rules, Calls by click); try again later",
            code="daily_limit",
            details={"limit": daily},
        )


def _call(enterprise: Enterprise, secret: str, order: Order, timeout_seconds: float) -> asterisk.HostReply:
    if not enterprise.asterisk_url:
        return asterisk.HostReply(outcome="unreachable", cause="The enterprise has no address of an Asterisk service")
    host = asterisk.Host(base_url=enterprise.asterisk_url, secret=secret)
    reply = asterisk.call(host, extension=order.extension, phone=order.phone, timeout_seconds=timeout_seconds)
    under_way().heard(_service(enterprise), in_time=reply.outcome not in {"timeout", "unreachable"})
    return reply


def _service(enterprise: Enterprise) -> str:
    """Of several enterprises it may be the same."""
    return urlsplit(enterprise.asterisk_url or "").netloc.lower()


def _told(reply: asterisk.HostReply, order: Order, click_id: int) -> Told:
    if reply.outcome == "accepted":
        message = f"Call initiated: {order.extension} -> {order.phone}"
        body = {"success": True, "message": message, "extension": order.extension, "phone": order.phone}
        if order.not_dialled:
            body["message"] = f"{message}; extension {order.not_dialled} is left to the manager to dial"
            body["not_dialled"] = order.not_dialled
        return Told(status=200, body=body, click_id=click_id)
    status, code = _ERRORS[reply.outcome]
    return Told(status=status, body={"error": {"code": code, "message": reply.cause}}, click_id=click_id)


def _answer_of(click: Click, patience_seconds: float) -> Told:
    """The answer to the first click; waits while that is still under way."""
    patient_until = time.monotonic() + patience_seconds
    while click.http_status is None and time.monotonic() < patient_until:
        time.sleep(_POLL_SECONDS)
        with db.connection() as conn:
            click = clicks.get_click(conn, click.id)
    if click.http_status is None or click.answer is None:
        cause = "The same click a moment ago got no answer; whether it rings is not known"
        body: Mapping[str, Any] = {"error": {"code": "asterisk_timeout", "message": cause}}
        return Told(status=504, body=body, click_id=click.id, is_repeat=True)
    return Told(status=click.http_status, body=click.answer, click_id=click.id, is_repeat=True)
