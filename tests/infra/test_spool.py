"""The spool between a host and the gateway: what it acknowledged arrives, in order, whatever happens to either side."""

from __future__ import annotations

import ast
import dataclasses
import json
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import requests

from infra.spool import recover
from infra.spool import spool as spool_module
from tests.harness import spool as harness
from tests.harness.spool import ROOT, Gateway, Spool
from tests.measure.spool import __main__ as kills

TOKEN = "375290000001"
SCRIPTS = (ROOT / "infra/spool/spool.py", ROOT / "infra/spool/recover.py")


@pytest.fixture
def gateway():
    with harness.gateway() as found:
        yield found


@pytest.fixture
def start(gateway, tmp_path):
    started: list[Spool] = []

    def begin(*options: str) -> Spool:
        started.append(Spool(to=gateway.url, data=tmp_path / "spool", options=options).start())
        return started[-1]

    yield begin
    for one in started:
        one.kill()


def eventually(is_so: Callable[[], bool], *, seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_so()


def dial(number: int) -> dict[str, object]:
    return {"Token": TOKEN, "UniqueId": f"1758798777.{number}", "Phone": "375291111111", "CallType": 0}


def wrapped(number: int, **more: object) -> dict[str, object]:
    raw = dial(number)
    return {"token": TOKEN, "uniqueId": raw["UniqueId"], "event_type": "dial", "raw": raw, **more}


def test_each_form_is_answered_and_passed_on_as_it_came(start, gateway: Gateway):
    spool = start()

    one = spool.post("/dial", dial(1), Token=TOKEN)
    two = spool.post("/dispatch/call-event/", wrapped(2))
    three = spool.post("/dispatch/call-events", {"token": TOKEN, "origin": "download", "events": [wrapped(3)] * 2})

    assert (one.status_code, one.json()["status"]) == (200, "ok")
    assert (two.status_code, two.json()["success"]) == (202, True)
    assert (three.status_code, [result["success"] for result in three.json()["results"]]) == (200, [True, True])
    assert eventually(lambda: len(gateway.got) == 3)
    assert [(got.path, got.token, got.body) for got in gateway.got] == [
        ("/dial", TOKEN, dial(1)),
        ("/dispatch/call-event", TOKEN, wrapped(2)),
        ("/dispatch/call-events", TOKEN, {"token": TOKEN, "origin": "download", "events": [wrapped(3)] * 2}),
    ]


def test_while_the_gateway_is_away_events_wait_and_then_come_in_order(start, gateway: Gateway):
    gateway.status = 0
    spool = start()

    answers = [spool.post("/dial", dial(number)).status_code for number in range(5)]
    gateway.status = 503
    assert eventually(lambda: any(got.answer == 503 for got in gateway.got))
    behind = spool.health()
    gateway.status = 200

    assert answers == [200] * 5
    assert (behind["status"], behind["waiting"]) == ("behind", 5)
    assert eventually(lambda: gateway.ids == [f"1758798777.{number}" for number in range(5)])
    assert eventually(lambda: spool.health()["status"] == "ok")


def test_what_is_late_goes_as_backfill_in_batches_of_one_token(start, gateway: Gateway):
    gateway.status = 503
    spool = start("--late-seconds", "0.2")
    for number in range(3):
        spool.post("/dial", dial(number))
    spool.post("/dispatch/call-event", wrapped(3, origin="download"))
    spool.post("/dispatch/call-event", wrapped(4, origin="live"))
    spool.post("/hangup", {**dial(6), "Token": "375290000002"})
    spool.post("/dial", dial(5))
    time.sleep(0.3)
    gateway.status = 200

    assert eventually(lambda: len(gateway.ids) == 7)
    first, second = [got for got in gateway.got if got.answer == 200]
    assert (first.path, first.token, first.body["origin"]) == ("/dispatch/call-events", TOKEN, "backfill")
    assert [event.get("origin") for event in first.events] == [None, None, None, "download", None, None]
    assert "Token" not in first.events[0]["raw"]
    assert (second.token, second.events[0]["event_type"]) == ("375290000002", "hangup")


def test_what_the_gateway_refuses_is_kept_apart_and_holds_up_nothing(start, gateway: Gateway):
    gateway.refused = {"1758798777.1"}
    spool = start()
    for number in range(3):
        spool.post("/dial", dial(number))
    assert eventually(lambda: len(gateway.ids) == 2 and not spool.health()["waiting"])
    refused = spool.health()
    gateway.refused = set()
    spool.kill()
    spool.start("--retry-refused")

    assert (refused["status"], refused["refused"], refused["waiting"]) == ("refused", 1, 0)
    assert "invalid_payload" in refused["refused_with"]
    assert eventually(lambda: "1758798777.1" in gateway.ids)
    assert spool.health()["refused"] == 0


def test_late_events_that_the_gateway_refuses_harm_no_others(start, gateway: Gateway):
    gateway.status, gateway.refused = 503, {"1758798777.1"}
    spool = start("--late-seconds", "0.1")
    for number in range(3):
        spool.post("/dial", dial(number))
    time.sleep(0.2)
    gateway.status = 200

    assert eventually(lambda: gateway.ids == ["1758798777.0", "1758798777.2"])
    assert eventually(lambda: spool.health()["refused"] == 1)


@pytest.mark.parametrize("status", [200, 404])
def test_another_server_at_that_address_takes_and_refuses_nothing(status, start, gateway: Gateway):
    gateway.somebody_else = status
    spool = start()
    spool.post("/dial", dial(1))
    assert eventually(lambda: len(gateway.got) > 0)
    waiting = spool.health()
    gateway.somebody_else = 0

    assert (waiting["status"], waiting["waiting"], waiting["refused"]) == ("behind", 1, 0)
    assert eventually(lambda: gateway.ids == ["1758798777.1"])


def test_of_a_batch_that_came_whole_nothing_is_forgotten_that_was_refused(start, gateway: Gateway):
    gateway.refused = {"1758798777.2"}
    spool = start()
    spool.post("/dispatch/call-events", {"token": TOKEN, "events": [wrapped(1), wrapped(2)]})

    assert eventually(lambda: spool.health()["refused"] == 1)
    assert (spool.health()["waiting"], gateway.ids) == (0, ["1758798777.1"])


def test_an_enterprise_that_must_wait_holds_up_no_other(start, gateway: Gateway):
    gateway.held, gateway.retry_after = {TOKEN}, "1"
    spool = start()
    spool.post("/dial", dial(1), Token=TOKEN)
    spool.post("/dial", {**dial(2), "Token": "375290000002"}, Token="375290000002")

    assert eventually(lambda: gateway.ids == ["1758798777.2"])
    gateway.held = set()
    assert eventually(lambda: gateway.ids == ["1758798777.2", "1758798777.1"])


def test_nothing_is_acknowledged_that_the_disk_has_no_room_for(start, gateway: Gateway):
    gateway.status = 503
    spool = start("--most-mb", "1")
    large = {**dial(0), "CallerIDName": "x" * 40_000}
    answers = [spool.post("/dial", {**large, "UniqueId": f"1758798777.{number}"}) for number in range(60)]
    taken = [number for number, answer in enumerate(answers) if answer.status_code == 200]
    gateway.status = 200

    assert answers[-1].status_code == 503
    assert "send it again" in answers[-1].json()["error"]["message"]
    assert 0 < len(taken) < 60
    assert eventually(lambda: gateway.ids == [f"1758798777.{number}" for number in taken])
    assert spool.post("/dial", dial(99)).status_code == 200


def test_a_second_one_on_the_same_folder_says_so(start, gateway: Gateway, tmp_path):
    start()

    with pytest.raises(AssertionError, match="Another spool is at work"):
        Spool(to=gateway.url, data=tmp_path / "spool").start()


def test_a_port_that_is_taken_is_named(gateway: Gateway, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AssertionError, match=f"--listen: 127.0.0.1:{port} cannot be had") as failed:
            Spool(to=gateway.url, data=tmp_path / "spool", port=port).start()

    assert "Traceback" not in str(failed.value)


def test_it_takes_no_more_than_it_can_keep_in_memory(start):
    spool = start()

    large = requests.post(spool.url + "/dial", data=b"x" * 70_000, timeout=5)
    without_length = requests.post(spool.url + "/dial", data=iter([b"{}"]), timeout=5)
    elsewhere = spool.post("/api/anything", {})

    assert (large.status_code, without_length.status_code, elsewhere.status_code) == (413, 411, 404)
    assert spool.health()["waiting"] == 0


def test_what_it_keeps_nobody_else_can_read(start, tmp_path):
    start().post("/dial", dial(1))

    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "spool").iterdir()}

    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert set(modes.values()) == {"0o600"}


