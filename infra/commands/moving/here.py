"""What of the enterprises that are to come is here already, and how a change is written: SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import psycopg

from infra.commands import provision
from infra.commands.moving.decide import Change, Here, Ours, Phone, decide
from infra.commands.moving.translate import Translated
from infra.commands.provision import Provisioned
from lib.runtime import db
from lib.runtime.errors import ConfigError, InvalidPayload
from lib.runtime.vault import vault
from lib.store import integration_logs


def read(conn: db.Connection, coming: Sequence[Translated], *, lock: bool = False) -> Here:
    """`lock`: until the end of the transaction nobody else changes these enterprises."""
    numbers = [one.number for one in coming]
    if lock:
        conn.execute("SELECT FROM enterprises WHERE number = ANY(%s) ORDER BY number FOR UPDATE", [numbers])
    rows = conn.execute(
        """
        SELECT e.number, e.name, e.token, e.secret, e.region, e.timezone, e.asterisk_url, e.integrations_config,
               (SELECT coalesce(jsonb_object_agg(u.login, to_jsonb(u) - 'password_hash'), '{}')
                FROM users u WHERE u.enterprise_number = e.number),
               (SELECT coalesce(jsonb_object_agg(p.phone_number, jsonb_build_array(p.id, u.login)), '{}')
                FROM user_internal_phones p LEFT JOIN users u ON u.id = p.user_id
                WHERE p.enterprise_number = e.number),
               (SELECT coalesce(jsonb_object_agg(l.line_id, to_jsonb(l)), '{}')
                FROM lines l WHERE l.enterprise_number = e.number)
        FROM enterprises e WHERE e.number = ANY(%s)
        """,
        [numbers],
    )
    return Here(
        enterprises={number: _ours(number, *row) for number, *row in rows},
        names=_names(conn, [one.file[word] for one in coming if one.file for word in ("token", "secret")]),
        phone_ids=_phone_ids(conn, [row_id for one in coming for row_id in one.phone_ids.values()]),
    )


def write(theirs: Translated, *, overwrite: bool, by: str) -> tuple[Change, tuple[str, ...]]:
    """
    Writes one enterprise in a transaction of its own, by what is here at that moment; what was done, and what
    somebody may not expect. Raises InvalidPayload, which names no secret, and Unavailable.
    """
    try:
        with db.transaction() as conn:
            change = decide(theirs, read(conn, [theirs], lock=True), overwrite=overwrite)
            if not change.is_written:
                return change, ()
            done = _write(conn, change)
            integration_logs.insert(
                conn,
                enterprise_number=change.number,
                event_type="import",
                request={
                    "by": by,
                    "added": change.added or ["everything"],
                    "overwritten": _overwritten(change, overwrite),
                },
                response={},
                error=None,
            )
    except psycopg.IntegrityError as error:
        # Its message quotes what is there twice, which may be a token.
        raise InvalidPayload(f"the database refuses it ({type(error).__name__}): run it again") from error
    return change, done.notes if overwrite else ()


def _overwritten(change: Change, overwrite: bool) -> list[str]:
    return list(change.different) if overwrite else []


def _write(conn: db.Connection, change: Change) -> Provisioned:
    if change.replaced:
        conn.execute(
            "DELETE FROM user_internal_phones WHERE enterprise_number = %s AND phone_number = ANY(%s)",
            [change.number, list(change.replaced)],
        )
    if change.phone_ids:
        # Whoever provisions an enterprise meanwhile gets ids behind these.
        conn.execute(
            """
            SELECT setval('user_internal_phones_id_seq', greatest(%s, nextval('user_internal_phones_id_seq')))
            """,
            [max(change.phone_ids.values())],
        )
    return provision.provision(conn, dict(change.file), phone_ids=change.phone_ids)


def _ours(number: str, *row: Any) -> Ours:
    name, token, secret, region, timezone, asterisk_url, sections, users, phones, lines = row
    return Ours(
        name=name,
        token=token,
        secret=secret,
        region=region,
        timezone=timezone,
        asterisk_url=asterisk_url,
        sections={name: _opened(section, number) for name, section in sections.items()},
        users=users,
        phones={phone: Phone(id=row_id, login=login) for phone, (row_id, login) in phones.items()},
        lines=lines,
    )


def _opened(section: Any, number: str) -> Any:
    if not isinstance(section, dict) or not section.get("api_key"):
        return section
    try:
        return {**section, "api_key": vault().decrypt(str(section["api_key"]), owner=number)}
    except ConfigError:
        return {**section, "api_key": None}


def _names(conn: db.Connection, names: Collection[str | None]) -> Mapping[str, str]:
    rows = conn.execute(
        """
        SELECT token, number FROM enterprises WHERE token = ANY(%(names)s)
        UNION ALL SELECT secret, number FROM enterprises WHERE secret = ANY(%(names)s)
        UNION ALL SELECT next_token, enterprise_number FROM token_rotations WHERE next_token = ANY(%(names)s)
        """,
        {"names": [name for name in names if name]},
    )
    return dict(rows.fetchall())


def _phone_ids(conn: db.Connection, ids: Sequence[int]) -> Mapping[int, tuple[str, str]]:
    rows = conn.execute(
        "SELECT id, enterprise_number, phone_number FROM user_internal_phones WHERE id = ANY(%s)", [list(ids)]
    )
    return {row_id: (number, phone) for row_id, number, phone in rows}
