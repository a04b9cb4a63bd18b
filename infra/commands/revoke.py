"""Ends every session of an enterprise and every link of its account: `make revoke ENTERPRISE=0367`."""

from __future__ import annotations

import argparse
import sys

from infra import command
from infra.commands import person
from lib.runtime import db
from lib.runtime.errors import InvalidPayload, NotFound
from lib.store import administrators, integration_logs, known_browsers, sessions


def main() -> int:
    parser = argparse.ArgumentParser(prog="make revoke", description="Ends all sessions and links of an enterprise")
    parser.add_argument("--enterprise", default="", help="its number")
    parser.add_argument("--by", default="", help="who wants it; the user of the operating system")
    given = parser.parse_args()
    try:
        command.begin()
        ended, found = _revoke(given.enterprise.strip(), person.of(given.by))
    except command.FAILURES as error:
        return command.fail("revoke", error)
    finally:
        db.close()
    number = given.enterprise.strip()
    print(
        f"Enterprise {number}: {ended} {'session' if ended == 1 else 'sessions'} ended, and every link of its account."
    )
    print("From now on nobody is signed in, and RetailCRM's own way to the settings says that its link was replaced.")
    print("Calls, pop-ups, history and calls by click go on: they need neither.")
    print("To get in again: sign in with login and password, then register the module: RetailCRM gets a new link.")
    if not any(one.has_password for one in found):
        print(f"Nobody has a password: make admin ENTERPRISE={number} LOGIN=… adds somebody.")
    return 0


def _revoke(number: str, by: str) -> tuple[int, list[administrators.Administrator]]:
    """Returns the number of ended sessions, and the logins that can sign in again."""
    if not number:
        raise InvalidPayload("Which enterprise? make revoke ENTERPRISE=0367")
    with db.transaction() as conn:
        version = sessions.find_link_version(conn, number)
        if version is None:
            raise NotFound(f"There is no enterprise {number}")
        # A registration that has not ended may have issued the next version already.
        sessions.raise_link_version(conn, number, above=version + 1)
        ended = sessions.revoke_all(conn, number)
        known_browsers.forget_all(conn, number)
        integration_logs.insert(
            conn,
            enterprise_number=number,
            event_type="revoke",
            request={"by": by, "sessions": ended},
            response={},
            error=None,
        )
        return ended, administrators.list_administrators(conn, number)


if __name__ == "__main__":
    sys.exit(main())
