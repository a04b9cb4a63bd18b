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
class Unknown:
    extensions: frozenset[str] = frozenset()
    user_ids: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.extensions or self.user_ids)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """
    `outcome`: done, permanent, authentication, busy, unavailable (nothing was applied), in_doubt (it may have been).
    `retry_after_seconds` as the server asked. `concerns_account`: the account as a whole takes nothing, whatever it
    is sent; `may_be_of_one`: or one of the rows is the cause after all. `unknown`: of a pop-up, the extensions, or the
    users in their place, that the CRM does not know, who were shown nothing. `owners_refused`: the rows, by their place
    in the request, that are refused for their owner; `only_owners`: and for nothing else.
    """

    outcome: str
    http_status: int | None = None
    error: str | None = None
    text: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    retry_after_seconds: float | None = None
    concerns_account: bool = False
    may_be_of_one: bool = False
    unknown: Unknown = Unknown()
    owners_refused: frozenset[int] = frozenset()
    only_owners: bool = False


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

    def ring(self, notice: RingNotice) -> Request:
        """To the extensions, or where the notice names users to these alone."""
        ...

    def end(self, notice: EndNotice, extensions: Sequence[str], user_ids: Sequence[int]) -> Request:
        """`extensions` and `user_ids`: those who were really told of the ringing, each as they were."""
        ...

    def rows(self, rows: Sequence[CallRow]) -> Request: ...

    def send(self, account: Any, request: Any, *, timeout_seconds: float) -> Reply:
        """One request, no repeats; whatever happens becomes a Reply."""
        ...

    def repair(self, enterprise_number: str, unknown: Unknown) -> None:
        """
        The CRM did not know whom it was to show a card: it is told once more who has which extension, soon, and not
        more often than every few minutes. Raises Unavailable.
        """
        ...
