"""
Delivering what the ledger wants: claim, attempt, finish.

Nothing of ours is held while the CRM is asked. What an answer means for the delivery is decided by `settle`.
"""

from __future__ import annotations

import logging
import random
from typing import Final

from lib import config, db, notices
from lib.cache import enterprise_cache
from lib.calls.plan import CallRow, EndNotice, RingNotice, end_extensions
from lib.enterprise import settings
from lib.errors import ConfigError
from lib.retailcrm import address, client, telephony
from lib.retailcrm.client import Account, Form, Reply
from lib.store import deliveries, integration_logs
from lib.store.deliveries import Claim, Delivery, Result
from lib.store.enterprises import Enterprise
from lib.vault import vault

log = logging.getLogger(__name__)

# Longer than every deadline inside it; the subscription's ack deadline is longer still (infra/topology.json).
LEASE_SECONDS: Final = 25.0
UPLOAD_BACKOFF_SECONDS: Final = (1.0, 600.0)
NOTICE_BACKOFF_SECONDS: Final = (0.3, 2.0)
AUTHENTICATION_PAUSE_SECONDS: Final = 300.0
RESPONSE_CHARACTERS: Final = 4000


def deliver_due(call_id: int) -> None:
    """Attempts everything that the call has due, one after another. Raises Unavailable."""
    while True:
        with db.transaction() as conn:
            claim = deliveries.claim_next(conn, call_id, lease_seconds=LEASE_SECONDS)
        if claim is None:
            return
        _attempt(claim)


def _attempt(claim: Claim) -> None:
    delivery = claim.delivery
    try:
        enterprise = enterprise_cache().by_number(delivery.enterprise_number)
        if not settings(enterprise).enabled:
            _drop(claim, "superseded", "integration_disabled")
            return
        account = account_of(enterprise)
        form = _form(delivery)
    except ConfigError as error:
        _finish(claim, None, Reply(outcome="authentication", error=str(error)))
        return
    if form is None:
        _drop(claim, "superseded", "nobody_was_told")
        return
    with db.connection() as conn:
        begun = deliveries.begin_attempt(conn, claim, form.as_log())
    if not begun:
        _drop(claim, "expired", "expired")
        return
    timeouts = config.current(config.RetailCRM)
    is_upload = delivery.effect == "upload"
    reply = client.send(
        account,
        form,
        timeout_seconds=(
            timeouts.retailcrm_upload_timeout_seconds if is_upload else timeouts.retailcrm_event_timeout_seconds
        ),
    )
    _finish(claim, form, reply)


def _drop(claim: Claim, state: str, reason: str) -> None:
    """Ends the delivery without an attempt, if it is still ours."""
    with db.transaction() as conn:
        deliveries.finish(conn, claim, Result(outcome="done", state=state, reason=reason))


def account_of(enterprise: Enterprise) -> Account:
    """Where and as whom the enterprise's CRM is asked. Raises ConfigError."""
    domain, sealed = enterprise.retailcrm.get("domain"), enterprise.retailcrm.get("api_key")
    if not domain or not sealed:
        raise ConfigError("The address or the API key of RetailCRM is not set")
    return Account(
        base_url=address.base_url(str(domain), config.current(config.RetailCRM).retailcrm_extra_hosts),
        api_key=vault().decrypt(str(sealed), owner=enterprise.number),
    )


def _form(delivery: Delivery) -> Form | None:
    """The request; None for the end of a call that nobody was told of."""
    notice = notices.decode(delivery)
    match notice:
        case RingNotice():
            return telephony.ring_form(notice)
        case CallRow():
            return telephony.upload_form([notice])
        case EndNotice():
            with db.connection() as conn:
                ledger = deliveries.list_of_same_call(conn, delivery.id)
            told = end_extensions([notices.told(other) for other in ledger])
            return telephony.end_form(notice, told) if told else None


def _finish(claim: Claim, form: Form | None, reply: Reply) -> None:
    delivery = claim.delivery
    result = settle(delivery, reply)
    with db.transaction() as conn:
        if not deliveries.finish(conn, claim, result):
            log.warning("overtaken", extra={"delivery_id": delivery.id, "fence": claim.fence})
        integration_logs.insert(
            conn,
            enterprise_number=delivery.enterprise_number,
            event_type=delivery.effect,
            request=form.as_log() if form else {},
            response={"http_status": reply.http_status, "body": reply.details or reply.text[:RESPONSE_CHARACTERS]},
            error=reply.error,
        )
    log.info(
        "attempted",
        extra={
            "enterprise": delivery.enterprise_number,
            "call": delivery.external_id,
            "effect": delivery.effect,
            "outcome": reply.outcome,
            "state": result.state,
            "status": reply.http_status,
        },
    )


def settle(delivery: Delivery, reply: Reply) -> Result:
    """
    What becomes of the delivery.

    A history row is sent until it is in: RetailCRM knows it by its id. What pops up on a screen is news for seconds,
    and is not repeated once it may have arrived.
    """
    state = "failed"
    reason: str | None = reply.outcome
    retry_in: float | None = None
    backoff = UPLOAD_BACKOFF_SECONDS if delivery.effect == "upload" else NOTICE_BACKOFF_SECONDS
    match reply.outcome:
        case "done":
            state, reason = "delivered", None
        case "permanent":
            pass
        case "authentication":
            if delivery.effect == "upload":
                state, retry_in = "retry", AUTHENTICATION_PAUSE_SECONDS
        case "in_doubt" if delivery.effect != "upload":
            state = "in_doubt"
        case _:
            state, retry_in = "retry", _backoff(delivery.attempts_made, *backoff)
            retry_in = max(retry_in, min(reply.retry_after_seconds or 0, 3600))
    return Result(
        outcome=reply.outcome,
        state=state,
        reason=reason,
        retry_in_seconds=retry_in,
        http_status=reply.http_status,
        error=reply.error,
        response=reply.text[:RESPONSE_CHARACTERS].replace("\x00", ""),
    )


def _backoff(attempts_made: int, base: float, cap: float) -> float:
    """Exponential with full jitter, never at once."""
    return base / 2 + random.uniform(0, min(cap, base * 2 ** min(attempts_made, 20)))  # noqa: S311  (jitter)
