"""What RetailCRM's answer says of the people and the rows of a request. Facts: docs/retailcrm.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from lib.ledger.crm import Reply, Unknown
from lib.retailcrm.client import Form

# `calls[0].userId`, `calls[0][code]`, `[0].userId`, or `userId` alone where there is one row.
_OWNER: Final = re.compile(r"^(?:(?:calls)?[\[.]?(?P<row>\d+)\]?[.\[]?)?(?:userId|code)\]?(?::|$)")


def understood(form: Form, reply: Reply) -> Reply:
    """The reply with what follows from the request that it answers."""
    if form.name == "event" and reply.outcome == "done":
        return replace(reply, unknown=unknown(reply.details))
    if form.name == "calls" and reply.outcome == "permanent" and not reply.concerns_account:
        return _refused_owners(reply, len(form.value) if isinstance(form.value, list) else 0)
    return reply


def unknown(answer: Mapping[str, Any]) -> Unknown:
    """`notExistCodes` and `notExistUsers`: who was shown nothing."""
    codes, users = _listed(answer.get("notExistCodes")), _listed(answer.get("notExistUsers"))
    return Unknown(
        extensions=frozenset(map(str, codes)),
        user_ids=frozenset(int(user) for user in map(str, users) if user.isascii() and user.isdigit()),
    )


def _refused_owners(reply: Reply, rows: int) -> Reply:
    places = [_row_of(error, rows) for error in _errors(reply.details.get("errors"))]
    refused = frozenset(place for place in places if place is not None)
    return replace(reply, owners_refused=refused, only_owners=bool(refused) and None not in places)


def _row_of(error: str, rows: int) -> int | None:
    """The row that this error says has a wrong owner; None: it is about something else."""
    found = _OWNER.match(error)
    if found is None:
        return None
    if found["row"] is None:
        return 0 if rows == 1 else None
    place = int(found["row"])
    return place if place < rows else None


def _errors(errors: object) -> Iterable[str]:
    """A map of fields to texts, or a list of texts that begin with the field."""
    return [f"{name}:" for name in errors] if isinstance(errors, dict) else map(str, _listed(errors))


def _listed(value: object) -> list[Any]:
    """PHP writes a list with gaps as a map."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
