"""
Says what the hosts of an enterprise do that loses calls or has to be guessed at, and what to change there:
`make doctor ENTERPRISE=0367 SINCE=1d`. It reads what is stored, the last calls first, and changes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Final

from infra import command
from lib.calls.doctor.words import as_text
from lib.enterprises.cache import enterprise_cache
from lib.ledger import checkup
from lib.runtime import db

_EVENTS: Final = 100_000


def main() -> int:
    given = _arguments()
    try:
        command.begin()
        with db.connection() as conn:
            since = command.moment(given.since, db.now(conn))
        found = checkup.examine_host(given.enterprise, since=since, events_at_most=round(given.events))
    except command.FAILURES as error:
        return command.fail("doctor", error)
    finally:
        enterprise_cache().close()
        db.close()
    if given.json:
        print(json.dumps(found, ensure_ascii=False, indent=2, default=str))
    else:
        shown = {**found, **{name: f"{found[name]:%Y-%m-%d %H:%M:%S %Z}" for name in ("since", "until")}}
        print(as_text(shown, given.language))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make doctor", description="What to change at the hosts of an enterprise")
    parser.add_argument("--enterprise", default="0367", help="its number (0367)")
    parser.add_argument("--since", default="1d", help="how far back, as 2h, 3d or a time; at most 31 days (1d)")
    parser.add_argument(
        "--events", type=command.number(most=1_000_000), default=_EVENTS, help=f"read at most so many ({_EVENTS})"
    )
    parser.add_argument("--language", choices=("ru", "en"), default="ru")
    parser.add_argument("--json", action="store_true", help="as data")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
