"""RetailCRM's users, whom we call managers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lib.ledger.crm import Reply
from lib.retailcrm import client
from lib.retailcrm.client import Account

# Fifty, not a hundred: the answer must not exceed the limit of `outbound`.
PAGE_SIZE: Final = 50
MOST_PAGES: Final = 40


@dataclass(frozen=True, kw_only=True)
class Person:
    user_id: int
    first_name: str
    last_name: str
    email: str
    is_active: bool
    is_manager: bool


@dataclass(frozen=True, kw_only=True)
class Staff:
    """
    The users read up to `page` of `pages`. `failure`: the answer that ended the reading early; `people` are incomplete
    then.
    """

    people: Sequence[Person]
    page: int = 0
    pages: int = 0
    failure: Reply | None = None


def list_people(account: Account, *, timeout_seconds: float, budget_seconds: float) -> Iterator[Staff]:
    """
    Yields after each page the users read so far, as long as the budget lasts; `timeout_seconds` is for one page. The
    last one is the result.
    """
    people: list[Person] = []
    until = time.monotonic() + budget_seconds
    for page in range(1, MOST_PAGES + 1):
        parameters = {"limit": str(PAGE_SIZE), "page": str(page)}
        left = until - time.monotonic()
        if left <= 0:
            yield Staff(people=people, failure=Reply(outcome="unavailable", error="It is too slow to list everybody"))
            return
        reply = client.get(account, "/api/v5/users", parameters, timeout_seconds=min(timeout_seconds, left))
        if reply.outcome != "done":
            yield Staff(people=people, failure=reply)
            return
        people += read_people(reply.details)
        pagination = reply.details.get("pagination")
        pages = _count(pagination.get("totalPageCount")) if isinstance(pagination, dict) else 1
        yield Staff(people=tuple(people), page=page, pages=max(page, pages))
        if page >= pages:
            return


def read_people(details: Mapping[str, Any]) -> list[Person]:
    found = details.get("users")
    return [
        Person(
            user_id=int(user["id"]),
            first_name=str(user.get("firstName") or ""),
            last_name=str(user.get("lastName") or ""),
            email=str(user.get("email") or ""),
            is_active=user.get("active") is True,
            is_manager=user.get("isManager") is True,
        )
        for user in (found if isinstance(found, list) else [])
        if isinstance(user, dict) and _count(user.get("id")) > 0
    ]


def _count(value: object) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
