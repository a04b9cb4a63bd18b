"""The embedded PostgreSQL: real servers, killed in every way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from infra.stand_ins import postgres
from infra.stand_ins.processes import ROOT


def servers_of(data_dir: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd() == str(data_dir):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_for(condition, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def starter(tmp_path: Path):
    """Another Python process that runs a server and is at our mercy."""
    code = (
        "import sys, time; from pathlib import Path; from infra.stand_ins import postgres\n"
        "with postgres.server(Path(sys.argv[1])) as url:\n"
        "    print(url, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "data")], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().decode().strip()
    finally:
        process.kill()
        process.communicate()


def test_data_outlive_the_server(tmp_path):
    with postgres.server(tmp_path / "data") as url, psycopg.connect(url) as conn:
        conn.execute("CREATE TABLE calls AS SELECT 1 AS n")

    with postgres.server(tmp_path / "data") as url, psycopg.connect(url) as conn:
        assert conn.execute("SELECT n FROM calls").fetchone() == (1,)


def test_a_server_leaves_no_process_behind(tmp_path):
    with postgres.server(tmp_path / "data"):
        assert servers_of(tmp_path / "data")

    assert servers_of(tmp_path / "data") == []


def test_a_server_ends_when_its_starter_is_killed(starter, tmp_path):
    process, _ = starter
    assert servers_of(tmp_path / "data")

    process.kill()

    assert wait_for(lambda: not servers_of(tmp_path / "data"))


def test_a_server_starts_again_after_everything_was_killed(starter, tmp_path):
    process, url = starter
    with psycopg.connect(url) as conn:
        conn.execute("CREATE TABLE calls AS SELECT 1 AS n")
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    assert wait_for(lambda: not servers_of(tmp_path / "data"))
    assert (tmp_path / "data" / "postmaster.pid").exists()

    with postgres.server(tmp_path / "data") as again, psycopg.connect(again) as conn:
        assert conn.execute("SELECT n FROM calls").fetchone() == (1,)


def test_a_lock_file_that_names_a_living_stranger_is_not_believed(tmp_path):
    with postgres.server(tmp_path / "data"):
        lock = (tmp_path / "data" / "postmaster.pid").read_text()
    (tmp_path / "data" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lock.splitlines()[1:]]) + "\n")

    with postgres.server(tmp_path / "data") as url:
        psycopg.connect(url).close()


def test_an_initialisation_that_was_cut_short_is_done_again(tmp_path):
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "PG_VERSION").write_text("18")

    with postgres.server(tmp_path / "data") as url:
        psycopg.connect(url).close()


def test_data_of_another_version_are_refused_and_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("9.6\n")

    with pytest.raises(postgres.PostgresError, match=r"PostgreSQL 9\.6"), postgres.server(tmp_path / "data"):
        pass

    assert (tmp_path / "data" / "PG_VERSION").read_text() == "9.6\n"


def test_nobody_gets_in_without_the_password(tmp_path):
    with postgres.server(tmp_path / "data") as url:
        host = url.rpartition("@")[2]

        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://postgres@{host}")

    assert (tmp_path / "data.password").stat().st_mode & 0o077 == 0


def test_a_deep_and_closed_folder_is_no_obstacle(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    (tmp_path / ("d" * 100)).chmod(0o700)

    with postgres.server(deep / "data") as url:
        psycopg.connect(url).close()


def test_a_database_of_ones_own_is_a_copy_and_goes_away(tmp_path):
    with postgres.throwaway() as server:
        with postgres.database(server) as template:
            with psycopg.connect(template) as conn:
                conn.execute("CREATE TABLE calls AS SELECT 1 AS n")
            with postgres.database(server, template=template.rpartition("/")[2]) as copy, psycopg.connect(copy) as mine:
                assert mine.execute("SELECT n FROM calls").fetchone() == (1,)

        with psycopg.connect(server) as conn:
            assert conn.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 't\\_%'").fetchone() == (0,)


def test_a_stop_takes_seconds_even_with_a_busy_session(tmp_path):
    with postgres.server(tmp_path / "data") as url:
        busy = subprocess.Popen(
            [sys.executable, "-c", f"import psycopg; psycopg.connect({url!r}).execute('SELECT pg_sleep(60)')"],
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.5)
        began = time.monotonic()
    assert time.monotonic() - began < 4
    assert busy.wait(5) != 0
    assert "database system is shut down" in (tmp_path / "data.log").read_text()
