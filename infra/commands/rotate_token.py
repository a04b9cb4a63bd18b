"""
Gives the hosts of an enterprise another token without a pause: `make rotate-token ENTERPRISE=0367` makes a random one
and shows it once; the old one works beside it until `DROP=old`. `DROP=new` takes the new one back.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from infra import command
from infra.commands import person
from lib.runtime import db
from lib.runtime.auth import random_token
from lib.runtime.errors import Conflict, InvalidPayload, NotFound
from lib.store import integration_logs, token_rotations
from lib.store.token_rotations import Rotation


def main() -> int:
    parser = argparse.ArgumentParser(prog="make rotate-token", description="Another token for the hosts")
    parser.add_argument("--enterprise", default="", help="its number")
    parser.add_argument("--drop", default="", help="old: the new token is the only one; new: the old one stays")
    parser.add_argument("--by", default="", help="who wants it; the user of the operating system")
    given = parser.parse_args()
    number, drop = given.enterprise.strip(), given.drop.strip()
    try:
        command.begin()
        if not number:
            raise InvalidPayload("Which enterprise? make rotate-token ENTERPRISE=0367")
        if drop not in {"", "old", "new"}:
            raise InvalidPayload("DROP must be old or new")
        lines = _rotate(number, drop, person.of(given.by))
    except command.FAILURES as error:
        return command.fail("rotate-token", error)
    finally:
        db.close()
    print("\n".join(lines))
    return 0


def _rotate(number: str, drop: str, by: str) -> list[str]:
    """What was done, in lines for the operator. Raises NotFound, Conflict."""
    with db.transaction() as conn:
        if not token_rotations.lock(conn, number):
            raise NotFound(f"There is no enterprise {number}")
        rotation = token_rotations.find(conn, number)
        lines = _drop(conn, number, drop, rotation) if drop else _begin(conn, number, rotation)
        integration_logs.insert(
            conn,
            enterprise_number=number,
            event_type="rotate_token",
            request={"by": by, "did": f"dropped the {drop} token" if drop else "made a new token"},
            response={},
            error=None,
        )
    return lines


def _begin(conn: db.Connection, number: str, rotation: Rotation | None) -> list[str]:
    if rotation:
        raise Conflict(
            f"The token of {number} is being replaced since {_at(rotation.began_at)}: {_use(rotation)}. Every host has"
            " the new token: DROP=old. The new token was lost: DROP=new, then once more"
        )
    token = random_token()
    token_rotations.begin(conn, number, next_token=token)
    return [
        f"The new token of enterprise {number}, which is not shown again: {token}",
        "The old one works beside it. Give every host the new one, and take the old one out of the enterprise's file.",
        f"Then: make rotate-token ENTERPRISE={number} DROP=old. Without DROP it says when the old one was last used.",
    ]


def _drop(conn: db.Connection, number: str, drop: str, rotation: Rotation | None) -> list[str]:
    if rotation is None:
        raise Conflict(f"Enterprise {number} has one token: make rotate-token ENTERPRISE={number} makes another")
    if drop == "old":
        token_rotations.drop_old(conn, number)
        return [
            f"Enterprise {number}: the old token is refused from now on; {_use(rotation)}.",
            "A provisioning file that still names it is refused too: take it out there.",
        ]
    token_rotations.drop_next(conn, number)
    return [f"Enterprise {number}: the new token is refused from now on, the old one stays."]


def _use(rotation: Rotation) -> str:
    if rotation.old_used_at is None:
        return "no host has shown the old one since"
    minutes = (datetime.now(UTC) - rotation.old_used_at).total_seconds() / 60
    return f"a host last showed the old one at {_at(rotation.old_used_at)}, {max(0, round(minutes))} minutes ago"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


if __name__ == "__main__":
    sys.exit(main())
