"""What goes wrong, when, by a seed: kills, stops, faults of the CRM and of Pub/Sub, the database and the broker gone."""

from __future__ import annotations

import contextlib
import heapq
import json
import math
import os
import random
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psutil
import requests

from infra.stand_ins.stack import Stack
from lib.ledger.deliver import LEASE_SECONDS
from lib.runtime import failpoints as failpoints_module

FUNCTIONS: Final = ("dispatch-call-event", "retailcrm-deliver", "retailcrm-upload", "sweep-calls")
# Those of which a worker may sleep.
WORKING: Final = FUNCTIONS[:3]
# Longer than a lease, so that somebody else takes over what a stopped process was at.
STOP_SECONDS: Final = LEASE_SECONDS + 3
CRM_SECONDS: Final = 8.0
# So long after all processes were up again, one of them may be brought down as a whole.
PEACE_SECONDS: Final = 3.0
BACK_SECONDS: Final = 2.0
CRM_MODES: Final[tuple[dict[str, Any], ...]] = (
    {"mode": "ok_then_rst"},
    {"mode": "ok_then_rst", "sent_bytes": 40},
    {"mode": "apply_then_hang", "hang_seconds": 20},
    {"mode": "hang_before_apply", "hang_seconds": 20},
    {"mode": "error_500_after_apply"},
    {"mode": "error_500"},
    {"mode": "error_503", "retry_after": 2},
    {"mode": "error_503"},
    {"mode": "error_429", "retry_after": 1},
    {"mode": "success_false"},
    {"mode": "truncated_json"},
    {"mode": "html", "status": 502},
    {"mode": "html"},
    {"mode": "redirect_30x"},
    {"mode": "slow_drip", "interval_ms": 200},
    {"mode": "huge_body"},
    {"mode": "slow", "delay_ms": 2500},
)
INTAKE_POINTS: Final = failpoints_module.NAMES[:6]
DELIVERY_POINTS: Final = failpoints_module.NAMES[6:13]
# Kills per hit; a connection is made anew, and a call woken by the sweep, less often than the rest happens.
KILLS: Final = {
    **dict.fromkeys(INTAKE_POINTS, 0.015),
    **dict.fromkeys(DELIVERY_POINTS, 0.035),
    "wakes_published": 0.15,
}
# A stop lasts for half a minute, so it is rare: several times a place in half an hour.
STOPS: Final = {
    **dict.fromkeys(INTAKE_POINTS, 0.0003),
    **dict.fromkeys(DELIVERY_POINTS, 0.0006),
    "wakes_published": 0.004,
}
DATABASE_AWAY: Final = "kill -9 of postgres"
BROKER_AWAY: Final = "kill -9 of emulator"
WOKEN: Final = "woken after its lease"
# All that a long run does at least once.
PROMISED: Final = (
    *(f"kill at {name}" for name in KILLS),
    *(f"stop at {name}" for name in STOPS),
    *(f"kill -9 of {name}" for name in FUNCTIONS),
    *(f"SIGTERM of {name}" for name in FUNCTIONS),
    *(f"SIGSTOP of a worker of {name}" for name in WORKING),
    WOKEN,
    DATABASE_AWAY,
    BROKER_AWAY,
    "pushes doubled, reordered, delayed, dropped",
    *sorted({f"CRM {rule['mode']}" for rule in CRM_MODES}),
)


@dataclass(frozen=True, kw_only=True)
class Injection:
    """Seconds since the epoch; events and effects of this time are counted to it."""

    fault: str
    begin: float
    end: float


def failpoints() -> dict[str, str]:
    """The environment of processes that die at every failpoint now and then."""
    rules = [f"{name}=kill:{chance}" for name, chance in KILLS.items()]
    rules += [f"{name}=stop:{chance}" for name, chance in STOPS.items()]
    return {"FAILPOINTS": ";".join(rules), "FAILPOINTS_ALLOWED": "yes"}


class NotNow(Exception):
    """What was to happen cannot happen at this moment."""


