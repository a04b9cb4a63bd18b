"""`make import` and `make switch`: three hundred enterprises of the old system, on real PostgreSQL, and what follows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack

import psycopg
import pytest

from infra.commands import provision
from infra.deployment import rights
from infra.stand_ins import postgres
from lib.runtime import db
from lib.runtime.vault import Vault, parse_keys
from tests.conftest import VAULT_KEYS
from tests.harness import old_system, roles
from tests.harness.enterprises import enterprise
from tests.harness.old_system import NUMBERS, PLAIN

# Also because of what is duplicate, these do not come.
CANNOT = (
    "secret_missing",
    "secret_blank",
    "token_twice_one",
    "token_twice_two",
    "secret_twice_one",
    "secret_twice_two",
    "token_is_a_secret",
    "secret_is_a_token",
    "token_is_a_number",
    "token_is_its_secret",
    "number_blank",
    "number_spaced",
    "number_twice_one",
    "number_twice_two",
)
SWITCHED_OFF = ("switched_off_with_that_token", "switched_off")
OURS = ("enterprises", "users", "user_internal_phones", "lines", "integration_logs", "token_rotations")


@pytest.fixture(scope="module")
def old_databases(postgres_server):
    """Makes an old database; the same one again for the same wishes: nobody writes into it."""
    with ExitStack() as stack:
        made = {}

        def old(**wishes):
            key = repr(sorted(wishes.items()))
            if key not in made:
                url = stack.enter_context(postgres.database(postgres_server, template="template1"))
                made[key] = (url, old_system.make(url, **wishes))
            return made[key]

        yield old


@pytest.fixture
def old(old_databases):
    url, _ = old_databases()
    return url


@pytest.fixture
def made(old_databases):
    """The enterprises there, by the numbers that they have in `NUMBERS`."""
    _, enterprises = old_databases()
    return {f"{old_system.FIRST + place:04}": one for place, one in enumerate(enterprises)}


def command(url, *arguments, database_url):
    return [sys.executable, "-m", "infra.commands.moving", "--by=petrova", *arguments], {
        **os.environ,
        "OLD_DATABASE_URL": url,
        "DATABASE_URL": roles.url_of(rights.OPERATOR, database_url),
    }


@pytest.fixture
def run(process, database_url):
    """`make import`, under the role of the operator's commands."""

    def done(url, *arguments):
        argv, environment = command(url, *arguments, database_url=database_url)
        found = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=100)
        assert "Traceback" not in found.stderr, found.stderr
        return found

    return done


