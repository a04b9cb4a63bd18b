"""
Delivering notices: pop-ups and their ends, while a person waits for them.

A notice is claimed, admitted by the gate and written down as an attempt in one transaction, often the one that planned
it; then the CRM is asked, with nothing of ours held; then the result is recorded under the claim's fence.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Cursor
from psycopg.rows import TupleRow

from lib.calls.plan import CallRow, EndNotice, RingNotice, Told, end_extensions
from lib.enterprises import rules
from lib.enterprises.cache import enterprise_cache
from lib.intake.messages import WakeCall, call_message
from lib.ledger import codec, settlement, shown
from lib.ledger.crm import CRM, Account, Reply, Request, Unknown
from lib.ledger.shown import Division
from lib.runtime import db, failpoints, metrics, pipeline, pubsub
from lib.runtime.db import Connection
from lib.runtime.delayed_publish import delayed_publisher
from lib.runtime.errors import ConfigError, Unavailable
from lib.runtime.gate import Answer
from lib.runtime.lazy import lazy
from lib.store import deliveries, gates, integration_logs, notices, rows
from lib.store.deliveries import Claim, Claimed, Delivery, Finished, Result
from lib.store.enterprises import Enterprise
from lib.store.gates import Gate, Key, Place, PutOff
from lib.store.integration_logs import Exchange
from lib.store.rows import Lane

log = logging.getLogger(__name__)

# Longer than every deadline inside it; the subscription's ack deadline is longer still (infra/topology.json).
LEASE_SECONDS: Final = 25.0
# A pop-up that waits is woken by this process; what waits longer is the sweep's.
WAKE_SECONDS: Final = 5.0
# Several calls may ring at one moment: so many of their pop-ups are under way at a time in this process.
SENDERS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Asking:
    """As whom and how the CRM of an enterprise is asked."""

    crm: CRM
    enterprise: Enterprise
    account: Account

    @property
    def key(self) -> Key:
        return Key(enterprise_number=self.enterprise.number, credentials=self.account.credentials)


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A notice that may be sent: it is claimed, admitted, and its attempt stands. `begun_at` is monotonic."""

    asking: Asking
    claim: Claim
    place: Place
    request: Request
    begun_at: float


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """What may go, and the calls that are to be woken in so many seconds because theirs may not yet."""

    outgoing: Sequence[Outgoing] = ()
    put_off: Mapping[int, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Claiming:
    """Claims whose answer is still on its way (`pipeline`)."""

    crm: CRM
    enterprise: Enterprise
    account: Account | None
    problem: str
    claimed: Cursor[Claimed]
    asked: Cursor[TupleRow] | None
    begun_at: float


def claim(conn: Connection, crm: CRM, enterprise: Enterprise, call_ids: Sequence[int]) -> Claiming:
    """The next notice of each of these calls, which the caller has locked."""
    # A process that sleeps from here on must not send when it wakes: what was news may not be any more.
    begun_at = time.monotonic()
    account, problem = None, ""
    try:
        account = crm.account_of(enterprise)
    except ConfigError as error:
        problem = str(error)
    claimed = notices.claim(conn, crm.name, call_ids, lease_seconds=LEASE_SECONDS)
    asked = gates.ask(conn, account.base_url) if account else None
    return Claiming(
        crm=crm,
        enterprise=enterprise,
        account=account,
        problem=problem,
        claimed=claimed,
        asked=asked,
        begun_at=begun_at,
    )


def admit(conn: Connection, claiming: Claiming, call_ids: Sequence[int]) -> Admitted:
    """In the transaction of the claims: what may go out, with its attempt; the timers of the calls are set."""
    claimed = claiming.claimed.fetchall()
    admitted = Admitted()
    if claimed:
        failpoints.hit("delivery_claimed")
        if not rules.settings(claiming.enterprise, claiming.crm.name).enabled:
            _end(conn, claimed, settlement.ended("superseded", "integration_disabled"))
        elif claiming.account is None or claiming.asked is None:
            _refuse(conn, claiming, claimed)
        else:
            asking = Asking(crm=claiming.crm, enterprise=claiming.enterprise, account=claiming.account)
            gate = gates.locked(conn, claiming.account.base_url, claiming.asked)
            admitted = _let_through(conn, asking, gate, claimed, claiming.begun_at)
    deliveries.settle_timers(conn, call_ids)
    return admitted


def deliver_due(crm: CRM, enterprise_number: str, call_ids: Sequence[int]) -> None:
    """Sends what these calls have due, without looking at them again. Raises NotFound, Unavailable."""
    enterprise = enterprise_cache().by_number(enterprise_number)
    send_all(claim_due(crm, enterprise, call_ids), crm=crm, enterprise_number=enterprise_number)


def claim_due(crm: CRM, enterprise: Enterprise, call_ids: Sequence[int]) -> Admitted:
    """Everything that these calls have due, one notice of each, in a transaction of its own. Raises Unavailable."""
    with pipeline.transaction() as current:
        notices.lock_calls(current.conn, call_ids)
        notices.settle_lost_leases(current.conn, call_ids)
        admitted = admit(current.conn, claim(current.conn, crm, enterprise, call_ids), call_ids)
    if admitted.outgoing:
        failpoints.hit("attempt_committed")
    return admitted


def send_all(admitted: Admitted, *, crm: CRM, enterprise_number: str) -> None:
    """Sends them, each with what its call has due next, and wakes in time what may not go yet."""
    for call_id, seconds in (admitted.put_off or {}).items():
        wake_call(crm.name, enterprise_number, call_id, seconds=seconds)
    first, *others = admitted.outgoing or (None,)
    waiting = [_senders().submit(copy_context().run, _send, one) for one in others if one]
    try:
        if first is not None:
            _send(first)
    finally:
        for one in waiting:
            one.exception()
    for one in waiting:
        one.result()


def wake_call(crm: str, enterprise_number: str, call_id: int, *, seconds: float) -> None:
    """A call that the sweep finds too late for a person who waits."""
    if seconds <= WAKE_SECONDS:
        wake = WakeCall(enterprise_number=enterprise_number, call_id=call_id, crm=crm)
        publish_soon(pubsub.CALL_EVENTS, call_message(wake), seconds=seconds)


def publish_soon(topic: str, body: Mapping[str, object], *, seconds: float = 0.0) -> None:
    """Without waiting for Pub/Sub: what is lost, the sweep finds."""
    delayed_publisher().publish(topic, body, seconds=seconds)


def _send(outgoing: Outgoing | None) -> None:
    """The notice, and then every other one that its call has due."""
    while outgoing is not None:
        asking, call_id = outgoing.asking, outgoing.claim.delivery.call_id
        _log_synthetic(outgoing.claim.delivery)
        limit = asking.crm.timeout_seconds(outgoing.claim.delivery.effect)
        left = limit - (time.monotonic() - outgoing.begun_at)
        reply = asking.crm.send(asking.account, outgoing.request, timeout_seconds=left)
        admitted = Admitted()
        if finish(outgoing, reply):
            admitted = claim_due(asking.crm, asking.enterprise, [call_id])
        for waiting, seconds in (admitted.put_off or {}).items():
            wake_call(asking.crm.name, asking.enterprise.number, waiting, seconds=seconds)
        outgoing = next(iter(admitted.outgoing), None)
        if reply.unknown.extensions:
            _repair(asking, reply.unknown)


def _repair(asking: Asking, unknown: Unknown) -> None:
    """No pop-up waits for it, and what is not done here is asked for by the next answer of this kind."""
    try:
        asking.crm.repair(asking.enterprise.number, unknown)
    except Unavailable as error:
        log.warning("not repaired", extra={"enterprise": asking.enterprise.number, "reason": str(error)})


def finish(outgoing: Outgoing, reply: Reply) -> bool:
    """Records what came of it; whether the call has more that is due."""
    asking, claim_ = outgoing.asking, outgoing.claim
    delivery = claim_.delivery
    division = shown.divide(delivery, reply, rules.directory(asking.enterprise, asking.crm.name).extension_users)
    result = settlement.settle(delivery, reply, division=division)
    lane = Lane(enterprise_number=delivery.enterprise_number, crm=asking.crm.name)
    with pipeline.transaction() as current:
        conn = current.conn
        notices.lock_calls(conn, [delivery.call_id])
        finished = _record(conn, claim_, result, division, delivery.call_id)
        log_exchange(conn, asking, delivery.effect, outgoing.request, reply)
        deliveries.settle_timers(conn, [delivery.call_id])
        more = notices.find_due(conn, asking.crm.name, delivery.call_id)
        unblocked = rows.wake_for_call(conn, lane, delivery.call_id)
        asked = gates.ask(conn, asking.account.base_url)
        recorded = finished.fetchone()
        is_ours = recorded is not None
        has_more, has_rows = more.fetchone() == (True,), unblocked.fetchone() is not None
        gate = gates.locked(conn, asking.account.base_url, asked)
        left = gate.leave(outgoing.place, asking.crm.limits(), key=asking.key, answer=answer_of(reply))
        gates.write(conn, left.gate)
        failpoints.hit("result_recorded")
    failpoints.hit("result_committed")
    if recorded and result.state == "delivered":
        _measure(asking, delivery, recorded)
    if not is_ours:
        is_ours = _finish_where_it_is(claim_, result, division)
    if left.is_back:
        wake_lanes_of(asking.account.base_url)
    if has_rows and result.state != "retry":
        wake_lane(lane)
    if not is_ours:
        log_overtaken(delivery, 1)
    if result.state == "retry":
        wake_call(delivery.crm, delivery.enterprise_number, delivery.call_id, seconds=result.retry_in_seconds or 0)
    log_attempt([delivery], reply, result.state)
    return has_more


def wake_lane(lane: Lane) -> None:
    """Rows of history are due: the lane's own message says so."""
    publish_soon(pubsub.DUE_ROWS, codec.rows_message(lane))


def wake_lanes_of(account: str) -> None:
    """The account answers again: whoever has rows for it goes on at once."""
    with db.transaction() as conn:
        lanes = rows.bring_forward(conn, account)
    for lane in lanes:
        wake_lane(lane)


def answer_of(reply: Reply) -> Answer:
    return Answer(
        outcome=reply.outcome,
        http_status=reply.http_status,
        retry_after_seconds=reply.retry_after_seconds,
        concerns_account=reply.concerns_account,
    )


def log_exchange(conn: Connection, asking: Asking, effect: str, request: Request, reply: Reply) -> None:
    integration_logs.insert_exchange(
        conn,
        Exchange(
            enterprise_number=asking.enterprise.number,
            integration_type=asking.crm.name,
            event_type=effect,
            request=request.as_log(),
            response={
                "http_status": reply.http_status,
                "body": reply.details or reply.text[: settlement.RESPONSE_CHARACTERS],
            },
            error=reply.error,
        ),
    )


def log_refusal(conn: Connection, crm: CRM, enterprise: Enterprise, effect: str, problem: str) -> None:
    integration_logs.insert_exchange(
        conn,
        Exchange(
            enterprise_number=enterprise.number,
            integration_type=crm.name,
            event_type=effect,
            request={},
            response={"http_status": None, "body": ""},
            error=problem,
        ),
    )


def log_overtaken(delivery: Delivery, lost: int) -> None:
    """Somebody else holds it by now: this process slept for longer than its lease."""
    log.warning("overtaken", extra={"delivery_id": delivery.id, "lost": lost})


def _measure(asking: Asking, delivery: Delivery, recorded: Finished) -> None:
    """How long a pop-up took from the receipt of the event that rang; it expires at a fixed age."""
    if delivery.effect == "popup" and delivery.expires_at and recorded.finished_at:
        received_at = delivery.expires_at - rules.settings(asking.enterprise, asking.crm.name).popup_max_age
        metrics.POPUP_SECONDS.labels(delivery.crm).observe((recorded.finished_at - received_at).total_seconds())


def log_attempt(attempted: Sequence[Delivery], reply: Reply, state: str) -> None:
    """One request: of a notice, or of a batch of rows, of which `state` is what became of the first."""
    first = attempted[0]
    metrics.ATTEMPTS.labels(first.crm, first.effect, reply.outcome).inc()
    log.info(
        "attempted",
        extra={
            "enterprise": first.enterprise_number,
            "calls": [one.external_id for one in attempted],
            "crm": first.crm,
            "effect": first.effect,
            "outcome": reply.outcome,
            "state": state,
            "status": reply.http_status,
            "batch": len(attempted),
        },
    )


def _log_synthetic(delivery: Delivery) -> None:
    if delivery.content.get("synthetic"):
        log.info(
            "synthetic dial",
            extra={
                "enterprise": delivery.enterprise_number,
                "calls": [delivery.external_id],
                "extensions": delivery.extensions,
            },
        )


def _let_through(conn: Connection, asking: Asking, gate: Gate, claimed: Sequence[Claimed], begun_at: float) -> Admitted:
    outgoing: list[Outgoing] = []
    put_off: dict[int, float] = {}
    limits = asking.crm.limits()
    for one in claimed:
        request = _request(asking.crm, one)
        if request is None:
            _end(conn, [one], settlement.ended("superseded", "nobody_was_told"))
            continue
        entered = gate.enter(limits, seconds=LEASE_SECONDS, key=asking.key)
        if isinstance(entered, PutOff):
            notices.put_off(conn, one.id, seconds=entered.seconds, reason=entered.reason)
            put_off[one.call_id] = entered.seconds
            continue
        gate = entered.gate
        outgoing.append(
            Outgoing(asking=asking, claim=one.claim, place=entered.place, request=request, begun_at=begun_at)
        )
    if outgoing:
        gates.write(conn, gate)
        deliveries.begin_attempts(conn, [one.claim for one in outgoing], [one.request.as_log() for one in outgoing])
    return Admitted(outgoing=outgoing, put_off=put_off)


def _request(crm: CRM, claimed: Claimed) -> Request | None:
    """None for the end of a call that nobody was told of."""
    match codec.decode(claimed):
        case RingNotice() as notice:
            return crm.ring(notice)
        case EndNotice() as notice:
            by_user = [popup for popup in claimed.popups or () if popup["user_ids"]]
            by_extension = [popup for popup in claimed.popups or () if not popup["user_ids"]]
            extensions = end_extensions(map(_told, by_extension))
            users = _users_told(by_user)
            return crm.end(notice, extensions, users) if extensions or users else None
        case CallRow():
            raise AssertionError("a row of history has a lane of its own")


def _told(popup: Mapping[str, Any]) -> Told:
    return Told(effect="popup", extensions=tuple(popup["extensions"]), state=popup["state"])


def _users_told(popups: Sequence[Mapping[str, Any]]) -> list[int]:
    """Those with a pop-up on the screen, or perhaps with one."""
    told = (popup["user_ids"] for popup in popups if end_extensions([_told(popup)]))
    return sorted({user for users in told for user in users})


def _end(conn: Connection, claimed: Sequence[Claimed], result: Result) -> None:
    deliveries.finish(conn, [one.claim for one in claimed], [result] * len(claimed))


def _refuse(conn: Connection, claiming: Claiming, claimed: Sequence[Claimed]) -> None:
    """The CRM cannot be asked as the enterprise is configured: its own fault, no attempt and no evidence."""
    reply = Reply(outcome="authentication", error=claiming.problem)
    deliveries.finish(conn, [one.claim for one in claimed], [settlement.settle(one, reply) for one in claimed])
    for one in claimed:
        log_refusal(conn, claiming.crm, claiming.enterprise, one.effect, claiming.problem)


def _record(
    conn: Connection, claim_: Claim, result: Result, division: Division | None, call_id: int
) -> Cursor[Finished]:
    """The result, and the people who fared otherwise, while the claim holds and belongs to this call."""
    if division is not None:
        notices.divide(conn, claim_, division.extensions, division.others, call_id=call_id)
    return deliveries.finish(conn, [claim_], [result], call_id=call_id)


def _finish_where_it_is(claim_: Claim, result: Result, division: Division | None) -> bool:
    """Its call became part of another one meanwhile, if it is still ours at all."""
    while True:
        with db.transaction() as conn:
            call_id = notices.find_call(conn, claim_)
            if call_id is None:
                return False
            notices.lock_calls(conn, [call_id])
            if _record(conn, claim_, result, division, call_id).fetchone():
                deliveries.settle_timers(conn, [call_id])
                return True


@lazy
def _senders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(SENDERS, thread_name_prefix="sender")
