"""
Orders to the Asterisk service: ring an extension, then dial a number.

The enterprise's secret authenticates the order; it is written into no log and no error.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lib.runtime import outbound

_EXTENSION: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_PHONE: Final = re.compile(r"\+?[0-9]{3,15}", re.ASCII)
_CAUSE_CHARACTERS: Final = 300

# accepted: the host took the order, not that anybody answered; refused: it said no; unreachable: it heard nothing;
# timeout, broken: it may have taken the order.
Outcome = Literal["accepted", "refused", "unreachable", "timeout", "broken"]


@dataclass(frozen=True, kw_only=True)
class Host:
    """`base_url` of the enterprise's Asterisk service."""

    base_url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class HostReply:
    """`cause`: why it is not `accepted`, for people."""

    outcome: Outcome
    cause: str = ""
    http_status: int | None = None


def call(host: Host, *, extension: str, phone: str, timeout_seconds: float) -> HostReply:
    """One order, never retried. Raises ValueError for values that are no numbers: they once reached a shell there."""
    if not _EXTENSION.fullmatch(extension) or not _PHONE.fullmatch(phone):
        raise ValueError("Only digits and + are sent to the Asterisk service")
    started = time.monotonic()
    try:
        answer = outbound.get(
            host.base_url.rstrip("/") + "/api/makecallexternal",
            {"code": extension, "phone": phone, "clientId": host.secret},
            # Clicks are rare: a connection that each thread kept would only count against the service.
            headers={"Accept": "application/json", "Connection": "close"},
            timeout_seconds=timeout_seconds,
            network="any",  # set by the operator; the services are in inner networks
            secret=host.secret,
        )
    # The errors quote the address with the secret in it, so the cause has words of its own.
    except outbound.NotSent:
        return HostReply(outcome="unreachable", cause="The Asterisk service cannot be reached")
    except outbound.NoAnswer as error:
        if time.monotonic() - started >= timeout_seconds:
            return HostReply(
                outcome="timeout", cause=f"The Asterisk service did not answer within {timeout_seconds:g} s"
            )
        return HostReply(
            outcome="broken",
            cause="The Asterisk service broke off before it answered",
            http_status=error.status,
        )
    return read(answer.status, answer.text, secret=host.secret)


def read(status: int, text: str, *, secret: str) -> HostReply:
    """Interprets an answer; the secret is masked in its cause."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        body = {}
    if status == 200 and body.get("success") is True:
        return HostReply(outcome="accepted", http_status=status)
    if status == 401:
        return HostReply(
            outcome="refused", cause="The Asterisk service does not know the enterprise's secret", http_status=status
        )
    said = _words(body).replace(secret, "•••")[:_CAUSE_CHARACTERS] if secret else ""
    cause = (
        f"The Asterisk service refused (HTTP {status}): {said}"
        if said
        else f"The Asterisk service refused: HTTP {status}"
    )
    return HostReply(outcome="refused", cause=cause, http_status=status)


def _words(body: dict[str, Any]) -> str:
    said = body.get("detail") or body.get("message") or ""
    return "".join(character for character in str(said) if character.isprintable())
