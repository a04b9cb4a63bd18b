"""
Migrates a database to the present schema: `python -m infra.deployment.migrate`.

Applies infra/migrations/NNNN_*.sql in order, under one advisory lock, and records each. Forward only: a file that was
applied and then changed is refused.

A migration is a transaction. One whose first line is `-- no transaction` is not, so that nobody waits for it however
large the table is: its statements run one by one, and only statements that can be repeated are accepted
(CREATE INDEX CONCURRENTLY, DROP INDEX CONCURRENTLY IF EXISTS, VALIDATE CONSTRAINT, storage parameters). When such a
run dies, the next one begins again with the first statement: an index that is complete stays, an invalid one is dropped
and built again.

Then the roles of the functions, where there are some (infra.deployment.roles), are granted what they lack.

Where the functions come through a pooler, the role keeps the deadlines that their sessions cannot bring
(docs/decisions/0011-poolers.md).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from infra import command
from infra.deployment import grants
from lib.runtime import config, db
from lib.runtime.errors import AppError, ConfigError

MIGRATIONS = Path(__file__).parents[1] / "migrations"
NO_TRANSACTION: Final = "-- no transaction"
_LOCK = 7_201_501
_LOCK_POLL_SECONDS: Final = 0.1

_NAME: Final = r"([a-z_][a-z0-9_]*)"
_CREATE_INDEX: Final = re.compile(rf"CREATE (?:UNIQUE )?INDEX CONCURRENTLY {_NAME} ON .+")
_REPEATABLE: Final = (
    _CREATE_INDEX,
    re.compile(rf"DROP INDEX CONCURRENTLY IF EXISTS {_NAME}"),
    re.compile(rf"ALTER TABLE {_NAME} VALIDATE CONSTRAINT {_NAME}"),
    re.compile(rf"ALTER TABLE {_NAME} SET \([^()]+\)"),
)


@dataclass(frozen=True, kw_only=True)
class Migration:
    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def is_transaction(self) -> bool:
        return self.sql.partition("\n")[0].strip() != NO_TRANSACTION

    def statements(self) -> list[str]:
        """
        Of a migration outside a transaction: what is run one by one, in one line each, without comments.

        Raises ConfigError for a statement that could not be repeated.
        """
        lines = [line.partition("--")[0] for line in self.sql.splitlines()]
        found = [" ".join(part.split()) for part in "\n".join(lines).split(";")]
        statements = [statement for statement in found if statement]
        for statement in statements:
            if not any(form.fullmatch(statement) for form in _REPEATABLE):
                raise ConfigError(
                    f"{self.name} runs outside a transaction, where only CREATE INDEX CONCURRENTLY, DROP INDEX"
                    " CONCURRENTLY IF EXISTS and ALTER TABLE … VALIDATE CONSTRAINT or SET (…) can be repeated:"
                    f" {statement}"
                )
        return statements


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
    Applies the missing migrations and returns their names; the functions' roles may do then what they must.

    Raises ConfigError, and does nothing, when the database has migrations that are unknown here.
    """
    known = list(read() if migrations is None else migrations)
    for migration in known:
        if not migration.is_transaction:
            migration.statements()
    applied_now: list[str] = []
    with session(database_url) as conn:
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
            if migration.is_transaction:
                _apply_in_transaction(conn, migration)
            else:
                _apply_outside(conn, migration)
            applied_now.append(migration.name)
        grants.grant(conn)
    return applied_now


@contextlib.contextmanager
def session(database_url: str) -> Iterator[psycopg.Connection]:
    """For whoever changes the schema, or who may use it: alone, and without deadlines."""
    with psycopg.connect(database_url, autocommit=True) as conn, _without_deadlines(conn), _locked(conn):
        yield conn


def keep_session_settings(database_url: str, settings: Mapping[str, str]) -> None:
    """Gives them to every later session of this role in this database: through a pooler no session brings its own."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        database = sql.Identifier(conn.info.dbname)
        for name, value in settings.items():
            conn.execute(
                sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {} SET {} TO {}").format(
                    database, sql.Identifier(name), sql.Literal(value)
                )
            )


@contextlib.contextmanager
def _without_deadlines(conn: psycopg.Connection) -> Iterator[None]:
    """The role may have some."""
    for deadline in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        conn.execute(sql.SQL("SET {} TO 0").format(sql.Identifier(deadline)))
    yield


@contextlib.contextmanager
def _locked(conn: psycopg.Connection) -> Iterator[None]:
    """
    One run at a time. The lock is polled: a session that waits inside `pg_advisory_lock` holds a snapshot, which
    CREATE INDEX CONCURRENTLY of the run that has the lock would wait for, and each for the other.
    """
    while not _answer(conn.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])):
        time.sleep(_LOCK_POLL_SECONDS)
    yield  # the end of the session releases it


def _apply_in_transaction(conn: psycopg.Connection, migration: Migration) -> None:
    with conn.transaction():
        conn.execute("SET LOCAL lock_timeout = '5s'")
        conn.execute(migration.sql.encode())
        _record(conn, migration)


def _apply_outside(conn: psycopg.Connection, migration: Migration) -> None:
    """
    No `lock_timeout`: these statements wait for transactions that are open, as long as those last, and nobody who
    reads or writes waits for them meanwhile.
    """
    for statement in migration.statements():
        if index := _CREATE_INDEX.fullmatch(statement):
            _create_index(conn, index[1], statement)
        else:
            conn.execute(statement.encode())
    _record(conn, migration)


def _create_index(conn: psycopg.Connection, name: str, statement: str) -> None:
    drop = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(name))
    is_valid = _answer(conn.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [name]))
    if is_valid:
        return
    conn.execute(drop)
    try:
        conn.execute(statement.encode())
    except psycopg.Error:
        # An invalid index costs every write, and a unique one refuses some.
        with contextlib.suppress(psycopg.Error):
            conn.execute(drop)
        raise


def _record(conn: psycopg.Connection, migration: Migration) -> None:
    conn.execute(
        "INSERT INTO schema_migrations (version, name, sha256) VALUES (%s, %s, %s)",
        [migration.version, migration.name, migration.sha256],
    )


def _answer(cursor: psycopg.Cursor) -> bool:
    row = cursor.fetchone()
    return bool(row and row[0])


def main() -> int:
    try:
        command.begin()
        settings = config.load(config.Database)
        for name in apply(settings.session_url):
            print(f"applied {name}")
        with psycopg.connect(settings.session_url, autocommit=True) as conn:
            for line in grants.remarks(conn):
                print(line)
        if settings.is_pooled:
            keep_session_settings(settings.session_url, db.session_settings(settings))
    except (AppError, psycopg.Error) as error:
        return command.fail("migrate", error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
