"""
The administrators of an enterprise: `make admin ENTERPRISE=0367` lists them, with LOGIN=… adds one or gives a new
password, with LOGIN=… REMOVE=1 removes one.

The password is asked for, or is the first line of standard input: it stands in no argument, variable or history.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Final

from infra import command
from infra.commands import person
from lib.runtime import config, db
from lib.runtime.errors import ConfigError, InvalidPayload, NotFound
from lib.runtime.passwords import hash_password, weakness
from lib.store import administrators, integration_logs, known_browsers, sessions

_LOGIN_CHARACTERS: Final = 200


def main() -> int:
    given = _arguments()
    number, login = given.enterprise.strip(), given.login.strip()
    try:
        command.begin()
        if not number:
            raise InvalidPayload("Which enterprise? make admin ENTERPRISE=0367")
        with db.connection() as conn:
            if not administrators.has_enterprise(conn, number):
                raise NotFound(f"There is no enterprise {number}: make provision FILE=… first")
        if len(login) > _LOGIN_CHARACTERS or "\x00" in login:
            raise InvalidPayload(f"LOGIN is longer than {_LOGIN_CHARACTERS} characters")
        if given.remove and not login:
            raise InvalidPayload("Whom? make admin ENTERPRISE=… LOGIN=… REMOVE=1")
        if not login:
            _list(number)
        elif given.remove:
            _remove(number, login, person.of(given.by))
        else:
            _save(number, login, person.of(given.by))
    except command.FAILURES as error:
        return command.fail("admin", error)
    except KeyboardInterrupt:
        print("\nadmin: nothing was changed", file=sys.stderr)
        return 130
    finally:
        db.close()
    return 0


def _list(number: str) -> None:
    with db.connection() as conn:
        found = administrators.list_administrators(conn, number)
    for one in found:
        name = f"{one.first_name} {one.last_name}".strip()
        print(f"{one.login}{f' ({name})' if name else ''}{'' if one.has_password else ': has no password'}")
    if not found:
        print(f"Nobody administers enterprise {number}. To add somebody: make admin ENTERPRISE={number} LOGIN=…")


def _save(number: str, login: str, by: str) -> None:
    hashed = hash_password(_password(login))
    with db.transaction() as conn:
        user_id, what = administrators.save(conn, number, login, password_hash=hashed)
        ended = sessions.revoke_of_user(conn, user_id)
        known_browsers.forget_of_user(conn, user_id)
        _remember(conn, number, {"by": by, what: login})
    print(f"{login} administers enterprise {number}{' with the new password' if what == 'changed' else ''}.")
    if ended:
        print("Whoever was signed in under this login is not any more.")
    print(f"To sign in: {_page()}, enterprise {number}, login {login}, and the password.")


def _remove(number: str, login: str, by: str) -> None:
    with db.transaction() as conn:
        user_id = administrators.disable(conn, number, login)
        if user_id is None:
            raise NotFound(f"{login} does not administer enterprise {number}")
        sessions.revoke_of_user(conn, user_id)
        known_browsers.forget_of_user(conn, user_id)
        _remember(conn, number, {"by": by, "removed": login})
        left = administrators.list_administrators(conn, number)
    print(f"{login} does not administer enterprise {number} any more, and is signed out.")
    print("The link in RetailCRM opens the page without a login: make revoke ENTERPRISE=… ends that too.")
    if not left:
        print(f"Nobody is left: make admin ENTERPRISE={number} LOGIN=… adds somebody.")


def _password(login: str) -> str:
    """Reads it twice from the terminal, or from the first line of standard input. Raises InvalidPayload."""
    if sys.stdin.isatty():
        password = getpass.getpass(f"A password for {login}: ")
        if getpass.getpass("The same again: ") != password:
            raise InvalidPayload("These are two different passwords: nothing was changed")
    else:
        password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if why := weakness(password, login):
        raise InvalidPayload(f"The password {why}: nothing was changed")
    return password


def _page() -> str:
    try:
        return f"{config.load(config.Public).public_url.rstrip('/')}/retailcrm-admin/"
    except ConfigError:
        return "the page /retailcrm-admin/ of the gateway"


def _remember(conn: db.Connection, number: str, what: dict[str, str]) -> None:
    integration_logs.insert(
        conn, enterprise_number=number, event_type="administrators", request=what, response={}, error=None
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make admin", description="Who administers an enterprise")
    parser.add_argument("--enterprise", default="", help="its number")
    parser.add_argument("--login", default="", help="whom to add, or to give a new password")
    parser.add_argument("--remove", action="store_true", help="end it")
    parser.add_argument("--by", default="", help="who wants it; the user of the operating system")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