def test_it_ends_in_good_order(start, gateway: Gateway):
    spool = start()
    spool.post("/dial", dial(1))

    assert eventually(lambda: gateway.ids == ["1758798777.1"])
    assert spool.stop() == 0


def test_metrics_say_how_far_behind_it_is(start, gateway: Gateway):
    gateway.status = 503
    spool = start()
    spool.post("/dial", dial(1))

    text = requests.get(spool.url + "/metrics", timeout=5).text

    assert "\nspool_waiting_events 1\n" in text
    assert "# TYPE spool_oldest_seconds gauge" in text


STRANGE = {
    "nested too deep": b'{"UniqueId": "1.1", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "half of a letter": b'{"UniqueId": "1.1", "CallerIDName": "\\ud800"}',
    "a token of letters": '{"UniqueId": "1.1", "Token": "жетон"}'.encode(),
    "a token of two lines": b'{"UniqueId": "1.1", "Token": "1\\r\\n2"}',
    "another code page": '{"UniqueId": "1.1", "CallerIDName": "Иван"}'.encode("cp1251"),
    "a cut letter": '{"UniqueId": "1.1", "CallerIDName": "Иван"}'.encode().replace(b"\xbd", b""),
    "a line break": b'{"UniqueId": "1.1", "CallerIDName": "a\nb"}',
    "no JSON": b"{'UniqueId': 1.1",
    "nothing": b"",
}


