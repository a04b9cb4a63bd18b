"""
A dump of the database and the way back, by PostgreSQL's own programs, which are asked where the server is.

A dump is written beside its place, read back, and only then given its name. It is restored into a database of its own,
which takes the place of the present one in one transaction: what fails before that has changed nothing, and what was
there before stays under another name. Needs the standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Final

_RESTORING: Final = "_restoring"
_SERVER: Final = "postgres"  # the database that every server has


class DumpError(Exception):
    """The reason and what to do, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Programs:
    """
    `prefix`: what runs a program beside the server, `docker compose exec -T postgres`; empty: this machine does, and
    libpq's variables (PGHOST, PGPASSWORD, …) lead to the server. `user` may make databases and owns this one.
    """

    prefix: tuple[str, ...] = ()
    user: str = "gateway"
    database: str = "gateway"

    def run(self, program: str, *arguments: str, stdin: IO[bytes] | None = None, to: IO[bytes] | None = None) -> str:
        """
        What it printed, unless that goes `to` a file: through a pipe, because into a file pg_dump writes its table of
        contents twice. Raises DumpError with the program's last words.
        """
        try:
            with (
                tempfile.TemporaryFile() as words,
                subprocess.Popen(
                    [*self.prefix, program, *arguments],
                    stdin=stdin or subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=words,
                ) as process,
            ):
                assert process.stdout is not None  # noqa: S101  (it is a PIPE)
                if to is not None:
                    shutil.copyfileobj(process.stdout, to)
                printed = process.stdout.read().decode()
                code = process.wait()
                words.seek(0)
                said = words.read().decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
        except FileNotFoundError as error:
            raise DumpError(f"There is no {error.filename} here") from error
        if code:
            raise DumpError(f"{program}: {_reason(said)}")
        return printed

    def sql(self, *statements: str, in_transaction: bool = False) -> str:
        commands = [word for statement in statements for word in ("--command", statement)]
        together = ["--single-transaction"] if in_transaction else []
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", *together]
        return self.run("psql", *options, f"--username={self.user}", f"--dbname={_SERVER}", *commands)


def _reason(said: Sequence[str]) -> str:
    if said[-1].startswith("Run 'docker"):
        return "Docker has no `compose` here; COMPOSE=docker-compose names another program"
    return next((line for line in said if "error" in line.lower()), said[-1])


def save(programs: Programs, path: Path) -> int:
    """Writes the dump, readable by its owner only; its size in bytes. Raises DumpError, OSError."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    try:
        with unfinished.open("wb") as file:
            options = ["--format=custom", f"--username={programs.user}", f"--dbname={programs.database}"]
            programs.run("pg_dump", *options, to=file)
            file.flush()
            os.fsync(file.fileno())
        check(programs, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path.stat().st_size


def check(programs: Programs, path: Path) -> None:
    """Reads all of it. Raises DumpError for what is no dump of the gateway, and for a part of one."""
    with path.open("rb") as file:
        listed = programs.run("pg_restore", "--list", stdin=file)
    if "TABLE DATA public schema_migrations" not in listed:
        raise DumpError(f"{path.name} is no dump of the gateway: the table schema_migrations is not in it")
    with path.open("rb") as file:
        programs.run("pg_restore", "--file=/dev/null", stdin=file)


def load(programs: Programs, path: Path, *, now: datetime) -> str:
    """
    Puts the dump in the place of the database; the name under which the one before is kept, empty if there was none.

    The server must have the gateway's roles (`infra.deployment.roles`). Sessions of others are ended. Raises DumpError,
    having changed nothing.
    """
    check(programs, path)
    restoring = programs.database + _RESTORING
    programs.sql(f'DROP DATABASE IF EXISTS "{restoring}" WITH (FORCE)')
    programs.sql(f'CREATE DATABASE "{restoring}" TEMPLATE template0')
    try:
        with path.open("rb") as file:
            options = ["--exit-on-error", "--single-transaction", f"--username={programs.user}"]
            programs.run("pg_restore", *options, f"--dbname={restoring}", stdin=file)
        return _swap(programs, restoring, f"{programs.database}_before_{now:%Y%m%d_%H%M%S}")
    except DumpError as error:
        programs.sql(f'DROP DATABASE IF EXISTS "{restoring}" WITH (FORCE)')
        if 'role "' in str(error) and "does not exist" in str(error):
            raise DumpError(f"{error}: start the gateway on this server once, which makes its roles") from error
        raise


def _swap(programs: Programs, restoring: str, before: str) -> str:
    database = programs.database
    named = f"datname = '{database}'"  # by the operator
    is_there = programs.sql(f"SELECT count(*) FROM pg_database WHERE {named}").strip() == "1"  # noqa: S608
    if not is_there:
        programs.sql(f'ALTER DATABASE "{restoring}" RENAME TO "{database}"')
        return ""
    programs.sql(
        f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false',
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {named}",  # noqa: S608
    )
    try:
        programs.sql(
            f'ALTER DATABASE "{database}" RENAME TO "{before}"',
            f'ALTER DATABASE "{restoring}" RENAME TO "{database}"',
            in_transaction=True,
        )
    except DumpError:
        programs.sql(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')
        raise
    return before
