"""
Take a call event in, and say so at once.

Trigger   HTTP from call services and Asterisk hosts
Reads     enterprises, users, user_internal_phones, lines, token_rotations (cached); call_events (whether it is a copy)
Writes    call_events, token_rotations (when a token that is being replaced was last used)
Publishes call-events, the whole event: behind the answer, where the event is stored; recovered-events, the whole events
          of a batch, and those that were recovered one by one
Answers   200/202 stored or published   400 invalid_payload   404 unknown_token   413 too_large
          429 rate_limited, after Retry-After seconds again
          503 neither stored nor published: send it again
          403 network_not_allowed: the enterprise's hosts may not speak from there
          GET /dispatch/openapi.json describes all of this (lib/intake/document.py)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import functions_framework
from flask import Request, Response

from lib.admin import health
from lib.enterprises.cache import enterprise_cache
from lib.intake import bodies, counts, document, forms
from lib.intake.accept import Accepted, accept, accept_all, publish
from lib.intake.limits import limits
from lib.runtime import config, failpoints, http, log_context, logs
from lib.runtime.auth import require_operator
from lib.runtime.client_address import client_address
from lib.runtime.errors import AppError, InvalidPayload, TooLarge
from lib.runtime.http import Answer
from lib.store.enterprises import Enterprise
from lib.store.events import NewEvent

logs.configure("dispatch-call-event")
config.require(config.Database, config.PubSub, config.Operator, config.EnterpriseCache, config.Intake, config.Proxies)

BATCH_BYTES = forms.BATCH_SIZE * http.EVENT_BODY_BYTES // 8
DOCUMENT = document.document(batch_bytes=BATCH_BYTES)


def _enterprise(token: str, request: Request) -> Enterprise:
    enterprise = enterprise_cache().by_token(token, address=client_address(request))
    log_context.bind(enterprise=enterprise.number)
    return enterprise


def post_event(request: Request) -> Answer:
    with counts.counted() as counted:
        received = http.read_body(request)
        body = bodies.parse(received)
        counted.event_type = body.get("event_type")
        failpoints.hit("request_read")
        enterprise = _enterprise(forms.token_of(body, field="token"), request)
        failpoints.hit("token_known")
        limits().take(enterprise.number, "single", events=1, size=len(received))
        accepted = accept(forms.from_envelope(body, enterprise_number=enterprise.number))
    counted.accepted(accepted)
    http.behind_answer(partial(publish, accepted))
    return accepted.as_json(), 200 if accepted.is_copy else 202


def post_events(request: Request) -> Answer:
    with counts.counted():
        return _post_events(request)


def _post_events(request: Request) -> Answer:
    if token := _header(request):
        # Who it is, and whether it is its turn, is known before the body costs anything.
        enterprise = _enterprise(token, request)
        with limits().batch(enterprise.number):
            received = http.read_body(request, limit=BATCH_BYTES)
            return _take_in(bodies.parse(received), enterprise, len(received))
    try:
        received = http.read_body(request)
    except TooLarge as error:
        raise TooLarge(f"{error}: a larger batch needs its token in the header Token") from None
    body = bodies.parse(received)
    enterprise = _enterprise(forms.token_of(body, field="token"), request)
    with limits().batch(enterprise.number):
        return _take_in(body, enterprise, len(received))


def _take_in(body: Mapping[str, Any], enterprise: Enterprise, size: int) -> Answer:
    forms.check(body, forms.BATCH)
    events = body["events"]
    limits().take(enterprise.number, "batch", events=len(events), size=size)
    found = [_event(item, enterprise.number, body.get("origin")) for item in events]
    accepted = iter(accept_all([one for one in found if isinstance(one, NewEvent)]))
    outcomes = [next(accepted) if isinstance(one, NewEvent) else one for one in found]
    counts.count_all((_type(item), one) for item, one in zip(events, outcomes, strict=True))
    results = [_as_json(one) for one in outcomes]
    return {"success": all(r["success"] for r in results), "results": results}, 200


def _type(item: object) -> object:
    return item.get("event_type") if isinstance(item, dict) else None


def _event(item: object, enterprise_number: str, origin: str | None) -> NewEvent | AppError:
    try:
        if not isinstance(item, dict):
            raise InvalidPayload("must be an object")
        if len(json.dumps(item, ensure_ascii=False).encode()) > http.EVENT_BODY_BYTES:
            raise TooLarge(f"one event may have {http.EVENT_BODY_BYTES // 1024} kB")
        return forms.from_envelope(item, enterprise_number=enterprise_number, origin=origin)
    except AppError as error:
        return error


def _as_json(one: Accepted | AppError) -> dict[str, object]:
    if isinstance(one, Accepted):
        return one.as_json()
    return {"success": False, "error": {"code": one.code, "message": str(one)}}


def post_host_event(event_type: str, request: Request) -> Answer:
    with counts.counted(event_type) as counted:
        received = http.read_body(request)
        body = bodies.parse(received)
        failpoints.hit("request_read")
        enterprise = _enterprise(forms.token_of(body, field="Token", header=_header(request)), request)
        failpoints.hit("token_known")
        limits().take(enterprise.number, "single", events=1, size=len(received))
        accepted = accept(forms.from_host(event_type, body, enterprise_number=enterprise.number))
    counted.accepted(accepted)
    http.behind_answer(partial(publish, accepted))
    return {"status": "ok"}, 200


def _header(request: Request) -> str:
    token: str = request.headers.get("Token", "")
    return token.strip()


def get_document(_: Request) -> Answer:
    return DOCUMENT, 200


def get_integration(request: Request, number: str) -> Answer:
    require_operator(request.headers.get("Authorization", ""))
    enterprise = enterprise_cache().by_number(number)
    return health.describe(enterprise, enterprise_cache().age_seconds(number)), 200


def invalidate(request: Request, number: str) -> Answer:
    require_operator(request.headers.get("Authorization", ""))
    enterprise_cache().invalidate(number)
    return {"success": True, "enterprise_number": number}, 200


ROUTES = http.Routes(
    {
        "POST /dispatch/call-event": post_event,
        "POST /dispatch/call-events": post_events,
        **{f"POST /{kind}": partial(post_host_event, kind) for kind in forms.HOST_EVENT_TYPES},
        "GET /dispatch/openapi.json": get_document,
        "GET /integrations/<number>": get_integration,
        "POST /cache/invalidate/<number>": invalidate,
        **health.routes("dispatch-call-event", works_without_database=True),
    }
)


@functions_framework.http
def dispatch_call_event(request: Request) -> Response:
    response = ROUTES.answer(request)
    failpoints.when_written(response.call_on_close, "response_written")
    http.close_behind(response)
    return response
