"""
Delivering what the ledger wants: claim, pass the gate, attempt, finish.

Nothing of ours is held while the CRM is asked. What an answer means for the delivery is decided by `settle`; what it
means for the account, by `lib.runtime.gate`.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from lib.calls.plan import CallRow, EndNotice, RingNotice, end_extensions
from lib.enterprises.cache import enterprise_cache
from lib.enterprises.rules import settings
from lib.intake.messages import WakeCall, call_message
from lib.ledger import codec
from lib.retailcrm import address, client, rate_slot, telephony
from lib.retailcrm.client import Account, Form, Reply
from lib.runtime import config, db, failpoints, pubsub
from lib.runtime.db import Connection
from lib.runtime.delayed_publish import delayed_publisher
from lib.runtime.errors import ConfigError
from lib.runtime.gate import Answer
from lib.runtime.vault import vault
from lib.store import deliveries, gates, integration_logs
from lib.store.deliveries import Claim, Delivery, Result
from lib.store.enterprises import Enterprise
from lib.store.gates import Key, Place, PutOff

log = logging.getLogger(__name__)

# Longer than every deadline inside it; the subscription's ack deadline is longer still (infra/topology.json).
LEASE_SECONDS: Final = 25.0
UPLOAD_BACKOFF_SECONDS: Final = (1.0, 600.0)
NOTICE_BACKOFF_SECONDS: Final = (0.3, 2.0)
AUTHENTICATION_PAUSE_SECONDS: Final = 300.0
RESPONSE_CHARACTERS: Final = 4000
# How many batches one wake-up sends before it makes room for others' and wakes itself again.
BATCHES: Final = 4
# The first of an enterprise's rows that wait for their CRM is looked at again after so long at most, each of the next
# ones as much later: a new key, or a CRM that is back, is soon used, also if some of them fail meanwhile.
LOOK_AGAIN_SECONDS: Final = 60.0
# So many look. The others go with them: a look at each would keep pop-ups waiting, and find nothing.
LOOKERS: Final = 10
# Should those who go first leave one behind after all. While the CRM is only busy somebody may be sending them at this
# moment, and pass over one that is looked at.
FAR_BEHIND_SECONDS: Final = {"crm_busy": 600.0, "crm_away": 3 * 3600.0, "authentication": 3 * 3600.0}
# A pop-up that waits is woken by this process; what waits longer is the sweep's.
WAKE_SECONDS: Final = 5.0
# Statuses of which one row out of many may be the cause.
_SPLITTABLE: Final = frozenset({200, 201, 400, 413, 422})
# Then what is left is looked at by a message of its own: with the longest request this is within the ack deadline.
LOOK_SECONDS: Final = 20.0
# Of the threads of this process (THREADS) so many may send rows of history: a CRM that hangs keeps each for 15 s.
ROWS_AT_ONCE: Final = 4
# When the clock ticks, rows come several at a time, and each is sent in a moment: so many more wait so long for their
# turn. What finds no way tries again soon while ways become free, else at the next tick.
ROWS_IN_LINE: Final = 3
ROW_PATIENCE_SECONDS: Final = 0.25
ROW_WAY_SECONDS: Final = 0.3
ROW_TURN_SECONDS: Final = 1.0


class _RowWays:
    """The threads that may send rows of history at a time, and the few that wait a moment for their turn."""

    def __init__(self) -> None:
        self._ways = threading.BoundedSemaphore(ROWS_AT_ONCE)
        self._line = threading.BoundedSemaphore(ROWS_IN_LINE)
        self._freed_at = -ROW_TURN_SECONDS

    def take(self, held: ExitStack) -> bool:
        """Until `held` ends; False when there was none in time."""
        if not self._ways.acquire(blocking=False):
            if not self._line.acquire(blocking=False):
                return False
            try:
                if not self._ways.acquire(timeout=ROW_PATIENCE_SECONDS):
                    return False
            finally:
                self._line.release()
        held.callback(self._free)
        return True

    def are_in_use_by_turns(self) -> bool:
        return time.monotonic() - self._freed_at < ROW_TURN_SECONDS

    def _free(self) -> None:
        self._freed_at = time.monotonic()
        self._ways.release()


_row_ways = _RowWays()


class Step(Enum):
    """`SENT_AND_MORE`: other rows of history of the enterprise are likely to be due."""

    NOTHING = auto()
    SENT = auto()
    SENT_AND_MORE = auto()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What goes out in one request, and the place that it takes. `leaves_some`: rows of history that are due too."""

    claims: Sequence[Claim]
    leaves_some: bool
    account: Account
    place: Place
    key: Key
    form: Form

    @property
    def is_upload(self) -> bool:
        return self.claims[0].delivery.effect == "upload"


