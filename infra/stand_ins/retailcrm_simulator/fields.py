"""
Checks JSON values by tables: the fields of an object, their types, and which are required.

A table maps names to Field. `examine` compares an object with it and collects errors (name → text, as the API
reports them) and the names that the table does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from infra.stand_ins.retailcrm_simulator.answers import BLANK, INVALID, NOT_A_CHOICE

Check = Callable[[object], str | None]


@dataclass(frozen=True, kw_only=True)
class Field:
    """Exactly one of: a check of the value, the table of an object, the table of a list's items."""

    check: Check | None = None
    inner: Mapping[str, Field] | None = None
    items: Mapping[str, Field] | None = None
    required: bool = False


Table = Mapping[str, Field]


@dataclass(frozen=True, kw_only=True)
class Findings:
    errors: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def examine(value: Mapping[str, object], table: Table, findings: Findings, *, at: str = "") -> None:
    """`null` counts as absent. Names of nested fields are written `events[0].code`."""
    prefix = f"{at}." if at else ""
    findings.unknown.extend(f"{prefix}{name}" for name in value if name not in table)
    for name, spec in table.items():
        path, found = f"{prefix}{name}", value.get(name)
        if found is None:
            if spec.required:
                findings.errors[path] = BLANK
        elif spec.check is not None:
            problem = spec.check(found)
            if problem:
                findings.errors[path] = problem
        elif spec.inner is not None:
            _object(found, spec.inner, findings, path)
        elif spec.items is not None:
            _list(found, spec.items, findings, path)


class InvalidInput(ValueError):
    """What somebody told the simulator to do or to be; the message names every problem."""


def checked(value: object, table: Table) -> dict[str, Any]:
    """The fields of an object that are not null. Raises InvalidInput; unknown fields are problems too."""
    if not isinstance(value, dict):
        raise InvalidInput("an object is expected")
    findings = Findings()
    examine(value, table, findings)
    problems = [f"{name}: {text}" for name, text in findings.errors.items()]
    problems += [f"{name}: unknown field" for name in findings.unknown]
    if problems:
        raise InvalidInput("; ".join(problems))
    return {name: found for name, found in value.items() if found is not None}


def _object(value: object, table: Table, findings: Findings, path: str) -> None:
    # PHP writes an empty map as [].
    if isinstance(value, dict):
        examine(value, table, findings, at=path)
    elif value != []:
        findings.errors[path] = INVALID


def _list(value: object, table: Table, findings: Findings, path: str) -> None:
    if not isinstance(value, list):
        findings.errors[path] = INVALID
        return
    for index, item in enumerate(value):
        if isinstance(item, dict):
            examine(item, table, findings, at=f"{path}[{index}]")
        else:
            findings.errors[f"{path}[{index}]"] = INVALID


def text(value: object) -> str | None:
    return None if isinstance(value, str) else INVALID


def filled(value: object) -> str | None:
    if not isinstance(value, str):
        return INVALID
    return None if value.strip() else BLANK


def boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else INVALID


def integer(value: object) -> str | None:
    return None if isinstance(value, int) and not isinstance(value, bool) else INVALID


def count(value: object) -> str | None:
    if integer(value) is not None:
        return INVALID
    return None if isinstance(value, int) and value >= 0 else "This value should be 0 or more"


def number(value: object) -> str | None:
    return None if isinstance(value, int | float) and not isinstance(value, bool) else INVALID


def integer_or_digits(value: object) -> str | None:
    """Official clients disagree on the type of some ids."""
    return (
        None if integer(value) is None or (isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value)) else INVALID
    )


def text_or_integer(value: object) -> str | None:
    return None if integer(value) is None else filled(value)


def url(value: object) -> str | None:
    problem = filled(value)
    if problem or not isinstance(value, str):
        return problem
    try:
        parts = urlsplit(value)
    except ValueError:
        return "This value is not a valid URL"
    return None if parts.scheme in {"http", "https"} and parts.hostname else "This value is not a valid URL"


def date_time(value: object) -> str | None:
    """`Y-m-d H:i:s`, with all its zeros."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", value):
        return INVALID
    try:
        datetime.strptime(value, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007  (the API's form has no zone)
    except ValueError:
        return INVALID
    return None


def one_of(*options: object) -> Check:
    def check(value: object) -> str | None:
        return None if any(value == option and type(value) is type(option) for option in options) else NOT_A_CHOICE

    return check


def list_of(item: Check) -> Check:
    def check(value: object) -> str | None:
        if not isinstance(value, list):
            return INVALID
        return next((problem for problem in map(item, value) if problem), None)

    return check


def map_of(item: Check) -> Check:
    """An object with values of one kind; `[]` is PHP's empty one."""

    def check(value: object) -> str | None:
        if value == []:
            return None
        if not isinstance(value, dict):
            return INVALID
        return next((problem for problem in map(item, value.values()) if problem), None)

    return check
