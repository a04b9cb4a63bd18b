"""What RetailCRM's answer says of the people and the rows of a request. Facts: docs/retailcrm.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from lib.ledger.crm import Reply, Unknown
from lib.retailcrm.client import Form

_OWNER: Final = frozenset({"userId", "code"})
# What stands around the row and the field in the path of an error, and names no field itself.
_AROUND: Final = frozenset({"calls", "children", "data", "errors"})
_PARTS: Final = re.compile(r"\w+")
# What is nested deeper is one error.
_DEPTH: Final = 12


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
    places = [_row_of(path, text, rows) for path, text in _errors(reply.details.get("errors"))]
    refused = frozenset(place for place in places if place is not None)
    return replace(reply, owners_refused=refused, only_owners=bool(refused) and None not in places)


def _row_of(path: Sequence[str], text: str, rows: int) -> int | None:
    """The row that this error says has a wrong owner; None: it is about something else."""
    parts = [*path]
    if not _OWNER & {*parts}:
        # `calls[0].userId: is nobody's`: the text says where, as far as the path does not.
        parts += _PARTS.findall(text.partition(":")[0])
    field = next((place for place, part in enumerate(parts) if part in _OWNER), None)
    if field is None or not all(_is_around(part) for part in parts[:field] + parts[field + 1 :]):
        return None
    numbers = [int(part) for part in parts[:field] if _is_number(part)]
    if not numbers:
        return 0 if rows == 1 else None
    return numbers[-1] if numbers[-1] < rows else None


def _is_around(part: str) -> bool:
    return part in _AROUND or _is_number(part)


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) <= 9


def _errors(errors: object, path: Sequence[str] = (), depth: int = 0) -> Iterator[tuple[Sequence[str], str]]:
    """
    Each error of a map or a list, whatever they hold: the parts of its path, and its text. A list in `calls` is of
    the rows, as PHP writes a map of 0, 1, …; of another list the places say nothing.
    """
    if isinstance(errors, dict) and depth < _DEPTH:
        for name, inner in errors.items():
            yield from _errors(inner, [*path, *_PARTS.findall(name)], depth + 1)
    elif isinstance(errors, list) and depth < _DEPTH:
        is_of_rows = bool(path) and path[-1] in {"calls", "children"}
        for place, inner in enumerate(errors):
            yield from _errors(inner, [*path, str(place)] if is_of_rows else path, depth + 1)
    elif errors is not None:
        yield path, str(errors)


def _listed(value: object) -> list[Any]:
    """PHP writes a list with gaps as a map."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
