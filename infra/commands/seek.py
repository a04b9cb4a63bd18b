"""
Makes Pub/Sub redeliver the events of the last minutes: `make seek MINUTES=10`, after a failover that lost commits.

Every message holds its whole event, so events that the database lost are stored and assembled again; events that it
still has are recognised as copies. Nothing is deleted, and a second run changes nothing more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1
from google.pubsub_v1.types import Subscription

from infra import command
from infra.deployment import topology
from lib.runtime import config
from lib.runtime.errors import AppError, ConfigError
from lib.runtime.pubsub import CALL_EVENTS, RECOVERED_EVENTS

# Pub/Sub keeps acknowledged messages for 31 days at most.
_MOST_MINUTES: Final = 31.0 * 24 * 60


@dataclass(frozen=True, kw_only=True)
class Step:
    subscription: str
    time: datetime

    def __str__(self) -> str:
        return f"{self.subscription}: everything published since {self.time:%Y-%m-%d %H:%M:%S} UTC is delivered again"


def subscriptions_of_events(project: str) -> list[str]:
    return [
        f"projects/{project}/subscriptions/{name}"
        for name, spec in topology.read()["subscriptions"].items()
        if spec["topic"] in {CALL_EVENTS, RECOVERED_EVENTS}
    ]


def check(subscription: Subscription, back: timedelta) -> None:
    """Raises ConfigError when the subscription does not keep acknowledged messages for so long."""
    if not subscription.retain_acked_messages:
        raise ConfigError(f"{subscription.name} forgets what is acknowledged: apply infra/topology.json")
    if subscription.message_retention_duration < back:
        kept = subscription.message_retention_duration
        raise ConfigError(f"{subscription.name} keeps messages for {kept}, which is less than {back}")


def seek(project: str, *, minutes: float, dry_run: bool = False) -> list[Step]:
    """
    Returns a description of what was done, or would be. Raises ConfigError, having done nothing, when it is not
    possible.
    """
    back = timedelta(minutes=minutes)
    steps = [Step(subscription=name, time=datetime.now(UTC) - back) for name in subscriptions_of_events(project)]
    with pubsub_v1.SubscriberClient() as subscriber:
        for step in steps:
            found = subscriber.get_subscription(
                subscription=step.subscription, timeout=topology.ATTEMPT_SECONDS, retry=topology.RETRY
            )
            check(found, back)
        if not dry_run:
            for step in steps:
                request = {"subscription": step.subscription, "time": step.time}
                subscriber.seek(request=request, timeout=topology.ATTEMPT_SECONDS, retry=topology.RETRY)
    return steps


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Deliver the call events of the last minutes again")
    parser.add_argument(
        "--minutes",
        type=command.number(most=_MOST_MINUTES),
        required=True,
        help="more than the failover may have lost",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    given = parser.parse_args(arguments)
    try:
        command.begin(asks_the_database=False)
        project = config.load(config.PubSub).google_cloud_project
        steps = seek(project, minutes=given.minutes, dry_run=given.dry_run)
    except AppError as error:
        return command.fail("seek", error)
    except (exceptions.GoogleAPIError, GoogleAuthError) as error:
        return command.fail("seek", topology.why(error))
    for step in steps:
        print(step)
    print("Nothing was changed: a dry run." if given.dry_run else "Done.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