def deliver_due(enterprise_number: str, *call_ids: int) -> None:
    """
    Attempts everything that the calls have due, one after another, and takes other rows of history along that wait.

    Raises Unavailable.
    """
    until = time.monotonic() + LOOK_SECONDS
    for call_id in call_ids:
        _deliver_due(enterprise_number, call_id, until)


def _deliver_due(enterprise_number: str, call_id: int, until: float) -> None:
    batches, has_more = 0, False
    while True:
        if time.monotonic() > until:
            _wake(enterprise_number, call_id, seconds=0.0)
            return
        step = _deliver_next(enterprise_number, call_id)
        has_more = has_more or step is Step.SENT_AND_MORE
        if step is not Step.NOTHING:
            continue
        if not has_more:
            return
        with db.connection() as conn:
            next_call = deliveries.find_call_with_due_row(conn, enterprise_number)
        batches += 1
        if next_call is None:
            return
        if batches >= BATCHES:
            _wake(enterprise_number, next_call, seconds=0.0)
            return
        call_id, has_more = next_call, False


def _deliver_next(enterprise_number: str, call_id: int) -> Step:
    enterprise = enterprise_cache().by_number(enterprise_number)
    try:
        account = account_of(enterprise)
    except ConfigError as error:
        return _refuse(enterprise, call_id, str(error))
    with ExitStack() as held:
        with db.transaction() as conn:
            claim = deliveries.claim_next(conn, call_id, lease_seconds=LEASE_SECONDS)
            if claim is None:
                return Step.NOTHING
            is_upload = claim.delivery.effect == "upload"
            has_way = not is_upload or _row_ways.take(held)
            if has_way:
                batch = _admit(conn, enterprise, account, claim)
            else:
                batch = _put_off(conn, claim, PutOff(reason="crm_busy", seconds=ROW_WAY_SECONDS))
        if isinstance(batch, PutOff):
            # A row that found no way tries again soon, unless none becomes free: then looks would keep pop-ups waiting.
            is_urgent = _row_ways.are_in_use_by_turns() if not has_way else not is_upload
            if is_urgent and batch.seconds <= WAKE_SECONDS:
                _wake(enterprise_number, call_id, seconds=batch.seconds)
            return Step.NOTHING
        if batch is None:
            return Step.SENT_AND_MORE if is_upload else Step.SENT
        failpoints.hit("K7")
        return _attempt(batch)


def _admit(conn: Connection, enterprise: Enterprise, account: Account, claim: Claim) -> Batch | PutOff | None:
    """In the transaction of the claim: what goes out; None: nothing after all."""
    delivery = claim.delivery
    if not settings(enterprise).enabled:
        deliveries.finish(conn, claim, _ended("superseded", "integration_disabled"))
        _keep_going(conn, claim)
        return None
    form = _form(conn, delivery)
    if form is None:
        deliveries.finish(conn, claim, _ended("superseded", "nobody_was_told"))
        return None
    key = Key(enterprise_number=enterprise.number, credentials=_credentials(account))
    is_upload = delivery.effect == "upload"
    limits = rate_slot.delivery_limits()
    place = gates.enter(
        conn, account.base_url, limits.without_reserve() if is_upload else limits, seconds=LEASE_SECONDS, key=key
    )
    if isinstance(place, PutOff):
        return _put_off(conn, claim, place)
    claims = [claim]
    # Who finds out whether the CRM is back risks one row, not fifty.
    if is_upload and claim.batch_limit > 1 and not place.is_probe:
        claims += deliveries.claim_more_rows(conn, claim, lease_seconds=LEASE_SECONDS)
    if len(claims) > 1:
        form = _upload_form(claims)
    leaves_some = _keep_going(conn, claim)
    return Batch(claims=claims, leaves_some=leaves_some, account=account, place=place, key=key, form=form)


def _keep_going(conn: Connection, claim: Claim) -> bool:
    """
    Whoever takes the first rows sees to it that the next one wakes soon: those behind sleep for long, and this process
    may end before it comes to them, or fail. Whether there is one.
    """
    if claim.delivery.effect != "upload":
        return False
    return deliveries.wake_next_row(conn, claim.delivery.enterprise_number, seconds=LEASE_SECONDS)


def _put_off(conn: Connection, claim: Claim, refused: PutOff) -> PutOff:
    """For how long it is not looked at."""
    is_upload = claim.delivery.effect == "upload"
    ahead = deliveries.count_due_rows_before(conn, claim, limit=LOOKERS) if is_upload else 0
    put_off = replace(refused, seconds=look_again_in(refused, ahead=ahead) * random.uniform(1, 1.2))  # noqa: S311
    deliveries.put_off(conn, claim, seconds=put_off.seconds, reason=put_off.reason)
    return put_off


