"""Reads the old system's database: in one snapshot, nothing but the columns that matter. It writes nothing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import IsolationLevel, sql

from infra import command
from infra.commands.moving.values import text, whole
from lib.runtime.errors import ConfigError, Unavailable

Row = Mapping[str, Any]

CONNECT_SECONDS: Final = 10
STATEMENT_SECONDS: Final = 60
_ENTERPRISES: Final = "enterprises"
_NEEDED: Final = ("number", "name2", "secret")
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    _ENTERPRISES: (*_NEEDED, "name", "active", "integrations_config"),
    "users": ("id", "enterprise_number", "email", "first_name", "last_name", "personal_phone", "is_admin"),
    "user_internal_phones": ("id", "enterprise_number", "phone_number", "user_id"),
    "gsm_lines": ("id", "enterprise_number", "line_id", "line_name", "phone_number", "shop"),
    "sip_unit": ("id", "enterprise_number", "line_name", "info", "incoming_transform"),
}
# Who does what it says is known without them.
_NOT_MISSED: Final = frozenset({"id"})


@dataclass(frozen=True, kw_only=True)
class OldEnterprise:
    """Rows as they were found; what is missing in the schema is missing in them."""

    row: Row = field(repr=False)
    users: Sequence[Row] = field(default=(), repr=False)
    phones: Sequence[Row] = field(default=(), repr=False)
    gsm_lines: Sequence[Row] = field(default=(), repr=False)
    sip_lines: Sequence[Row] = field(default=(), repr=False)

    @property
    def number(self) -> str:
        return text(self.row.get("number"))


@dataclass(frozen=True, kw_only=True)
class OldDatabase:
    """`remarks`: what the schema does not have, and rows that are nobody's."""

    enterprises: Sequence[OldEnterprise]
    remarks: Sequence[str]


def read(url: str) -> OldDatabase:
    """Raises ConfigError for an address or a database that cannot be meant, Unavailable when it does not answer."""
    command.check_address(url, "FROM")
    try:
        with psycopg.connect(
            url, connect_timeout=CONNECT_SECONDS, application_name="moving in", client_encoding="utf8"
        ) as conn:
            conn.read_only = True
            conn.isolation_level = IsolationLevel.REPEATABLE_READ
            conn.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(STATEMENT_SECONDS * 1000))
            found = {table: _columns(conn, table) for table in _COLUMNS}
            _require(found[_ENTERPRISES])
            rows = {table: _rows(conn, table, columns) for table, columns in found.items()}
    except psycopg.Error as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Unavailable(f"FROM: the old database cannot be read: {first}") from error
    except UnicodeDecodeError as error:
        raise ConfigError("FROM: the old database holds text that is not in its encoding") from error
    return _grouped(rows, [*_missing(found), *_unreadable(rows)])


def _columns(conn: psycopg.Connection[Any], table: str) -> list[str]:
    """Those of `_COLUMNS` that the table has; none where there is no such table."""
    rows = conn.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped", [table]
    )
    there = {name for (name,) in rows}
    return [name for name in _COLUMNS[table] if name in there]


def _require(columns: Sequence[str]) -> None:
    if not columns:
        raise ConfigError("FROM is not the old database, or its user may not see it: there is no table enterprises")
    if missing := [name for name in _NEEDED if name not in columns]:
        raise ConfigError(f"FROM is not the old database: its table enterprises has no {', '.join(missing)}")


def _rows(conn: psycopg.Connection[Any], table: str, columns: Sequence[str]) -> list[Row | None]:
    """In order of their ids; None for a row that is nested too deep to be read."""
    if not columns:
        return []
    statement = sql.SQL("SELECT row_to_json(wanted)::text FROM (SELECT {} FROM {}) AS wanted").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(table)
    )
    rows = [_parsed(line) for (line,) in conn.execute(statement)]
    return sorted(rows, key=lambda row: whole((row or {}).get("id")) or 0)


def _parsed(line: str) -> Row | None:
    try:
        row: Row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row


def _missing(found: Mapping[str, Sequence[str]]) -> list[str]:
    remarks = []
    for table, columns in found.items():
        if not columns:
            remarks.append(f"there is no table {table}: nothing of it comes")
        elif missing := [name for name in _COLUMNS[table] if name not in {*columns, *_NOT_MISSED}]:
            remarks.append(f"{table} has no {', '.join(missing)}")
    return remarks


def _unreadable(rows: Mapping[str, Sequence[Row | None]]) -> list[str]:
    counts = {table: sum(row is None for row in found) for table, found in rows.items()}
    return [f"{table}: {count} rows are nested too deep to be read" for table, count in counts.items() if count]


def _grouped(rows: Mapping[str, Sequence[Row | None]], remarks: list[str]) -> OldDatabase:
    parts = {table: _by_enterprise(found) for table, found in rows.items() if table != _ENTERPRISES}
    owners = [row for row in rows[_ENTERPRISES] if row is not None]
    numbers = {text(row.get("number")) for row in owners}
    for table, by_number in parts.items():
        if strange := sorted(number for number in by_number if number not in numbers):
            count = sum(len(by_number[number]) for number in strange)
            named = ", ".join(repr(number[:32]) for number in strange[:10])
            remarks.append(f"{table}: {count} rows are of enterprises that are not there ({named})")
    enterprises = [
        OldEnterprise(
            row=row,
            users=parts["users"].get(number, ()),
            phones=parts["user_internal_phones"].get(number, ()),
            gsm_lines=parts["gsm_lines"].get(number, ()),
            sip_lines=parts["sip_unit"].get(number, ()),
        )
        for row in owners
        for number in [text(row.get("number"))]
    ]
    return OldDatabase(enterprises=sorted(enterprises, key=lambda one: one.number), remarks=remarks)


def _by_enterprise(rows: Sequence[Row | None]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row is not None:
            grouped[text(row.get("enterprise_number"))].append(row)
    return grouped
