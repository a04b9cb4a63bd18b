"""
`make bench`: how fast the gateway is, beside a function that does nothing and a service that keeps nothing.

One run, one machine, one table: acknowledgement and event → CRM at 20 events/s (open loop), sustained ingest at
concurrency 16, and how many history rows each loses when it is killed every five seconds at 90 events/s while the
CRM takes a second to answer. Figures of different machines do not compare;
the ratios do.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil
import requests

from infra.stand_ins.parts import free_base_port
from infra.stand_ins.postgres import free_port
from infra.stand_ins.stack import Stack
from tests.harness.enterprises import TOKEN, enterprise
from tests.measure.bench.load import Event, Outcome, closed_loop, open_loop

RATE: Final = 20.0
KILL_RATE: Final = 90.0
KILL_SECONDS: Final = 15.0
SLOW_CRM_MS: Final = 1000
CONCURRENCY: Final = 16
# The CRM of the bench takes whatever comes; only the gateway is measured.
UNLIMITED: Final = {"RETAILCRM_TELEPHONY_PER_SECOND": "0", "RETAILCRM_DELIVERIES_AT_ONCE": "0"}
KEY: Final = "key-of-0367"
SETTLED_SECONDS: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class Row:
    name: str
    ack: Sequence[float] = ()
    to_crm: Sequence[float] = ()
    ingest: float | None = None
    memory_mb: float | None = None
    lost: str = "—"


def missed_calls(count: int) -> list[Event]:
    """Incoming calls that nobody answers, interleaved as their times say: start, dial, hangup."""
    calls: list[list[Event]] = []
    now = int(time.time())
    for index in range(count):
        unique_id = f"{now + index // 7}.{index}"
        phone = f"37529{1_000_000 + index}"
        local = (datetime.fromtimestamp(now + index // 7, UTC) + timedelta(hours=3)).strftime("%Y-%m-%d %H:%M:%S")
        common = {"Token": TOKEN, "UniqueId": unique_id, "Phone": phone, "CallType": 0, "Trunk": "0001301"}
        times = {"StartTime": local, "DateReceived": local, "EndTime": local}
        calls.append(
            [
                ("/start", common),
                ("/dial", {**common, "Extensions": ["150", "151"], "ExtTrunk": "", "ExtPhone": phone}),
                ("/hangup", {**common, "Extensions": [""], "CallStatus": "0", **times}),
            ]
        )
    # Seven calls are under way at any time: an event of each in turn.
    lanes = [list(itertools.chain.from_iterable(calls[lane::7])) for lane in range(7)]
    return [event for events in itertools.zip_longest(*lanes) for event in events if event]


def endless_events() -> Iterator[Event]:
    """Events of ever new calls, for ingest alone."""
    now = int(time.time())
    for index in itertools.count():
        body = {"Token": TOKEN, "UniqueId": f"{now}.{index}", "Phone": f"37529{index % 10**7:07d}", "CallType": 0}
        yield "/start", {**body, "Trunk": "0001301"}


def account(crm: str) -> None:
    users = [{"id": int(user)} for user in ("18", "19", "20", "21")]
    codes = [{"user_id": 18, "code": "150"}, {"user_id": 19, "code": "151"}]
    data = {
        "name": "bench",
        "api_key": KEY,
        "users": users,
        "additional_codes": codes,
        "module_active": True,
        "behaviour": {"telephony_per_second": 0, "other_per_second": 0},
    }
    requests.post(f"{crm}/_sim/accounts", json=data, timeout=5).raise_for_status()


def popups_at(crm: str) -> dict[str, float]:
    """Phone → when the CRM received the first pop-up about it."""
    entries = requests.get(f"{crm}/_sim/ledger?account=bench&kind=event", timeout=10).json()["entries"]
    found: dict[str, float] = {}
    for entry in entries:
        event = (entry["applied"] or {}).get("event", {})
        if event.get("type") == "in":
            found.setdefault(event["phone"].lstrip("+"), entry["received_at"])
    return found


def rows_of(crm: str) -> set[str]:
    """The phones of the history rows that the CRM holds."""
    calls = requests.get(f"{crm}/_sim/ledger/calls?account=bench", timeout=10).json()["calls"]
    return {row["call"]["phone"].lstrip("+") for row in calls}


def delays_ms(outcome: Outcome, received: Mapping[str, float]) -> list[float]:
    """From the moment that a dial was due to the CRM's receipt of its pop-up."""
    return sorted(
        (received[body["Phone"]] - due) * 1000
        for (path, body), due, _ in outcome.acknowledged
        if path == "/dial" and body["Phone"] in received
    )


