"""The page for call services: its examples run as they stand there, in both languages, and its tables are whole."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lib.intake import document
from tests.harness.enterprises import TOKEN
from tests.harness.servers import Function

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("call-services.md", "call-services.ru.md")
TEXTS = {page: (DOCS / page).read_text() for page in PAGES}
CODE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


@pytest.fixture
def gateway(provisioned, broker, database_url, process, tmp_path):
    """dispatch-call-event as it runs; its address."""
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    provisioned()
    broker.topic("call-events")
    broker.topic("recovered-events")
    environment = {"DATABASE_URL": database_url, "GOOGLE_CLOUD_PROJECT": "local", "PUBSUB_EMULATOR_HOST": broker.host}
    with Function.started("dispatch-call-event", environment, log=tmp_path / "log") as function:
        yield function.url


def blocks(page):
    found = CODE.findall(TEXTS[page])
    assert [language for language, _ in found] == ["sh", "python", "python"]
    return [code for _, code in found]


@pytest.mark.parametrize("page", PAGES)
def test_each_field_and_each_status_of_the_description_is_in_its_table(page):
    text = TEXTS[page]
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    named = {name for cells in rows for name in re.findall(r"`(\w+)`", cells[0])}
    statuses = {status for cells in rows for status in re.findall(r"\b([245]\d\d)\b", cells[0])}
    described = document.document(batch_bytes=4_096_000)

    assert set(document.FIELDS) <= named
    unused = next(line for line in text.splitlines() if "`ExternalInitiated`" in line)
    assert set(re.findall(r"`(\w+)`", unused)) == {
        name for name, field in document.FIELDS.items() if field.use == document.NOT_USED
    }
    for path in described["paths"].values():
        for operation in path.values():
            assert set(operation["responses"]) - {"default"} <= statuses


def test_both_languages_have_the_same_examples():
    assert blocks(PAGES[0]) == blocks(PAGES[1])


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_examples_in_curl_are_accepted(gateway, sql):
    shell = blocks(PAGES[0])[0]

    done = subprocess.run(
        ["bash", "-euc", shell.replace("curl -sS", "curl --fail-with-body -sS")],
        env={"PATH": "/usr/bin:/bin", "GATEWAY": gateway, "TOKEN": TOKEN, "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert sql("SELECT event_type, data_source, record_url IS NOT NULL FROM call_events ORDER BY id") == [
        ("dial", "live", False),
        ("hangup", "live", True),
        ("hangup", "download", False),
    ]


def manager(server, said):
    """A stand-in of Asterisk's manager interface: says this to whoever has signed in, and hangs up."""
    connection, _ = server.accept()
    with connection, connection.makefile("rw", newline="") as stream:
        stream.write("Asterisk Call Manager/9.0.0\r\n")
        stream.flush()
        signed_in = [stream.readline() for _ in range(3)]
        assert signed_in == ["Action: Login\r\n", "Username: reader\r\n", "Secret: word\r\n"]
        stream.write("Response: Success\r\nMessage: Authentication accepted\r\n\r\n" + said)
        stream.flush()


def block(**fields):
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"


SAID = (
    block(Event="Newchannel", Uniqueid="1758798777.27")
    + block(Event="UserEvent", UserEvent="start", Uniqueid="1758798777.27", CallType=0, Phone="375291111111")
    + block(
        Event="UserEvent",
        UserEvent="dial",
        Uniqueid="1758798777.27",
        CallType=0,
        Phone="375291111111",
        Extensions="150&151",
    )
    + block(Event="BridgeEnter", Uniqueid="1758798787.28", BridgeUniqueid="b", Channel="SIP/151-0000001e", Exten="")
    + block(Event="BridgeDestroy", BridgeUniqueid="b", BridgeNumChannels=0)
)


def test_the_example_of_a_listener_posts_what_the_manager_interface_says(gateway, sql, tmp_path):
    _, post, listener = blocks(PAGES[0])
    (tmp_path / "post.py").write_text(post)
    (tmp_path / "listener.py").write_text(listener)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=manager, args=(server, SAID))
        thread.start()
        where = {"AMI_HOST": "127.0.0.1", "AMI_PORT": str(server.getsockname()[1])}
        who = {"AMI_LOGIN": "reader", "AMI_SECRET": "word", "no_proxy": "127.0.0.1"}
        done = subprocess.run(
            [sys.executable, "listener.py"],
            cwd=tmp_path,
            env={"GATEWAY": gateway, "TOKEN": TOKEN, **where, **who},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        thread.join()

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sql("SELECT event_type, unique_id, raw_data->>'Extensions' FROM call_events ORDER BY id") == [
        ("start", "1758798777.27", None),
        ("dial", "1758798777.27", "150&151"),
        ("bridge", "1758798787.28", None),
        ("bridge_destroy", "", None),
    ]


def test_the_example_repeats_what_may_be_lost_and_not_what_is_refused(gateway, sql, tmp_path):
    """On the way to the gateway the first answer is an error, and the second says to wait."""
    from tests.infra.test_gateway import Function as Answering

    (tmp_path / "post.py").write_text(blocks(PAGES[0])[1])
    program = "from post import post; print(post('/dial', {'UniqueId': '1.1'})); print(post('/dial', ['no event']))"
    with Answering(status=503, headers={"Retry-After": "1"}).running() as away:
        running = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={"GATEWAY": away.url, "TOKEN": TOKEN, "no_proxy": "127.0.0.1", "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        while len(away.requests) < 2:
            assert running.poll() is None
            threading.Event().wait(0.05)
        away.status = 200
        assert running.stdout is not None
        said = running.stdout.readline()
        assert said.startswith("/dial 503")
        while said.startswith("/dial 503"):
            said = running.stdout.readline()
        assert said == "{'status': 'ok'}\n"
        running.kill()
        running.communicate()
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"GATEWAY": gateway, "TOKEN": TOKEN, "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    accepted, refused, nothing = done.stdout.splitlines()
    assert (accepted, nothing) == ("{'status': 'ok'}", "None")
    assert refused.startswith("/dial 400")
    assert sql("SELECT count(*) FROM call_events") == [(1,)]
