"""A real Prometheus that scrapes a running stack every second, with the rules of infra/watch in less time."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml  # type: ignore[import-untyped]

from infra.stand_ins.postgres import free_port
from infra.stand_ins.stack import Stack

WATCH = Path(__file__).resolve().parents[2] / "infra" / "watch"
# Of the rules a minute takes so long.
MINUTE_SECONDS = 2
_UNITS = {"s": 1 / 60, "m": 1, "h": 60, "d": 1440, "w": 10_080}


def missing() -> str:
    """Why there is none here; empty when there is."""
    return "" if shutil.which("prometheus") else "Prometheus is not installed (Debian: apt install prometheus)"


def shortened(rules: str, thresholds: Mapping[str, str]) -> str:
    """The rules with every span of time shortened, and these texts, which stand there once, replaced."""
    for old, new in thresholds.items():
        assert rules.count(old) == 1, old
        rules = rules.replace(old, new)

    def short(found: re.Match[str]) -> str:
        return f"{found[1]}{round(int(found[2]) * _UNITS[found[3]] * MINUTE_SECONDS)}s"

    return re.sub(r"(\[|offset |for: )(\d+)([smhdw])(?=\b)", short, rules)


@dataclass(frozen=True)
class Prometheus:
    url: str

    def get(self, path: str, **parameters: str) -> Any:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def query(self, expression: str) -> list[Any]:
        found: list[Any] = self.get("query", query=expression)["result"]
        return found

    def firing(self) -> dict[str, dict[str, str]]:
        """By name, what each alert that fires says."""
        alerts = self.get("alerts")["alerts"]
        return {one["labels"]["alertname"]: one["annotations"] for one in alerts if one["state"] == "firing"}

    def wait(self, name: str, *, fires: bool, within_seconds: float = 90.0) -> dict[str, str]:
        """Until the alert fires, or does not any more; what it says."""
        deadline = time.monotonic() + within_seconds
        while (name in (found := self.firing())) != fires:
            assert time.monotonic() < deadline, f"{name} {'does not fire' if fires else 'still fires'}; {sorted(found)}"
            time.sleep(0.3)
        return found.get(name, {})


@contextmanager
def watching(stack: Stack, folder: Path, thresholds: Mapping[str, str]) -> Iterator[Prometheus]:
    token = folder / "operator-token"
    token.write_text(stack.secrets.operator_token)
    (folder / "alerts.yml").write_text(shortened((WATCH / "alerts.yml").read_text(), thresholds))
    targets = [
        {"targets": [stack.url(name).removeprefix("http://")], "labels": {"function": name}}
        for name in stack.layout.functions()
    ]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [
            {"job_name": "gateway", "authorization": {"credentials_file": str(token)}, "static_configs": targets}
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    arguments = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["prometheus", *arguments], stdout=log, stderr=log)
        try:
            found = Prometheus(url=f"http://{address}")
            _wait_until_ready(found, process, folder / "log")
            yield found
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_until_ready(found: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            if requests.get(f"{found.url}/-/ready", timeout=2).status_code == 200:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
