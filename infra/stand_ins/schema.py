"""
Writes infra/schema.sql, the sum of the migrations, on a throw-away PostgreSQL: `make schema`.

It covers the kinds of objects that the project uses: functions, tables, constraints, indexes, triggers, of schema
public.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psycopg

from infra.deployment import migrate
from infra.stand_ins import postgres

SCHEMA: Final = Path(__file__).parents[1] / "schema.sql"

_FUNCTIONS = """
    SELECT pg_get_functiondef(p.oid) FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace ORDER BY p.proname
"""
_TABLES = """
    SELECT c.oid, c.relname, coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', '') FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'schema_migrations'
    ORDER BY c.oid
"""
_COLUMNS = """
    SELECT quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
           || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
           || CASE WHEN a.attidentity = 'a' THEN ' GENERATED ALWAYS AS IDENTITY'
                   WHEN a.attgenerated = 's'
                   THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') STORED'
                   WHEN d.adbin IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)
                   ELSE '' END
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_CONSTRAINTS = """
    SELECT 'CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = %s AND contype IN ('p', 'u', 'c', 'f') ORDER BY contype = 'f', contype, conname
"""
_INDEXES = """
    SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i
    WHERE i.indrelid = %s
      AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype <> 'f')
    ORDER BY 1
"""
_TRIGGERS = """
    SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal ORDER BY tgname
"""


def describe(database_url: str) -> str:
    """The schema as statements that would make it."""
    with psycopg.connect(database_url, options="-c search_path=public") as conn:
        parts = [f"{row[0].strip()};" for row in conn.execute(_FUNCTIONS)]
        for oid, name, options in conn.execute(_TABLES).fetchall():
            body = [row[0] for row in conn.execute(_COLUMNS, [oid])] + [
                row[0] for row in conn.execute(_CONSTRAINTS, [oid])
            ]
            parts.append(f"CREATE TABLE {name} (\n    " + ",\n    ".join(body) + f"\n){options};")
            parts += [f"{row[0].replace('public.', '')};" for row in conn.execute(_INDEXES, [oid])]
            parts += [f"{row[0].replace('public.', '')};" for row in conn.execute(_TRIGGERS, [oid])]
    return (
        "-- The sum of infra/migrations/, written by `make schema`: read it, do not run or edit it.\n\n"
        + "\n\n".join(parts)
        + "\n"
    )


def main() -> None:
    with postgres.throwaway() as url:
        migrate.apply(url)
        SCHEMA.write_text(describe(url))


if __name__ == "__main__":
    main()
