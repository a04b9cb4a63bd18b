"""How the process starts, what it says, and how it ends; the Asterisk simulator is the same in this."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

from tests.infra.retailcrm_simulator.client import USERS, Account, a_telephony

RETAILCRM = "infra.stand_ins.retailcrm_simulator"
ASTERISK = "infra.stand_ins.asterisk_simulator"


def started(*arguments):
    """The process and the one line that it says; on a free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline()


def failed(*arguments):
    run = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=20, check=False)
    return run.returncode, run.stdout, run.stderr.strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", [RETAILCRM, ASTERISK])
def test_it_says_what_it_is_and_ends_within_a_second_whatever_goes_on(module, number):
    process, line = started(module, "--port", "0")
    address = re.fullmatch(r".+ simulator, for development only \(no security\): (http://127.0.0.1:\d+)/\n", line)
    assert address
    port = int(address[1].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as idle, socket.create_connection(("127.0.0.1", port)) as stream:
        idle.sendall(b"GET /_sim/health HTTP/1.1\r\nHost: x\r\n\r\n")
        stream.sendall(b"GET /_sim/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(10) == stream.recv(10) == b"HTTP/1.1 2" or module == ASTERISK

        process.send_signal(number)
        code = process.wait(5)

    assert code == 0
    assert process.communicate() == ("", "")


def test_a_hanging_request_does_not_keep_it_from_ending():
    process, line = started(RETAILCRM, "--port", "0")
    url = line.rpartition(" ")[2].strip().rstrip("/")
    requests.post(f"{url}/_sim/faults", json={"mode": "hang_before_apply"}, timeout=5)
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as hanging:
        hanging.sendall(b"GET /api/v5/users HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.2)

        process.terminate()
        code = process.wait(5)

    assert code == 0
    assert process.communicate() == ("", "")


@pytest.mark.parametrize(
    ("module", "what"), [(RETAILCRM, "RetailCRM simulator"), (ASTERISK, "Asterisk service simulator")]
)
def test_a_port_in_use_is_one_clear_sentence(module, what):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        outcome = failed(module, "--port", str(port))

    assert outcome == (1, "", f"The {what} cannot start: 127.0.0.1:{port} cannot be used: address already in use.")


def test_accounts_and_enterprises_come_from_files(tmp_path):
    accounts, enterprises = tmp_path / "accounts.json", tmp_path / "enterprises.json"
    accounts.write_text(json.dumps([{"name": "demo", "api_key": "a-long-enough-key"}]))
    enterprises.write_text(json.dumps([{"number": "0367", "secret": "a-long-secret"}]))
    crm, crm_line = started(RETAILCRM, "--port", "0", "--accounts", str(accounts))
    service, service_line = started(ASTERISK, "--port", "0", "--state", str(enterprises))
    try:
        found = requests.get(f"{crm_line.split()[-1]}_sim/accounts", timeout=5).json()
        known = requests.get(f"{service_line.split()[-1]}_sim/enterprises", timeout=5).json()
    finally:
        for process in (crm, service):
            process.terminate()
            process.communicate(timeout=5)

    assert [account["name"] for account in found["accounts"]] == ["demo"]
    assert [enterprise["number"] for enterprise in known["enterprises"]] == ["0367"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory."),
        ("{", "is no list of accounts: "),
        ('[{"name": "x"}]', "is no list of accounts: api_key: This value should not be blank."),
        ("7", "is no list of accounts: "),
    ],
)
def test_a_bad_accounts_file_is_one_clear_sentence(tmp_path, content, reason):
    path = tmp_path / "accounts.json"
    if content is not None:
        path.write_text(content)

    code, out, error = failed(RETAILCRM, "--port", "0", "--accounts", str(path))

    assert (code, out) == (1, "")
    assert error.startswith(f"The RetailCRM simulator cannot start: {path} {reason}")
    assert "\n" not in error


def test_a_state_that_cannot_be_written_is_one_clear_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    code, _, error = failed(RETAILCRM, "--port", "0", "--state", str(tmp_path / "file" / "state.json"))

    assert code == 1
    assert error.startswith("The RetailCRM simulator cannot start: its state in ")
    assert "\n" not in error


def test_the_asterisk_service_knows_its_enterprises_after_a_restart(tmp_path):
    state = tmp_path / "enterprises.json"
    enterprise = {"number": "0367", "secret": "a-long-secret"}
    for known_before in ([], ["0367"]):
        service, line = started(ASTERISK, "--port", "0", "--state", str(state))
        try:
            url = f"{line.split()[-1]}_sim/enterprises"
            found = requests.get(url, timeout=5).json()["enterprises"]
            assert [one["number"] for one in found] == known_before
            assert requests.post(url, json=enterprise, timeout=5).ok
        finally:
            service.kill()
            service.communicate(timeout=5)

    assert state.stat().st_mode & 0o077 == 0


def test_a_module_is_asked_where_it_is_reached_from_here():
    module, module_line = started(ASTERISK, "--port", "0")
    inside = module_line.split()[-1].rstrip("/")
    crm, line = started(RETAILCRM, "--port", "0", "--reach", f"http://gateway.example.com={inside}")
    try:
        url = line.split()[-1].rstrip("/")
        telephony = a_telephony(makeCallUrl="http://gateway.example.com/health", additionalCodes=None)
        account = {
            "name": "demo",
            "api_key": "a-long-enough-key",
            "users": USERS,
            "module": {"clientId": "the-client-id", "integrations": {"telephony": telephony}},
        }
        assert requests.post(f"{url}/_sim/accounts", json=account, timeout=5).status_code == 201
        clicked = Account(url=url, name="demo", key="a-long-enough-key").act("click", user_id=18, phone="+375291111111")
    finally:
        for process in (module, crm):
            process.terminate()
            process.communicate(timeout=5)

    assert (clicked.json()["status"], clicked.json()["body"]) == (200, '{"status": "healthy"}')
    assert clicked.json()["url"].startswith(f"{inside}/health?")
