"""Lines of an enterprise, as its administrator may change them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from lib.runtime.db import Connection


def update_line(conn: Connection, enterprise_number: str, line: Mapping[str, Any]) -> bool:
    """Changes the fields that `line` holds beside its `line_id`; False when there is no such line."""
    updated = conn.execute(
        """
        UPDATE lines
        SET name = CASE WHEN %(given)s::jsonb ? 'name' THEN coalesce(%(name)s, '') ELSE name END,
            phone_number = CASE WHEN %(given)s::jsonb ? 'phone_number' THEN %(phone_number)s ELSE phone_number END,
            site_code = CASE WHEN %(given)s::jsonb ? 'site_code' THEN %(site_code)s ELSE site_code END,
            incoming_transform = CASE WHEN %(given)s::jsonb ? 'incoming_transform'
                                 THEN %(incoming_transform)s ELSE incoming_transform END
        WHERE enterprise_number = %(number)s AND line_id = %(line_id)s
        """,
        {
            "given": Jsonb(sorted(line)),
            "name": line.get("name"),
            "phone_number": line.get("phone_number") or None,
            "site_code": line.get("site_code") or None,
            "incoming_transform": line.get("incoming_transform") or None,
            "number": enterprise_number,
            "line_id": line["line_id"],
        },
    )
    return updated.rowcount == 1