def look_again_in(refused: PutOff, *, ahead: int) -> float:
    """After how many seconds, when so many older rows of the enterprise are due too and will take this one along."""
    if ahead >= LOOKERS:
        return FAR_BEHIND_SECONDS[refused.reason]
    return min(refused.seconds, LOOK_AGAIN_SECONDS) + ahead * LOOK_AGAIN_SECONDS


def _attempt(batch: Batch) -> Step:
    # A process that sleeps from here on must not send when it wakes: what was news may not be any more.
    begun_at = time.monotonic()
    requests = [_upload_form([claim]).as_log() for claim in batch.claims] if batch.is_upload else [batch.form.as_log()]
    with db.connection() as conn:
        begun = deliveries.begin_attempts(conn, batch.claims, requests)
    if len(begun) < len(batch.claims):
        late = [claim for claim in batch.claims if claim.delivery.id not in begun]
        batch = replace(batch, claims=[claim for claim in batch.claims if claim.delivery.id in begun])
        with db.transaction() as conn:
            deliveries.finish_all(conn, late, [_not_begun(claim) for claim in late])
            if not begun:
                gates.leave(conn, batch.place, rate_slot.delivery_limits(), key=batch.key, answer=None)
                return Step.SENT
        batch = replace(batch, form=_upload_form(batch.claims))
    failpoints.hit("K8")
    timeouts = config.current(config.RetailCRM)
    limit = timeouts.retailcrm_upload_timeout_seconds if batch.is_upload else timeouts.retailcrm_event_timeout_seconds
    reply = client.send(batch.account, batch.form, timeout_seconds=limit - (time.monotonic() - begun_at))
    return _finish(batch, reply)


def _finish(batch: Batch, reply: Reply) -> Step:
    size = len(batch.claims)
    delivery = batch.claims[0].delivery
    # Those that are to be sent again go at the same time, so that they go together.
    result = settle(delivery, reply, batch_size=size)
    with db.transaction() as conn:
        finished = deliveries.finish_all(conn, batch.claims, [result] * size)
        integration_logs.insert(
            conn,
            enterprise_number=delivery.enterprise_number,
            event_type=delivery.effect,
            request=batch.form.as_log(),
            response={"http_status": reply.http_status, "body": reply.details or reply.text[:RESPONSE_CHARACTERS]},
            error=reply.error,
        )
        answer = Answer(
            outcome=reply.outcome, http_status=reply.http_status, retry_after_seconds=reply.retry_after_seconds
        )
        is_back = gates.leave(conn, batch.place, rate_slot.delivery_limits(), key=batch.key, answer=answer)
        failpoints.hit("K12")
    failpoints.hit("K13")
    if is_back:
        with db.transaction() as conn:
            for number in _on_account(batch.account.base_url) | {delivery.enterprise_number}:
                deliveries.bring_forward(conn, number)
    if len(finished) < size:
        log.warning("overtaken", extra={"delivery_id": delivery.id, "lost": size - len(finished)})
    if result.state == "retry" and not batch.is_upload and (result.retry_in_seconds or 0) <= WAKE_SECONDS:
        _wake(delivery.enterprise_number, delivery.call_id, seconds=result.retry_in_seconds or 0)
    log.info(
        "attempted",
        extra={
            "enterprise": delivery.enterprise_number,
            "call": delivery.external_id,
            "effect": delivery.effect,
            "outcome": reply.outcome,
            "state": result.state,
            "status": reply.http_status,
            "batch": size,
        },
    )
    was_split = result.batch_limit is not None
    goes_on = batch.leaves_some and answer.shows_life
    return Step.SENT_AND_MORE if is_back or was_split or goes_on else Step.SENT


def _refuse(enterprise: Enterprise, call_id: int, words: str) -> Step:
    """The CRM cannot be asked as the enterprise is configured: its own fault, no attempt and no evidence."""
    with db.transaction() as conn:
        claim = deliveries.claim_next(conn, call_id, lease_seconds=LEASE_SECONDS)
        if claim is None:
            return Step.NOTHING
        leaves_some = _keep_going(conn, claim)
        if not settings(enterprise).enabled:
            deliveries.finish(conn, claim, _ended("superseded", "integration_disabled"))
            return Step.SENT_AND_MORE if leaves_some else Step.SENT
        reply = Reply(outcome="authentication", error=words)
        deliveries.finish(conn, claim, settle(claim.delivery, reply))
        integration_logs.insert(
            conn,
            enterprise_number=enterprise.number,
            event_type=claim.delivery.effect,
            request={},
            response={"http_status": None, "body": ""},
            error=words,
        )
    return Step.SENT


