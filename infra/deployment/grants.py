"""
Brings the rights of the roles in line with infra/deployment/rights.py: what the database has and what is declared are
compared, one privilege at a time, and only the difference is granted or revoked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from infra.deployment import rights
from infra.deployment.rights import Privilege

Connection = psycopg.Connection[Any]

_HELD: Final = """
    SELECT r.rolname, c.relname, '', acl.privilege_type
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) acl JOIN pg_roles r ON r.oid = acl.grantee
    WHERE c.relnamespace = 'public'::regnamespace AND r.rolname = ANY(%(roles)s) AND c.relowner <> r.oid
    UNION ALL
    SELECT r.rolname, c.relname, a.attname, acl.privilege_type
    FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) acl JOIN pg_roles r ON r.oid = acl.grantee
    JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND r.rolname = ANY(%(roles)s) AND c.relowner <> r.oid
"""
_THERE: Final = """
    SELECT c.relname, '' FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
    UNION ALL
    SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT a.attisdropped
"""


def present_roles(conn: Connection) -> set[str]:
    """Those of our roles that the server has."""
    rows = conn.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [rights.roles()])
    return {name for (name,) in rows.fetchall()}


def held(conn: Connection) -> set[Privilege]:
    """What our roles may do in this database at present, beside what the migrator may because it owns it."""
    rows = conn.execute(_HELD, {"roles": rights.roles()})
    return {Privilege(*row) for row in rows.fetchall()}


def missing(conn: Connection) -> set[Privilege]:
    """
    What is declared and not granted. Left out is what the database cannot have yet: `make roles` may run before the
    migration that makes the table.
    """
    roles, there = present_roles(conn), set(conn.execute(_THERE).fetchall())
    return {one for one in rights.wanted() - held(conn) if one.role in roles and (one.table, one.column) in there}


def surplus(conn: Connection) -> set[Privilege]:
    """What is granted and not declared any more."""
    return held(conn) - rights.wanted()


def grant(conn: Connection) -> None:
    """Grants what is missing. Nothing where there are no roles, as in an installation that has one user for all."""
    with conn.transaction():
        for statement in _statements("GRANT {what} ON {kind} {table} TO {role}", missing(conn)):
            conn.execute(statement)


def revoke(conn: Connection) -> None:
    """Takes away what is not declared any more: once no function of an older version runs."""
    with conn.transaction():
        for statement in _statements("REVOKE {what} ON {kind} {table} FROM {role}", surplus(conn)):
            conn.execute(statement)
        # With a right on a table PostgreSQL takes those on its columns along.
        grant(conn)


def remarks(conn: Connection) -> list[str]:
    """What an operator should know of the roles of this database, a line each."""
    there = present_roles(conn)
    if not there:
        return ['functions have no roles of their own here: docs/operations.md, "Roles"']
    lines = [f"{role} is not there: `make roles` makes it" for role in rights.roles() if role not in there]
    if spare := surplus(conn):
        places = ", ".join(sorted({f"{one.role} on {one.table}" for one in spare}))
        lines.append(
            f"rights that are not needed any more: {places}; `make roles REVOKE=1` takes them, once no older"
            " version runs"
        )
    return lines


def _statements(form: LiteralString, privileges: Collection[Privilege]) -> Iterator[sql.Composed]:
    """One statement for each role and table."""
    places = sorted({(one.role, one.table) for one in privileges})
    for role, table in places:
        here = sorted(one for one in privileges if (one.role, one.table) == (role, table))
        yield sql.SQL(form).format(
            what=sql.SQL(", ").join(_what(one) for one in here),
            kind=sql.SQL("SEQUENCE" if table.endswith(rights.SEQUENCE) else "TABLE"),
            table=sql.Identifier("public", table),
            role=sql.Identifier(role),
        )


def _what(privilege: Privilege) -> sql.Composable:
    kind = sql.SQL(privilege.kind)
    return sql.SQL("{} ({})").format(kind, sql.Identifier(privilege.column)) if privilege.column else kind
