"""
The Asterisk service for development: `python -m infra.stand_ins.asterisk_simulator --port 8082 [--state FILE]`.

Orders under /api/, control under /_sim/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from infra.stand_ins.asterisk_simulator.app import build
from infra.stand_ins.retailcrm_simulator import process


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.stand_ins.asterisk_simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8082, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--state", type=Path, help="JSON: keep the enterprises here over restarts (default: in memory)")
    given = parser.parse_args(arguments)
    application = partial(build, state=given.state)
    return process.run("Asterisk service simulator", application, host=given.host, port=given.port)


if __name__ == "__main__":
    sys.exit(main())
