"""
`python -m tests.measure.bench.smart_redirect`: how long a ringing call waits, with a CRM that answers and one that hangs.

One function process with 8 threads, as deployed; every call from another customer, so nothing is cached; an open
loop, in which the time that a question waits for its turn counts. Loopback only, bounded in time.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
import requests

from infra.commands import provision
from infra.deployment import migrate
from infra.stand_ins import postgres
from infra.stand_ins.postgres import free_port
from lib.runtime import config, db
from tests.conftest import VAULT_KEYS
from tests.harness.enterprises import enterprise
from tests.harness.servers import CRM

BUDGET_MS = 1000
SENDERS = 64
TOKENS = {"0367": "375290000001", "0368": "375290000002"}


@dataclass(kw_only=True)
class Outcome:
    milliseconds: list[float] = field(default_factory=list)
    routed: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def row(self, name: str) -> str:
        ranks = statistics.quantiles(self.milliseconds, n=100, method="inclusive")
        figures = (ranks[49], ranks[94], ranks[98], max(self.milliseconds))
        cells = [name, str(len(self.milliseconds)), *(f"{value:.0f} ms" for value in figures)]
        return "| " + " | ".join([*cells, str(self.routed), str(self.failures.total())]) + " |"


class Load:
    def __init__(self, port: int) -> None:
        self._port = port
        self._local = threading.local()
        self._lock = threading.Lock()
        self._customer = 1_000_000

    def run(self, numbers: list[str], *, per_second: float, seconds: float) -> dict[str, Outcome]:
        """`per_second` for each of the enterprises."""
        outcomes = {number: Outcome() for number in numbers}
        begin = time.monotonic()
        with ThreadPoolExecutor(SENDERS) as pool:
            for index in range(int(per_second * seconds)):
                due = begin + index / per_second
                time.sleep(max(0.0, due - time.monotonic()))
                for number in numbers:
                    self._customer += 1
                    pool.submit(self._ask, outcomes[number], number, f"37529{self._customer}", due)
        return outcomes

    def _ask(self, outcome: Outcome, number: str, phone: str, due: float) -> None:
        body = json.dumps({"UniqueId": "1.1", "Phone": phone, "TrunkId": "0001301", "LoadDialPlan": "true"})
        headers = {"Token": TOKENS[number], "Content-Type": "application/json"}
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
            connection.request("POST", "/api/callevent/getcustomerdata", body, headers)
            response = connection.getresponse()
            text = response.read()
            connection.close()
            failure = "" if response.status == 200 and set(json.loads(text)) == {"Name", "DialPlan"} else text.decode()
        except (OSError, http.client.HTTPException, ValueError) as error:
            failure, text = type(error).__name__, b"{}"
        with self._lock:
            outcome.milliseconds.append((time.monotonic() - due) * 1000)
            outcome.routed += b"mngr" in text
            if failure:
                outcome.failures[failure] += 1


@contextmanager
def function(port: int) -> Iterator[None]:
    command = ["functions_framework", "--source=functions/smart-redirect/main.py", "--target=smart_redirect"]
    running = subprocess.Popen(
        [sys.executable, "-m", *command, "--host=127.0.0.1", f"--port={port}"],
        env={**os.environ, "THREADS": "8", "WORKERS": "1", "PYTHONPATH": "."},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                requests.get(f"http://127.0.0.1:{port}/health", timeout=2).raise_for_status()
                break
            except requests.RequestException:
                if running.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the function did not start") from None
                time.sleep(0.1)
        yield
    finally:
        running.terminate()
        running.wait(timeout=20)


def prepare(crm: CRM) -> None:
    for number, token in TOKENS.items():
        phones = [f"+37529{1_000_000 + index}" for index in range(3000)]
        customers = [{"phones": [phone], "first_name": "Иван", "manager_id": 19} for phone in phones]
        crm.account(number, customers=customers, behaviour={"telephony_per_second": 0, "other_per_second": 0})
        chosen = {"smart_redirect_mode": "routing+name", "smart_redirect_ignore_hours": True}
        with db.transaction() as conn:
            provision.provision(conn, enterprise(number, token=token, domain=crm.url, **chosen))
    db.close()


def reasons(url: str) -> str:
    """Why the calls since the last time went where they went; both enterprises together."""
    time.sleep(1.0)
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            """
            WITH gone AS (DELETE FROM integration_logs RETURNING response_data ->> 'reason' AS reason)
            SELECT reason, count(*) FROM gone GROUP BY reason ORDER BY 2 DESC
            """
        ).fetchall()
    return ", ".join(f"{reason} {count}" for reason, count in rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.bench.smart_redirect")
    parser.add_argument("--seconds", type=float, default=12, help="how long each load lasts")
    parser.add_argument("--rate", type=float, default=30, help="ringing calls a second")
    given = parser.parse_args()
    with postgres.throwaway() as url, CRM.started() as crm:
        os.environ |= {
            "DATABASE_URL": url,
            "VAULT_KEYS": VAULT_KEYS,
            "RETAILCRM_EXTRA_HOSTS": "127.0.0.1:*",
            "SMART_REDIRECT_BUDGET_MS": str(BUDGET_MS),
        }
        config.current.cache_clear()
        migrate.apply(url)
        prepare(crm)

        def show(name: str, outcome: Outcome) -> None:
            print(outcome.row(name) + f" {reasons(url)} |")

        print(f"{given.rate:g} calls/s for {given.seconds:g} s, budget {BUDGET_MS} ms\n")
        print(
            "| CRM | calls | p50 | p95 | p99 | max | routed | failures | reasons |\n|---|---|---|---|---|---|---|---|---|"
        )
        port = free_port()
        with function(port):
            load = Load(port)
            load.run(["0367", "0368"], per_second=5, seconds=2)
            healthy = load.run(["0367"], per_second=given.rate, seconds=given.seconds)
            show("answers", healthy["0367"])
            crm.fault("hang_before_apply", endpoint="manager", account="0367")
            hanging = load.run(["0367"], per_second=given.rate, seconds=given.seconds)
            show("hangs", hanging["0367"])
            beside = load.run(["0367", "0368"], per_second=given.rate / 2, seconds=given.seconds)
            show("hangs, half the rate", beside["0367"])
            show("of another enterprise meanwhile, half the rate", beside["0368"])
            crm.clear()
            crm.fault("slow", endpoint="manager", account="0367", delay_ms=600)
            slow = load.run(["0367"], per_second=given.rate, seconds=given.seconds)
            show("answers after 600 ms", slow["0367"])
    failures = [run.failures for one in (healthy, hanging, beside, slow) for run in one.values()]
    return 1 if any(failures) else 0


if __name__ == "__main__":
    sys.exit(main())
