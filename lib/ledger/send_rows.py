"""
Sending rows of history: for one enterprise and CRM, up to a batch in a request, one request after the other.

A message (rows of 0367 are due) and one timer for each enterprise are all that wakes the lane. Gate and claim, attempts
and commit, one request, finish by fence.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lib.calls.plan import CallRow
from lib.enterprises import rules
from lib.enterprises.cache import enterprise_cache
from lib.intake.messages import WakeCall, call_message
from lib.ledger import codec, deliver, settlement
from lib.ledger.crm import CRM, Reply, Request
from lib.ledger.deliver import LEASE_SECONDS, Asking
from lib.runtime import db, failpoints, pipeline, pubsub
from lib.runtime.db import Connection
from lib.runtime.errors import ConfigError, NotFound
from lib.store import deliveries, gates, rows
from lib.store.deliveries import Claimed
from lib.store.enterprises import Enterprise
from lib.store.gates import Entered, Place, PutOff
from lib.store.rows import Lane

# With the longest request this is within the ack deadline; then the lane is woken by a message of its own.
LANE_SECONDS: Final = 20.0
# A lane that waits for its CRM looks again after so long at most: a new key, or a CRM that is back, is soon used.
LOOK_AGAIN_SECONDS: Final = 60.0
# An enterprise that is gone may come back; what it wanted expires in time.
GONE_SECONDS: Final = 3600.0
STALE: Final = 50


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows that may go out in one request: they are claimed, admitted, and their attempts stand."""

    asking: Asking
    claimed: Sequence[Claimed]
    place: Place
    request: Request
    begun_at: float


def send_due(lane: Lane, *, crm: CRM) -> None:
    """Sends what the enterprise has due in this CRM, as fast as its gate lets through. Raises Unavailable."""
    until = time.monotonic() + LANE_SECONDS
    try:
        enterprise = enterprise_cache().by_number(lane.enterprise_number)
    except NotFound:
        with db.transaction() as conn:
            rows.expire_all(conn, lane)
            rows.settle_timer(conn, lane, after_seconds=GONE_SECONDS)
        return
    try:
        asking = Asking(crm=crm, enterprise=enterprise, account=crm.account_of(enterprise))
    except ConfigError as error:
        if rules.settings(enterprise, crm.name).enabled:
            _refuse(lane, crm, enterprise, str(error))
        else:
            _supersede(lane)
        return
    while (batch := _next(lane, asking)) is not None:
        limit = crm.timeout_seconds("upload")
        left = limit - (time.monotonic() - batch.begun_at)
        has_more = _finish(lane, batch, crm.send(asking.account, batch.request, timeout_seconds=left))
        if not has_more:
            return
        if time.monotonic() > until:
            deliver.wake_lane(lane)
            return


def _next(lane: Lane, asking: Asking) -> Batch | None:
    """The next batch; None when nothing is due, or may go."""
    begun_at = time.monotonic()
    if not rules.settings(asking.enterprise, asking.crm.name).enabled:
        _supersede(lane)
        return None
    batch, wait_seconds = None, 0.0
    with pipeline.transaction() as current:
        conn = current.conn
        gate = gates.lock(conn, asking.account.base_url)
        limits = asking.crm.limits().without_reserve()
        entered = gate.enter(limits, seconds=LEASE_SECONDS, key=asking.key)
        if isinstance(entered, PutOff):
            wait_seconds = min(entered.seconds, LOOK_AGAIN_SECONDS) * random.uniform(1, 1.2)  # noqa: S311  (jitter)
            rows.say_why(conn, lane, reason=entered.reason)
        else:
            # Who finds out whether the CRM is back, or takes anything, risks one row, not fifty.
            limit = 1 if entered.place.is_probe or entered.place.tries_account else asking.crm.batch
            claimed = rows.claim(conn, lane, limit=limit, lease_seconds=LEASE_SECONDS).fetchall()
            if claimed:
                failpoints.hit("delivery_claimed")
                batch = _begin(conn, asking, entered, claimed, begun_at)
        # Behind the claim: a row that a dead worker left may be one of them.
        stale = rows.put_off_stale(conn, lane, limit=STALE)
        if batch is None:
            current.commit_and_go_on()
            rows.settle_timer(conn, lane, account=asking.account.base_url, after_seconds=wait_seconds)
        current.commit()
    to_derive = sorted({call_id for (call_id,) in stale.fetchall()})
    if batch:
        failpoints.hit("attempt_committed")
    _derive_again(lane, to_derive)
    return batch


