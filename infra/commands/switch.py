"""
Lets RetailCRM be told of the calls of enterprises from here, or not: `make switch ENTERPRISES=0367,0411 TO=on`.

It changes one setting, `enabled`, and nothing at RetailCRM; running it again changes nothing. With one number that
cannot be switched, none is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from infra import command
from infra.commands import numbers, person
from lib.runtime import db
from lib.runtime.errors import InvalidPayload, NotFound
from lib.store import configuration, enterprises, integration_logs
from lib.store.integration import RETAILCRM


def main() -> int:
    parser = argparse.ArgumentParser(prog="make switch", description="Tells RetailCRM of calls from here, or not")
    parser.add_argument("--enterprises", default="", help="their numbers, separated by commas")
    parser.add_argument("--to", default="", help="on or off")
    parser.add_argument("--by", default="", help="who wants it; the user of the operating system")
    given = parser.parse_args()
    try:
        command.begin()
        wanted = numbers.read(given.enterprises)
        if not wanted or given.to.strip() not in {"on", "off"}:
            raise InvalidPayload("Which ones, and how? make switch ENTERPRISES=0367,0411 TO=on (or off)")
        changed = _switch(wanted, is_on=given.to.strip() == "on", by=person.of(given.by))
    except command.FAILURES as error:
        return command.fail("switch", f"nothing was changed; {command.words(error)}")
    finally:
        db.close()
    print(f"{len(changed)} switched {given.to.strip()}: {', '.join(changed) or 'none'}")
    if same := [number for number in wanted if number not in changed]:
        print(f"{len(same)} already were: {', '.join(same)}")
    return 0


def _switch(wanted: Sequence[str], *, is_on: bool, by: str) -> list[str]:
    """The numbers of those that were changed. Raises NotFound, InvalidPayload."""
    with db.transaction() as conn:
        if problems := list(_problems(conn, wanted, is_on=is_on)):
            raise InvalidPayload("; ".join(problems))
        # Always in the same order: two of these commands wait for each other, and never both.
        changed = [number for number in sorted(wanted) if configuration.merge(conn, number, {"enabled": is_on})]
        for number in changed:
            integration_logs.insert(
                conn,
                enterprise_number=number,
                event_type="config",
                request={"by": by, "changed": ["enabled"], "enabled": is_on},
                response={},
                error=None,
            )
    return changed


def _problems(conn: db.Connection, wanted: Sequence[str], *, is_on: bool) -> Iterator[str]:
    for number in wanted:
        enterprise = enterprises.find_enterprise(conn, number)
        if enterprise is None:
            raise NotFound(f"There is no enterprise {number}")
        if RETAILCRM not in enterprise.integrations:
            yield f"{number} has no RetailCRM"
        elif is_on and not enterprise.integration().is_connected:
            yield f"{number} has no address or no API key of RetailCRM"


if __name__ == "__main__":
    sys.exit(main())
