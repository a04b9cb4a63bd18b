"""A PostgreSQL and its streaming replica on loopback, with a network between them that can be cut."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from infra.stand_ins import postgres
from infra.stand_ins.postgres import Cluster
from infra.stand_ins.processes import Command, Processes
from tests.harness.proxy import Proxy

READY_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Pair:
    primary: Cluster
    standby: Cluster
    network: Proxy
    processes: Processes

    @classmethod
    @contextmanager
    def started(cls, folder: Path, *, synchronous: bool) -> Iterator[Pair]:
        primary = Cluster(data_dir=(folder / "primary").resolve(), port=postgres.free_port())
        processes = Processes(str(primary.data_dir))
        try:
            primary.prepare()
            _start(processes, primary, "primary")
            with Proxy.started(primary.port) as network:
                standby = _copy(primary, network)
                _start(processes, standby, "standby")
                pair = cls(primary=primary, standby=standby, network=network, processes=processes)
                if synchronous:
                    pair.ask(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
                    pair.ask(primary, "SELECT pg_reload_conf()")
                pair.wait_for_standby()
                try:
                    yield pair
                finally:
                    network.heal()
        finally:
            processes.close()

    @property
    def url(self) -> str:
        """Both hosts: whoever connects finds the one that writes."""
        one, other = f"127.0.0.1:{self.primary.port}", f"127.0.0.1:{self.standby.port}"
        return self.primary.url.replace(one, f"{one},{other}") + "?target_session_attrs=read-write"

    def ask(self, cluster: Cluster, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(cluster.url, autocommit=True) as conn:
            cursor = conn.execute(query)
            return cursor.fetchall() if cursor.description else []

    def wait_for_standby(self) -> None:
        """Until it has everything that the primary has."""
        behind = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"
        deadline = time.monotonic() + READY_SECONDS
        while self.ask(self.primary, behind) != [(1,)]:
            assert time.monotonic() < deadline, "the standby does not keep up"
            time.sleep(0.02)

    def kill_primary(self) -> None:
        self.processes.kill("primary")

    def promote(self) -> None:
        assert self.ask(self.standby, "SELECT pg_promote(true, 30)") == [(True,)]


def _start(processes: Processes, cluster: Cluster, name: str) -> None:
    processes.start(replace(cluster.command(cluster.data_dir.with_suffix(".log")), name=name))
    deadline = time.monotonic() + READY_SECONDS
    while not cluster.is_ready():
        assert time.monotonic() < deadline, cluster.data_dir.with_suffix(".log").read_text()
        time.sleep(0.02)


def _copy(primary: Cluster, network: Proxy) -> Cluster:
    standby = Cluster(data_dir=primary.data_dir.with_name("standby"), port=postgres.free_port())
    password = primary.data_dir.with_name("primary.password")
    password.with_name("standby.password").write_text(password.read_text())
    through = primary.url.replace(f":{primary.port}/", f":{network.port}/")
    taken = Command(
        name="pg_basebackup",
        argv=[
            *postgres._as_system_user(),
            str(postgres._programs() / "pg_basebackup"),
            *("--dbname", through, "--pgdata", str(standby.data_dir), "--write-recovery-conf"),
            *("--checkpoint", "fast", "--no-sync"),
        ],
        log=primary.data_dir.with_suffix(".backup.log"),
    )
    ended = subprocess.run(list(taken.argv), capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return standby