@pytest.fixture
def switch(process, database_url):
    def done(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "infra.commands.switch", "--by=petrova", *arguments],
            env={**os.environ, "DATABASE_URL": roles.url_of(rights.OPERATOR, database_url)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return done


@pytest.fixture
def sql(database_url):
    def ask(query, *parameters):
        with psycopg.connect(database_url, autocommit=True) as conn:
            cursor = conn.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    return ask


@pytest.fixture
def everything(sql):
    return lambda: {table: sql(f"SELECT to_jsonb(t) FROM {table} t ORDER BY 1::text") for table in OURS}


@pytest.fixture
def crm(sql):
    """The section of an enterprise by its number."""
    return lambda number: sql("SELECT integrations_config -> 'retailcrm' FROM enterprises WHERE number = %s", number)[
        0
    ][0]


def opened(section, number):
    return Vault(parse_keys(VAULT_KEYS)).decrypt(section["api_key"], owner=number)


def of_number(report, number):
    """The lines of the report about one enterprise."""
    lines = report.splitlines()
    [first] = [place for place, line in enumerate(lines) if line.startswith(f"{number} ")]
    rest = lines[first + 1 :]
    own = rest[: next((place for place, line in enumerate(rest) if not line.startswith("  ")), len(rest))]
    return "\n".join([lines[first], *own])


def test_everything_of_an_enterprise_comes_and_its_key_is_sealed(run, old, made, sql, crm):
    done = run(old, "--only", PLAIN, "--asterisk-url=http://asterisk.example.com:8018")
    theirs = made[PLAIN]

    assert (done.returncode, done.stderr) == (0, "")
    [ours] = sql("SELECT name, token, secret, region, timezone, asterisk_url FROM enterprises")
    assert ours == (
        theirs.row["name"],
        theirs.row["name2"],
        theirs.row["secret"],
        "BY",
        "Europe/Minsk",
        "http://asterisk.example.com:8018",
    )
    people = sql("SELECT login, first_name, last_name, personal_phone, is_admin, password_hash FROM users ORDER BY id")
    assert people == [
        (one["email"], one["first_name"], one["last_name"] or "", one["personal_phone"] or None, one["is_admin"], None)
        for one in theirs.users
    ]
    emails = {one["id"]: one["email"] for one in theirs.users}
    assert sql(
        "SELECT p.id, p.phone_number, u.login FROM user_internal_phones p LEFT JOIN users u ON u.id = p.user_id ORDER BY 1"
    ) == [(one["id"], one["phone_number"], emails.get(one["user_id"])) for one in theirs.phones]
    assert sql("SELECT line_id, name, phone_number, site_code, incoming_transform FROM lines ORDER BY 1") == [
        ("0001301", "Главная", "+375290000101", None, None),
        ("0001302", "", "375290000102", None, None),
        ("3000001", "3000001", None, None, None),
    ]
    section = crm(PLAIN)
    assert opened(section, PLAIN) == theirs.crm["api_key"]
    assert {name: section[name] for name in ("domain", "user_extensions", "enabled", "version")} == {
        "domain": theirs.crm["domain"],
        "user_extensions": theirs.crm["user_extensions"],
        "enabled": False,
        "version": 1,
    }
    assert section["accept_number_as_client_id"] is True
    assert section["smart_redirect_mode"] == theirs.smart["mode"]
    assert sql("SELECT event_type, request_data ->> 'by' FROM integration_logs") == [("import", "petrova")]


def test_all_come_but_those_that_cannot_and_the_report_says_why(run, old, made, sql):
    done = run(old)

    there = {number for (number,) in sql("SELECT number FROM enterprises")}
    absent = {NUMBERS[odd] for odd in (*CANNOT, *SWITCHED_OFF)}
    assert done.returncode == 0, done.stderr
    assert there == set(made) - absent
    assert f"300 enterprises: {len(there)} come" in done.stdout
    for odd, reason in {
        "secret_missing": "secret: is missing",
        "token_twice_one": f"its token is the token of {NUMBERS['token_twice_two']} too",
        "secret_twice_two": f"its secret is the secret of {NUMBERS['secret_twice_one']} too",
        "token_is_a_secret": f"its token is the secret of {NUMBERS['secret_is_a_token']} too",
        "token_is_a_number": f"its token is the number of {PLAIN} too",
        "token_is_its_secret": "secret: must differ from token",
        "switched_off": "does not come: it is switched off there (ONLY=",
    }.items():
        assert reason in of_number(done.stdout, NUMBERS[odd]), odd
    assert done.stdout.count("two enterprises have the number 0099") == 2
    assert "(no number) Магазин" in done.stdout
    assert "number: at most 32 letters" in of_number(done.stdout, "03 67")
    assert "The old database: users: 1 rows are of enterprises that are not there ('9999')" in done.stdout


@pytest.fixture
def imported(run, old, made, crm):
    """The report of a run, and by the name of an oddity: its lines, the section, and what it is there."""
    report = run(old).stdout

    def found(odd):
        number = NUMBERS[odd]
        return of_number(report, number), crm(number), made[number]

    return found


def test_whatever_is_odd_about_integrations_costs_only_what_cannot_be_meant(imported, sql):
    for odd in ("config_in_text", "config_in_text_twice", "sections_in_text", "on_by_a_number"):
        said, section, theirs = imported(odd)
        assert opened(section, theirs.number).startswith("plain-key-"), odd
        assert section["user_extensions"]["18"] == "150", odd
        assert "stays behind" not in said, odd
    for odd in ("config_broken", "config_a_list", "config_too_deep"):
        said, section, _ = imported(odd)
        assert section is None, odd
        assert "stays behind: integrations_config: is no" in said, odd
    assert imported("config_missing")[1] is None
    assert imported("config_half_a_character")[1]["note"] == "? "
    for odd in ("key_blank", "key_missing", "key_with_a_blank", "key_in_cyrillic"):
        said, section, _ = imported(odd)
        assert "api_key" not in section, odd
        assert "accept_number_as_client_id" not in section, odd
        assert "stays behind: retailcrm.api_key: " in said, odd
    said, section, theirs = imported("key_with_its_line_end")
    assert opened(section, theirs.number) == "plain-key-with-line-end"
    for odd, domain in {
        "domain_with_a_path": "https://shop.retailcrm.ru",
        "domain_by_http": "https://shop.retailcrm.ru",
        "domain_with_a_user": "https://shop.simla.com",
        "domain_bare": "shop.retailcrm.pro",
    }.items():
        assert imported(odd)[1]["domain"] == domain
    for odd in ("domain_blank", "domain_of_somebody_else", "domain_no_address"):
        said, section, _ = imported(odd)
        assert "domain" not in section, odd
        assert "stays behind: retailcrm.domain: " in said, odd
    said, section, _ = imported("settings_unknown")
    assert (section["favourite"], section["nested"]) == ("blue", {"depth": [{}]})
    assert "retailcrm.nested.token" in said
    said, section, _ = imported("settings_of_ours_broken")
    assert (section.get("settle_seconds"), section["owner_policy"]) == (None, "first_talker")
    assert "retailcrm.settle_seconds cannot be 'soon'" in said
    said, section, _ = imported("mapping_odd")
    assert section["user_extensions"] == {"18": "150", "19": None, "20": None, "21": None, "23": "151"}
    for words in ("'x' is not a user id", ".22: must be an extension", ".19: 151 is user 23's too", ".24: is neither"):
        assert words in said
    assert imported("mapping_a_list")[1]["user_extensions"] == {}
    assert imported("mapping_missing")[1]["user_extensions"] == {}
    said, _, theirs = imported("other_crms")
    [(sections,)] = sql("SELECT integrations_config FROM enterprises WHERE number = %s", theirs.number)
    assert opened(sections["ms"], theirs.number) == "plain-key-of-ms"
    assert sections["ms"]["employee_mapping"] == {"151": {"name": "Анна"}}
    assert sections["bitrix24"] == {"enabled": False, "deals": [1], "version": 1}
    assert sorted(sections) == ["bitrix24", "ms", "retailcrm"]
    for words in ("bitrix24.webhook_url: ", "Amo CRM: the name must be", "text: is no JSON"):
        assert words in said


def test_smart_redirect_goes_on_as_it_was_chosen(imported):
    _, section, _ = imported("routing")
    assert section["smart_redirect_mode"] == "routing+name"
    assert section["smart_redirect_lines"] == {
        "0001301": {"algorithm": "last_call", "names": ["customer", "line"]},
        "0001302": {"mode": "off"},
        "belline1": {"mode": "name-only"},
    }
    said, section, _ = imported("routing_by_another_crm")
    assert section["smart_redirect_mode"] == "off"
    assert "smart.primary: ms decides there" in said
    said, section, _ = imported("routing_odd")
    assert "smart_redirect_mode" not in section
    assert "smart_redirect_mode cannot be 'sideways'" in said
    assert "smart.lines: is no object" in said


def test_whatever_is_odd_about_people_extensions_and_lines_costs_only_what_cannot_be_meant(imported, sql):
    said, _, theirs = imported("people_odd")
    logins = sql("SELECT login, first_name, personal_phone FROM users WHERE enterprise_number = %s", theirs.number)
    first = theirs.users[0]["id"]
    assert {login for login, *_ in logins} == {
        theirs.users[0]["email"],
        *(f"user-{first + place}" for place in (1, 2, 3)),
    }
    assert (f"user-{first + 2}", "Вторая", "+375292222222") in logins
    assert f"a second one of this e-mail comes as user-{first + 2}" in said
    said, _, theirs = imported("phones_odd")
    extensions = dict(
        sql("SELECT phone_number, user_id FROM user_internal_phones WHERE enterprise_number = %s", theirs.number)
    )
    assert {"777", "888", "999"} < set(extensions)
    assert not {"SIP/150", "*65"} & set(extensions)
    assert extensions["777"] is None
    assert extensions["888"] is not None
    for words in (
        "'SIP/150': is not one",
        "'*65': is not one",
        "has no number",
        "777: its person 1",
        "888: stands twice",
    ):
        assert words in said
    said, _, theirs = imported("lines_odd")
    lines = sql(
        "SELECT line_id, name, site_code, incoming_transform FROM lines WHERE enterprise_number = %s ORDER BY 1",
        theirs.number,
    )
    assert ("0009999", "", None, None) in lines
    assert ("belline1", "belline1", None, "+375{9}") in lines
    assert ("belline2", "Две", None, None) in lines
    for words in (
        "'Без номера': has no id",
        "0001301: stands twice",
        "belline2: incoming_transform",
        "Магазин на Ленина",
    ):
        assert words in said
    assert "numbers of RU" in imported("lines_abroad")[0]
    name = sql("SELECT name FROM enterprises WHERE number = %s", NUMBERS["name_missing"])
    assert name == [(NUMBERS["name_missing"],)]
    assert "\x1b" not in imported("name_of_control_characters")[0]


def test_a_second_run_changes_nothing(run, old, everything):
    run(old)
    before = everything()

    again = run(old)

    assert (again.returncode, again.stderr) == (0, "")
    assert everything() == before
    assert f"300 enterprises: {len(before['enterprises'])} are here already, the same; " in again.stdout
    assert "Done: 0 enterprises were written" in again.stdout


def test_a_dry_run_says_the_same_and_changes_nothing(run, old, everything):
    dry = run(old, "--dry")
    before = everything()
    wet = run(old)

    assert dry.returncode == 0
    assert not any(before.values())
    assert dry.stdout.endswith("Nothing was changed: a dry run.\n")
    assert wet.stdout.startswith(dry.stdout.removesuffix("Nothing was changed: a dry run.\n"))


def test_a_run_that_was_killed_leaves_whole_enterprises_and_the_next_one_goes_on(
    run, old, sql, everything, database_url
):
    argv, environment = command(old, database_url=database_url)
    # Another session holds the rows that one of the last enterprises is to have.
    with psycopg.connect(database_url) as holder:
        holder.execute("INSERT INTO enterprises (number, name, token, secret) VALUES ('0300', 'held', 'held', 'held')")
        running = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 90
        while not sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
        running.wait()
        holder.rollback()
    half = {number for (number,) in sql("SELECT number FROM enterprises")}
    phones = Counter(dict(sql("SELECT enterprise_number, count(*) FROM user_internal_phones GROUP BY 1")))

    resumed = run(old)
    whole = everything()
    again = run(old)

    assert 100 < len(half) < 250
    assert max(half) == "0299"
    assert resumed.returncode == 0
    assert f"Done: {300 - len(CANNOT) - len(SWITCHED_OFF) - len(half)} enterprises were written" in resumed.stdout
    now = Counter(dict(sql("SELECT enterprise_number, count(*) FROM user_internal_phones GROUP BY 1")))
    assert all(now[number] == count for number, count in phones.items())
    assert again.returncode == 0
    assert everything() == whole


def test_only_some_come_and_among_them_those_that_are_switched_off_there(run, old, sql):
    wanted = f"{PLAIN}, {NUMBERS['switched_off']}"

    done = run(old, "--only", wanted)
    unknown = run(old, "--only", "0100,4711")
    still_shared = run(old, "--only", NUMBERS["token_twice_one"])

    assert done.returncode == 0
    assert sql("SELECT number FROM enterprises ORDER BY 1") == [(PLAIN,), (NUMBERS["switched_off"],)]
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "ONLY: the old database has no enterprise 4711" in unknown.stderr
    assert "cannot come" in still_shared.stdout


def test_what_was_changed_here_stays_and_what_is_missing_is_added(run, old, sql, crm, everything):
    run(old, "--only", PLAIN)
    section = crm(PLAIN)
    edited = {**section, "user_extensions": {"18": "901"}, "enabled": True, "domain": "other.retailcrm.ru"}
    sql("UPDATE enterprises SET name = 'Ours', integrations_config = %s", json.dumps({"retailcrm": edited}))
    sql("UPDATE lines SET name = 'Ours', site_code = 'shop' WHERE line_id = '0001301'")
    sql("UPDATE users SET first_name = 'Ours' WHERE is_admin")
    sql("DELETE FROM lines WHERE line_id = '0001302'")
    sql("DELETE FROM user_internal_phones WHERE phone_number = '150'")
    before = everything()

    done = run(old, "--only", PLAIN)

    after = everything()
    assert done.returncode == 0
    said = of_number(done.stdout, PLAIN)
    assert "is here already; added: extensions: 1, lines: 1" in said
    assert "differs, and stays as it is here" in said
    for name in ("name, ", "line 0001301", "retailcrm.user_extensions", "retailcrm.domain"):
        assert name in said
    assert after["enterprises"] == before["enterprises"]
    assert after["users"] == before["users"]
    assert [row for row in after["lines"] if row in before["lines"]] == before["lines"]
    assert len(after["lines"]) == len(before["lines"]) + 1
    assert sql(
        "SELECT u.is_admin FROM user_internal_phones p JOIN users u ON u.id = p.user_id WHERE phone_number = '150'"
    )
    again = everything()
    run(old, "--only", PLAIN)
    assert everything() == again


def test_a_connection_that_was_removed_here_does_not_come_back(run, old, sql, crm):
    run(old, "--only", PLAIN)
    removed = {"retailcrm": {"enabled": False, "version": 2}}
    sql("UPDATE enterprises SET integrations_config = %s", json.dumps(removed))

    run(old, "--only", PLAIN)

    assert crm(PLAIN) == removed["retailcrm"]


def test_overwriting_takes_what_is_there_and_leaves_what_is_decided_here(*, run, old, made, sql, crm, everything):
    run(old, "--only", PLAIN)
    section = crm(PLAIN)
    edited = {
        **section,
        "user_extensions": {},
        "enabled": True,
        "accept_number_as_client_id": False,
        "settle_seconds": 7,
    }
    sql(
        "UPDATE enterprises SET name = 'Ours', region = 'KZ', integrations_config = %s",
        json.dumps({"retailcrm": edited}),
    )
    sql("UPDATE lines SET name = 'Ours', site_code = 'shop' WHERE line_id = '0001301'")

    dry = run(old, "--only", PLAIN, "--overwrite", "--dry")
    done = run(old, "--only", PLAIN, "--overwrite")

    assert "overwritten: name, line 0001301, retailcrm.user_extensions" in dry.stdout
    assert done.returncode == 0
    assert sql("SELECT name, region FROM enterprises") == [(made[PLAIN].row["name"], "KZ")]
    assert sql("SELECT name, site_code FROM lines WHERE line_id = '0001301'") == [("Главная", "shop")]
    now = crm(PLAIN)
    assert now["user_extensions"] == made[PLAIN].crm["user_extensions"]
    assert (now["enabled"], now["accept_number_as_client_id"], now["settle_seconds"]) == (True, False, 7)
    again = everything()
    assert "1 enterprises: 1 are here already, the same\n" in run(old, "--only", PLAIN, "--overwrite").stdout
    assert everything() == again


@pytest.fixture
def pilot(process, made):
    """PLAIN was provisioned by hand before: its extensions have ids of our own, and those of others."""

    def provisioned(ids):
        theirs = made[PLAIN].row
        data = enterprise(PLAIN, token=theirs["name2"]) | {"secret": theirs["secret"], "users": []}
        with db.transaction() as conn:
            provision.provision(conn, data, phone_ids=ids)

    return provisioned


def test_extensions_keep_the_ids_that_dialplans_know_and_new_ones_come_behind_them(run, old, made, sql, pilot):
    other = made[NUMBERS["config_missing"]]
    taken = other.phones[0]
    pilot({"150": taken["id"], "151": 999})

    blocked = run(old, "--only", f"{PLAIN},{other.number}")
    said = of_number(blocked.stdout, other.number)
    assert f"the dialplan knows it as {taken['id']}, which is 150 of {PLAIN} here" in said
    mine = made[PLAIN].phones[0]
    assert f"extension 150: the dialplan knows it as {mine['id']}, smart redirect as {taken['id']}" in blocked.stdout

    run(old, "--only", PLAIN, "--overwrite")
    freed = run(old)

    wanted = {one["id"]: (PLAIN, one["phone_number"]) for one in made[PLAIN].phones}
    wanted |= {one["id"]: (other.number, one["phone_number"]) for one in other.phones}
    stored = {
        row_id: (number, phone)
        for row_id, number, phone in sql("SELECT id, enterprise_number, phone_number FROM user_internal_phones")
    }
    assert freed.returncode == 0
    assert {row_id: stored.get(row_id) for row_id in wanted} == wanted
    with db.transaction() as conn:
        provision.provision(conn, enterprise("9998", token="375290009998"))
    [(least,)] = sql("SELECT min(id) FROM user_internal_phones WHERE enterprise_number = '9998'")
    assert least > max(one["id"] for theirs in made.values() for one in theirs.phones if theirs.number != "9998")


def test_a_token_that_somebody_else_has_here_is_said_before_anything_is_written(run, old, made, process, sql):
    with db.transaction() as conn:
        provision.provision(conn, enterprise("9998", token=made[PLAIN].row["secret"]))

    dry = run(old, "--only", PLAIN, "--dry")
    done = run(old, "--only", PLAIN)

    assert "its secret is that of 9998 here" in dry.stdout
    assert "its secret is that of 9998 here" in done.stdout
    assert sql("SELECT number FROM enterprises") == [("9998",)]


@pytest.mark.parametrize(
    ("wishes", "remarks"),
    [
        ({"without_tables": ("sip_unit", "gsm_lines")}, ["there is no table gsm_lines", "there is no table sip_unit"]),
        ({"without_tables": ("users",)}, ["there is no table users"]),
        (
            {
                "without_columns": (
                    ("enterprises", "active"),
                    ("enterprises", "name"),
                    ("users", "personal_phone"),
                    ("users", "is_admin"),
                    ("gsm_lines", "shop"),
                    ("sip_unit", "incoming_transform"),
                )
            },
            ["enterprises has no name, active", "users has no personal_phone, is_admin", "gsm_lines has no shop"],
        ),
        ({"is_loose": True}, []),
    ],
    ids=["no_lines", "no_people", "fewer_columns", "loose_types"],
)
def test_installations_differ_and_what_they_lack_is_said(*, run, old_databases, sql, crm, wishes, remarks):
    url, _ = old_databases(**wishes)

    done = run(url)

    assert done.returncode == 0, done.stderr
    for remark in remarks:
        assert f"The old database: {remark}" in done.stdout
    [(count,)] = sql("SELECT count(*) FROM enterprises")
    off = 0 if ("enterprises", "active") in wishes.get("without_columns", ()) else len(SWITCHED_OFF)
    # With everybody taking part, the one whose token is that of one switched off has a double.
    assert count == 300 - len(CANNOT) - (off or 2)
    assert crm(PLAIN)["user_extensions"]["18"] == "150"
    assert crm(NUMBERS["switched_off_there"])["enabled"] is False


def test_no_secret_stands_in_a_report_a_log_or_an_error(run, old, made, sql):
    done = run(old)
    with_overwriting = run(old, "--overwrite", "--dry")

    secrets = old_system.plain_secrets(made.values())
    logged = json.dumps(sql("SELECT request_data, response_data, error_message FROM integration_logs"))
    stored = json.dumps(sql("SELECT integrations_config FROM enterprises"))
    assert len(secrets) > 900
    for text in (done.stdout, done.stderr, with_overwriting.stdout, logged):
        assert [secret for secret in secrets if secret in text] == []
    assert [secret for secret in secrets if secret in stored] == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://reader:s3cret-of-old@127.0.0.1:1/old", "FROM: the old database cannot be read"),
        ("postgresql://reader:s3cret-of-old@x@127.0.0.1:1/old", "FROM is not the address of a database"),
        ("postgresql://reader:s3cret-of-old@127.0.0.1:s3cret-of-old/old", "FROM is not the address of a database"),
        ("", "OLD_DATABASE_URL is not set"),
    ],
)
def test_an_old_database_that_cannot_be_asked_is_one_sentence_without_its_password(run, everything, url, words):
    done = run(url)

    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert "s3cret" not in done.stderr
    assert not any(everything().values())


