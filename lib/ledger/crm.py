"""
What the ledger asks of a CRM: its name, its account of an enterprise, its words for a ring, an end and rows.

A CRM is a package that has an object of this shape, functions that deliver for it, and their subscriptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lib.calls.plan import CallRow, EndNotice, RingNotice
from lib.runtime.gate import Limits
from lib.store.enterprises import Enterprise


class Account(Protocol):
    """`base_url`: whose limits and outages count together."""

    @property
    def base_url(self) -> str: ...

    @property
    def credentials(self) -> bytes:
        """Tells one key from another without being one."""
        ...


class Request(Protocol):
    def as_log(self) -> dict[str, object]: ...


@dataclass(frozen=True, kw_only=True)
class Reply:
    """
    `outcome`: done, permanent, authentication, busy, unavailable (nothing was applied), in_doubt (it may have been).
    `retry_after_seconds` as the server asked. `concerns_account`: no row of a batch is the cause of a refusal.
    """

    outcome: str
    http_status: int | None = None
    error: str | None = None
    text: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    retry_after_seconds: float | None = None
    concerns_account: bool = False


class CRM(Protocol):
    """`name` is the integration's in `integrations_config`; `batch`: rows of history in one request at most."""

    @property
    def name(self) -> str: ...

    @property
    def batch(self) -> int: ...

    def account_of(self, enterprise: Enterprise) -> Account:
        """Where and as whom the enterprise's CRM is asked. Raises ConfigError."""
        ...

    def limits(self) -> Limits: ...

    def timeout_seconds(self, effect: str) -> float: ...

    def ring(self, notice: RingNotice) -> Request: ...

    def end(self, notice: EndNotice, extensions: Sequence[str]) -> Request:
        """`extensions`: those who were really told of the ringing."""
        ...

    def rows(self, rows: Sequence[CallRow]) -> Request: ...

    def send(self, account: Any, request: Any, *, timeout_seconds: float) -> Reply:
        """One request, no repeats; whatever happens becomes a Reply."""
        ...
