from __future__ import annotations

import os
import sys

import pytest

from infra.stand_ins.postgres import free_port
from infra.stand_ins.processes import Processes
from tests.measure.bench import crm
from tests.measure.bench.calls import missed
from tests.measure.bench.load import open_loop
from tests.measure.bench.peers.subjects import Bench, subjects
from tests.measure.bench.service import Service
from tests.measure.bench.usage import Snapshot, between, memory_mb

BEGIN = 1_767_225_600.0


@pytest.fixture
def processes(tmp_path):
    started = Processes(str(tmp_path))
    try:
        yield started
    finally:
        started.close()


def test_a_service_that_is_killed_is_back_at_once_and_tells_the_crm(processes, tmp_path):
    told, port = crm.start(processes, tmp_path), free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.measure.bench.fire_and_forget:app", f"--port={port}"]
    service = Service(
        processes=processes,
        commands={"forgetful": command},
        port=port,
        environment={"CRM_URL": told.url, "CRM_KEY": "-"},
        folder=tmp_path,
    )
    with service.started():
        first = dict(service.parts())
        service.kill()
        outcome = open_loop(service.url, [(0.0, event) for event in missed(1, BEGIN)])
        rows = told.wait_for_rows(outcome, seconds=10).rows
        second = dict(service.parts())

    assert first.keys() == second.keys() == {"forgetful"}
    assert first != second
    assert list(rows) == ["375290000001"]
    assert processes.pids().keys() == {"crm"}


def test_what_does_not_start_is_told_with_its_log(processes, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.measure.bench.service.START_SECONDS", 0.5)
    command = [sys.executable, "-c", "print('no such queue')"]
    service = Service(
        processes=processes, commands={"worker": command}, port=free_port(), environment={}, folder=tmp_path
    )

    with pytest.raises(RuntimeError, match="no such queue"), service.started():
        pass


def test_celery_is_skipped_with_a_reason_where_there_is_no_redis(processes, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = []
    bench = Bench(
        processes=processes, folder=tmp_path, python=sys.executable, database_url="", postgres_pid=0, telling={}
    )

    found = subjects(bench, said.append)

    assert [subject.name for subject in found] == ["FastAPI + Procrastinate", "FastAPI + PgQueuer"]
    assert said == ["FastAPI + Celery + Redis is skipped: this machine has no redis-server"]


def test_processor_time_is_counted_by_part():
    before = Snapshot.now({"this": os.getpid()})
    sum(range(3_000_000))

    used = between(before, Snapshot.now({"this": os.getpid()}))

    assert used.parts["this"] > 0
    assert used.seconds > 0
    assert memory_mb([os.getpid()]) > 5
