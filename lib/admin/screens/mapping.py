"""
The mapping of managers to extensions: one each; taking an extension moves it. Keys are RetailCRM's user ids as text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from lib.runtime.json_schema import Problem

Mapped = Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True)
class Taken:
    extension: str
    from_user_id: int
    to_user_id: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """
    `not_in_crm`: only we have it; `not_ours`: only the CRM has it; `other`: both, but not the same; `no_such_number`:
    the enterprise has no such extension.
    """

    kind: Literal["not_in_crm", "not_ours", "other", "no_such_number"]
    user_id: int
    ours: str | None
    crm: str | None


def problems(changes: Mapped, numbers: Collection[str]) -> dict[str, Problem]:
    """By field, as `user_extensions.19`."""
    found: dict[str, Problem] = {}
    owners: dict[str, str] = {}
    for user, extension in changes.items():
        if extension is None:
            continue
        if extension not in numbers:
            message = f"{extension} is not an extension of this enterprise"
            params: dict[str, object] = {"extension": extension}
            found[f"user_extensions.{user}"] = Problem(code="no_such_extension", message=message, params=params)
        elif owners.setdefault(extension, user) != user:
            message = f"{extension} is also given to manager {owners[extension]}"
            params = {"extension": extension, "user_id": int(owners[extension])}
            found[f"user_extensions.{user}"] = Problem(code="given_twice", message=message, params=params)
    return found


def assign(before: Mapped, changes: Mapped) -> tuple[dict[str, str | None], list[Taken]]:
    """The mapping after the changes, and from whom an extension was taken for it."""
    after = {**before, **changes}
    taken: list[Taken] = []
    for user, extension in changes.items():
        for other, held in before.items():
            if extension is not None and held == extension and other != user and other not in changes:
                after[other] = None
                taken.append(Taken(extension=extension, from_user_id=int(other), to_user_id=int(user)))
    return after, taken


def imported(codes: Mapping[int, str]) -> dict[str, str | None]:
    """The CRM's codes that can become a mapping: extensions of digits, one manager each."""
    mapping: dict[str, str | None] = {}
    for user, code in sorted(codes.items()):
        if re.fullmatch("[0-9]{1,10}", code, re.ASCII) and code not in mapping.values():
            mapping[str(user)] = code
    return mapping


def differences(ours: Mapped, codes: Mapping[int, str], numbers: Collection[str]) -> list[Difference]:
    found: list[Difference] = []
    for user in sorted({*map(int, ours), *codes}):
        mine, theirs = ours.get(str(user)), codes.get(user)
        if mine and mine not in numbers:
            found.append(Difference(kind="no_such_number", user_id=user, ours=mine, crm=theirs))
        elif mine == theirs:
            continue
        elif theirs is None:
            found.append(Difference(kind="not_in_crm", user_id=user, ours=mine, crm=None))
        elif mine is None:
            found.append(Difference(kind="not_ours", user_id=user, ours=None, crm=theirs))
        else:
            found.append(Difference(kind="other", user_id=user, ours=mine, crm=theirs))
    return found
