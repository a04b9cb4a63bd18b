"""A real nginx with the configuration of the containers: the machine's own, else the one of the container's image."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.deployment.nginx import render
from infra.stand_ins.postgres import free_port

IMAGE = os.environ.get("NGINX_IMAGE") or "nginx:stable-bookworm"
START = render.TARGET.with_name("start.sh")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


@dataclass(frozen=True, kw_only=True)
class Nginx:
    """`log`: what it wrote so far, on both its outputs."""

    port: int
    log: Callable[[], str]


def missing() -> str:
    """Why there is none here; empty when there is."""
    if shutil.which("nginx", path=_PATH) or _has_image():
        return ""
    return "no nginx here (Debian: apt install nginx-light), and no Docker that has its image"


@contextmanager
def running(folder: Path, *, function: str, ui: Path | None = None, **environment: str) -> Iterator[Nginx]:
    """`function`: host:port of whatever it asks; `environment`: what start.sh reads."""
    run = _installed if shutil.which("nginx", path=_PATH) else _contained
    port = free_port()
    with run(folder, render.Place(listen=f"127.0.0.1:{port}", function=function), ui, environment) as log:
        deadline = time.monotonic() + 10
        while not _is_listening(port):
            assert time.monotonic() < deadline, f"nginx does not start: {log()}"
            time.sleep(0.02)
        yield Nginx(port=port, log=log)


@contextmanager
def _installed(
    folder: Path, place: render.Place, ui: Path | None, environment: dict[str, str]
) -> Iterator[Callable[[], str]]:
    (temp := folder / "temp").mkdir()
    place = render.Place(
        listen=place.listen, function=place.function, root=str(ui.parent if ui else folder), temp=str(temp)
    )
    # Its workers would become somebody who cannot read a test's folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    (configuration := folder / "nginx.conf").write_text(user + render.render(place))
    written = folder / "log"
    with written.open("ab") as log:
        process = subprocess.Popen(
            ["sh", str(START), "-c", str(configuration), "-p", str(folder), "-e", "stderr"],
            env={"PATH": _PATH, "TEMP": str(temp), **environment},
            stdout=log,
            stderr=log,
        )
    try:
        yield lambda: written.read_text(errors="replace")
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def _contained(
    folder: Path, place: render.Place, ui: Path | None, environment: dict[str, str]
) -> Iterator[Callable[[], str]]:
    (configuration := folder / "nginx.conf").write_text(render.render(place))
    configuration.chmod(0o644)
    name = f"test-nginx-{secrets.token_hex(4)}"
    mounts = [f"{configuration}:/etc/nginx/nginx.conf:ro", f"{START}:/etc/nginx/start.sh:ro"]
    mounts += [f"{ui}:/srv/retailcrm-admin:ro"] if ui else []
    options = [word for mount in mounts for word in ("--volume", mount)]
    options += [word for variable, value in environment.items() for word in ("--env", f"{variable}={value}")]
    options += ["--read-only", "--tmpfs", "/tmp:mode=1777", "--user", "10001:10001", "--cap-drop", "ALL"]
    command = ["docker", "run", "--detach", "--network", "host", "--name", name, *options, IMAGE]
    subprocess.run([*command, "sh", "/etc/nginx/start.sh"], check=True, capture_output=True)
    try:
        yield lambda: _output("docker", "logs", name)
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True)


def _output(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def _has_image() -> bool:
    if shutil.which("docker") is None:
        return False
    found = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False, timeout=20)
    return found.returncode == 0


def _is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
