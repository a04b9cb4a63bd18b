"""
Handle RetailCRM's callbacks: a click on a number, a manager's changed status, the module switched on or off.

Trigger   HTTP from RetailCRM: makeCallUrl, changeUserStatusUrl, actions.activity
Reads     enterprises, users, user_internal_phones, lines, token_rotations (cached); enterprises.secret, clicks,
          user_statuses
Writes    clicks, user_statuses, enterprises.integrations_config, integration_logs
Calls     the Asterisk service of the enterprise, GET /api/makecallexternal
Answers   200 done                      400 invalid_payload, invalid_phone, no_extension
          401 unauthorized: clientId    404 integration_off
          403 from_a_browser, country_not_allowed, number_kind_not_allowed
          429 rate_limited, daily_limit, asterisk_busy
          502 the Asterisk service refused or is dead                504 it did not answer in time
          503 our database is away: nothing rings
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import functions_framework
from flask import Request, Response
from werkzeug.exceptions import MethodNotAllowed

from lib.admin import health
from lib.click import order, permission
from lib.click import settings as click_settings
from lib.click.place import place
from lib.enterprises.rules import directory, settings
from lib.intake import bodies
from lib.retailcrm import address
from lib.retailcrm.client_ids import clients
from lib.runtime import config, db, http, log_context, logs, metrics, pg_json
from lib.runtime.client_address import client_address
from lib.runtime.errors import AppError, ConfigError, Forbidden, InvalidPayload, NotFound, Unavailable
from lib.runtime.http import Answer
from lib.store import configuration, integration_logs, user_statuses
from lib.store.enterprises import Enterprise

logs.configure("make-call")
config.require(
    config.Database,
    config.PubSub,
    config.Operator,
    config.EnterpriseCache,
    config.Asterisk,
    config.Clicks,
    config.RetailCRM,
    config.Proxies,
)
log = logging.getLogger(__name__)

STATUSES: Final = ("free", "busy", "dinner", "break")
_PARAMETERS: Final = 50
_OF_BROWSERS: Final = "sec-fetch-"


def make_a_call(request: Request) -> Answer:
    given = _parameters(request)
    enterprise = _enterprise(request, given, is_number_enough=True)
    shown = order.as_log(given)
    try:
        _refuse_browsers(request)
        if not settings(enterprise).enabled:
            raise NotFound("The integration of this enterprise is switched off", code="integration_off")
        wanted = order.read(given, directory(enterprise))
        shown |= {"extension": wanted.extension, "dialled": wanted.phone}
        shown |= {"not_dialled": wanted.not_dialled} if wanted.not_dialled else {}
        permission.require(wanted.phone, click_settings.of(enterprise))
        told = place(enterprise, wanted)
    except AppError as error:
        metrics.CLICKS.labels(error.code).inc()
        _remember(enterprise, "make_call", shown, _refusal(error), str(error))
        raise
    metrics.CLICKS.labels(told.answer).inc()
    seen = {"http_status": told.status, "body": told.body, "click_id": told.click_id, "is_repeat": told.is_repeat}
    _remember(enterprise, "make_call", shown, seen, told.body["error"]["message"] if "error" in told.body else None)
    return told.body, told.status


def change_status(request: Request) -> Answer:
    given = _parameters(request)
    enterprise = _enterprise(request, given)
    shown = order.as_log(given)
    try:
        _refuse_browsers(request)
        status = given.get("status", "").strip()
        if status not in STATUSES:
            raise InvalidPayload(f"status: must be one of {', '.join(STATUSES)}")
        user_id = _manager(given, enterprise)
        with db.connection() as conn:
            user_statuses.upsert_status(conn, enterprise.number, user_id=user_id, status=status)
    except AppError as error:
        _remember(enterprise, "user_status", shown, _refusal(error), str(error))
        raise
    _remember(enterprise, "user_status", shown, {"http_status": 200}, None)
    return {"success": True}, 200


def switch(request: Request) -> Answer:
    given = _parameters(request)
    enterprise = _enterprise(request, given)
    shown = {name: given[name][:200] for name in ("activity", "systemUrl") if given.get(name)}
    try:
        _refuse_browsers(request)
        changes = _activity(given.get("activity", "")) | _moved(given, enterprise)
        with db.connection() as conn:
            is_changed = configuration.merge(conn, enterprise.number, changes)
    except AppError as error:
        _remember(enterprise, "activity", shown, _refusal(error), str(error))
        raise
    _remember(enterprise, "activity", shown, {"http_status": 200, "merged": changes, "is_changed": is_changed}, None)
    return {"success": True}, 200


def _enterprise(request: Request, given: Mapping[str, str], *, is_number_enough: bool = False) -> Enterprise:
    enterprise = clients().enterprise_of(
        given.get("clientId", ""), address=client_address(request), is_number_enough=is_number_enough
    )
    log_context.bind(enterprise=enterprise.number)
    return enterprise


def _refuse_browsers(request: Request) -> None:
    """
    RetailCRM's server calls. A browser would for whoever wrote the page before it (`<img src>`), and says that it is
    one. Raises Forbidden.
    """
    if any(name.lower().startswith(_OF_BROWSERS) for name in request.headers.keys()):  # noqa: SIM118  (pairs otherwise)
        raise Forbidden("Only RetailCRM's server may ask this, and no browser", code="from_a_browser")


def _refusal(error: AppError) -> dict[str, Any]:
    return {"http_status": error.status, "code": error.code, **error.details}


def _manager(given: Mapping[str, str], enterprise: Enterprise) -> int:
    user_id = order.user_id_of(given)
    if user_id is None:
        user_id = directory(enterprise).extension_users.get(given.get("code", "").strip())
    if user_id is None:
        raise InvalidPayload("userId: is missing, and code is no manager's extension")
    return user_id


def _activity(text: str) -> dict[str, Any]:
    activity = pg_json.parse_object(text.encode("utf-8", "replace"))
    if not isinstance(activity.get("active"), bool) or not isinstance(activity.get("freeze", False), bool):
        raise InvalidPayload("activity: active and freeze must be true or false")
    return {"enabled": activity["active"] and not activity.get("freeze", False)}


def _moved(given: Mapping[str, str], enterprise: Enterprise) -> dict[str, Any]:
    """
    The new address of the account. Our API key is sent there, so it must be one of RetailCRM's.
    """
    system_url = given.get("systemUrl", "")
    if not system_url.strip():
        return {}
    extra_hosts = config.current(config.RetailCRM).retailcrm_extra_hosts
    try:
        moved = address.base_url(system_url, extra_hosts)
    except ConfigError as error:
        raise InvalidPayload("systemUrl: is not an address of RetailCRM") from error
    try:
        if moved == address.base_url(enterprise.integration().domain or "", extra_hosts):
            return {}
    except ConfigError:
        log.warning("the stored address is not RetailCRM's", extra={"enterprise": enterprise.number})
    return {"domain": moved}


def _parameters(request: Request) -> dict[str, str]:
    """The parameters of the query, overridden by a form or JSON in the body. Raises InvalidPayload, TooLarge."""
    if request.method == "HEAD":  # a request without effect must not ring a phone
        raise MethodNotAllowed(valid_methods=["GET", "POST"])
    given: dict[str, str] = dict(request.args.items())
    body = http.read_body(request) if request.method == "POST" else b""
    if not body.strip():
        return given
    if request.mimetype == "application/json" or body.lstrip()[:1] == b"{":
        return given | _texts(bodies.parse(body))
    try:
        return given | dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_PARAMETERS))
    except ValueError as error:
        raise InvalidPayload("The body is neither a form nor JSON in UTF-8") from error


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in values.items():
        if name == "activity" and isinstance(value, dict):
            texts[name] = json.dumps(value)
        elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            texts[name] = str(value)
        elif value is not None:
            raise InvalidPayload(f"{name[:40]}: must be text or a number")
    return texts


def _remember(
    enterprise: Enterprise,
    event_type: str,
    request: Mapping[str, Any],
    response: Mapping[str, Any],
    error: str | None,
) -> None:
    """Logs it. A log that cannot be written does not change the answer: the action is done."""
    printable = {name: "".join(filter(str.isprintable, value)) for name, value in request.items()}
    try:
        with db.connection() as conn:
            integration_logs.insert(
                conn,
                enterprise_number=enterprise.number,
                event_type=event_type,
                request=printable,
                response=response,
                error=error,
            )
    except Unavailable:
        log.warning("not remembered", extra={"enterprise": enterprise.number, "event_type": event_type})
    log.info(
        event_type, extra={"enterprise": enterprise.number, "request": printable, "status": response["http_status"]}
    )


ROUTES = http.Routes(
    {
        "GET /retailcrm/make-call": make_a_call,
        "POST /retailcrm/make-call": make_a_call,
        "GET /retailcrm/status": change_status,
        "POST /retailcrm/status": change_status,
        "POST /retailcrm/activity": switch,
        **health.routes("make-call"),
    }
)


@functions_framework.http
def make_call(request: Request) -> Response:
    return ROUTES.answer(request)