def _begin(conn: Connection, asking: Asking, entered: Entered, claimed: Sequence[Claimed], begun_at: float) -> Batch:
    gates.write(conn, entered.gate)
    requests = [_request(asking.crm, [one]).as_log() for one in claimed]
    deliveries.begin_attempts(conn, [one.claim for one in claimed], requests)
    return Batch(
        asking=asking,
        claimed=claimed,
        place=entered.place,
        request=_request(asking.crm, claimed),
        begun_at=begun_at,
    )


def _finish(lane: Lane, batch: Batch, reply: Reply) -> bool:
    """Records what came of it; whether more is due."""
    asking, size = batch.asking, len(batch.claimed)
    results = settlement.settle_rows(batch.claimed, reply)
    answer = deliver.answer_of(reply)
    with pipeline.transaction() as current:
        conn = current.conn
        rows.lock(conn, [one.id for one in batch.claimed])
        finished = deliveries.finish(conn, [one.claim for one in batch.claimed], results)
        deliver.log_exchange(conn, asking, "upload", batch.request, reply)
        asked = gates.ask(conn, asking.account.base_url)
        gate = gates.locked(conn, asking.account.base_url, asked)
        left = gate.leave(batch.place, asking.crm.limits(), key=asking.key, answer=answer)
        gates.write(conn, left.gate)
        failpoints.hit("result_recorded")
        current.commit_and_go_on()
        due = rows.settle_timer(conn, lane, account=asking.account.base_url)
        current.commit()
    ours = finished.fetchall()
    has_more = due.fetchone() == (True,)
    failpoints.hit("result_committed")
    if left.is_back:
        deliver.wake_lanes_of(asking.account.base_url)
    ended = {one.id for one, result in zip(batch.claimed, results, strict=True) if result.state != "retry"}
    # What the call became while its row was on the way is compared with what was sent.
    _derive_again(lane, [one.call_id for one in ours if one.is_stale and one.id in ended])
    if len(ours) < size:
        deliver.log_overtaken(batch.claimed[0], size - len(ours))
    deliver.log_attempt(batch.claimed, reply, results[0].state)
    return has_more and (left.is_back or answer.shows_life or results[0].batch_limit is not None)


def _refuse(lane: Lane, crm: CRM, enterprise: Enterprise, problem: str) -> None:
    """The CRM cannot be asked as the enterprise is configured: its own fault, no attempt and no evidence."""
    reply = Reply(outcome="authentication", error=problem)
    with db.transaction() as conn:
        claimed = rows.claim(conn, lane, limit=crm.batch, lease_seconds=LEASE_SECONDS).fetchall()
        if claimed:
            results = [settlement.settle(one, reply) for one in claimed]
            deliveries.finish(conn, [one.claim for one in claimed], results)
            deliver.log_refusal(conn, crm, enterprise, "upload", problem)
        rows.settle_timer(conn, lane)


def _supersede(lane: Lane) -> None:
    with db.transaction() as conn:
        rows.free(conn, lane)
        rows.supersede_due(conn, lane, reason="integration_disabled")
        rows.settle_timer(conn, lane)


def _request(crm: CRM, claimed: Sequence[Claimed]) -> Request:
    return crm.rows([_row(one) for one in claimed])


def _row(claimed: Claimed) -> CallRow:
    row = codec.decode(claimed)
    assert isinstance(row, CallRow)  # noqa: S101  (the lane claims nothing else)
    return dataclasses.replace(row, extension=None, user_id=None) if claimed.is_ownerless else row


def _derive_again(lane: Lane, call_ids: Sequence[int]) -> None:
    for call_id in call_ids:
        wake = WakeCall(enterprise_number=lane.enterprise_number, call_id=call_id, crm=lane.crm)
        deliver.publish_soon(pubsub.CALL_EVENTS, call_message(wake))
