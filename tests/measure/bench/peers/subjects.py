"""The durable peers as they are started: a process that takes events in, one that tells the CRM, and their queue."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from infra.stand_ins import postgres
from infra.stand_ins.postgres import free_port
from infra.stand_ins.processes import ROOT, Command, Processes
from tests.measure.bench.peers import environment
from tests.measure.bench.service import Service, Subject

_MODULES: Final = "tests.measure.bench.peers"
# Of each worker: what waits for the CRM costs it nothing.
_AT_ONCE: Final = 32


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all peers share. `database_url`, `postgres_pid`: the cluster that the gateway uses too, as it is set."""

    processes: Processes
    folder: Path
    python: str
    database_url: str
    postgres_pid: int
    telling: Mapping[str, str]


def subjects(bench: Bench, say: Callable[[str], None]) -> list[Subject]:
    found = [
        Subject(name="FastAPI + Procrastinate", running=partial(_procrastinate, bench)),
        Subject(name="FastAPI + PgQueuer", running=partial(_pgqueuer, bench)),
    ]
    redis = environment.redis_server()
    if redis:
        found.append(Subject(name="FastAPI + Celery + Redis", running=partial(_celery, bench, redis)))
    else:
        say("FastAPI + Celery + Redis is skipped: this machine has no redis-server")
    return found


@contextmanager
def _procrastinate(bench: Bench) -> Iterator[Service]:
    app = f"--app={_MODULES}.with_procrastinate.queue"
    command = [bench.python, "-m", "procrastinate", app]
    with postgres.database(bench.database_url) as url:
        settings = {"PEER_DATABASE_URL": url}
        _run(bench, [*command, "schema", "--apply"], settings)
        worker = [*command, "worker", f"--concurrency={_AT_ONCE}", "--delete-jobs=successful"]
        with _service(bench, "with_procrastinate", worker, settings, {"postgres": bench.postgres_pid}) as service:
            yield service


@contextmanager
def _pgqueuer(bench: Bench) -> Iterator[Service]:
    command = [bench.python, "-m", "pgqueuer"]
    with postgres.database(bench.database_url) as url:
        settings = {"PEER_DATABASE_URL": url, "PGDSN": url}
        _run(bench, [*command, "install"], settings)
        worker = [bench.python, "-m", f"{_MODULES}.with_pgqueuer"]
        with _service(bench, "with_pgqueuer", worker, settings, {"postgres": bench.postgres_pid}) as service:
            yield service


@contextmanager
def _celery(bench: Bench, redis: str) -> Iterator[Service]:
    port = free_port()
    worker = [bench.python, "-m", "celery", f"--app={_MODULES}.with_celery.queue", "worker", "--pool=threads"]
    worker += [f"--concurrency={_AT_ONCE}", "--without-gossip", "--without-mingle", "--loglevel=WARNING"]
    with tempfile.TemporaryDirectory(prefix="redis-", dir=bench.folder) as data:
        argv = [redis, "--port", str(port), "--bind", "127.0.0.1", "--dir", data, "--save", ""]
        argv += ["--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"]
        bench.processes.start(Command(name="redis", argv=argv, log=bench.folder / "redis.log"))
        try:
            beside = {"redis": bench.processes.pids()["redis"]}
            settings = {"PEER_REDIS_URL": f"redis://127.0.0.1:{port}/0"}
            with _service(bench, "with_celery", worker, settings, beside) as service:
                yield service
        finally:
            bench.processes.stop(["redis"], within_seconds=5)
            shutil.rmtree(Path(data), ignore_errors=True)
            Path(data).mkdir()


def _service(
    bench: Bench, module: str, worker: Sequence[str], settings: Mapping[str, str], beside: Mapping[str, int]
) -> AbstractContextManager[Service]:
    port = free_port()
    web = [bench.python, "-m", "uvicorn", f"{_MODULES}.{module}:app", "--host=127.0.0.1", f"--port={port}"]
    return Service(
        processes=bench.processes,
        commands={f"{module} intake": [*web, "--no-access-log"], f"{module} worker": worker},
        port=port,
        environment={**bench.telling, **settings},
        folder=bench.folder,
        beside=beside,
    ).started()


def _run(bench: Bench, argv: Sequence[str], settings: Mapping[str, str]) -> None:
    """To its end. Raises CalledProcessError."""
    subprocess.run(
        argv, cwd=ROOT, env={**os.environ, **settings, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True
    )
