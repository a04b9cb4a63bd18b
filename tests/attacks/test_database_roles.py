"""
A function that somebody took over, or whose password they have, comes to the database under its own role. It must do
its own work there and nothing else: no passwords, tokens, words of hosts or of other enterprises' customers that it does
not need, no deleting of what happened, no change of the schema or of what others may.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import psycopg
import pytest
from psycopg import sql as compose

from infra.deployment import rights
from lib.runtime import config
from tests.conftest import OPERATOR_TOKEN
from tests.harness import roles
from tests.harness.enterprises import TOKEN, enterprise

FUNCTIONS = sorted(rights.FUNCTIONS)
UNPRIVILEGED = [rights.OPERATOR, *map(rights.role_of, FUNCTIONS)]

# Beyond every function, and the operator's commands.
NOBODY = (
    "CREATE TABLE mine (id int)",
    "CREATE TEMPORARY TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE OR REPLACE FUNCTION token_hash(token text) RETURNS bytea LANGUAGE sql RETURN '\\x00'::bytea",
    "ALTER TABLE calls ADD COLUMN mine int",
    "ALTER TABLE enterprises DISABLE TRIGGER ALL",
    "DROP TABLE calls",
    "TRUNCATE integration_logs",
    "CREATE INDEX ON calls (customer)",
    "SET ROLE gateway_migrator",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    "CREATE ROLE mine",
    "ALTER ROLE gateway_migrator PASSWORD 'mine'",
    "ALTER SYSTEM SET log_statement = 'all'",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_read_file('/etc/passwd')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/mine'",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()",
    "INSERT INTO schema_migrations (version, name, sha256) VALUES (999, 'mine', '')",
    "UPDATE integration_logs SET request_data = '{}'",
    "DELETE FROM enterprises",
    "DELETE FROM users",
)
# Beyond each function, though another one may.
OTHERS = {
    "dispatch-call-event": (
        "SELECT password_hash FROM users",
        "SELECT login FROM users",
        "SELECT token FROM enterprises",
        "SELECT secret FROM enterprises",
        "UPDATE enterprises SET integrations_config = '{}'",
        "SELECT raw_data FROM call_events",
        "UPDATE call_events SET raw_data = '{}'",
        "UPDATE call_events SET call_id = NULL",
        "DELETE FROM call_events",
        "SELECT customer FROM calls",
        "SELECT content FROM deliveries",
        "SELECT request_data FROM integration_logs",
        "SELECT phone FROM clicks",
        "SELECT token_sha256 FROM sessions",
        "SELECT raw FROM rejected_messages",
    ),
    "retailcrm-deliver": (
        "SELECT password_hash FROM users",
        "SELECT secret FROM enterprises",
        "UPDATE enterprises SET integrations_config = '{}'",
        "UPDATE call_events SET raw_data = '{}'",
        "DELETE FROM call_events",
        "DELETE FROM deliveries",
        "DELETE FROM attempts",
        "SELECT request_data FROM integration_logs",
        "SELECT phone FROM clicks",
        "SELECT token_sha256 FROM sessions",
    ),
    "retailcrm-upload": (
        "SELECT password_hash FROM users",
        "SELECT secret FROM enterprises",
        "SELECT raw_data FROM call_events",
        "SELECT customer FROM calls",
        "UPDATE calls SET next_wake_at = NULL",
        "DELETE FROM deliveries",
        "SELECT request_data FROM integration_logs",
    ),
    "assemble-recovered": (
        "SELECT password_hash FROM users",
        "SELECT secret FROM enterprises",
        "UPDATE enterprises SET integrations_config = '{}'",
        "UPDATE call_events SET raw_data = '{}'",
        "DELETE FROM call_events",
        "DELETE FROM deliveries",
        "UPDATE attempts SET outcome = 'done'",
        "SELECT request_data FROM integration_logs",
        "SELECT token_sha256 FROM sessions",
    ),
    "sweep-calls": (
        "SELECT integrations_config FROM enterprises",
        "SELECT secret FROM enterprises",
        "SELECT personal_phone FROM users",
        "SELECT request_data FROM integration_logs",
        "SELECT token_sha256 FROM sessions",
        "SELECT raw FROM rejected_messages",
        "UPDATE call_events SET call_id = NULL",
        "UPDATE calls SET customer = NULL",
        "UPDATE sessions SET enterprise_number = '0368'",
        "INSERT INTO deliveries (enterprise_number) VALUES ('0367')",
    ),
    "make-call": (
        "SELECT password_hash FROM users",
        "SELECT token FROM enterprises",
        "UPDATE enterprises SET asterisk_url = 'http://192.0.2.1'",
        "UPDATE enterprises SET secret = 'mine'",
        "DELETE FROM call_events",
        "SELECT raw_data FROM call_events",
        "SELECT customer FROM calls",
        "SELECT content FROM deliveries",
        "SELECT request_data FROM integration_logs",
        "DELETE FROM clicks",
    ),
    "smart-redirect": (
        "SELECT password_hash FROM users",
        "SELECT secret FROM enterprises",
        "UPDATE enterprises SET integrations_config = '{}'",
        "SELECT raw_data FROM call_events",
        "SELECT main_unique_id FROM calls",
        "UPDATE user_statuses SET status = 'free'",
        "SELECT phone FROM clicks",
    ),
    "register-module": (
        "SELECT password_hash FROM users",
        "SELECT secret FROM enterprises",
        "UPDATE enterprises SET token = 'mine'",
        "SELECT customer FROM calls",
        "SELECT raw_data FROM call_events",
        "SELECT content FROM deliveries",
        "INSERT INTO module_commands (enterprise_number, action) VALUES ('0367', 'deactivate')",
    ),
    "admin-api": (
        "SELECT token FROM enterprises",
        "SELECT secret FROM enterprises",
        "UPDATE enterprises SET asterisk_url = 'http://192.0.2.1'",
        "INSERT INTO enterprises (number, name, token, secret) VALUES ('mine', 'a', 'b', 'c')",
        "INSERT INTO users (enterprise_number, login) VALUES ('0367', 'mine')",
        "UPDATE users SET is_admin = true",
        "UPDATE calls SET customer = NULL",
        "DELETE FROM call_events",
        "UPDATE deliveries SET state = 'ready'",
        "DELETE FROM integration_logs",
        "DELETE FROM replays",
    ),
}


@pytest.fixture
def closed(database_url):
    """The database as `make roles` leaves it; what stands for the whole database is not copied with a template."""
    roles.make(database_url)
    return database_url


def refused(database_url, role, statements):
    """Those of the statements that were not refused for want of a right."""
    done = []
    with psycopg.connect(roles.url_of(role, database_url), autocommit=True) as conn:
        for statement in statements:
            try:
                conn.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                continue
            except psycopg.Error as error:
                done.append(f"{statement}: {error}")
            else:
                done.append(statement)
    return done


def test_who_may_what_is_declared_for_every_function_and_what_is_not_is_tried():
    assert set(OTHERS) == set(FUNCTIONS), "add what the new function must not do"


@pytest.mark.parametrize("role", UNPRIVILEGED)
def test_no_role_changes_the_schema_the_server_or_what_others_may(closed, provisioned, role):
    provisioned()
    with psycopg.connect(closed):  # a session of somebody else, to be ended
        assert refused(closed, role, NOBODY) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_reads_and_writes_nothing_of_others(closed, provisioned, name):
    provisioned()

    assert refused(closed, rights.role_of(name), OTHERS[name]) == []


def test_no_role_may_more_in_whatever_way_than_is_declared(closed):
    """By memberships and by what everybody may, too."""
    kinds = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
    with psycopg.connect(closed) as conn:
        rows = conn.execute(
            """
            SELECT r.rolname, c.relname, kind,
                   has_table_privilege(r.oid, c.oid, kind),
                   CASE WHEN kind IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                        THEN has_any_column_privilege(r.oid, c.oid, kind) ELSE false END
            FROM pg_roles r, pg_class c, unnest(%s::text[]) kind
            WHERE r.rolname = ANY(%s) AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
            """,
            [list(kinds), UNPRIVILEGED],
        ).fetchall()
    whole = {(role, table, kind) for role, table, kind, may, _ in rows if may}
    some = {(role, table, kind) for role, table, kind, may, may_some in rows if may or may_some}
    declared = {one for one in rights.wanted() if not one.table.endswith(rights.SEQUENCE)}

    assert len(rows) == len(UNPRIVILEGED) * len(rights.tables()) * len(kinds)
    assert whole == {(one.role, one.table, one.kind) for one in declared if not one.column}
    assert some == {(one.role, one.table, one.kind) for one in declared}


def test_a_role_reads_no_column_that_is_not_declared(closed):
    with psycopg.connect(closed) as conn:
        rows = conn.execute(
            """
            SELECT r.rolname, c.relname, a.attname FROM pg_roles r, pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE r.rolname = ANY(%s) AND c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
              AND NOT a.attisdropped AND has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT')
            """,
            [UNPRIVILEGED],
        ).fetchall()
    readable = {(one.role, one.table, one.column) for one in rights.wanted() if one.kind == "SELECT"}

    assert rows
    assert [row for row in rows if row not in readable and (row[0], row[1], "") not in readable] == []


def test_other_users_of_the_server_come_to_nothing(closed):
    name = compose.Identifier(f"stranger_{os.getpid()}")
    with psycopg.connect(closed, autocommit=True) as conn:
        conn.execute(compose.SQL("CREATE ROLE {}").format(name))
        try:
            conn.execute(compose.SQL("SET ROLE {}").format(name))
            for statement in (
                "SELECT number FROM public.enterprises",
                "CREATE TABLE public.mine (id int)",
                "SELECT public.token_hash('a')",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(statement)
        finally:
            conn.execute("RESET ROLE")
            conn.execute(compose.SQL("DROP ROLE {}").format(name))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_tested_under_its_role_and_answers_the_operator(  # noqa: PLR0917  (fixtures)
    function,
    administered,
    process,
    provisioned,
    sql,
    name,
):
    provisioned()
    client = function(name)

    assert client.get("/health").status_code == 200
    answer = client.get("/stats", headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"})

    assert answer.status_code == 200, answer.text
    query = (
        "SELECT DISTINCT usename FROM pg_stat_activity"
        " WHERE application_name = 'gateway' AND datname = current_database() AND usename <> current_user"
    )
    assert sql(query) == [(rights.role_of(name),)]


COMMANDS = (
    ("admin", "--enterprise=0367"),
    ("admin", "--enterprise=0367", "--login=ivanova"),
    ("admin", "--enterprise=0367", "--login=ivanova", "--remove"),
    ("revoke", "--enterprise=0367"),
    ("explain", "--enterprise=0367"),
    ("explain", "1758798777.1", "--enterprise=0367"),
    ("doctor", "--enterprise=0367"),
    ("replay", "--enterprise=0367", "--call=1758798777.1"),
    ("replay", "--since=1h", "--yes", "--reason=a test"),
    ("replay", "--rejected=1", "--yes", "--reason=a test"),
    ("rotate_keys",),
)


def test_every_command_of_the_operator_works_under_its_role(  # noqa: PLR0917  (fixtures)
    database_url,
    process,
    broker,
    provisioned,
    sql,
    tmp_path,
):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    config.current.cache_clear()
    broker.topic("call-events")
    provisioned()
    given = tmp_path / "enterprise.json"
    given.write_text(json.dumps(enterprise("0368", token=f"{TOKEN}-0368")))
    fill(sql)
    environment = {**os.environ, "DATABASE_URL": roles.url_of(rights.OPERATOR, database_url)}

    failed = {}
    for command in (("provision", str(given)), ("provision", str(given)), *COMMANDS):
        done = subprocess.run(
            [sys.executable, "-m", f"infra.commands.{command[0]}", *command[1:]],
            input="a password of the tests\n",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode or "permission denied" in done.stdout + done.stderr:
            failed[command] = done.stdout + done.stderr
    assert failed == {}
    assert sql("SELECT count(*) FROM replays") == [(2,)]


def fill(sql):
    """A call whose row of history failed, and a message that was rejected."""
    [(call_id,)] = sql(
        "INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at, last_event_at)"
        " VALUES ('0367', '1758798777.1', 'in', now(), now(), now()) RETURNING id"
    )
    sql(
        "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, call_id)"
        " VALUES (gen_random_uuid(), '0367', '1758798777.1', 'hangup', %s, 'a', %s) RETURNING id",
        f'{{"UniqueId": "1758798777.1", "Phone": "375291111111", "DateReceived": "{time.strftime("%Y-%m-%d %H:%M:%S")}"}}',
        call_id,
    )
    sql(
        "INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, content, state, reason, finished_at)"
        " VALUES ('0367', %s, 'upload', '1758798777.1', '{}', 'failed', 'permanent', now()) RETURNING id",
        call_id,
    )
    message = '{"message": {"data": "e30=", "messageId": "1", "publishTime": "2026-01-01T00:00:00Z"}, "subscription": "call-events.retailcrm-deliver"}'
    sql(
        "INSERT INTO rejected_messages (source, reason, raw) VALUES ('call-events.retailcrm-deliver', 'x', %s::text::bytea) RETURNING id",
        message,
    )
