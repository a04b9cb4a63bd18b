"""
`make chaos`: the real processes under load, while everything that can fail does; then the CRM's own ledger is read.

DURATION seconds of trouble, drawn from SEED. Exit code 1 when something acknowledged was lost, an effect came twice,
late, wrong or not at all, a request was received that nobody wrote down, or the trouble was less than promised. With BASELINE=1 the same load goes to a service
that answers at once and tells the CRM in the background, killed every five seconds and else left in peace.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest.mock import patch

import psycopg
import requests

from infra.commands import provision
from infra.stand_ins.parts import free_base_port
from infra.stand_ins.postgres import free_port
from infra.stand_ins.processes import Processes
from infra.stand_ins.stack import Stack
from lib.runtime import config
from lib.runtime.vault import vault
from tests.harness.enterprises import enterprise
from tests.harness.servers import CRM, process
from tests.measure.bench.service import Service, kills
from tests.measure.chaos import baseline_crm, trouble, verdict
from tests.measure.chaos.hosts import Enterprise, Host, Sent
from tests.measure.chaos.trouble import PROMISED, WOKEN, Trouble
from tests.measure.chaos.verdict import Verdict

HOSTS: Final = 8
LANES: Final = 2
PAUSE_SECONDS: Final = 2.5
PROGRESS_SECONDS: Final = 5.0
DRAIN_SECONDS: Final = 600.0
# Several workers a function, as several instances in the cloud: one that dies or sleeps leaves the others at work.
# Who dies with a request under way keeps its place at the CRM until its lease is over: with a kill a second, four
# places are soon the dead's.
SETTINGS: Final = {"WORKERS": "3", "THREADS": "6", "RETAILCRM_DELIVERIES_AT_ONCE": "24"}


NEEDED_SECONDS: Final = 40.0
# Of a run that is long enough for each failpoint: kills -9 a second, 2,000 in half an hour.
LONG_SECONDS: Final = 600.0
KILLS_PER_SECOND: Final = 1.12


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`too_little`: how the trouble was less than promised."""

    verdict: Verdict
    injections: Counter[str]
    drained_seconds: float | None
    too_little: Sequence[str]
    report: str

    @property
    def kills(self) -> int:
        return sum(_kills(self.injections))

    @property
    def ok(self) -> bool:
        return self.drained_seconds is not None and not self.verdict.broken and not self.too_little


def too_little(counts: Counter[str], failures: Sequence[str], seconds: float) -> list[str]:
    """What could not be done, and of a long run what was never done, or too seldom."""
    found = list(failures)
    if seconds >= LONG_SECONDS:
        found += [f"never hit: {fault}" for fault in PROMISED if not counts[fault]]
        if sum(_kills(counts)) < seconds * KILLS_PER_SECOND:
            found.append(f"kills -9 {sum(_kills(counts))}, promised {seconds * KILLS_PER_SECOND:.0f}")
    return found


def _kills(counts: Mapping[str, int]) -> tuple[int, int]:
    """`kill -9` at failpoints, and of whole parts."""
    at_failpoints = sum(count for fault, count in counts.items() if fault.startswith("kill at "))
    return at_failpoints, sum(count for fault, count in counts.items() if fault.startswith("kill -9 "))


def _made(making: Trouble) -> str:
    counts = making.counts()
    at_failpoints, of_parts = _kills(counts)
    terminated = sum(count for fault, count in counts.items() if fault.startswith("SIGTERM"))
    stopped = sum(count for fault, count in counts.items() if fault.startswith(("stop", "SIGSTOP")))
    return (
        f"kill -9 {at_failpoints + of_parts}: at failpoints {at_failpoints}, of functions, PostgreSQL and the broker"
        f" {of_parts}; SIGTERM {terminated}; stopped {stopped}, woken after the lease {counts[WOKEN]}"
    )


