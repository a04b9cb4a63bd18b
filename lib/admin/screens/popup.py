"""Sends one real pop-up to a manager's screen, as a test of the whole way to RetailCRM."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from lib.admin import audit, troubles
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import COUNT, DATA, FLAG, MAYBE_TEXT, TEXT, listed, maybe, obj, one_of, record, text
from lib.calls.e164 import e164
from lib.calls.plan import EndNotice, RingNotice
from lib.enterprises.rules import directory
from lib.ledger.crm import Reply
from lib.retailcrm import client, telephony, trouble
from lib.retailcrm.account import account_of
from lib.retailcrm.client import Account, Form
from lib.runtime import config, db
from lib.runtime.errors import ConfigError, InvalidPayload, RateLimited
from lib.runtime.http import Answer
from lib.store import integration_logs
from lib.store.enterprises import Enterprise

EVENT_TYPE: Final = "test_popup"
PER_MINUTE: Final = 6
HOLD_SECONDS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Step:
    name: str
    form: Form
    reply: Reply

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "outcome": self.reply.outcome,
            "http_status": self.reply.http_status,
            "error": self.reply.error if self.reply.outcome != "done" else None,
            "request": self.form.as_log(),
            "response": self.reply.text[:4000],
        }


def show_popup(request: AdminRequest) -> Answer:
    account, extension, phone = _account(request.enterprise), _extension(request), _phone(request)
    with db.transaction() as conn:
        integration_logs.lock(conn, request.enterprise.number, EVENT_TYPE)
        if integration_logs.count_last_minute(conn, request.enterprise.number, EVENT_TYPE) >= PER_MINUTE:
            raise RateLimited(f"At most {PER_MINUTE} test pop-ups in a minute: wait a little")
        audit.remember(conn, request, EVENT_TYPE, {"user_id": request.body["user_id"], "extension": extension})
        now = db.now(conn)
    ring = RingNotice(
        direction="in",
        phone=phone,
        extensions=(extension,),
        call_id=f"test-{uuid.uuid4()}",
        line_number=None,
        site=next((line["site_code"] for line in request.enterprise.lines if line["site_code"]), None),
        expires_at=now + timedelta(minutes=1),
    )
    steps = [_send(request.enterprise, account, "ring", telephony.ring_form(ring))]
    if steps[0].reply.outcome in {"done", "in_doubt"}:
        time.sleep(request.body.get("seconds", HOLD_SECONDS))
        end = EndNotice(
            phone=phone,
            extensions=ring.extensions,
            status="no answered",
            call_id=ring.call_id,
            line_number=None,
            site=ring.site,
        )
        steps.append(_send(request.enterprise, account, "hangup", telephony.end_form(end, end.extensions)))
    code, message = _judged(steps[0].reply, extension)
    refused = trouble.of(steps[0].reply) if code == "refused" else None
    return {
        "accepted": code == "accepted",
        "code": code,
        "message": message,
        "trouble": troubles.as_json(refused),
        "extension": extension,
        "phone": phone,
        "steps": [step.as_json() for step in steps],
    }, 200


def _judged(reply: Reply, extension: str) -> tuple[str, str]:
    if reply.outcome != "done":
        return "refused", f"RetailCRM: {reply.error}"
    unknown = reply.details.get("notExistCodes")
    if isinstance(unknown, list) and extension in map(str, unknown):
        message = f"RetailCRM does not know the extension {extension}: push the extensions, then try again"
        return "not_exist_codes", message
    return "accepted", f"RetailCRM shows the pop-up to the manager with extension {extension}"


def _extension(request: AdminRequest) -> str:
    user = request.body["user_id"]
    for extension, mapped in directory(request.enterprise).extension_users.items():
        if mapped == user:
            return extension
    raise InvalidPayload("This manager has no extension: give one first, then try again", code="no_extension")


def _phone(request: AdminRequest) -> str:
    """The number on the card: the entered one, else the number of one of the enterprise's lines."""
    if "phone" not in request.body:
        own = (line["phone_number"] for line in request.enterprise.lines if line["phone_number"])
        found: str | None = next(own, None)
        if found is None:
            raise InvalidPayload("Enter the number that the pop-up shall show", code="invalid_phone")
        return found
    phone = e164(request.body["phone"], request.enterprise.region)
    if phone is None:
        raise InvalidPayload("phone: is not a number that can be called", code="invalid_phone")
    return phone


def _account(enterprise: Enterprise) -> Account:
    try:
        return account_of(enterprise)
    except ConfigError as error:
        raise InvalidPayload(str(error), code=trouble.of_settings(error).code) from error


def _send(enterprise: Enterprise, account: Account, name: str, form: Form) -> Step:
    reply = client.send(account, form, timeout_seconds=config.current(config.RetailCRM).retailcrm_event_timeout_seconds)
    with db.connection() as conn:
        integration_logs.insert(
            conn,
            enterprise_number=enterprise.number,
            event_type=EVENT_TYPE,
            request=form.as_log(),
            response={"http_status": reply.http_status, "body": reply.details or reply.text[:4000]},
            error=reply.error if reply.outcome != "done" else None,
        )
    return Step(name=name, form=form, reply=reply)


POPUP: Final = record(
    {
        "accepted": FLAG,
        "code": one_of("accepted", "not_exist_codes", "refused"),
        "message": TEXT,
        "trouble": troubles.MAYBE_TROUBLE,
        "extension": TEXT,
        "phone": TEXT,
        "steps": listed(
            record(
                {
                    "name": one_of("ring", "hangup"),
                    "outcome": TEXT,
                    "http_status": maybe(COUNT),
                    "error": MAYBE_TEXT,
                    "request": DATA,
                    "response": TEXT,
                }
            )
        ),
    }
)

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/test-popup/{number}",
        summary="Show one real pop-up to a manager, and take it back after some seconds",
        handle=show_popup,
        gives=POPUP,
        body=obj(
            {
                "user_id": {"type": "integer", "minimum": 1, "maximum": 2**53},
                "phone": text(100, least=1),
                "seconds": {"type": "integer", "minimum": 0, "maximum": 10},
            },
            required=("user_id",),
        ),
        answers={200: "What RetailCRM answered", 429: "Too many test pop-ups"},
    ),
)
