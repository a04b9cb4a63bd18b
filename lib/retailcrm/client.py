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


# The account is not paid for, has moved, or is not there; no method of ours is answered so about what it was given.
_OF_THE_ACCOUNT: Final = frozenset({402, 405, 410, *range(300, 400)})
_NOT_FOUND: Final = "Not found"

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
    """Interprets an answer by `success` in its body, also with status 200."""
    text = pg_json.text(text)
    try:
        body = pg_json.parse_object(text.encode())
    except InvalidPayload:
        body = {}
    error = _error_text(status, text, body)
    if 200 <= status < 300:
        success = body.get("success")
        if success is True or success == "true":
            return Reply(outcome="done", http_status=status, text=text, details=body)
        outcome = "permanent" if "success" in body else "in_doubt"
    elif status in {401, 403}:
        outcome = "authentication"
    elif status in {429, 503}:
        outcome = "busy"
    elif status in {408, 425}:
        outcome = "unavailable"
    elif status >= 500:
        outcome = "in_doubt"
    else:
        outcome = "permanent"
    return Reply(
        outcome=outcome,
        http_status=status,
        error=error,
        text=text,
        details=body,
        retry_after_seconds=retry_after,
        concerns_account=_concerns_account(status, text, body),
    )


def _concerns_account(status: int, text: str, body: Mapping[str, Any]) -> bool:
    """
    Whether the account as a whole takes nothing, so that nothing that it was given is the cause: it is not paid for,
    has moved, has no telephony, or somebody else's page answers in its place.
    """
    if status in {401, 403, 408, 413, 425, 429} or status >= 500:
        return False  # of the key, of the size, or of this moment
    if str(body.get("errorMsg") or "").startswith("Telephony not enabled"):
        return True
    if status in _OF_THE_ACCOUNT:
        return True
    if status == 404:
        return body.get("errorMsg") != _NOT_FOUND
    return not body and text.lstrip().startswith("<")


def _error_text(status: int, text: str, body: Mapping[str, Any]) -> str:
    """RetailCRM's own text: `errorMsg`, and `errors`, which is a map, a list, or missing."""
    errors = body.get("errors") or {}
    items = [f"{key}: {value}" for key, value in errors.items()] if isinstance(errors, dict) else errors
    parts = [str(body.get("errorMsg") or ""), *map(str, items if isinstance(items, list) else [items])]
    words = "; ".join(filter(None, parts))
    if words:
        return words
    if 300 <= status < 400:
        return f"HTTP {status}, a redirect: has the account another address now?"
    if text.lstrip().startswith("<"):
        return f"HTTP {status} with a web page instead of JSON: is the address of the account right?"
    return f"HTTP {status} with an answer that is not RetailCRM's"
