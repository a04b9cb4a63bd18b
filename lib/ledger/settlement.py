"""What an attempt's reply means for the delivery: a pure decision."""

from __future__ import annotations

import random
from typing import Final

from lib.ledger.crm import Reply
from lib.store.deliveries import Delivery, Result

ROW_BACKOFF_SECONDS: Final = (1.0, 600.0)
NOTICE_BACKOFF_SECONDS: Final = (0.3, 2.0)
AUTHENTICATION_PAUSE_SECONDS: Final = 300.0
RETRY_AFTER_SECONDS: Final = 3600.0
RESPONSE_CHARACTERS: Final = 4000
# Statuses of which one row out of many may be the cause.
_SPLITTABLE: Final = frozenset({200, 201, 400, 413, 422})


def settle(delivery: Delivery, reply: Reply, *, batch_size: int = 1) -> Result:
    """
    What becomes of the delivery.

    A history row is sent until the CRM has it: the CRM knows it by its id. A pop-up is news for seconds, and is not
    repeated once it may have arrived. A batch that is refused is sent again in two, until the row that is not accepted
    stands alone.
    """
    state, reason, retry_in = _next(delivery, reply, batch_size)
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


def ended(state: str, reason: str | None) -> Result:
    """Nothing was sent, and nothing will be."""
    return Result(outcome="done", state=state, reason=reason)


def _next(delivery: Delivery, reply: Reply, batch_size: int) -> tuple[str, str | None, float | None]:
    """State, reason, and seconds until the retry."""
    is_row = delivery.effect == "upload"
    match reply.outcome:
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
    if reply.outcome == "permanent":
        return reply.http_status in _SPLITTABLE and not reply.concerns_account
    return reply.http_status == 500 and reply.outcome not in {"done", "authentication"}


def _backoff(attempts_made: int, base: float, cap: float) -> float:
    """Exponential with full jitter, never at once."""
    return base / 2 + random.uniform(0, min(cap, base * 2 ** min(attempts_made, 20)))  # noqa: S311  (jitter)