def _ended(state: str, reason: str | None) -> Result:
    return Result(outcome="done", state=state, reason=reason)


def _not_begun(claim: Claim) -> Result:
    """It was not sent: what pops up is no news any more, a row of history is wanted still."""
    if claim.delivery.effect == "upload":
        return Result(outcome="unavailable", state="retry", reason="worker_lost", retry_in_seconds=0.0)
    return _ended("expired", "expired")


def _wake(enterprise_number: str, call_id: int, *, seconds: float) -> None:
    wake = WakeCall(enterprise_number=enterprise_number, call_id=call_id)
    delayed_publisher().publish(pubsub.CALL_EVENTS, call_message(wake), seconds=seconds)


def account_of(enterprise: Enterprise) -> Account:
    """Where and as whom the enterprise's CRM is asked. Raises ConfigError."""
    domain, sealed = enterprise.retailcrm.get("domain"), enterprise.retailcrm.get("api_key")
    if not domain or not sealed:
        raise ConfigError("The address or the API key of RetailCRM is not set")
    return Account(
        base_url=address.base_url(str(domain), config.current(config.RetailCRM).retailcrm_extra_hosts),
        api_key=vault().decrypt(str(sealed), owner=enterprise.number),
    )


def _on_account(base_url: str) -> set[str]:
    """The enterprises that this process knows behind one account."""
    extra, found = config.current(config.RetailCRM).retailcrm_extra_hosts, set[str]()
    for enterprise in enterprise_cache().known():
        with suppress(ConfigError):
            if address.base_url(str(enterprise.retailcrm.get("domain") or ""), extra) == base_url:
                found.add(enterprise.number)
    return found


def _credentials(account: Account) -> bytes:
    """To know whether the key is another one than that which was refused, without keeping it."""
    return hashlib.blake2b(account.api_key.encode(), key=b"credentials", digest_size=16).digest()


def _form(conn: Connection, delivery: Delivery) -> Form | None:
    """The request; None for the end of a call that nobody was told of."""
    notice = codec.decode(delivery)
    match notice:
        case RingNotice():
            return telephony.ring_form(notice)
        case CallRow():
            return telephony.upload_form([notice])
        case EndNotice():
            ledger = deliveries.list_of_same_call(conn, delivery.id)
            told = end_extensions([codec.told(other) for other in ledger])
            return telephony.end_form(notice, told) if told else None


def _upload_form(claims: Sequence[Claim]) -> Form:
    found = (codec.decode(claim.delivery) for claim in claims)
    return telephony.upload_form([notice for notice in found if isinstance(notice, CallRow)])


def settle(delivery: Delivery, reply: Reply, *, batch_size: int = 1) -> Result:
    """
    What becomes of the delivery.

    A history row is sent until it is in: RetailCRM knows it by its id. What pops up on a screen is news for seconds,
    and is not repeated once it may have arrived. A batch that is refused is sent again in two, until the row that is
    not accepted stands alone.
    """
    state = "failed"
    reason: str | None = reply.outcome
    retry_in: float | None = None
    batch_limit: int | None = None
    is_upload = delivery.effect == "upload"
    backoff = UPLOAD_BACKOFF_SECONDS if is_upload else NOTICE_BACKOFF_SECONDS
    match reply.outcome:
        case "done":
            state, reason = "delivered", None
        case "permanent":
            if batch_size > 1 and reply.http_status in _SPLITTABLE and not telephony.is_off(reply):
                state, reason, retry_in, batch_limit = "retry", "batch_refused", 0.0, (batch_size + 1) // 2
        case "authentication":
            if is_upload:
                # The pause of the enterprise holds it, and ends when the key is another one.
                state, retry_in = "retry", 0.0 if reply.http_status else AUTHENTICATION_PAUSE_SECONDS
        case "in_doubt" if not is_upload:
            state = "in_doubt"
        case _:
            if batch_size > 1 and reply.http_status == 500:
                # One row may be what the CRM stumbles over; the others must not wait for it for ever.
                batch_limit = (batch_size + 1) // 2
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
        batch_limit=batch_limit,
    )


def _backoff(attempts_made: int, base: float, cap: float) -> float:
    """Exponential with full jitter, never at once."""
    return base / 2 + random.uniform(0, min(cap, base * 2 ** min(attempts_made, 20)))  # noqa: S311  (jitter)
