"""
RetailCRM for development: `python -m infra.stand_ins.retailcrm_simulator --port 8081 [--accounts FILE] [--state FILE]
[--reach URL=URL]`.

The API under /api/, a page of pop-ups and history at /, control under /_sim/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from infra.stand_ins.retailcrm_simulator import process
from infra.stand_ins.retailcrm_simulator.app import build


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.stand_ins.retailcrm_simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--accounts", type=Path, help="JSON: a list of accounts, as POST /_sim/accounts takes them")
    parser.add_argument("--state", type=Path, help="keep accounts and ledger here over restarts (default: in memory)")
    parser.add_argument(
        "--reach",
        type=_two_addresses,
        metavar="URL=URL",
        help="ask a module whose address begins with the first at the second: where it is reached from here",
    )
    given = parser.parse_args(arguments)
    note = f", state kept in {given.state}" if given.state else ""
    application = partial(build, accounts=given.accounts, state=given.state, reach=given.reach)
    return process.run("RetailCRM simulator", application, host=given.host, port=given.port, note=note)


def _two_addresses(value: str) -> tuple[str, str]:
    public, _, inside = value.partition("=")
    if not all(address.startswith(("http://", "https://")) for address in (public, inside)):
        raise argparse.ArgumentTypeError("two addresses are expected, as http://localhost:8080=http://gateway:8080")
    return public, inside


if __name__ == "__main__":
    sys.exit(main())
