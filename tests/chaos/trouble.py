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
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psutil
import requests

from infra.local.stack import Stack
from lib.delivery import LEASE_SECONDS

FUNCTIONS: Final = ("dispatch-call-event", "retailcrm-deliver", "sweep-calls")
# Longer than a lease, so that somebody else takes over what a stopped process was at.
STOP_SECONDS: Final = LEASE_SECONDS + 3
CRM_SECONDS: Final = 8.0
# So long after all processes were up again, one of them may be brought down as a whole.
PEACE_SECONDS: Final = 3.0
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
# Kills per hit; a connection is made anew, and a call woken by the sweep, less often than the rest happens.
KILLS: Final = {
    **{f"K{n}": 0.015 for n in range(1, 7)},
    **{f"K{n}": 0.035 for n in range(7, 14)},
    "K14": 0.15,
}
STOPS: Final = {**{f"K{n}": 0.0001 for n in (1, 2, 4, 5, 6)}, **{f"K{n}": 0.0005 for n in range(7, 14)}}


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


class Trouble:
    """Makes trouble between `start` and `stop`; `injections` is what it did."""

    def __init__(self, stack: Stack, crm: str, accounts: Sequence[str], *, seed: int) -> None:
        self.injections: list[Injection] = []
        self._stack, self._faults, self._accounts = stack, f"{crm}/_sim/faults", list(accounts)
        self._chance = random.Random(seed)
        self._over = threading.Event()
        self._modes: list[dict[str, Any]] = []
        self._stopped: dict[int, float] = {}
        self._offsets: dict[str, int] = {}
        self._up_since = math.inf
        self._threads = [threading.Thread(target=self._work), threading.Thread(target=self._wake_sleepers)]

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
        rhythm: list[tuple[float, Callable[[], None]]] = [
            (4.0, self._crm_fault),
            (13.0, self._push_faults),
            (7.0, self._kill_function),
            (11.0, self._terminate_function),
            (35.0, self._stop_worker),
            (29.0, lambda: self._kill("emulator")),
            (41.0, lambda: self._kill("postgres")),
        ]
        harmless_to_processes = (0, 1)
        now = time.monotonic()
        due = [(now + self._chance.uniform(0.2, 0.6) * every, index) for index, (every, _) in enumerate(rhythm)]
        heapq.heapify(due)
        while not self._over.is_set():
            at, index = due[0]
            if self._over.wait(max(0.0, at - time.monotonic())):
                return
            if index not in harmless_to_processes and not self._is_settled():
                heapq.heapreplace(due, (time.monotonic() + 0.5, index))
                continue
            every, happen = rhythm[index]
            # A part that ends at this moment cannot be killed; the next one will be.
            with contextlib.suppress(requests.RequestException, LookupError, psutil.Error, ProcessLookupError):
                happen()
            heapq.heapreplace(due, (time.monotonic() + self._chance.uniform(0.7, 1.3) * every, index))

    def _is_settled(self) -> bool:
        """On a slow machine processes come back slowly; without some peace between, nothing would ever be taken in."""
        if self._up_since == math.inf:
            parts = (self._stack._parts[name] for name in (*FUNCTIONS, "postgres", "emulator"))
            if not all(part.is_ready is None or part.is_ready() for part in parts):
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
        with contextlib.suppress(requests.RequestException):
            requests.delete(self._faults, params=place, timeout=5)

    def _push_faults(self) -> None:
        self._emulator_faults(is_on=True)
        self._note("pushes doubled, reordered, delayed, dropped", 13.0)

    def _emulator_faults(self, *, is_on: bool) -> None:
        url = f"{self._stack.url('emulator-control')}/faults"
        if not is_on:
            requests.delete(url, timeout=5).raise_for_status()
            return
        faults = {"duplicate": 0.3, "reorder": 0.3, "drop": 0.01, "delay_ms": [0, 100]}
        requests.post(url, json={**faults, "seed": self._chance.randrange(2**31)}, timeout=5).raise_for_status()

    def _kill_function(self) -> None:
        self._kill(self._chance.choice(FUNCTIONS))

    def _kill(self, name: str) -> None:
        self._stack.kill(name)
        self._up_since = math.inf
        self._note(f"kill -9 of {name}", 2.0)

    def _terminate_function(self) -> None:
        name = self._chance.choice(FUNCTIONS)
        if any(pid in self._stopped for pid in self._workers(name)):
            return  # it would wait for the one that cannot answer
        self._stack._killed.add(name)
        os.kill(self._stack._processes.pids()[name], signal.SIGTERM)
        self._up_since = math.inf
        self._note(f"SIGTERM of {name}", 2.0)

    def _stop_worker(self) -> None:
        name = self._chance.choice(FUNCTIONS[:2])
        os.kill(self._chance.choice(self._workers(name)), signal.SIGSTOP)
        self._note(f"SIGSTOP of a worker of {name}", STOP_SECONDS)

    def _workers(self, name: str) -> list[int]:
        return [child.pid for child in psutil.Process(self._stack._processes.pids()[name]).children()]

    def _wake_sleepers(self) -> None:
        while not self._over.wait(0.5):
            self._continue(STOP_SECONDS)
        self._continue(0.0)

    def _continue(self, after_seconds: float) -> None:
        now, sleepers = time.monotonic(), set[int]()
        for name in FUNCTIONS:
            with contextlib.suppress(psutil.Error, KeyError):
                for pid in self._workers(name):
                    if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                        sleepers.add(pid)
        self._stopped = {pid: self._stopped.get(pid, now) for pid in sleepers}
        for pid, since in list(self._stopped.items()):
            if now - since >= after_seconds:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

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
