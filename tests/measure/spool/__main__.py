"""
`python -m tests.measure.spool`: what the spool acknowledged, it delivers, however often it is killed.

A host posts without a pause; the spool gets kill -9 every few hundred milliseconds; the gateway is there, away, silent
or answers 503, by turns. At the end all of them are well: every event that was answered with 2xx must have reached the
gateway. Copies are counted: the gateway knows them by their content. Exit code 1 when one is missing.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import requests

from tests.harness.spool import Gateway, Spool, gateway

WELL, AWAY, BUSY = 200, 0, 503
DRAIN_SECONDS = 120.0


def run(folder: Path, *, seconds: float, seed: int) -> int:
    dice = random.Random(seed)
    acknowledged: list[str] = []
    with gateway() as server:
        spool = Spool(to=server.url, data=folder / "data", options=("--late-seconds", "1")).start()
        stop = threading.Event()
        hosts = [threading.Thread(target=_post, args=(spool, stop, acknowledged, name)) for name in range(4)]
        for host in hosts:
            host.start()
        began, kills = time.monotonic(), 0
        try:
            while time.monotonic() - began < seconds:
                time.sleep(dice.uniform(0.05, 0.5))
                server.status = dice.choice((WELL, WELL, WELL, AWAY, BUSY))
                spool.kill()
                kills += 1
                spool.start()
                if sys.stdout.isatty():
                    print(f"\r{kills} kills, {len(acknowledged)} acknowledged", end="", flush=True)
        finally:
            stop.set()
            for host in hosts:
                host.join()
            server.status = WELL
            drained = _drain(spool)
            spool.kill()
        return _judge(server, acknowledged, kills, drained)


def _post(spool: Spool, stop: threading.Event, acknowledged: list[str], name: int) -> None:
    session, number = requests.Session(), 0
    while not stop.is_set():
        number += 1
        unique_id = f"{1758798777 + name}.{number}"
        body = {"Token": f"37529000000{name}", "UniqueId": unique_id, "Phone": "375291111111", "CallType": 0}
        try:
            answer = session.post(f"{spool.url}/dial", json=body, timeout=3)
        except requests.RequestException:
            time.sleep(0.005)
            continue
        if answer.status_code == 200:
            acknowledged.append(unique_id)


def _drain(spool: Spool) -> float | None:
    """Seconds until nothing waits."""
    began = time.monotonic()
    while time.monotonic() - began < DRAIN_SECONDS:
        if not spool.health()["waiting"]:
            return time.monotonic() - began
        time.sleep(0.1)
    return None


def _judge(server: Gateway, acknowledged: list[str], kills: int, drained: float | None) -> int:
    ids = server.ids
    lost = set(acknowledged) - set(ids)
    ended = "not drained" if drained is None else f"drained in {drained:.1f} s"
    print(
        f"\r{kills} kills, {len(acknowledged)} acknowledged, {len(lost)} lost, {len(ids) - len(set(ids))} copies, {ended}"
    )
    return 1 if lost or drained is None or not acknowledged else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills the spool and counts at the gateway")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spool-") as folder:
        return run(Path(folder), seconds=given.seconds, seed=given.seed)


if __name__ == "__main__":
    sys.exit(main())
