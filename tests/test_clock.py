"""The wall clock of an instance decides nothing: who may read it at all, and calls under clocks that are wrong."""

from __future__ import annotations

import ast
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from infra.commands import provision
from infra.stand_ins import player
from infra.stand_ins.parts import free_base_port
from infra.stand_ins.processes import ROOT
from infra.stand_ins.stack import Stack
from lib.runtime import config
from lib.runtime.vault import vault
from tests.harness.enterprises import enterprise
from tests.harness.outcomes import differences
from tests.harness.servers import CRM

# Who reads the wall clock, and why no ownership, rate or order hangs on it.
ALLOWED = {
    "lib/enterprises/account_link.py": "a link lives for a year; its day of issue decides nothing",
    "lib/enterprises/cache.py": "says to the operator when it was refreshed",
    "lib/admin/health.py": "says to the operator when an enterprise was read",
    "lib/runtime/failpoints.py": "says to the tester when it fired",
    "lib/runtime/logs.py": "the time of a log line",
    "lib/redirect/router.py": "whether an office is open, which minutes of error do not change but at opening and closing time",
}
WALL_CLOCKS = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "localtime"),
    ("time", "gmtime"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("record", "created"),
}
NAMES_OF_CLOCKS = {"time", "time_ns", "localtime", "gmtime"}
PLAYED = ("2-1", "2-2", "2-4-doc", "1-1", "1-8", "3-2", "ivr-abandon", "2-6")
SETTLED_SECONDS = 60.0
SKEWS = {
    "intake ahead, delivery behind, the sweep jumping": "dispatch_call_event=600,retailcrm_deliver=-600,retailcrm_upload=-600,"
    "assemble_recovered=-600,sweep_calls=jumps",
    "intake behind, delivery jumping, the sweep ahead": "dispatch_call_event=-600,retailcrm_deliver=jumps,retailcrm_upload=jumps,"
    "assemble_recovered=jumps,sweep_calls=600",
}


def reads_wall_clock(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if (owner, node.attr) in WALL_CLOCKS:
                return True
        if isinstance(node, ast.ImportFrom) and node.module == "time" and names_a_clock(node):
            return True
    return False


def names_a_clock(node: ast.ImportFrom) -> bool:
    return bool(NAMES_OF_CLOCKS & {name.name for name in node.names})


def test_nothing_but_what_is_named_here_reads_the_wall_clock():
    sources = [*(ROOT / "lib").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in sources if reads_wall_clock(path)}

    assert found == ALLOWED.keys()


def test_a_reader_of_the_clock_would_be_found(tmp_path):
    for text in (
        "import time\nx = time.time()",
        "from time import time\nx = time()",
        "from datetime import datetime\nx = datetime.now()",
        "import datetime\nx = datetime.datetime.utcnow()",
        "import datetime\nx = datetime.date.today()",
    ):
        (tmp_path / "module.py").write_text(text)
        assert reads_wall_clock(tmp_path / "module.py"), text
    (tmp_path / "module.py").write_text("import time\nx = time.monotonic()")
    assert not reads_wall_clock(tmp_path / "module.py")


def skews(stack, function):
    """How far from ours the clock was by which the function dated its log."""
    now = time.time()
    lines = stack.layout.log(function).read_text().splitlines()
    dated = [json.loads(line)["time"] for line in lines if line.startswith("{")]
    return {round((datetime.fromisoformat(text).timestamp() - now) / 600) for text in dated[-20:]}


@pytest.fixture
def stack(tmp_path, request, monkeypatch):
    settings = {"PYTHONPATH": f"{ROOT / 'tests' / 'skewed_clock'}:{ROOT}", "CLOCK_SKEW": request.param}
    with Stack(tmp_path / "stack", free_base_port(), settings=settings) as running:
        for name, value in running.layout.environment().items():
            monkeypatch.setenv(name, value)
        config.current.cache_clear()
        vault.forget()
        yield running
    config.current.cache_clear()
    vault.forget()


@pytest.mark.e2e
@pytest.mark.timeout(180)
@pytest.mark.parametrize("stack", SKEWS.values(), ids=SKEWS.keys(), indirect=True)
def test_calls_come_out_the_same_with_clocks_that_are_ten_minutes_wrong(stack):
    crm = CRM(url=stack.url("retailcrm-simulator"))
    scenarios = player.load()
    for scenario_id in PLAYED:
        crm.account(scenario_id)
        data = enterprise(scenario_id, token=f"token-of-{scenario_id}", domain=crm.url)
        assert provision.check(data) == []
        with psycopg.connect(stack.database_url) as conn:
            provision.provision(conn, data)

    def play(scenario_id):
        return player.play(scenarios[scenario_id], stack.url("gateway"), f"token-of-{scenario_id}", pause=stack.pause)

    with ThreadPoolExecutor(len(PLAYED)) as pool:
        played = dict(zip(PLAYED, pool.map(play, PLAYED), strict=True))

    assert not [sent for one in played.values() for sent in one.refused]
    deadline = time.monotonic() + SETTLED_SECONDS
    while wrong := {
        scenario_id: found
        for scenario_id, one in played.items()
        if (found := differences(one.scenario.expected, crm.events(scenario_id), crm.rows(scenario_id)))
    }:
        assert time.monotonic() < deadline, wrong
        time.sleep(0.5)
    for function in (
        "dispatch-call-event",
        "retailcrm-deliver",
        "retailcrm-upload",
        "assemble-recovered",
        "sweep-calls",
    ):
        assert skews(stack, function) & {1, -1}, f"the clock of {function} was right: this proves nothing"
    with psycopg.connect(stack.database_url) as conn:
        [(latest,)] = conn.execute(
            "SELECT coalesce(max(abs(extract(epoch FROM received_at - clock_timestamp()))), 0) FROM call_events"
        ).fetchall()
    assert latest < 180
