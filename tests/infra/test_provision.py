from __future__ import annotations

import json
import subprocess
import sys

import psycopg
import pytest

from lib.runtime.vault import Vault, parse_keys
from tests.conftest import VAULT_KEYS
from tests.harness.enterprises import enterprise


@pytest.fixture
def run(process, database_url, tmp_path):
    """`python -m infra.commands.provision FILE` with this content."""

    def provisioned(content):
        file = tmp_path / "enterprise.json"
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content if isinstance(content, str) else json.dumps(content))
        return subprocess.run(
            [sys.executable, "-m", "infra.commands.provision", str(file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return provisioned


@pytest.fixture
def everything(database_url):
    def dump():
        with psycopg.connect(database_url) as conn:
            return [
                conn.execute(f"SELECT to_jsonb(t) FROM {table} t ORDER BY 1::text").fetchall()
                for table in ("enterprises", "users", "user_internal_phones", "lines")
            ]

    return dump


def config(everything):
    return everything()[0][0][0]["integrations_config"]["retailcrm"]


def test_an_enterprise_is_written_with_its_key_sealed(run, everything):
    done = run(enterprise())

    assert (done.returncode, done.stderr) == (0, "")
    enterprises, users, phones, lines = everything()
    assert [len(rows) for rows in (enterprises, users, phones, lines)] == [1, 5, 6, 4]
    sealed = config(everything)["api_key"]
    assert "key-of-0367" not in sealed
    assert Vault(parse_keys(VAULT_KEYS)).decrypt(sealed, owner="0367") == "key-of-0367"


def test_provisioning_again_changes_nothing(run, everything):
    run(enterprise())
    before = everything()
    run(enterprise())

    assert everything() == before


@pytest.mark.parametrize(
    ("change", "is_signed_in"),
    [
        ({}, True),
        ({"first_name": "Anna"}, True),
        ({"password": "another-password"}, False),
        ({"is_admin": False}, False),
    ],
)
def test_a_user_who_lost_the_right_to_sign_in_is_signed_out(run, database_url, change, is_signed_in):
    run(enterprise())
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "INSERT INTO sessions (enterprise_number, user_id, token_sha256) "
            "SELECT enterprise_number, id, sha256('a') FROM users WHERE login = 'admin'"
        )
    changed = enterprise()
    changed["users"][0] |= change

    done = run(changed)

    with psycopg.connect(database_url) as conn:
        [(revoked_at,)] = conn.execute("SELECT revoked_at FROM sessions").fetchall()
    assert (done.returncode, revoked_at is None) == (0, is_signed_in)


def test_settings_that_the_file_does_not_mention_stay(run, everything):
    run(enterprise(settle_seconds=7))
    changed = enterprise(owner_policy="first_talker")
    del changed["integrations_config"]["retailcrm"]["api_key"]
    run(changed)

    assert config(everything)["settle_seconds"] == 7
    assert config(everything)["owner_policy"] == "first_talker"
    assert config(everything)["api_key"].startswith("v1.")
    assert config(everything)["version"] == 2


def test_every_problem_is_named_at_once_and_nothing_is_changed(run, everything):
    run(enterprise())
    before = everything()
    broken = enterprise(
        domain="crm.example.com", user_extensions={"x": "150", "19": "151", "20": "151"}, settle_seconds="soon"
    )
    broken |= {"token": "", "region": "XX", "timezone": "Mars/Olympus", "asterisk_url": "ftp://x"}
    broken["users"].append({"login": "150"})
    broken["lines"].append({"line_id": "9", "incoming_transform": "{}"})
    broken["internal_phones"].append("SIP/150")

    done = run(broken)

    assert done.returncode == 1
    for word in (
        "nothing was changed",
        "token",
        "region",
        "timezone",
        "asterisk_url",
        "domain",
        "users[5].login",
        "incoming_transform",
        "internal_phones[6]",
        "user_extensions",
        "settle_seconds",
    ):
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert everything() == before


@pytest.mark.parametrize("theirs", [{}, {"token": "another", "secret": "375290000001"}, {"token": "secret-of-0367"}])
def test_another_enterprises_token_or_secret_is_refused(run, theirs):
    run(enterprise("0367"))
    done = run({**enterprise("0368"), **theirs})

    assert done.returncode == 1
    assert "another enterprise has this token" in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{",
        '{"region": ["BY"], "timezone": {}}',
        '{"number": 367}',
        '{"users": {}}',
        '{"integrations_config": []}',
        json.dumps({**enterprise(), "integrations_config": {"other": "text"}}),
        json.dumps({**enterprise(), "name": "\ud800"}),
        "[" * 100_000,
        json.dumps({**enterprise(), "name": "Магазин"}, ensure_ascii=False).encode("cp1251"),
    ],
    ids=range(12),
)
def test_a_file_that_is_no_enterprise_is_one_clear_message(run, content):
    done = run(content)

    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("retailcrm", "word"),
    [
        ({"api_key": "a-key-with-its-line-end\n"}, "api_key: must be characters without spaces"),
        ({"accept_number_as_client_id": "yes"}, "accept_number_as_client_id: must be true or false"),
        ({"user_extensions": {"1" * 25: "150"}}, "is not a user id of RetailCRM"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_they_are_saved(run, retailcrm, word):
    done = run(enterprise(**retailcrm))

    assert (done.returncode, word in done.stderr) == (1, True)
    assert "a-key-with" not in done.stderr


def test_a_file_saved_with_a_byte_order_mark_is_read(run):
    assert run(json.dumps(enterprise()).encode("utf-8-sig")).returncode == 0


def test_a_file_that_is_not_there_is_said(process):
    done = subprocess.run(
        [sys.executable, "-m", "infra.commands.provision", "no-such-file.json"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "no-such-file.json cannot be read" in done.stderr


def test_settings_of_smart_redirect_are_checked_too(run):
    lines = {"0001301": {"algorithm": "none"}, "0001302": {"mode": "off"}}

    done = run(enterprise(smart_redirect_mode="sideways", smart_redirect_lines=lines))

    assert done.returncode == 1
    for problem in ("smart_redirect_mode cannot be 'sideways'", "lines.0001301.algorithm cannot be 'none'"):
        assert done.stderr.count(problem) == 1


def test_an_integration_that_no_service_serves_is_kept_with_its_key_sealed_and_said(run, everything, database_url):
    file = enterprise()
    file["integrations_config"]["amocrm"] = {"enabled": True, "api_key": "a-key-of-another-crm", "pipeline": [1, 2]}
    amocrm = {"amocrm": {"pipeline": [1]}}

    first, again = run(file), run(file)
    with psycopg.connect(database_url) as conn:
        [(kept,)] = conn.execute("SELECT integrations_config -> 'amocrm' FROM enterprises").fetchall()
    changed = run(file | {"integrations_config": amocrm})

    assert (first.returncode, first.stderr, again.returncode) == (0, "", 0)
    assert "amocrm: its settings are kept, but no service here serves it" in first.stdout
    assert (kept["enabled"], kept["pipeline"], kept["version"]) == (True, [1, 2], 1)
    assert kept["api_key"].startswith("v1.test.")
    assert changed.returncode == 0
    with psycopg.connect(database_url) as conn:
        [(sections,)] = conn.execute("SELECT integrations_config FROM enterprises").fetchall()
    assert sections["amocrm"] == {**kept, "pipeline": [1], "version": 2}
    assert sections["retailcrm"]["version"] == 1


def test_a_name_that_is_none_and_a_section_that_is_no_object_are_refused(run):
    file = enterprise()
    file["integrations_config"] |= {"Amo CRM": {}, "bitrix": "on", "amocrm": {"enabled": "yes"}}

    done = run(file)

    assert done.returncode == 1
    for problem in (
        "integrations_config.Amo CRM: the name must be letters, digits and _, in lower case",
        "integrations_config.bitrix: must be an object",
        "integrations_config.amocrm.enabled: must be true or false",
    ):
        assert problem in done.stderr
