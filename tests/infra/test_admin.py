"""`make admin` and `make revoke`: who may sign in, as the administrators' API sees it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time

import functions_framework
import psycopg
import pytest

from infra.commands import provision
from infra.stand_ins import postgres
from lib.enterprises import account_link
from lib.enterprises.account_link import Link
from lib.runtime import config, db
from tests.harness.enterprises import enterprise
from tests.harness.page import Page

PASSWORD = "correct horse battery"


@pytest.fixture
def page(process):
    """The page, for an enterprise that has an administrator `admin` already."""
    process.setenv("PUBLIC_URL", "http://127.0.0.1:8080")
    process.setenv("ACCOUNT_LINK_SECRET", "a-secret-of-the-tests-with-32-bytes-and-more")
    config.current.cache_clear()
    with db.transaction() as conn:
        provision.provision(conn, enterprise())
        provision.provision(conn, enterprise("0368", token="375290000002"))
    app = functions_framework.create_app("admin_api", "functions/admin-api/main.py")
    return lambda: Page(client=app.test_client())


@pytest.fixture
def sql(database_url):
    def run(query):
        with psycopg.connect(database_url, autocommit=True) as conn:
            return conn.execute(query).fetchall()

    return run


def run(module, *arguments, typed=""):
    done = subprocess.run(
        [sys.executable, "-m", f"infra.commands.{module}", *arguments],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def admin(*arguments, typed=""):
    return run("admin", "--enterprise", "0367", "--by", "petrova", *arguments, typed=typed)


def test_somebody_is_added_and_can_sign_in(page, sql):
    code, said = admin("--login", "ivanova", typed=f"{PASSWORD}\n")

    assert code == 0, said
    assert "http://127.0.0.1:8080/retailcrm-admin/, enterprise 0367, login ivanova" in said
    assert PASSWORD not in said
    assert page().sign_in(login="ivanova", password=PASSWORD).status_code == 200
    assert page().sign_in("0368", login="ivanova", password=PASSWORD).status_code == 401
    [(stored,)] = sql("SELECT password_hash FROM users WHERE login = 'ivanova'")
    assert stored.startswith("pbkdf2:sha256:")
    assert sql("SELECT request_data FROM integration_logs WHERE event_type = 'administrators'") == [
        ({"by": "petrova", "added": "ivanova"},)
    ]


def test_a_new_password_ends_the_old_one_and_what_was_signed_in_with_it(page, sql):
    admin("--login", "ivanova", typed=f"{PASSWORD}\n")
    opened = page()
    opened.sign_in(login="ivanova", password=PASSWORD)
    code, said = admin("--login", "ivanova", typed="another password\r\n")

    assert (code, "is not any more" in said) == (0, True)
    assert opened.get("session").status_code == 401
    assert sql("SELECT count(*) FROM known_browsers") == [(0,)]
    assert page().sign_in(login="ivanova", password=PASSWORD).status_code == 401
    assert page().sign_in(login="ivanova", password="another password").status_code == 200


def test_somebody_who_works_there_becomes_an_administrator_and_stays_who_they_are(page, sql):
    before = sql("SELECT id, first_name, personal_phone FROM users WHERE login = '150' AND enterprise_number = '0367'")
    admin("--login", "150", typed=f"{PASSWORD}\n")

    assert page().sign_in(login="150", password=PASSWORD).status_code == 200
    assert before == sql(
        "SELECT id, first_name, personal_phone FROM users WHERE login = '150' AND enterprise_number = '0367'"
    )


def test_they_are_listed_and_one_is_removed(page, sql):
    admin("--login", "ivanova", typed=f"{PASSWORD}\n")
    opened = page()
    opened.sign_in(login="ivanova", password=PASSWORD)
    listed = admin()
    code, said = admin("--login", "ivanova", "--remove")

    assert listed == (0, "admin\nivanova\n")
    assert (code, "is signed out" in said) == (0, True)
    assert opened.get("session").status_code == 401
    assert page().sign_in(login="ivanova", password=PASSWORD).status_code == 401
    assert admin() == (0, "admin\n")
    assert sql("SELECT count(*) FROM users WHERE login = 'ivanova'") == [(1,)]
    assert "Nobody is left" in admin("--login", "admin", "--remove")[1]
    assert "Nobody administers enterprise 0367" in admin()[1]


@pytest.mark.parametrize(
    ("arguments", "typed", "words"),
    [
        (["--enterprise", "0367", "--login", "ivanova"], "short\n", "10 characters or more"),
        (["--enterprise", "0367", "--login", "ivanova"], "", "10 characters or more"),
        (["--enterprise", "0367", "--login", "ivanova"], "with\x00 a zero byte\n", "10 characters or more"),
        (["--enterprise", "0367", "--login", "x" * 201], f"{PASSWORD}\n", "longer than 200"),
        (["--enterprise", "0367", "--login", "nobody", "--remove"], "", "does not administer"),
        (["--enterprise", "0367", "--login", "150", "--remove"], "", "does not administer"),
        (["--enterprise", "0367", "--remove"], "", "Whom?"),
        (["--enterprise", "9999", "--login", "ivanova"], f"{PASSWORD}\n", "no enterprise 9999"),
        (["--login", "ivanova"], f"{PASSWORD}\n", "Which enterprise?"),
    ],
)
def test_an_impossible_command_fails_with_one_sentence_and_changes_nothing(page, sql, arguments, typed, words):
    before = sql("SELECT to_jsonb(u) FROM users u ORDER BY id")

    code, said = run("admin", *arguments, typed=typed)

    assert (code, words in said) == (1, True), said
    assert len(said.splitlines()) == 1
    assert sql("SELECT to_jsonb(u) FROM users u ORDER BY id") == before


def typed_at_a_terminal(answers, *arguments):
    """The command as a person has it before them: what stands on the screen, and the exit code."""
    pid, screen = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "infra.commands.admin", "--by", "petrova", *arguments])
    shown, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        if not select.select([screen], [], [], 1)[0]:
            continue
        try:
            part = os.read(screen, 4096)
        except OSError:
            break
        shown += part
        if not part:
            break
        # Not before the question: what is typed earlier is thrown away.
        if answers and part.rstrip(b" ").endswith(b":"):
            os.write(screen, answers.pop(0).encode() + b"\n")
    else:
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_at_a_terminal_the_password_is_asked_for_twice_and_never_shown(page):
    code, shown = typed_at_a_terminal([PASSWORD, PASSWORD], "--enterprise", "0367", "--login", "ivanova")
    wrong, other = typed_at_a_terminal([PASSWORD, "another one"], "--enterprise", "0367", "--login", "sidorova")

    assert (code, PASSWORD in shown) == (0, False), shown
    assert page().sign_in(login="ivanova", password=PASSWORD).status_code == 200
    assert (wrong, "two different passwords" in other) == (1, True), other


def test_revoking_ends_every_session_and_link_of_the_enterprise_and_of_no_other(page, sql):
    mine, theirs, by_link = page(), page(), page()
    assert mine.sign_in().status_code == 200
    assert theirs.sign_in("0368").status_code == 200
    token = account_link.issue(Link(enterprise_number="0367", version=0))
    other = account_link.issue(Link(enterprise_number="0368", version=0))
    assert by_link.ask("POST", "session", {"token": token}).status_code == 200

    code, said = run("revoke", "--enterprise", "0367", "--by", "petrova")

    assert code == 0, said
    assert "2 sessions ended" in said
    assert "register the module" in said
    assert [opened.get("session").status_code for opened in (mine, by_link, theirs)] == [401, 401, 200]
    assert sql("SELECT enterprise_number FROM known_browsers b JOIN users u ON u.id = b.user_id") == [("0368",)]
    answer = page().ask("POST", "session", {"token": token})
    assert (answer.status_code, answer.json["error"]["code"]) == (401, "link_revoked")
    assert page().ask("POST", "session", {"token": other}).status_code == 200
    assert page().sign_in().status_code == 200
    assert sql("SELECT request_data FROM integration_logs WHERE event_type = 'revoke'") == [
        ({"by": "petrova", "sessions": 2},)
    ]


def test_a_link_that_a_registration_under_way_was_about_to_issue_is_revoked_too(page, sql):
    run("revoke", "--enterprise", "0367")
    next_link = account_link.issue(Link(enterprise_number="0367", version=1))

    assert page().ask("POST", "session", {"token": next_link}).json["error"]["code"] == "link_revoked"


def test_revoking_an_unknown_enterprise_is_refused(page):
    assert run("revoke", "--enterprise", "9999") == (1, "revoke: There is no enterprise 9999\n")
    assert run("revoke") == (1, "revoke: Which enterprise? make revoke ENTERPRISE=0367\n")


def test_revoking_says_when_nobody_could_sign_in_again(page):
    admin("--login", "admin", "--remove")

    assert "Nobody has a password" in run("revoke", "--enterprise", "0367")[1]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("admin", ["--enterprise", "0367"]),
        ("revoke", ["--enterprise", "0367"]),
        ("explain", ["1760000000.1"]),
        ("replay", ["--enterprise", "0367", "--call", "1760000000.1"]),
        ("rotate_keys", []),
    ],
)
def test_a_database_that_was_never_migrated_is_told_in_a_sentence(process, postgres_server, module, arguments):
    with postgres.database(postgres_server) as empty:
        process.setenv("DATABASE_URL", empty)
        code, said = run(module, *arguments)

    assert code == 1
    assert "python -m infra.deployment.migrate" in said
    assert len(said.splitlines()) == 1
