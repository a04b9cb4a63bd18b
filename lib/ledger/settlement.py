"""What an attempt's reply means for the delivery: a pure decision."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from lib.ledger.crm import Reply
from lib.ledger.shown import Division
from lib.store.deliveries import Claimed, Delivery, Result

ROW_BACKOFF_SECONDS: Final = (1.0, 600.0)
NOTICE_BACKOFF_SECONDS: Final = (0.3, 2.0)
AUTHENTICATION_PAUSE_SECONDS: Final = 300.0
# Longer than an account that takes nothing is left alone.
ASIDE_SECONDS: Final = 600.0
RETRY_AFTER_SECONDS: Final = 3600.0
RESPONSE_CHARACTERS: Final = 4000
# Statuses of which one row out of many may be the cause.
_SPLITTABLE: Final = frozenset({200, 201, 400, 413, 422})


def settle(delivery: Delivery, reply: Reply, *, batch_size: int = 1, division: Division | None = None) -> Result:
    """
    What becomes of the delivery.

    A history row is sent until the CRM has it: the CRM knows it by its id. A pop-up is news for seconds, and is not
    repeated once it may have arrived. A batch that is refused is sent again in two, until the row that is not accepted
    stands alone. Of a refusal of the whole account nothing is the cause: what was sent waits for it. Where it may be
    the one row's all the same, nothing ends either, but the row lets the others go first.
    """
    state, reason, retry_in = _next(delivery, reply, batch_size)
    if division is not None:
        state, reason = division.state, division.reason
    return Result(
        outcome=reply.outcome,
        state=state,
        reason=reason,
        retry_in_seconds=retry_in,
        http_status=reply.http_status,
        error=reply.error,
        response=reply.text[:RESPONSE_CHARACTERS].replace("\x00", ""),
        batch_limit=(batch_size + 1) // 2 if batch_size > 1 and _halves(reply) else None,
    )


def settle_rows(batch: Sequence[Claimed], reply: Reply) -> list[Result]:
    """
    Of each row of history. Those that are sent again go at the same time, so that they go together; those that were
    refused for their owner without one, once, and the others of their batch unharmed.
    """
    common = settle(batch[0], reply, batch_size=len(batch))
    disowned = {place for place in reply.owners_refused if not batch[place].is_ownerless}
    if not disowned:
        return [
            replace(common, reason="owner_refused") if common.state == "delivered" and one.is_ownerless else common
            for one in batch
        ]
    again = replace(common, state="retry", reason="batch_refused", retry_in_seconds=0.0)
    if reply.only_owners:
        again = replace(again, batch_limit=None)
    ownerless = replace(again, reason="owner_refused", is_ownerless=True)
    return [ownerless if place in disowned else again for place in range(len(batch))]


def ended(state: str, reason: str | None) -> Result:
    """Nothing was sent, and nothing will be."""
    return Result(outcome="done", state=state, reason=reason)


def _next(delivery: Delivery, reply: Reply, batch_size: int) -> tuple[str, str | None, float | None]:  # noqa: PLR0911  (one line per outcome)
    """State, reason, and seconds until the retry."""
    is_row = delivery.effect == "upload"
    match reply.outcome:
        case "permanent" | "in_doubt" if reply.concerns_account and (is_row or reply.outcome == "permanent"):
            # The pause of the enterprise holds it, and ends when the account takes something again.
            # A row that may be the cause stands aside, so that another one finds out.
            stands_aside = is_row and batch_size == 1 and reply.may_be_of_one
            return "retry", "account_refused", ASIDE_SECONDS if stands_aside else 0.0
        case "done":
            return "delivered", None, None
        case "permanent" if batch_size > 1 and _halves(reply):
            return "retry", "batch_refused", 0.0
        case "authentication" if is_row:
            # The pause of the enterprise holds it, and ends when the key is another one.
            return "retry", "authentication", 0.0 if reply.http_status else AUTHENTICATION_PAUSE_SECONDS
        case "permanent" | "authentication":
            return "failed", reply.outcome, None
        case "in_doubt" if not is_row:
            return "in_doubt", "in_doubt", None
    backoff = ROW_BACKOFF_SECONDS if is_row else NOTICE_BACKOFF_SECONDS
    wait = _backoff(delivery.attempts_made, *backoff)
    return "retry", reply.outcome, max(wait, min(reply.retry_after_seconds or 0, RETRY_AFTER_SECONDS))


def _halves(reply: Reply) -> bool:
    """One row may be what the CRM stumbles over; the others must not wait for it for ever."""
    if reply.concerns_account:
        return reply.may_be_of_one
    if reply.outcome == "permanent":
        return reply.http_status in _SPLITTABLE
    return reply.http_status == 500 and reply.outcome not in {"done", "authentication"}


def _backoff(attempts_made: int, base: float, cap: float) -> float:
    """Exponential with full jitter, never at once."""
    return base / 2 + random.uniform(0, min(cap, base * 2 ** min(attempts_made, 20)))  # noqa: S311  (jitter)
