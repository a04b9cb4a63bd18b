"""
Migrates a database to the present schema: `python -m infra.deployment.migrate`.

Applies infra/migrations/NNNN_*.sql in order, each in a transaction of its own, under one advisory lock, and
records it. Forward only: a file that was applied and then changed is refused.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from infra import command
from lib.runtime import config
from lib.runtime.errors import AppError, ConfigError

MIGRATIONS = Path(__file__).parents[1] / "migrations"
_LOCK = 7_201_501


@dataclass(frozen=True, kw_only=True)
class Migration:
    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read(folder: Path = MIGRATIONS) -> list[Migration]:
    """The migrations in order. Raises ConfigError when the numbers have gaps or repeats."""
    found = [
        Migration(version=int(path.name[:4]), name=path.stem, sql=path.read_text())
        for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    ]
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        raise ConfigError(f"Migrations in {folder.name}/ must be numbered 0001, 0002, … without gaps")
    return found


def apply(database_url: str, migrations: Iterable[Migration] | None = None) -> list[str]:
    """
    Applies the missing migrations and returns their names.

    Raises ConfigError, and does nothing, when the database has migrations that are unknown here.
    """
    applied_now: list[str] = []
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        conn.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migrations (
                version integer PRIMARY KEY,
                name text NOT NULL,
                sha256 text NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
            )
            """
        )
        done: dict[int, str] = dict(conn.execute("SELECT version, sha256 FROM schema_migrations").fetchall())
        known = list(read() if migrations is None else migrations)
        if newer := sorted(done.keys() - {migration.version for migration in known}):
            raise ConfigError(
                f"The database is newer than this code, which does not know its migration {newer[-1]:04}: deploy the"
                " version that has it, or restore a copy of the database from before it"
            )
        for migration in known:
            if migration.version in done:
                if done[migration.version] != migration.sha256:
                    raise ConfigError(f"{migration.name} was changed after it was applied; add a new migration instead")
                continue
            with conn.transaction():
                conn.execute("SET LOCAL lock_timeout = '5s'")
                conn.execute(migration.sql.encode())
                conn.execute(
                    "INSERT INTO schema_migrations (version, name, sha256) VALUES (%s, %s, %s)",
                    [migration.version, migration.name, migration.sha256],
                )
            applied_now.append(migration.name)
    return applied_now


def main() -> int:
    try:
        command.begin()
        for name in apply(config.load(config.Database).database_url):
            print(f"applied {name}")
    except (AppError, psycopg.Error) as error:
        return command.fail("migrate", error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
