"""PgBouncer in transaction mode before a PostgreSQL: few connections to the server, handed on after each transaction."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from infra.stand_ins.postgres import _as_system_user, _system_user, free_port

READY_SECONDS = 15.0
SERVER_CONNECTIONS = 2
_INI = """
[databases]
{name} = host=127.0.0.1 port={server_port} dbname={name} user={user} password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 100
"""


@contextmanager
def pooler(database_url: str) -> Iterator[str]:
    """The address by which the database is reached through it. Skips the test where there is no PgBouncer."""
    program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if program is None:
        pytest.skip("no pgbouncer here")
    address, port = urlsplit(database_url), free_port()
    ini = _INI.format(
        name=address.path[1:],
        server_port=address.port,
        user=address.username,
        password=address.password,
        port=port,
        size=SERVER_CONNECTIONS,
    )
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as folder:
        path = Path(folder) / "pgbouncer.ini"
        path.write_text(ini)
        for owned in (path.parent, path):
            os.chown(owned, _system_user().pw_uid, _system_user().pw_gid)
        log = path.with_suffix(".log")
        with log.open("wb") as output:
            running = subprocess.Popen(
                [*_as_system_user(), program, str(path)], stdout=output, stderr=subprocess.STDOUT, cwd=folder
            )
        through = urlunsplit(address._replace(netloc=f"{address.username}@127.0.0.1:{port}"))
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not _answers(through):
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield through
        finally:
            running.send_signal(signal.SIGINT)
            try:
                running.wait(5)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait(5)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
