"""Counts what becomes of each event at intake, for `/metrics`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from lib.intake.accept import Accepted
from lib.intake.forms import EVENT_TYPES
from lib.runtime import metrics
from lib.runtime.errors import AppError

# Of a request that was refused before anybody read what it brought.
UNKNOWN: Final = "unknown"
# Shown from the start: of a counter that appears with its first event, an increase is seen with the second only.
for _type in (*EVENT_TYPES, UNKNOWN):
    for _answer in ("stored", "published", "copy", "unavailable", "internal", "rate_limited"):
        metrics.EVENTS.labels(_type, _answer)


@dataclass
class Counted:
    """One request that brings an event, of this type as soon as that is known."""

    event_type: object = UNKNOWN

    def accepted(self, one: Accepted) -> None:
        count(self.event_type, one.answer)


@contextmanager
def counted(event_type: object = UNKNOWN) -> Iterator[Counted]:
    """What is raised inside counts as the answer."""
    found = Counted(event_type)
    try:
        yield found
    except AppError as error:
        count(found.event_type, error.code)
        raise
    except Exception:
        count(found.event_type, "internal")
        raise


def count_all(outcomes: Iterable[tuple[object, Accepted | AppError]]) -> None:
    """Of a batch, by the type of each event."""
    for event_type, one in outcomes:
        count(event_type, one.answer if isinstance(one, Accepted) else one.code)


def count(event_type: object, answer: str) -> None:
    """What a stranger calls the type is no label."""
    metrics.EVENTS.labels(event_type if event_type in EVENT_TYPES else UNKNOWN, answer).inc()
