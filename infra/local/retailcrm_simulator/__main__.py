"""
RetailCRM for development: `python -m infra.local.retailcrm_simulator --port 8081 [--accounts FILE] [--state FILE]`.

The API under /api/, a page of pop-ups and history at /, control under /_sim/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from infra.local.retailcrm_simulator import process
from infra.local.retailcrm_simulator.app import build


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.local.retailcrm_simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--accounts", type=Path, help="JSON: a list of accounts, as POST /_sim/accounts takes them")
    parser.add_argument("--state", type=Path, help="keep accounts and ledger here over restarts (default: in memory)")
    given = parser.parse_args(arguments)
    note = f", state kept in {given.state}" if given.state else ""
    application = partial(build, accounts=given.accounts, state=given.state)
    return process.run("RetailCRM simulator", application, host=given.host, port=given.port, note=note)


if __name__ == "__main__":
    sys.exit(main())
