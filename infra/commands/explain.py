"""Prints the story of a call: `python -m infra.commands.explain UNIQUE_ID [--enterprise 0367] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys

from infra import command
from lib.calls.explain import as_text
from lib.crms import CRMS, RETAILCRM
from lib.enterprises.cache import enterprise_cache
from lib.ledger import story
from lib.runtime import db


def main() -> int:
    parser = argparse.ArgumentParser(prog="make explain", description="The story of one call")
    parser.add_argument("unique_id", help="of any channel of the call")
    parser.add_argument("--enterprise", default="0367", help="its number (0367)")
    parser.add_argument("--crm", choices=tuple(CRMS), default=RETAILCRM.name, help="as it was told the call")
    parser.add_argument("--language", choices=("ru", "en"), default="ru")
    parser.add_argument("--json", action="store_true", help="as data")
    arguments = parser.parse_args()
    try:
        command.begin()
        told = story.tell(arguments.enterprise, arguments.unique_id, crm=arguments.crm)
    except command.FAILURES as error:
        return command.fail("explain", error)
    finally:
        enterprise_cache().close()
        db.close()
    print(json.dumps(told, ensure_ascii=False, indent=2) if arguments.json else as_text(told, arguments.language))
    return 0


if __name__ == "__main__":
    sys.exit(main())
