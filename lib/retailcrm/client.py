"""The client of RetailCRM: sends one request, and interprets its answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from lib.ledger.crm import Reply
from lib.retailcrm import address, rate_slot
from lib.runtime import config, outbound, pg_json
from lib.runtime.errors import InvalidPayload


@dataclass(frozen=True, kw_only=True)
class Account:
    base_url: str
    api_key: str = field(repr=False)

    @property
    def credentials(self) -> bytes:
        """Tells one key from another, without keeping it."""
        return hashlib.blake2b(self.api_key.encode(), key=b"credentials", digest_size=16).digest()


@dataclass(frozen=True, kw_only=True)
class Form:
    """A request: POST of one form field whose value is JSON."""

    path: str
    name: str
    value: object

    def as_log(self) -> dict[str, object]:
        return {"path": self.path, self.name: self.value}


_BY_STATUS: Final = {
    401: "authentication",
    403: "authentication",
    408: "unavailable",
    425: "unavailable",
    429: "busy",
    503: "busy",
}
# The account is not paid for, has moved, or is not there. No method of ours is answered so about what it was given, but
# for RetailCRM's own 404, which has these words.
OF_THE_ACCOUNT: Final = frozenset({402, 404, 405, 410, *range(300, 400)})
_NOT_FOUND: Final = "not found"
# What RetailCRM says is reliable, the status that it says it with is not: 200, 400, 403 and 404 are seen with the same
# words. Without case and final dot.
_OF_THE_KEY: Final = frozenset({'"apikey" is missing', 'wrong "apikey" value', "access denied"})
_ACCOUNT_TAKES_NOTHING: Final = frozenset({"account does not exist", "api method not found", "method not found"})
NO_TELEPHONY: Final = "telephony not enabled"

_NO_SLOT: Final = Reply(outcome="busy", error="RetailCRM is asked as often as it may be at this moment")


def send(account: Account, form: Form, *, timeout_seconds: float) -> Reply:
    """
    One request without retries or redirects; whatever happens becomes a Reply. The caller holds the rate slot.
    """
    fields = {form.name: json.dumps(form.value, ensure_ascii=False)}
    return _reply(
        partial(outbound.post_form, account.base_url + form.path, fields), account, timeout_seconds=timeout_seconds
    )


def send_in_slot(account: Account, form: Form, *, timeout_seconds: float) -> Reply:
    """Waits a moment for a rate slot. Raises Unavailable while the database, which grants the slots, is away."""
    patience = min(rate_slot.PATIENCE_SECONDS, timeout_seconds)
    with rate_slot.taken(
        account.base_url, form.path, timeout_seconds=timeout_seconds, patience_seconds=patience
    ) as is_ours:
        return send(account, form, timeout_seconds=timeout_seconds) if is_ours else _NO_SLOT


def get(
    account: Account,
    path: str,
    parameters: Mapping[str, str],
    *,
    timeout_seconds: float,
    patience_seconds: float = rate_slot.PATIENCE_SECONDS,
) -> Reply:
    """
    A GET in a rate slot; `details` of the Reply holds the answer. Raises Unavailable as `send_in_slot` does.
    """
    question = partial(outbound.get, account.base_url + path, parameters)
    patience = min(patience_seconds, timeout_seconds)
    with rate_slot.taken(account.base_url, path, timeout_seconds=timeout_seconds, patience_seconds=patience) as is_ours:
        return _reply(question, account, timeout_seconds=timeout_seconds) if is_ours else _NO_SLOT


def _reply(exchange: Callable[..., outbound.Response], account: Account, *, timeout_seconds: float) -> Reply:
    headers = {"X-API-KEY": account.api_key, "Accept": "application/json"}
    network = address.network(account.base_url, config.current(config.RetailCRM).retailcrm_extra_hosts)
    try:
        answer = exchange(headers=headers, timeout_seconds=timeout_seconds, network=network, secret=account.api_key)
    except outbound.NotSent as error:
        return Reply(outcome="unavailable", error=str(error))
    except outbound.NoAnswer as error:
        return Reply(outcome="in_doubt", error=str(error), http_status=error.status)
    return read(answer.status, answer.text, retry_after=answer.retry_after_seconds)


def read(status: int, text: str, *, retry_after: float | None = None) -> Reply:
    """Interprets an answer by `success` in its body, also with status 200; then by its words; then by the status."""
    text = pg_json.text(text)
    try:
        body = pg_json.parse_object(text.encode())
    except InvalidPayload:
        body = {}
    return judged(status, text, body, retry_after=retry_after)


def judged(status: int, text: str, body: Mapping[str, Any], *, retry_after: float | None = None) -> Reply:
    """`body`: what the text says as JSON, empty when it is none."""
    outcome = _outcome(status, body)
    if outcome == "done":
        return Reply(outcome=outcome, http_status=status, text=text, details=body)
    concerns_account = outcome != "authentication" and _concerns_account(status, text, body)
    return Reply(
        outcome=outcome,
        http_status=status,
        error=_error_text(status, text, body),
        text=text,
        details=body,
        retry_after_seconds=retry_after,
        concerns_account=concerns_account,
        # A filter in between may have taken offence at one row.
        may_be_of_one=concerns_account and not body and 400 <= status < 500 and status not in OF_THE_ACCOUNT,
    )


def _outcome(status: int, body: Mapping[str, Any]) -> str:
    success = body.get("success")
    if 200 <= status < 300 and (success is True or success == "true"):
        return "done"
    if by_words := _by_words(status, body):
        return by_words
    if 200 <= status < 300:
        return "permanent" if "success" in body else "in_doubt"
    return _BY_STATUS.get(status) or ("in_doubt" if status >= 500 else "permanent")


def _by_words(status: int, body: Mapping[str, Any]) -> str | None:
    if _is_of_the_moment(status):
        return None
    if _words(body) in _OF_THE_KEY:
        return "authentication"
    return "permanent" if _says_that_account_takes_nothing(body) else None


def _words(body: Mapping[str, Any]) -> str:
    return str(body.get("errorMsg") or "").strip().removesuffix(".").casefold()


def _says_that_account_takes_nothing(body: Mapping[str, Any]) -> bool:
    words = _words(body)
    return words in _ACCOUNT_TAKES_NOTHING or words.startswith(NO_TELEPHONY)


def _is_of_the_moment(status: int) -> bool:
    return status in {408, 425, 429} or status >= 500


def _concerns_account(status: int, text: str, body: Mapping[str, Any]) -> bool:
    """
    Whether the account as a whole takes nothing, so that nothing that it was given is the cause: it is not paid for,
    has moved, has no telephony, or somebody else's page answers in its place.
    """
    if _is_of_the_moment(status):
        return False
    if _says_that_account_takes_nothing(body):
        return True
    if status in {401, 403, 413}:
        return False  # of the key, or of the size
    if status in OF_THE_ACCOUNT:
        return status != 404 or _words(body) != _NOT_FOUND
    return not body and text.lstrip().startswith("<")


def own_words(body: Mapping[str, Any]) -> str:
    """RetailCRM's own text: `errorMsg`, and `errors`, which is a map, a list, or missing."""
    errors = body.get("errors") or {}
    items = [f"{key}: {value}" for key, value in errors.items()] if isinstance(errors, dict) else errors
    parts = [str(body.get("errorMsg") or ""), *map(str, items if isinstance(items, list) else [items])]
    return "; ".join(filter(None, parts))


def _error_text(status: int, text: str, body: Mapping[str, Any]) -> str:
    if words := own_words(body):
        return words
    if 300 <= status < 400:
        return f"HTTP {status}, a redirect: has the account another address now?"
    if text.lstrip().startswith("<"):
        return f"HTTP {status} with a web page instead of JSON: is the address of the account right?"
    return f"HTTP {status} with an answer that is not RetailCRM's"
