"""The begin and the failure of an operator's command: one sentence on standard error, without secrets."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
from psycopg import conninfo

from lib.runtime import config, logs
from lib.runtime.errors import AppError, ConfigError, InvalidPayload

# Failures that are reported in one sentence. In a database that was never migrated the first table is missing.
FAILURES: Final = (AppError, psycopg.errors.UndefinedTable)


def begin(*, asks_the_database: bool = True) -> None:
    """Silences the warnings of libraries. Raises ConfigError for an address that no database can have."""
    logs.configure_command()
    if asks_the_database:
        check_address(config.load(config.Database).database_url)


def check_address(database_url: str, name: str = "DATABASE_URL") -> None:
    """
    Raises ConfigError, without quoting the address: the driver might take a part of the password for a host or port.
    """
    try:
        parts = conninfo.conninfo_to_dict(database_url)
    except psycopg.Error:
        parts = None
    hosts = str(parts.get("host", "")).split(",") if parts else []
    ports = str(parts.get("port", "")).split(",") if parts else []
    if parts is None or any("@" in host[1:] for host in hosts) or any(port and not port.isdigit() for port in ports):
        raise ConfigError(
            f"{name} is not the address of a database, postgresql://user:password@host:5432/name;"
            " in a password % is written %25, @ %40, / %2F and : %3A"
        )


def fail(name: str, error: object) -> int:
    """Prints the failure; returns the exit code."""
    print(logs.hide(f"{name}: {words(error)}", logs.own_secrets(os.environ)), file=sys.stderr)
    return 1


def words(error: object) -> str:
    if isinstance(error, psycopg.errors.UndefinedTable):
        return "the database was never migrated; DATABASE_URL=… python -m infra.deployment.migrate does it"
    return str(error)


def number(*, above: float = 0.0, most: float) -> Callable[[str], float]:
    """For argparse: a number above the one and at most the other; neither `nan` nor `inf` is."""

    def of(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not above < value <= most:
            raise argparse.ArgumentTypeError(f"must be a number above {above:g} and at most {most:g}")
        return value

    return of


def moment(text: str, now: datetime) -> datetime:
    """
    A date, a time (of this machine's zone, if it names none), or how long before `now`: `2h`, `3d`. Raises
    InvalidPayload.
    """
    ago = re.fullmatch(r"([0-9]{1,4})([mhd])", text.strip())
    if ago:
        unit = {"m": "minutes", "h": "hours", "d": "days"}[ago[2]]
        return now - timedelta(**{unit: int(ago[1])})
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidPayload(f"SINCE={text}: must be like 2026-01-31, 2026-01-31T10:00, 2h or 3d") from error