class Trouble:
    """
    Makes trouble between `start` and `stop`. `injections` is what it did; `failures` what it could not do: a run that
    has some proves less than it says.
    """

    def __init__(self, stack: Stack, crm: str, accounts: Sequence[str], *, seed: int) -> None:
        self.injections: list[Injection] = []
        self.failures: list[str] = []
        self._stack, self._faults, self._accounts = stack, f"{crm}/_sim/faults", list(accounts)
        self._chance = random.Random(seed)
        self._over = threading.Event()
        self._modes: list[dict[str, Any]] = []
        self._stopped: dict[int, float] = {}
        self._offsets: dict[str, int] = {}
        self._up_since = math.inf
        self._away_since: dict[str, float] = {}
        works = (self._work, self._wake_sleepers)
        self._threads = [threading.Thread(target=self._guarded, args=[work], name=work.__name__) for work in works]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """All is well again, and nothing is armed."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.read_failpoints()
        self._disarm()
        requests.delete(self._faults, timeout=10).raise_for_status()
        self._emulator_faults(is_on=False)

    def _guarded(self, work: Callable[[], None]) -> None:
        """A thread that dies must not look like a quiet run."""
        try:
            work()
        except Exception:  # noqa: BLE001  (whatever it was, the run says so)
            self.failures.append(f"the thread of {work.__name__} died: {traceback.format_exc()}")

    def counts(self) -> Counter[str]:
        return Counter(injection.fault for injection in self.injections)

    def read_failpoints(self) -> None:
        """What the functions' logs say of failpoints since the last time."""
        for name in FUNCTIONS:
            path = self._stack.layout.log(name)
            with path.open("rb") as log:
                log.seek(self._offsets.get(name, 0))
                for line in log:
                    if not line.endswith(b"\n"):
                        break
                    self._offsets[name] = self._offsets.get(name, 0) + len(line)
                    if line.startswith(b'{"failpoint"'):
                        said = json.loads(line)
                        what = "stop" if said["signal"] == "SIGSTOP" else "kill"
                        lasts = STOP_SECONDS if what == "stop" else 1.0
                        self._note(f"{what} at {said['failpoint']}", lasts, at=said["at"])

    def _note(self, fault: str, lasts: float, *, at: float | None = None) -> None:
        begin = time.time() if at is None else at
        self.injections.append(Injection(fault=fault, begin=begin, end=begin + lasts))

    def _work(self) -> None:
        # How often, and when first, so that a short run has each of them.
        rhythm: list[tuple[float, float, Callable[[], None]]] = [
            (4.0, 1.0, self._crm_fault),
            (13.0, 5.0, self._push_faults),
            (7.0, 6.0, self._kill_function),
            (11.0, 8.0, self._terminate_function),
            (35.0, 3.0, self._stop_worker),
            (29.0, 12.0, self._kill_broker),
            (41.0, 18.0, self._kill_database),
        ]
        harmless_to_processes = (0, 1)
        now = time.monotonic()
        due = [(now + self._chance.uniform(0.8, 1.2) * first, index) for index, (_, first, _) in enumerate(rhythm)]
        heapq.heapify(due)
        while not self._over.is_set():
            at, index = due[0]
            if self._over.wait(max(0.0, at - time.monotonic())):
                return
            if index not in harmless_to_processes and not self._is_settled():
                heapq.heapreplace(due, (time.monotonic() + 0.5, index))
                continue
            every, _, happen = rhythm[index]
            # A part that ends or sleeps at this moment is not the one to be brought down; soon there is another.
            try:
                happen()
            except (NotNow, LookupError, psutil.Error, ProcessLookupError):
                heapq.heapreplace(due, (time.monotonic() + 0.5, index))
                continue
            except requests.RequestException as error:
                self.failures.append(f"{happen.__name__}: {error}")
            heapq.heapreplace(due, (time.monotonic() + self._chance.uniform(0.7, 1.3) * every, index))

    def _is_settled(self) -> bool:
        """On a slow machine processes come back slowly; without some peace between, nothing would ever be taken in."""
        if self._up_since == math.inf:
            if not all(self._is_ready(name) for name in (*FUNCTIONS, "postgres", "emulator")):
                return False
            self._up_since = time.monotonic()
        return time.monotonic() - self._up_since >= PEACE_SECONDS

    def _crm_fault(self) -> None:
        if not self._modes:
            self._modes = self._chance.sample(CRM_MODES, len(CRM_MODES))
        rule = self._modes.pop()
        chosen = self._chance.sample(self._accounts, max(1, len(self._accounts) // 3))
        place = {"endpoint": self._chance.choice(["all", "event", "upload"])}
        rules = [{**rule, **place, "account": account, "probability": 0.8} for account in chosen]
        requests.post(self._faults, json={"faults": rules}, timeout=5).raise_for_status()
        self._note(f"CRM {rule['mode']}", CRM_SECONDS)
        for account in chosen:
            timer = threading.Timer(CRM_SECONDS, self._well_again, [{"account": account, **place}])
            timer.daemon = True
            timer.start()

    def _well_again(self, place: dict[str, str]) -> None:
        try:
            requests.delete(self._faults, params=place, timeout=5).raise_for_status()
        except requests.RequestException as error:
            if not self._over.is_set():
                self.failures.append(f"a fault of the CRM was not taken back: {error}")

    def _push_faults(self) -> None:
        if not self._is_ready("emulator"):
            raise NotNow
        try:
            self._emulator_faults(is_on=True)
        except requests.ConnectionError:
            raise NotNow from None
        self._note("pushes doubled, reordered, delayed, dropped", 13.0)

    def _emulator_faults(self, *, is_on: bool) -> None:
        url = f"{self._stack.url('emulator-control')}/faults"
        if not is_on:
            requests.delete(url, timeout=5).raise_for_status()
            return
        faults = {"duplicate": 0.3, "reorder": 0.3, "drop": 0.01, "delay_ms": [0, 100]}
        requests.post(url, json={**faults, "seed": self._chance.randrange(2**31)}, timeout=5).raise_for_status()

    def _kill_function(self) -> None:
        if name := self._awake():
            self._kill(name)

    def _kill_broker(self) -> None:
        self._kill("emulator")

    def _kill_database(self) -> None:
        self._kill("postgres")

    def _awake(self) -> str | None:
        """
        The function whose turn it is; None when one of its workers sleeps: who is killed asleep never wakes after its
        lease. Nor is another one killed for it, which would then be down too often.
        """
        name = self._chance.choice(FUNCTIONS)
        return None if self._sleepers(name) else name

    def _kill(self, name: str) -> None:
        self._stack.kill(name)
        self._up_since = math.inf
        begin = time.time()
        if name == "postgres":
            self._away_since[name] = begin
        else:
            self._note(f"kill -9 of {name}", 2.0)

    def _terminate_function(self) -> None:
        name = self._awake()
        if name is None:
            return
        self._stack._killed.add(name)
        os.kill(self._stack._processes.pids()[name], signal.SIGTERM)
        self._up_since = math.inf
        self._note(f"SIGTERM of {name}", 2.0)

    def _stop_worker(self) -> None:
        name = self._chance.choice(WORKING)
        if self._sleepers(name):
            raise NotNow
        os.kill(self._chance.choice(self._workers(name)), signal.SIGSTOP)
        self._note(f"SIGSTOP of a worker of {name}", STOP_SECONDS)

    def _sleepers(self, name: str) -> list[int]:
        found = []
        for pid in self._workers(name):
            with contextlib.suppress(psutil.Error):
                if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                    found.append(pid)
        return found

    def _is_ready(self, name: str) -> bool:
        is_ready = self._stack._parts[name].is_ready
        return is_ready is None or is_ready()

    def _workers(self, name: str) -> list[int]:
        return [child.pid for child in psutil.Process(self._stack._processes.pids()[name]).children()]

    def _wake_sleepers(self) -> None:
        while not self._over.wait(0.5):
            self._continue(STOP_SECONDS)
            self._look_for_the_database()
        self._continue(0.0)
        self._look_for_the_database(within_seconds=30.0)

    def _look_for_the_database(self, *, within_seconds: float = 0.0) -> None:
        """Its absence lasts until it answers, and a moment more: connections are made anew."""
        deadline = time.monotonic() + within_seconds
        while self._away_since:
            if self._is_ready("postgres"):
                begin = self._away_since.pop("postgres")
                self.injections.append(Injection(fault=DATABASE_AWAY, begin=begin, end=time.time() + BACK_SECONDS))
            elif time.monotonic() > deadline:
                return
            else:
                time.sleep(0.1)

    def _continue(self, after_seconds: float) -> None:
        now, sleepers = time.monotonic(), set[int]()
        for name in FUNCTIONS:
            with contextlib.suppress(psutil.Error, KeyError):
                sleepers.update(self._sleepers(name))
        self._stopped = {pid: self._stopped.get(pid, now) for pid in sleepers}
        for pid, since in list(self._stopped.items()):
            if now - since >= after_seconds:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                    if now - since > LEASE_SECONDS:
                        self._note(WOKEN, 1.0)

    def _disarm(self) -> None:
        """The functions are started again without failpoints."""
        unarmed = {name: value for name, value in self._stack.layout.settings.items() if "FAILPOINTS" not in name}
        parts = replace(self._stack.layout, settings=unarmed).parts()
        self._stack._parts = {part.name: part for part in parts}
        for name in FUNCTIONS:
            while True:
                with contextlib.suppress(KeyError):
                    self._stack.kill(name)
                    break
                self._stack.pause(0.1)
        for name in (*FUNCTIONS, "postgres", "emulator"):
            self._stack.pause(0.3)
            self._stack.wait_until_ready(name)
        self._continue(0.0)