def run(
    folder: Path,
    *,
    seconds: float,
    seed: int,
    hosts: int = HOSTS,
    drain_seconds: float = DRAIN_SECONDS,
    needed: Sequence[str] = (),
) -> Outcome:
    """It lasts somewhat longer where something `needed` has not happened yet."""
    addresses = [f"127.0.0.{index + 2}" for index in range(hosts)]
    allowed = {"RETAILCRM_EXTRA_HOSTS": ",".join(f"{address}:*" for address in addresses)}
    settings = {**SETTINGS, **trouble.failpoints(), **allowed}
    with _crm(addresses) as crm, Stack(folder, free_base_port(), restart=True, settings=settings) as stack:
        enterprises = _enrol(stack, crm, addresses)
        accounts = [one.number for one in enterprises]
        # Past the gateway of the local stack: what a host sends meets the function itself.
        load = _hosts(stack.url("dispatch-call-event"), enterprises, seed)
        making = Trouble(stack, crm.url, accounts, seed=seed)
        begin = time.monotonic()
        for host in load:
            host.start()
        making.start()
        try:
            over_at = begin + seconds
            while time.monotonic() < over_at:
                stack.pause(min(PROGRESS_SECONDS, max(0.0, over_at - time.monotonic())))
                making.read_failpoints()
                if time.monotonic() >= over_at and not all(making.counts()[fault] for fault in needed):
                    over_at = min(time.monotonic() + 1.0, begin + seconds + NEEDED_SECONDS)
                if making.failures:
                    break
                say(_progress(stack, load, making, time.monotonic() - begin))
        finally:
            for host in load:
                host.stop()
            making.stop()
        for host in load:
            host.join()
        quiet_at = time.monotonic()
        drained = _drain(stack, drain_seconds)
        found = verdict.judge(crm.url, stack.database_url, _sent(load), accounts, making.injections)
        injections = making.counts()
        little = too_little(injections, making.failures, seconds)
        drained_seconds = time.monotonic() - quiet_at if drained else None
        report = "\n".join(
            [
                verdict.table(found, making.injections, PROMISED),
                "",
                verdict.summary(found),
                f"drained in {drained_seconds:.0f} s" if drained_seconds else f"not drained: {_waiting(stack)}",
                f"most requests to one account within a second: {_busiest(crm)} (limit 40)",
                _made(making),
                f"never hit: {', '.join(fault for fault in PROMISED if not injections[fault]) or 'none'}",
                *(f"less trouble than promised: {what}" for what in little),
            ]
        )
        if found.broken or not drained:
            report += f"\nthe last of the logs: {_keep_logs(stack, folder)}"
    return Outcome(
        verdict=found, injections=injections, drained_seconds=drained_seconds, too_little=little, report=report
    )


def baseline(folder: Path, *, seconds: float, seed: int, hosts: int = HOSTS) -> str:
    """The same load, posted to fire and forget."""
    with Stack(folder, free_base_port(), restart=True) as stack:
        crm = stack.url("retailcrm-simulator")
        baseline_crm.account(crm)
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "tests.measure.bench.fire_and_forget:app", f"--port={port}"]
        processes = Processes(str(folder / "beside"))
        service = Service(
            processes=processes,
            commands={"fire-and-forget": command},
            port=port,
            environment={"CRM_URL": crm, "CRM_KEY": baseline_crm.KEY},
            folder=folder,
        )
        with closing(processes), service.started():
            enterprises = [Enterprise(number=f"C{index}", token="-") for index in range(hosts)]
            load = _hosts(f"http://127.0.0.1:{port}", enterprises, seed)
            with baseline_crm.real_crm(crm), kills(service.kill):
                for host in load:
                    host.start()
                begin = time.monotonic()
                while time.monotonic() - begin < seconds:
                    stack.pause(min(PROGRESS_SECONDS, max(0.0, begin + seconds - time.monotonic())))
                    say(f"{time.monotonic() - begin:5.0f} s  {_load_line(load)}")
                for host in load:
                    host.stop()
                for host in load:
                    host.join()
            time.sleep(5)
        rows = requests.get(f"{crm}/_sim/ledger/calls", timeout=60).json()["calls"]
    held = {row["call"]["phone"].lstrip("+") for row in rows}
    sent = _sent(load)
    ended = {one.call.phone for one in sent if one.path == "/hangup" and one.is_acknowledged}
    rang = {one.call.phone for one in sent if one.path == "/dial" and one.is_acknowledged}
    return (
        f"fire and forget, a kill every 5 s, a CRM that takes a second: events sent {len(sent)}, acknowledged"
        f" {sum(one.is_acknowledged for one in sent)}; calls that rang {len(rang)}, acknowledged hangups {len(ended)},"
        f" of them without a row {len(ended - held)}"
    )


@contextmanager
def _crm(addresses: Sequence[str]) -> Iterator[CRM]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with process(
        "tests.measure.chaos.crm", f"--port={port}", "--hosts", "127.0.0.1", *addresses, health=f"{url}/_sim/health"
    ):
        yield CRM(url=url)