@pytest.mark.parametrize("late", ["0", "60"], ids=["late", "at once"])
@pytest.mark.parametrize("kind", STRANGE)
def test_whatever_stands_in_a_body_the_next_event_goes(kind, late, start, gateway: Gateway):
    spool = start("--late-seconds", late)

    strange = requests.post(spool.url + "/dial", data=STRANGE[kind], timeout=5)
    spool.post("/dial", dial(2))

    assert strange.status_code == 200
    assert eventually(lambda: "1758798777.2" in gateway.ids)
    assert eventually(lambda: not spool.health()["waiting"])
    assert len(gateway.got) + spool.health()["refused"] >= 2


def test_an_old_code_page_makes_no_late_event_a_live_one(start, gateway: Gateway):
    requests.post(start("--late-seconds", "0").url + "/dial", data=STRANGE["another code page"], timeout=5)

    assert eventually(lambda: gateway.ids == ["1.1"])
    assert gateway.got[0].body["origin"] == "backfill"


def test_a_backlog_is_not_read_into_memory_at_once(tmp_path):
    store = spool_module.Store(tmp_path / "spool", most_bytes=64 * 1024 * 1024)
    for _ in range(6):
        store.add("/dispatch/call-events", TOKEN, b"x" * 1024 * 1024)

    assert [len(store.oldest(limit=limit)) for limit in (1, 200)] == [1, 2]
    store.close()


def test_a_change_that_the_disk_refused_is_taken_back(tmp_path):
    store = spool_module.Store(tmp_path / "spool", most_bytes=1024 * 1024)
    while True:
        try:
            store.add("/dial", TOKEN, b"x" * 30_000)
        except spool_module.DiskFull:
            break
    (first,) = store.oldest()

    with pytest.raises(sqlite3.Error):
        store.refuse(dataclasses.replace(first, id=first.id, body=b"x" * 2_000_000), 400, "")

    assert store.oldest() == [first]
    store.forget([first.id])
    assert store.oldest() != [first]
    store.close()


def test_nothing_acknowledged_is_lost_by_kills(tmp_path, capsys):
    assert kills.run(tmp_path, seconds=6, seed=7) == 0, capsys.readouterr().out


