"""The official client of RetailCRM, unchanged, against the simulator: the simulator is not tuned to us."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.servers import CRM

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "retailcrm-client-requirements.txt"
ENVIRONMENT = HERE.parents[1] / ".cache" / "retailcrm-client"


@pytest.fixture(scope="module")
def python():
    """Of a virtual environment with the client: it wants another `requests` than the gateway."""
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    with (ENVIRONMENT.parent / "retailcrm-client.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = ENVIRONMENT / "requirements.txt"
        executable = ENVIRONMENT / "bin" / "python"
        if not made.exists() or made.read_text() != REQUIREMENTS.read_text():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
            install = [str(executable), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
            done = subprocess.run(
                [*install, "--require-hashes", "-r", str(REQUIREMENTS)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                pytest.fail(f"The official client could not be installed; this test needs PyPI:\n{done.stderr}")
            made.write_text(REQUIREMENTS.read_text())
    return executable


@pytest.fixture(scope="module")
def told(python):
    """What the client made of every method that we use."""
    with CRM.started() as crm:
        crm.account(
            "demo",
            users=[{"id": user, "first_name": f"Manager {user}"} for user in range(1, 31)],
            customers=[{"phones": ["+375291111111"], "first_name": "Ivan", "manager_id": 18}],
            additional_codes=[],
            module_active=False,
            sites=["main"],
            behaviour={"other_per_second": 0},
        )
        done = subprocess.run(
            [python, HERE / "retailcrm_client.py", crm.url, "key-of-demo"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return {"answers": json.loads(done.stdout), "ledger": crm.entries("demo")}


def answer(told, name, *, status=200):
    found = told["answers"][name]
    assert (found["status"], found["is_successful"]) == (status, status < 400), found
    return found["answer"]


def test_it_understands_versions_credentials_and_settings(told):
    assert "5.0" in answer(told, "versions")["versions"]
    assert "telephony_write" in answer(told, "credentials")["scopes"]
    assert answer(told, "settings")["settings"]["timezone"]["value"] == "Europe/Minsk"


def test_it_registers_a_module_and_reads_it_back(told):
    assert answer(told, "module before", status=404)["errorMsg"] == "Not found"
    edited = answer(told, "module edit", status=told["answers"]["module edit"]["status"])
    assert edited["success"] is True
    assert edited["info"]["notExistUsersIds"] == [999]
    module = answer(told, "module")["integrationModule"]
    [code] = module["integrations"]["telephony"]["additionalCodes"]
    assert (str(code["userId"]), code["code"]) == ("18", "150")
    assert (module["code"], module["baseUrl"]) == ("vochi-telephony", "https://telephony.example.com")


def test_it_lists_people_page_by_page(told):
    first, second = answer(told, "users"), answer(told, "users, page 2")
    assert [len(first["users"]), len(second["users"])] == [20, 10]
    assert first["pagination"]["totalPageCount"] == 2
    assert answer(told, "user")["user"]["firstName"] == "Manager 18"
    assert answer(told, "user groups")["success"] is True
    assert answer(told, "user status")["success"] is True


def test_its_calls_pop_up_and_stand_in_the_history(told):
    assert answer(told, "ring") == {"success": True, "notExistCodes": ["159"]}
    assert answer(told, "hangup")["success"] is True
    assert answer(told, "upload")["processedCallsCount"] == 1
    assert answer(told, "upload again")["duplicateCalls"] == ["1758798777.27"]
    refused = answer(told, "upload, refused", status=400)
    assert refused["errorMsg"]
    assert refused["errors"]


def test_it_finds_the_customers_manager(told):
    found = answer(told, "manager")
    assert (found["manager"]["id"], found["customer"]["firstName"]) == (18, "Ivan")
    assert not answer(told, "manager of nobody").get("manager")
    assert not answer(told, "manager who is busy").get("manager")


def test_refusals_have_the_form_that_it_expects(told):
    assert answer(told, "wrong key", status=403)["errorMsg"] == 'Wrong "apiKey" value.'
    assert answer(told, "no such method", status=404)["errorMsg"] in {"API method not found", "Method not found"}


def test_nothing_that_it_sent_was_suspicious_to_the_simulator(told):
    assert [entry["warnings"] for entry in told["ledger"] if entry.get("warnings")] == []
