"""
Why RetailCRM did not do what it was asked: a code with parameters for a page that has words of its own, and beside them
what RetailCRM itself said, which nobody else's sentence ever stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lib.ledger.crm import Reply
from lib.retailcrm import client
from lib.runtime import pg_json
from lib.runtime.errors import AppError, InvalidPayload

# From the process's or the enterprise's settings, before anything was asked.
OF_SETTINGS: Final = ("not_configured", "crm_address", "key_unreadable", "key_of_another_address", "misconfigured")
OF_ANSWERS: Final = (
    "key_refused",
    "busy",
    "unreachable",
    "no_answer",
    "moved",
    "not_retailcrm",
    "account_refused",
    "fault",
    "refused",
)
CODES: Final = (*OF_SETTINGS, *OF_ANSWERS)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """`words`: RetailCRM's own, None where it said nothing."""

    code: str
    words: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


def of(reply: Reply) -> Trouble:
    """Of a reply that is not done."""
    words = client.own_words(reply.details) or None
    params = {"status": reply.http_status} if reply.http_status is not None else {}
    return Trouble(code=_code(reply, words), words=words, params=params)


def of_settings(error: AppError) -> Trouble:
    return Trouble(code=error.code if error.code in OF_SETTINGS else "misconfigured")


def of_exchange(http_status: int | None, body: object) -> Trouble:
    """Of an exchange in the log, as `integration_logs.response_data` keeps it: `body` is an object, or text."""
    details = body if isinstance(body, dict) else {}
    if http_status is None:
        return Trouble(code="no_answer")
    text = body if isinstance(body, str) else ""
    return of(client.judged(http_status, text, details))


def words_of(text: str | None) -> str | None:
    """RetailCRM's own words in an answer, None where there are none."""
    try:
        return client.own_words(pg_json.parse_object((text or "").encode())) or None
    except InvalidPayload:
        return None


def _code(reply: Reply, words: str | None) -> str:
    status = reply.http_status
    if reply.outcome in {"authentication", "busy"}:
        return {"authentication": "key_refused", "busy": "busy"}[reply.outcome]
    if status is None:
        return "unreachable" if reply.outcome == "unavailable" else "no_answer"
    if status >= 500 or status in {408, 425}:
        return "fault"
    if words is None:
        return "moved" if 300 <= status < 400 else "not_retailcrm"
    return "account_refused" if reply.concerns_account else "refused"
