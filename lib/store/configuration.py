"""
One section of `integrations_config`, as it is administered: read under a lock or merged into, every save a version.

Nothing here knows a CRM: `crm` is the section's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, LiteralString

from psycopg.types.json import Jsonb

from lib.runtime.db import Connection
from lib.runtime.errors import NotFound
from lib.store.integration import RETAILCRM

# A section that is none, as somebody's hand may have written it, is as good as empty.
_SECTION: Final[LiteralString] = """
    (CASE jsonb_typeof(integrations_config -> %(crm)s) WHEN 'object' THEN integrations_config -> %(crm)s ELSE '{}' END)
"""
_NEXT_VERSION: Final[LiteralString] = """
    jsonb_build_object('version', 1 + CASE WHEN integrations_config #>> ARRAY[%(crm)s, 'version'] ~ '^[0-9]{1,15}$'
        THEN (integrations_config #>> ARRAY[%(crm)s, 'version'])::bigint ELSE 0 END)
"""


def lock(conn: Connection, enterprise_number: str, crm: str = RETAILCRM) -> dict[str, Any]:
    """The section; until the end of the transaction nobody else changes it. Raises NotFound."""
    row = conn.execute(
        f"SELECT {_SECTION} FROM enterprises WHERE number = %(number)s FOR UPDATE",  # noqa: S608  (a constant above)
        {"number": enterprise_number, "crm": crm},
    ).fetchone()
    if row is None:
        raise NotFound("There is no such enterprise", code="unknown_enterprise")
    section: dict[str, Any] = row[0]
    return section


def write(conn: Connection, enterprise_number: str, section: Mapping[str, Any], crm: str = RETAILCRM) -> None:
    """Replaces the section, which the caller has locked."""
    conn.execute(
        """
        UPDATE enterprises
        SET integrations_config = integrations_config || jsonb_build_object(%(crm)s::text, %(section)s::jsonb),
            updated_at = clock_timestamp()
        WHERE number = %(number)s
        """,
        {"number": enterprise_number, "crm": crm, "section": Jsonb(section)},
    )


def merge(conn: Connection, enterprise_number: str, changes: Mapping[str, Any], crm: str = RETAILCRM) -> bool:
    """Merges into the section as its next version; False when nothing would change."""
    updated = conn.execute(
        f"""
        UPDATE enterprises
        SET integrations_config = integrations_config
                || jsonb_build_object(%(crm)s::text, {_SECTION} || %(changes)s || {_NEXT_VERSION}),
            updated_at = clock_timestamp()
        WHERE number = %(number)s AND NOT {_SECTION} @> %(changes)s
        """,  # noqa: S608  (constants above)
        {"number": enterprise_number, "crm": crm, "changes": Jsonb(changes)},
    )
    return updated.rowcount > 0


def note_sync(conn: Connection, enterprise_number: str, facts: Mapping[str, Any], crm: str = RETAILCRM) -> None:
    """What the CRM said of itself, and when: no new version, for nobody's form shows it."""
    conn.execute(
        f"""
        UPDATE enterprises
        SET integrations_config = integrations_config || jsonb_build_object(%(crm)s::text,
                {_SECTION} || %(facts)s || jsonb_build_object('last_sync',
                    to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')))
        WHERE number = %(number)s
        """,  # noqa: S608  (a constant above)
        {"number": enterprise_number, "crm": crm, "facts": Jsonb(facts)},
    )
