"""
The scheduler: a message to `ticks` every so many seconds, as Cloud Scheduler sends in the cloud:
`python -m infra.stand_ins.ticker --every 1`.

A tick that cannot be published is dropped: the next one does the same work.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from datetime import UTC, datetime

from lib.runtime import logs, pubsub
from lib.runtime.errors import Unavailable

log = logging.getLogger(__name__)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.stand_ins.ticker", description="Wakes the sweep")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS")
    every = parser.parse_args().every
    logs.configure()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(every):
        try:
            pubsub.publish(pubsub.TICKS, {"at": datetime.now(UTC).isoformat(timespec="milliseconds")})
        except Unavailable as error:
            log.warning("no tick", extra={"reason": str(error)})
    pubsub.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