def test_another_database_is_not_taken_for_the_old_one(run, database_url, postgres_server):
    ours = run(database_url)
    with postgres.database(postgres_server, template="template1") as empty:
        none = run(empty)

    assert "its table enterprises has no name2" in ours.stderr
    assert "there is no table enterprises" in none.stderr
    assert (ours.returncode, none.returncode) == (1, 1)


def test_arguments_that_cannot_be_meant_are_refused_before_anything(run, old, everything):
    done = run(old, "--region=XX", "--timezone=Mars", "--asterisk-url=ftp://x")

    assert done.returncode == 1
    for name in ("REGION: ", "TIMEZONE: ", "ASTERISK_URL: "):
        assert name in done.stderr
    assert not any(everything().values())


def test_the_old_database_is_left_as_it_is(run, old_databases):
    url, _ = old_databases()

    def content():
        with psycopg.connect(url) as conn:
            return [
                conn.execute(f"SELECT t::text, t.xmin::text FROM {table} t ORDER BY 1").fetchall()
                for table in old_system.TABLES
            ]

    before = content()
    run(url)

    assert content() == before


def test_who_may_only_read_is_enough_there(run, old, sql, process):
    with psycopg.connect(old, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS reader_of_old")
        conn.execute("CREATE ROLE reader_of_old LOGIN PASSWORD 'reader'")
        conn.execute(
            "GRANT SELECT (number, name, name2, secret, active, integrations_config) ON enterprises TO reader_of_old"
        )
        for table in ("users", "gsm_lines"):
            conn.execute(f"GRANT SELECT ON {table} TO reader_of_old")
        conn.execute(
            "GRANT SELECT (id, enterprise_number, phone_number, user_id) ON user_internal_phones TO reader_of_old"
        )
        conn.execute(
            "GRANT SELECT (id, enterprise_number, line_name, info, incoming_transform) ON sip_unit TO reader_of_old"
        )
    try:
        url = old.replace(old.split("//")[1].split("@")[0], "reader_of_old:reader")
        done = run(url, "--only", PLAIN)
    finally:
        with psycopg.connect(old, autocommit=True) as conn:
            conn.execute("DROP OWNED BY reader_of_old")
            conn.execute("DROP ROLE reader_of_old")

    assert (done.returncode, done.stderr) == (0, "")
    assert sql("SELECT number FROM enterprises") == [(PLAIN,)]


def test_switching_changes_one_setting_of_those_that_are_named(run, switch, old, sql, crm):
    number, keyless = PLAIN, NUMBERS["key_missing"]
    run(old, "--only", f"{number},{keyless},{NUMBERS['domain_bare']}")
    before = crm(number)

    on = switch(f"--enterprises={number},{NUMBERS['domain_bare']}", "--to=on")
    again = switch(f"--enterprises={number}", "--to=on")
    cannot = (
        switch(f"--enterprises={NUMBERS['domain_bare']},{keyless}", "--to=off"),
        switch(f"--enterprises={number},{keyless}", "--to=on"),
    )

    assert (on.returncode, on.stdout.splitlines()[0]) == (0, f"2 switched on: {number}, {NUMBERS['domain_bare']}")
    assert crm(number) == {**before, "enabled": True, "version": 2}
    assert f"1 already were: {number}" in again.stdout
    assert cannot[0].returncode == 0
    assert crm(NUMBERS["domain_bare"])["enabled"] is False
    assert (cannot[1].returncode, "nothing was changed" in cannot[1].stderr) == (1, True)
    assert f"{keyless} has no address or no API key of RetailCRM" in cannot[1].stderr
    logged = sql("SELECT enterprise_number, request_data FROM integration_logs WHERE event_type = 'config' ORDER BY id")
    assert logged[0] == (number, {"by": "petrova", "changed": ["enabled"], "enabled": True})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--enterprises=", "--to=on"), "Which ones"),
        (("--enterprises=0367", "--to=maybe"), "Which ones"),
        (("--enterprises=0367", "--to=on"), "There is no enterprise 0367"),
    ],
)
def test_who_does_not_say_what_to_switch_is_told(switch, arguments, words):
    done = switch(*arguments)

    assert (done.returncode, words in done.stderr) == (1, True)
