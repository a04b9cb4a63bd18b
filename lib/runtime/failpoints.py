"""
Named points at which a process kills or stops itself: armed by environment, for the chaos run only.

`FAILPOINTS="event_committed=kill:0.01;attempt_committed=stop:1/50"`: a process kills itself with `kill -9` at the first
place with a probability of 0.01, and stops itself with SIGSTOP at every fiftieth hit of the second; without a number,
at every hit. Only with FAILPOINTS_ALLOWED=yes and an emulator in the place of Pub/Sub; else `hit` and `soon` do
nothing, and cost a call of an empty function.

request_read, token_known: of a host's request; event_inserting, event_committed, event_published, response_written;
delivery_claimed (not committed), attempt_committed, connected, request_written, response_read, result_recorded (not
committed), result_committed: of a delivery; wakes_published: of the sweep.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from lib.runtime import config
from lib.runtime.errors import ConfigError

log = logging.getLogger(__name__)

NAMES: Final = (
    "request_read",
    "token_known",
    "event_inserting",
    "event_committed",
    "event_published",
    "response_written",
    "delivery_claimed",
    "attempt_committed",
    "connected",
    "request_written",
    "response_read",
    "result_recorded",
    "result_committed",
    "wakes_published",
)
_SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
# About as long as a statement takes.
_SOON_SECONDS: Final = 0.002


@dataclass(frozen=True, kw_only=True)
class Failpoints:
    """Not one of `config.SECTIONS`: no installation sets it."""

    failpoints: str = ""
    failpoints_allowed: str = ""
    pubsub_emulator_host: str = ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`is_due` is asked at every hit."""

    signal: signal.Signals
    is_due: Callable[[], bool]


def parse(text: str) -> dict[str, list[Rule]]:
    """The rules by failpoint. Raises ConfigError."""
    rules: dict[str, list[Rule]] = {}
    for part in filter(None, text.replace(" ", "").split(";")):
        name, _, what = part.partition("=")
        action, _, how_often = what.partition(":")
        if name not in NAMES or action not in _SIGNALS:
            raise ConfigError(
                f"FAILPOINTS: {part} is not like event_committed=kill:0.01 or attempt_committed=stop:1/50"
            )
        rules.setdefault(name, []).append(Rule(signal=_SIGNALS[action], is_due=_due(how_often or "1/1")))
    return rules


def _due(how_often: str) -> Callable[[], bool]:
    first, slash, every = how_often.partition("/")
    try:
        if slash:
            hits, step = itertools.count(1), int(every)
            return lambda: next(hits) % step == 0
        probability = float(first)
    except ValueError:
        raise ConfigError(f"FAILPOINTS: {how_often} is neither a probability nor like 1/50") from None
    return lambda: random.random() < probability  # noqa: S311  (chance, not secrets)


def armed(rules: Mapping[str, list[Rule]]) -> Callable[[str], None]:
    """A `hit` that obeys these rules."""

    def strike(name: str) -> None:
        for rule in rules.get(name, ()):
            if rule.is_due():
                _tell(name, rule.signal)
                # Sent to this thread: another thread might receive it, and let this one run on for a moment.
                signal.pthread_kill(threading.get_ident(), rule.signal)

    return strike


def _tell(name: str, number: signal.Signals) -> None:
    """Reports the hit to the chaos run, in one write, so that the lines of several threads do not mix."""
    line = {"failpoint": name, "signal": number.name, "pid": os.getpid(), "at": round(time.time(), 3)}
    os.write(2, json.dumps(line).encode() + b"\n")


def _nothing(_: str) -> None:
    """What a failpoint does that is not armed."""


def _from_environment() -> Callable[[str], None]:
    settings = config.load(Failpoints)
    if not settings.failpoints:
        return _nothing
    if settings.failpoints_allowed != "yes" or not settings.pubsub_emulator_host:
        log.error("FAILPOINTS is set and not obeyed: it takes FAILPOINTS_ALLOWED=yes and an emulator of Pub/Sub")
        return _nothing
    return armed(parse(settings.failpoints))


hit: Callable[[str], None] = _from_environment()


def _strike_soon(name: str) -> None:
    timer = threading.Timer(random.uniform(0, _SOON_SECONDS), hit, [name])  # noqa: S311  (chance, not secrets)
    timer.daemon = True
    timer.start()


# For a point inside a statement of the database: fires a moment later, from another thread.
soon: Callable[[str], None] = _nothing if hit is _nothing else _strike_soon


def when_written(call_on_close: Callable[[Callable[[], object]], object], name: str) -> None:
    """A failpoint after the last byte of a response; `call_on_close` is the response's own."""
    if hit is not _nothing:
        call_on_close(lambda: hit(name))