def lost_of(outcome: Outcome, rows: set[str]) -> str:
    """Acknowledged hangups without a history row."""
    acknowledged = {body["Phone"] for (path, body), _, _ in outcome.acknowledged if path == "/hangup"}
    return f"{len(acknowledged - rows)} of {len(acknowledged)}"


def wait_for_rows(crm: str, outcome: Outcome, seconds: float) -> None:
    acknowledged = {body["Phone"] for (path, body), _, _ in outcome.acknowledged if path == "/hangup"}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not acknowledged <= rows_of(crm):
        time.sleep(0.5)


def bench_gateway(stack: Stack, seconds: float) -> Row:
    dispatch, crm = stack.url("dispatch-call-event"), stack.url("retailcrm-simulator")
    open_loop(dispatch, missed_calls(20), per_second=RATE)
    requests.delete(f"{crm}/_sim/ledger", timeout=5)
    say("gateway: 20 events/s")
    steady = open_loop(dispatch, missed_calls(int(seconds * RATE / 3)), per_second=RATE)
    time.sleep(3)
    to_crm = delays_ms(steady, popups_at(crm))
    memory = memory_mb(pids(stack)["dispatch-call-event"])
    say(f"gateway: ingest at concurrency {CONCURRENCY}")
    ingest = closed_loop(dispatch, endless_events(), concurrency=CONCURRENCY, seconds=seconds / 3)
    wait_until_quiet(stack)
    say("gateway: killed under load")
    with real_crm(crm), kills(partial(kill_functions, stack)):
        killed = open_loop(dispatch, missed_calls(int(KILL_SECONDS * KILL_RATE / 3)), per_second=KILL_RATE)
    wait_for_rows(crm, killed, SETTLED_SECONDS)
    return Row(
        name="this gateway",
        ack=steady.latencies_ms(),
        to_crm=to_crm,
        ingest=len(ingest.acknowledged) / ingest.seconds,
        memory_mb=memory,
        lost=lost_of(killed, rows_of(crm)),
    )


def kill_functions(stack: Stack) -> None:
    for name in ("dispatch-call-event", "retailcrm-deliver"):
        stack.kill(name)


def bench_service(name: str, command: Sequence[str], port: int, crm: str | None, seconds: float) -> Row:
    """A service of one process, that is started again at once when it is killed."""
    url = f"http://127.0.0.1:{port}"
    service = Service(command, port, {"CRM_URL": crm or "", "CRM_KEY": KEY})
    try:
        open_loop(url, missed_calls(20), per_second=RATE)
        if crm:
            requests.delete(f"{crm}/_sim/ledger", timeout=5)
        say(f"{name}: 20 events/s")
        steady = open_loop(url, missed_calls(int(seconds * RATE / 3)), per_second=RATE)
        time.sleep(1)
        to_crm = delays_ms(steady, popups_at(crm)) if crm else []
        memory = memory_mb(service.pid)
        say(f"{name}: ingest at concurrency {CONCURRENCY}")
        ingest = closed_loop(url, endless_events(), concurrency=CONCURRENCY, seconds=seconds / 3)
        lost = "—"
        if crm:
            say(f"{name}: killed under load")
            with real_crm(crm), kills(service.kill):
                killed = open_loop(url, missed_calls(int(KILL_SECONDS * KILL_RATE / 3)), per_second=KILL_RATE)
            wait_for_rows(crm, killed, 10)
            lost = lost_of(killed, rows_of(crm))
    finally:
        service.end()
    return Row(
        name=name,
        ack=steady.latencies_ms(),
        to_crm=to_crm,
        ingest=len(ingest.acknowledged) / ingest.seconds,
        memory_mb=memory,
        lost=lost,
    )


