"""
The scheduler where there is no Cloud Scheduler: `python -m infra.scheduler --every 1 --endpoint FUNCTION=URL …`.

Publishes to `ticks`, and touches a file after each tick for a health check to look at. Google's emulator forgets all
topics and subscriptions when it restarts: they are made again then. A tick that cannot be published is dropped: the
next one does the same work.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from google.api_core import exceptions

from infra import topology
from lib import config, logs, pubsub
from lib.errors import ConfigError, Unavailable

log = logging.getLogger(__name__)

TICKED: Final = Path("/tmp/ticked")  # noqa: S108  (the one place where a container may write)


class Scheduler:
    def __init__(self, target: topology.Target, ticked: Path) -> None:
        self._target = target
        self._ticked = ticked
        # One that was killed while it made them may have left only a part of them.
        self._topology_is_there = False

    def tick(self) -> None:
        try:
            if not self._topology_is_there:
                done = topology.apply(topology.read(), self._target)
                self._topology_is_there = True
                log.info("topology", extra={"done": len(done)})
            pubsub.publish(pubsub.TICKS, {"at": datetime.now(UTC).isoformat(timespec="milliseconds")})
            self._ticked.touch()
        except Unavailable as error:
            if isinstance(error.__cause__, exceptions.NotFound):
                self._topology_is_there = False
            log.warning("no tick", extra={"reason": str(error)})
        except (exceptions.GoogleAPIError, TimeoutError) as error:
            log.warning("no topology", extra={"reason": type(error).__name__})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.scheduler", description="Wakes what runs by the clock")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--endpoint", action="append", default=[], metavar="FUNCTION=URL")
    parser.add_argument("--ticked", type=Path, default=TICKED, metavar="FILE", help="touched after every tick")
    arguments = parser.parse_args()
    logs.configure()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        target = topology.Target(
            project=config.load(config.PubSub).google_cloud_project,
            endpoints=dict(item.split("=", 1) for item in arguments.endpoint),
        )
        scheduler = Scheduler(target, arguments.ticked)
        while not stop.wait(arguments.every):
            scheduler.tick()
    except ConfigError as error:
        print(f"scheduler: {error}", file=sys.stderr)
        return 1
    pubsub.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
