"""
The scheduler where there is no Cloud Scheduler:
`python -m infra.deployment.scheduler --every 1 --endpoint FUNCTION=URL …`.

It publishes to `ticks`, and touches a file after each tick for the health check. Google's emulator forgets all topics
and subscriptions when it restarts; the scheduler makes them again, but only in an emulator. A tick that cannot be
published is dropped: the next one does the same work.
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

from infra import command
from infra.deployment import topology
from lib.runtime import config, logs, pubsub
from lib.runtime.errors import ConfigError, Unavailable

log = logging.getLogger(__name__)

_MOST_SECONDS: Final = 3600.0
TICKED: Final = Path("/tmp/ticked")  # noqa: S108  (the one place where a container may write)


class Scheduler:
    def __init__(self, target: topology.Target | None, ticked: Path) -> None:
        """`target`: of a broker that forgets; None for one that does not."""
        self._target = target
        self._ticked = ticked
        # A scheduler that was killed while making them may have left only a part of them.
        self._is_to_be_made = target is not None

    def tick(self) -> None:
        try:
            if self._target is not None and self._is_to_be_made:
                done = topology.apply(topology.read(), self._target)
                self._is_to_be_made = False
                log.info("topology", extra={"done": len(done)})
            pubsub.publish(pubsub.TICKS, {"at": datetime.now(UTC).isoformat(timespec="milliseconds")})
            self._ticked.touch()
        except Unavailable as error:
            if isinstance(error.__cause__, exceptions.NotFound):
                self._is_to_be_made = True
            log.warning("no tick", extra={"reason": str(error)})
        except (exceptions.GoogleAPIError, TimeoutError) as error:
            log.warning("no topology", extra={"reason": type(error).__name__})


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m infra.deployment.scheduler", description="Wakes what runs by the clock"
    )
    parser.add_argument("--every", type=command.number(most=_MOST_SECONDS), default=1.0, metavar="SECONDS")
    parser.add_argument("--endpoint", type=topology.endpoint, action="append", default=[], metavar="FUNCTION=URL")
    parser.add_argument("--ticked", type=Path, default=TICKED, metavar="FILE", help="touched after every tick")
    arguments = parser.parse_args()
    logs.configure()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        # The cloud keeps its topology, and whoever may change it there is the operator: a scheduler has neither the
        # right to, nor the addresses and the account of the functions that are deployed.
        is_emulator = bool(config.load(config.PubSub).pubsub_emulator_host)
        target = topology.target(arguments.endpoint) if is_emulator else None
        scheduler = Scheduler(target, arguments.ticked)
        while not stop.wait(arguments.every):
            scheduler.tick()
    except ConfigError as error:
        return command.fail("scheduler", error)
    pubsub.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
