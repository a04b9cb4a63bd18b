"""
Makes the roles of the database: `make roles`, before `migrate`. Each function gets a role that may do what
infra/deployment/rights.py says, the operator's commands another, and the migrator owns the tables.

DATABASE_ADMIN_URL is somebody who may make roles and owns the database: the superuser, or on a managed server the
administrator there. Passwords are in the environment (GATEWAY_MAKE_CALL_PASSWORD, …); one that is not given stays as it
is. Running it again changes only what is different. Whoever owned the tables before keeps its rights on them, so that
functions that still run as it go on; so do other roles that were granted a table of this schema.

With `--revoke` (`make roles REVOKE=1`) rights that are not declared any more are taken away.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from infra import command
from infra.deployment import grants, migrate, rights
from lib.runtime import config, db
from lib.runtime.errors import AppError, ConfigError

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, kw_only=True)
class Administration:
    """
    `database_role_connections`: how many connections one role may hold; 0: half of what the server allows, so that no
    function takes the last one from the others.
    """

    database_admin_url: str = field(repr=False)
    database_role_connections: int = 0


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Of every role: `passwords` by its name, where one is given, and settings of its sessions."""

    passwords: Mapping[str, str] = field(repr=False)
    session_settings: Mapping[str, str]
    connections: int = 0


def make(database_url: str, wanted: Wanted) -> list[str]:
    """
    Makes what is missing, and sets passwords, limits and settings; the names of the new roles.

    Raises ConfigError, and changes nothing, when a new role has no password, or one that is there may do too much.
    """
    with migrate.session(database_url) as conn:
        there = grants.present_roles(conn)
        new = [role for role in rights.roles() if role not in there]
        nameless = [rights.password_variable(role) for role in new if role not in wanted.passwords]
        if nameless:
            raise ConfigError("; ".join(f"{name} is not set" for name in nameless))
        _refuse_powerful(conn)
        for role in new:
            conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        for role, password in wanted.passwords.items():
            _set_password(conn, role, password)
        limit = wanted.connections or _half_of_the_server(conn)
        for role in rights.roles():
            _bound(conn, role, limit, {} if role == rights.MIGRATOR else wanted.session_settings)
        _close_schema(conn)
        _give_to_migrator(conn)
        grants.grant(conn)
    return new


def _refuse_powerful(conn: Connection) -> None:
    """A role of this name that somebody else made might be anything."""
    rows = conn.execute(
        """
        SELECT rolname FROM pg_roles
        WHERE rolname = ANY(%s) AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
        """,
        [rights.roles()],
    ).fetchall()
    if rows:
        names = ", ".join(name for (name,) in rows)
        raise ConfigError(
            f"{names} may do more than a function should: ALTER ROLE … NOSUPERUSER NOCREATEROLE NOCREATEDB"
            " NOREPLICATION NOBYPASSRLS, or DROP ROLE, and run this again"
        )


def _set_password(conn: Connection, role: str, password: str) -> None:
    """The server gets its hash only: statements may be logged there."""
    hashed = conn.pgconn.encrypt_password(password.encode(), role.encode())
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
    conn.execute(statement.format(sql.Identifier(role), sql.Literal(hashed.decode())))


def _half_of_the_server(conn: Connection) -> int:
    row = conn.execute("SELECT current_setting('max_connections')::int / 2").fetchone()
    assert row is not None  # noqa: S101  (a constant row)
    half: int = row[0]
    return half


def _bound(conn: Connection, role: str, connections: int, settings: Mapping[str, str]) -> None:
    name, database = sql.Identifier(role), sql.Identifier(conn.info.dbname)
    conn.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(name, sql.Literal(connections)))
    for setting, value in settings.items():
        statement = sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} TO {}")
        conn.execute(statement.format(name, database, sql.Identifier(setting), sql.Literal(value)))