class Service:
    def __init__(self, command: Sequence[str], port: int, environment: Mapping[str, str]) -> None:
        self._command, self._port = command, port
        self._environment = {**os.environ, **environment, "THREADS": "8", "WORKERS": "1", "PYTHONPATH": "."}
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._end(signal.SIGKILL)
        self._start()

    def end(self) -> None:
        self._end(signal.SIGTERM)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                requests.get(f"http://127.0.0.1:{self._port}/", timeout=1)
            except requests.RequestException:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"{self._command[0]} did not start")

    def _end(self, how: signal.Signals) -> None:
        os.killpg(self._process.pid, how)
        self._process.wait(timeout=20)


@contextmanager
def real_crm(crm: str) -> Iterator[None]:
    """A CRM with an empty ledger that takes a second, as a real one on a bad day; the simulator answers at once."""
    requests.delete(f"{crm}/_sim/ledger", timeout=5)
    requests.post(f"{crm}/_sim/faults", json={"mode": "slow", "delay_ms": SLOW_CRM_MS}, timeout=5).raise_for_status()
    try:
        yield
    finally:
        requests.delete(f"{crm}/_sim/faults", timeout=5)


@contextmanager
def kills(kill: Any, *, every_seconds: float = 5.0) -> Iterator[None]:
    """Kills every few seconds while inside."""
    import threading

    over = threading.Event()

    def work() -> None:
        while not over.wait(every_seconds):
            kill()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def pids(stack: Stack) -> dict[str, int]:
    found: dict[str, int] = json.loads((stack.layout.run_dir / "stack.json").read_text())["pids"]
    return found


def wait_until_quiet(stack: Stack) -> None:
    """Until what was taken in is assembled, so that it does not weigh on what is measured next."""
    import psycopg

    deadline = time.monotonic() + 120
    with psycopg.connect(stack.database_url, autocommit=True) as conn:
        while time.monotonic() < deadline:
            row = conn.execute("SELECT count(*) FROM call_events WHERE call_id IS NULL").fetchone()
            if row == (0,):
                return
            time.sleep(0.5)


def memory_mb(pid: int) -> float:
    """Of a process and its children, shared pages counted once (PSS), in MiB."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(process.memory_full_info().pss for process in processes) / 2**20


def table(rows: Sequence[Row]) -> str:
    head = [
        "",
        "ack p50",
        "ack p99",
        "event→CRM p50",
        "event→CRM p99",
        "ingest/s",
        "memory MiB",
        "rows lost when killed",
    ]
    lines = [head, ["---"] * len(head)]
    base = rows[0]
    lines += [
        [
            row.name,
            _ms(row.ack, 50, base.ack),
            _ms(row.ack, 99, base.ack),
            _ms(row.to_crm, 50, base.to_crm),
            _ms(row.to_crm, 99, base.to_crm),
            f"{row.ingest:.0f} ({row.ingest / base.ingest:.2f}×)" if row.ingest and base.ingest else "—",
            f"{row.memory_mb:.0f}" if row.memory_mb else "—",
            row.lost,
        ]
        for row in rows
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def percentile(values: Sequence[float], rank: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[rank - 1]


def _ms(values: Sequence[float], rank: int, base: Sequence[float]) -> str:
    if len(values) < 2:
        return "—"
    value = percentile(values, rank)
    ratio = f" ({value / percentile(base, rank):.2f}×)" if len(base) > 1 else ""
    return f"{value:.1f} ms{ratio}"


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--seconds", type=float, default=30, help="how long each load lasts")
    seconds = parser.parse_args().seconds
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Stack(Path(folder), free_base_port(), restart=True, settings=UNLIMITED) as stack,
    ):
        crm = stack.url("retailcrm-simulator")
        account(crm)
        file = Path(folder) / "enterprise.json"
        file.write_text(json.dumps(enterprise(domain=crm)))
        stack.run("provision", "infra.commands.provision", str(file))
        rows = [bench_gateway(stack, seconds)]
        python = sys.executable
        ports = free_port(), free_port()
        nothing = [
            python,
            "-m",
            "functions_framework",
            "--source=tests/measure/bench/do_nothing.py",
            "--target=do_nothing",
        ]
        rows.append(bench_service("do-nothing function", [*nothing, f"--port={ports[0]}"], ports[0], None, seconds))
        forget = [python, "-m", "uvicorn", "tests.measure.bench.fire_and_forget:app", f"--port={ports[1]}"]
        rows.append(bench_service("fire and forget", forget, ports[1], crm, seconds))
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