def parts_of_annotations(node: ast.AST) -> list[ast.AST]:
    """What is never evaluated, so that it may be newer than the interpreter."""
    roots = (getattr(node, "annotation", None), getattr(node, "returns", None))
    return [part for root in roots if root is not None for part in ast.walk(root)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_it_needs_nothing_but_an_old_python(script):
    tree = ast.parse(script.read_text(), feature_version=(3, 8))
    imported = {
        str(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    told = {id(part) for node in ast.walk(tree) for part in parts_of_annotations(node)}
    generic = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and id(node) not in told
    }

    assert imported <= set(sys.stdlib_module_names)
    assert not generic & {"list", "dict", "tuple"}


# What a host could not deliver


def host_log(path, *rows: tuple[str, str, object, str]) -> None:
    conn = sqlite3.connect(path)
    conn.execute("CREATE TABLE AlternativeAPIlogs (DateTime, Uniqueid, event, request, status, response, responseTime)")
    conn.executemany(
        "INSERT INTO AlternativeAPIlogs VALUES ('2025-09-25 14:13:18', ?, ?, ?, ?, '', '')",
        [(unique_id, kind, request, status) for unique_id, kind, request, status in rows],
    )
    conn.commit()
    conn.close()


def recovered(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS[1]), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_what_failed_at_the_host_is_posted_once_as_download(gateway: Gateway, tmp_path):
    lost, late, fine = dial(1), dial(2), dial(3)
    host_log(
        tmp_path / "Listen_AMI_2025-09-25.db",
        ("1758798777.1", "dial", json.dumps(lost), "Timeout"),
        ("1758798777.1", "dial", json.dumps(lost), "<Response [404]>"),
        ("1758798777.2", "hangup", str(late), "ConnectionError(…)"),
        ("1758798777.3", "dial", json.dumps(fine), "Timeout"),
        ("1758798777.3", "dial", json.dumps(fine), "<Response [200]>"),
    )
    arguments = ("--to", gateway.url, "--data", str(tmp_path), str(tmp_path / "Listen_AMI_2025-09-25.db"))

    dry = recovered(*arguments, "--dry")
    first, second = recovered(*arguments), recovered(*arguments)

    assert "2 not delivered, 0 posted before, 2 to post" in dry.stdout
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "2 of 2 posted" in first.stdout
    assert "2 posted before, 0 to post" in second.stdout
    (got,) = gateway.got
    assert (got.token, got.body["origin"]) == (TOKEN, "download")
    assert [(event["uniqueId"], event["event_type"]) for event in got.events] == [
        ("1758798777.1", "dial"),
        ("1758798777.2", "hangup"),
    ]


def test_what_cannot_be_read_or_is_refused_is_said(gateway: Gateway, tmp_path):
    gateway.refused = {"1758798777.2"}
    host_log(
        tmp_path / "Listen_AMI_2025-09-25.db",
        ("1758798777.1", "dial", "{'UniqueId': cut", "Timeout"),
        ("1758798777.2", "dial", json.dumps(dial(2)), "Timeout"),
    )

    done = recovered("--to", gateway.url, "--data", str(tmp_path), str(tmp_path / "Listen_AMI_2025-09-25.db"))

    assert done.returncode == 1
    assert "left out: 2025-09-25 14:13:18 dial: its request cannot be read" in done.stderr
    assert "refused: 2025-09-25 14:13:18 dial" in done.stderr


def test_a_gateway_that_is_away_is_said_and_the_next_run_goes_on(gateway: Gateway, tmp_path):
    host_log(tmp_path / "log.db", ("1758798777.1", "dial", json.dumps(dial(1)), "Timeout"))
    arguments = ("--to", gateway.url, "--data", str(tmp_path), str(tmp_path / "log.db"))
    gateway.status = 503

    away = recovered(*arguments)
    gateway.status = 200
    again = recovered(*arguments)

    assert (away.returncode, "503" in away.stderr) == (1, True)
    assert (again.returncode, gateway.ids) == (0, ["1758798777.1"])


@pytest.mark.parametrize("text", ["[1]", "7", "", "{'a': __import__('os')}", "(" * 5000])
def test_no_text_of_a_log_is_run_or_breaks_the_reading(text):
    assert recover.read(text) is None