def _enrol(stack: Stack, crm: CRM, addresses: Sequence[str]) -> list[Enterprise]:
    vault.forget()
    config.current.cache_clear()
    enterprises = [Enterprise(number=f"C{index}", token=f"token-of-C{index}") for index in range(len(addresses))]
    for one, address in zip(enterprises, addresses, strict=True):
        crm.account(one.number)
        # A call whose hangup never came is over soon, so that the end of the run does not wait for hours.
        domain = f"http://{address}:{crm.url.rpartition(':')[2]}"
        data = enterprise(one.number, token=one.token, domain=domain, finalize_after_seconds=20, call_max_hours=0.01)
        with patch.dict(os.environ, stack.layout.environment()), psycopg.connect(stack.database_url) as conn:
            assert provision.check(data) == []
            provision.provision(conn, data)
    vault.forget()
    config.current.cache_clear()
    return enterprises


def _hosts(url: str, enterprises: Sequence[Enterprise], seed: int) -> list[Host]:
    return [Host(url, one, lanes=LANES, pause_seconds=PAUSE_SECONDS, seed=seed) for one in enterprises]


def _sent(load: Sequence[Host]) -> list[Sent]:
    return [sent for host in load for sent in host.sent]


def _load_line(load: Sequence[Host]) -> str:
    sent = _sent(load)
    acknowledged = sum(one.is_acknowledged for one in sent)
    return f"events {len(sent)}, acknowledged {acknowledged}, calls {len({one.call.phone for one in sent})}"


def _progress(stack: Stack, load: Sequence[Host], making: Trouble, seconds: float) -> str:
    counts = making.counts()
    killed = sum(_kills(counts))
    stopped = sum(count for fault, count in counts.items() if fault.startswith(("stop", "SIGSTOP")))
    return f"{seconds:5.0f} s  {_load_line(load)}, kills {killed}, stops {stopped}, {_waiting(stack)}"


def _waiting(stack: Stack) -> str:
    """What is under way, by our tables."""
    try:
        with psycopg.connect(stack.database_url, autocommit=True, connect_timeout=2) as conn:
            [(alone,)] = conn.execute("SELECT count(*) FROM call_events WHERE call_id IS NULL").fetchall()
            [(calls,)] = conn.execute("SELECT count(*) FROM calls WHERE next_wake_at IS NOT NULL").fetchall()
            [(due,)] = conn.execute(
                "SELECT count(*) FROM deliveries WHERE state IN ('ready', 'leased', 'retry')"
            ).fetchall()
    except psycopg.Error:
        return "the database is away"
    return f"waiting: events {alone}, calls {calls}, deliveries {due}"


def _drain(stack: Stack, seconds: float) -> bool:
    """Until nothing waits; twice in a row, because a message may be on its way."""
    quiet, deadline, told = 0, time.monotonic() + seconds, 0.0
    while time.monotonic() < deadline and quiet < 2:
        stack.pause(1.0)
        waiting = _waiting(stack)
        quiet = quiet + 1 if waiting == "waiting: events 0, calls 0, deliveries 0" else 0
        if time.monotonic() - told > PROGRESS_SECONDS:
            say(f"draining, {waiting}")
            told = time.monotonic()
    return quiet >= 2


def _busiest(crm: CRM) -> int:
    accounts = requests.get(f"{crm.url}/_sim/stats", timeout=60).json()["accounts"]
    return max(account["rates"]["telephony"]["arrived_most_per_second"] for account in accounts.values())


def _keep_logs(stack: Stack, folder: Path) -> Path:
    kept = Path(tempfile.mkdtemp(prefix="chaos-logs-"))
    for log in (folder / "logs").glob("*.log"):
        with contextlib.suppress(OSError):
            (kept / log.name).write_bytes(log.read_bytes())
    with psycopg.connect(stack.database_url, autocommit=True) as conn:
        for name in ("calls", "deliveries", "attempts", "call_events"):
            rows = conn.execute(f"SELECT row_to_json({name}) FROM {name}").fetchall()
            (kept / f"{name}.jsonl").write_text("\n".join(json.dumps(row[0]) for row in rows))
    return kept


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description="The real processes while everything fails")
    parser.add_argument("--duration", type=float, default=float(os.environ.get("DURATION") or 60))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or random.randrange(10**6)))
    parser.add_argument("--hosts", type=int, default=int(os.environ.get("HOSTS") or HOSTS))
    parser.add_argument("--baseline", action="store_true", default=os.environ.get("BASELINE") == "1")
    given = parser.parse_args()
    print(f"SEED={given.seed} DURATION={given.duration:.0f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        if given.baseline:
            print(baseline(Path(folder), seconds=given.duration, seed=given.seed, hosts=given.hosts))
            return 0
        outcome = run(Path(folder), seconds=given.duration, seed=given.seed, hosts=given.hosts)
    print(f"\n{outcome.report}\nSEED={given.seed}: {'kept' if outcome.ok else 'BROKEN'}")
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
