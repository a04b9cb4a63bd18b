"""Docker, and the composition of docker-compose.yml with the embedded emulator, where they can be had."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from infra.commands import env
from infra.stand_ins.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
IMAGES = {
    "PYTHON_IMAGE": "python:3.11-slim-bookworm",
    "POSTGRES_IMAGE": "postgres:15-bookworm",
    "NGINX_IMAGE": "nginx:stable-bookworm",
}
FILES = ("docker-compose.yml", "docker-compose.embedded.yml")
SECONDS_TO_BUILD = 600


def image(variable: str) -> str:
    return os.environ.get(variable) or IMAGES[variable]


@cache
def missing() -> str:
    """Why containers cannot be run here; empty when they can."""
    if shutil.which("docker") is None:
        return "no Docker here"
    if subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20).returncode:
        return "Docker does not run here"
    if not compose():
        return "no Docker Compose here"
    for variable in IMAGES:
        found = subprocess.run(["docker", "image", "inspect", image(variable)], capture_output=True, check=False)
        if found.returncode:
            return f"Docker has no image {image(variable)}: docker pull {image(variable)}"
    return ""


@cache
def compose() -> tuple[str, ...]:
    """The second version where it is there, else the first; COMPOSE names another."""
    for command in (os.environ.get("COMPOSE", ""), "docker compose", "docker-compose"):
        words = command.split()
        if words and shutil.which(words[0]):
            found = subprocess.run([*words, "version"], capture_output=True, check=False)
            if found.returncode == 0:
                return tuple(words)
    return ()


@pytest.fixture(scope="session")
def docker() -> None:
    if missing():
        pytest.skip(f"containers: {missing()}")


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A project of Compose that runs; its containers by the names of their services."""

    name: str
    env_file: Path
    environment: Mapping[str, str]

    def url(self, variable: str) -> str:
        return f"http://{self.environment[variable]}"

    def compose(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        command = [*compose(), "--project-name", self.name, "--env-file", str(self.env_file), "--profile", "demo"]
        command += [word for file in FILES for word in ("--file", file)]
        done = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env=os.environ | self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def containers(self, service: str = "", *, also_ended: bool = False) -> list[dict[str, Any]]:
        """What Docker knows of each."""
        labels = [f"label=com.docker.compose.project={self.name}"]
        labels += [f"label=com.docker.compose.service={service}"] if service else []
        filters = [word for label in labels for word in ("--filter", label)]
        listed = _docker("ps", "--quiet", *(["--all"] if also_ended else []), *filters).split()
        found: list[dict[str, Any]] = json.loads(_docker("inspect", *listed)) if listed else []
        return sorted(found, key=lambda container: str(container["Name"]))

    def ask(self, service: str, path: str) -> str:
        """What a service answers inside."""
        ask = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080{path}', timeout=5).read().decode())"
        return self.compose("exec", "-T", service, "python", "-c", ask)

    def kill(self, container_id: str) -> None:
        """As a crash does: `docker kill` would tell Docker not to start it again."""
        [found] = json.loads(_docker("inspect", container_id))
        os.kill(found["State"]["Pid"], signal.SIGKILL)

    def wait(self, is_so: Callable[[], object], *, within_seconds: float, what: str) -> None:
        deadline = time.monotonic() + within_seconds
        while not is_so():
            assert time.monotonic() < deadline, f"not within {within_seconds:g} s: {what}"
            time.sleep(0.2)

    def is_back(self, container_id: str, before: str) -> bool:
        """Started again since it was started at `before`, and well: its own health check is asked at once."""
        [found] = json.loads(_docker("inspect", container_id))
        if not found["State"]["Running"] or found["State"]["StartedAt"] == before:
            return False
        kind, *check = found["Config"]["Healthcheck"]["Test"]
        command = ["sh", "-c", *check] if kind == "CMD-SHELL" else check
        asked = subprocess.run(["docker", "exec", container_id, *command], capture_output=True, check=False, timeout=20)
        return asked.returncode == 0


@pytest.fixture(scope="session")
def composition(docker: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    """Built and up, as `docker compose --profile demo up` makes it, on ports of its own; gone afterwards."""
    env_file = tmp_path_factory.mktemp("containers") / ".env"
    env.complete(env_file, demo=True)
    gateway = f"127.0.0.1:{free_port()}"
    running = Composition(
        name=f"test-{os.getpid()}",
        env_file=env_file,
        environment={
            "GATEWAY_IMAGE": "telephony-gateway-test",
            "STAND_INS_IMAGE": "telephony-gateway-stand-ins-test",
            "GATEWAY_LISTEN": gateway,
            "PUBLIC_URL": f"http://{gateway}",
            "SIMULATOR_LISTEN": f"127.0.0.1:{free_port()}",
        },
    )
    try:
        running.compose("build", seconds=SECONDS_TO_BUILD)
        running.compose("up", "--detach")
        yield running
    finally:
        log = ROOT / ".cache" / "containers.log"
        log.parent.mkdir(exist_ok=True)
        log.write_text(running.compose("logs", "--no-color", "--timestamps"))
        running.compose("down", "--volumes", "--timeout", "2")


def _docker(*arguments: str) -> str:
    command: Sequence[str] = ["docker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