def _close_schema(conn: Connection) -> None:
    """Our roles may come in, and those who were granted something; nobody else, and nobody makes anything here."""
    database, migrator = sql.Identifier(conn.info.dbname), sql.Identifier(rights.MIGRATOR)
    inside = [*rights.roles(), *_others_inside(conn)]
    for statement in (
        sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, _listed(rights.roles())),
        sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(_listed(inside)),
        sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(migrator),
        sql.SQL("REVOKE ALL ON SCHEMA public FROM PUBLIC"),
    ):
        conn.execute(statement)


def _others_inside(conn: Connection) -> list[str]:
    """Roles that own something in the schema, or were granted something, as the platform's other systems were."""
    rows = conn.execute(
        """
        SELECT r.rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
        WHERE c.relnamespace = 'public'::regnamespace
        UNION
        SELECT r.rolname FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) acl
        JOIN pg_roles r ON r.oid = acl.grantee
        WHERE c.relnamespace = 'public'::regnamespace
        UNION
        SELECT r.rolname FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) acl
        JOIN pg_roles r ON r.oid = acl.grantee JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'public'::regnamespace
        """
    ).fetchall()
    return sorted({name for (name,) in rows} - set(rights.roles()))


def _mere_administrator(conn: Connection) -> set[str]:
    """Whoever asks, unless it is a superuser: others give tables only to a role that they are a member of."""
    rows = conn.execute("SELECT rolname FROM pg_roles WHERE rolname = current_user AND NOT rolsuper")
    return {name for (name,) in rows.fetchall()}


def _give_to_migrator(conn: Connection) -> None:
    """
    One table after the other: each is locked for a moment only. The owners before become members of the migrator, which
    leaves them what they could do.
    """
    tables = conn.execute(
        """
        SELECT c.relname, r.rolname, r.rolsuper FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY(%s) AND r.rolname <> %s ORDER BY c.oid
        """,
        [rights.tables(), rights.MIGRATOR],
    ).fetchall()
    functions = conn.execute(
        """
        SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
        WHERE p.pronamespace = 'public'::regnamespace AND p.proname = ANY(%s) AND r.rolname <> %s
        """,
        [list(rights.SQL_FUNCTIONS), rights.MIGRATOR],
    ).fetchall()
    migrator = sql.Identifier(rights.MIGRATOR)
    for role in sorted({owner for _, owner, is_superuser in tables if not is_superuser} | _mere_administrator(conn)):
        conn.execute(sql.SQL("GRANT {} TO {}").format(migrator, sql.Identifier(role)))
    conn.execute("SET lock_timeout = '5s'")
    for table, _, _ in tables:
        conn.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier("public", table), migrator))
    for (function,) in functions:
        # Its name with its arguments, as PostgreSQL itself quotes it.
        conn.execute(sql.SQL("ALTER FUNCTION {} OWNER TO {}").format(sql.SQL(function), migrator))


def _listed(roles: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(role) for role in roles)


def given_passwords(environ: Mapping[str, str]) -> dict[str, str]:
    variables = {role: environ.get(rights.password_variable(role), "") for role in rights.roles()}
    return {role: password for role, password in variables.items() if password}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make roles", description="Makes the roles of the database")
    parser.add_argument("--revoke", action="store_true", help="take away rights that are not declared any more")
    given = parser.parse_args()
    try:
        command.begin(asks_the_database=False)
        settings = config.load(Administration)
        url = settings.database_admin_url
        command.check_address(url, "DATABASE_ADMIN_URL")
        wanted = Wanted(
            passwords=given_passwords(os.environ),
            session_settings=db.session_settings(config.load(config.Database, {**os.environ, "DATABASE_URL": url})),
            connections=settings.database_role_connections,
        )
        new = make(url, wanted)
        print(f"{len(rights.roles())} roles are there; new: {', '.join(new) or 'none'}")
        with migrate.session(url) as conn:
            if given.revoke:
                grants.revoke(conn)
            for line in grants.remarks(conn):
                print(line)
    except psycopg.errors.InsufficientPrivilege as error:
        return command.fail("roles", f'{error.diag.message_primary}; docs/operations.md, "Roles", says who may do this')
    except (AppError, psycopg.Error) as error:
        return command.fail("roles", error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
