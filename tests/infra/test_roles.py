"""How an installation gets its roles, on a server of its own: roles belong to a whole server."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest
from psycopg import sql

from infra.deployment import grants, migrate, rights
from infra.deployment.migrate import Migration
from infra.deployment.rights import Privilege
from infra.stand_ins import postgres
from lib.runtime.errors import ConfigError
from tests.harness import roles

PASSWORDS = {rights.password_variable(role): f"password-of-{role}" for role in rights.roles()}


@pytest.fixture(scope="module")
def server():
    with postgres.throwaway() as url:
        yield url


@pytest.fixture
def database(server):
    """An empty one, on a server without our roles."""
    with postgres.database(server) as url:
        yield url
    ask(
        server,
        *(f"DROP ROLE IF EXISTS {name}" for name in (*rights.roles(), "reporting", "one_for_all", "administrator")),
    )


def ask(url, *statements):
    found = []
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            cursor = conn.execute(statement)
            found = cursor.fetchall() if cursor.description else []
    return found


def held(url):
    with psycopg.connect(url, autocommit=True) as conn:
        return grants.held(conn)


def owners(url):
    rows = ask(
        url,
        "SELECT relname, relowner::regrole::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    )
    return dict(rows)


def command(name, **environment):
    done = subprocess.run(
        [sys.executable, "-m", f"infra.deployment.{name.partition(' ')[0]}", *name.split()[1:]],
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_new_database_is_made_by_the_commands_of_the_composition(database):
    made = command("roles", DATABASE_ADMIN_URL=database, **PASSWORDS)
    migrated = command("migrate", DATABASE_URL=roles.url_of(rights.MIGRATOR, database))
    again = command("roles", DATABASE_ADMIN_URL=database, **PASSWORDS)
    as_before = command("migrate", DATABASE_URL=roles.url_of(rights.MIGRATOR, database))

    assert (made[0], migrated[0]) == (0, 0), made[1] + migrated[1]
    assert again == (0, f"{len(rights.roles())} roles are there; new: none\n")
    assert as_before == (0, "")
    assert held(database) == rights.wanted()
    assert owners(database) == dict.fromkeys(rights.tables(), rights.MIGRATOR)


def test_a_password_that_is_missing_is_named_and_nothing_is_made(database):
    given = {name: value for name, value in PASSWORDS.items() if "MAKE_CALL" not in name}

    code, said = command("roles", DATABASE_ADMIN_URL=database, **given)

    assert (code, said) == (1, "roles: GATEWAY_MAKE_CALL_PASSWORD is not set\n")
    assert ask(database, "SELECT FROM pg_roles WHERE rolname LIKE 'gateway_%'") == []


def test_the_password_of_a_role_that_is_there_may_be_left_out_or_changed(database):
    roles.make(database)

    code, said = command("roles", DATABASE_ADMIN_URL=database, GATEWAY_MAKE_CALL_PASSWORD="another")

    assert code == 0, said
    assert ask(roles.url_of_function("smart-redirect", database), "SELECT 1") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        ask(roles.url_of_function("make-call", database), "SELECT 1")


def test_a_role_of_the_same_name_that_may_everything_is_refused(database):
    ask(database, "CREATE ROLE gateway_make_call LOGIN SUPERUSER")

    with pytest.raises(ConfigError, match="gateway_make_call may do more than a function should"):
        roles.make(database)


def test_an_installation_that_runs_as_the_superuser_goes_on_and_takes_its_roles(database):
    migrate.apply(database)
    with psycopg.connect(database, autocommit=True) as old:
        old.execute("INSERT INTO enterprises (number, name, token, secret) VALUES ('0367', 'Demo', 'a', 'b')")
        roles.make(database)

        assert old.execute("UPDATE enterprises SET name = 'Old' RETURNING token").fetchall() == [("a",)]
    assert ask(roles.url_of_function("make-call", database), "SELECT name FROM enterprises") == [("Old",)]
    assert owners(database) == dict.fromkeys(rights.tables(), rights.MIGRATOR)
    assert held(database) == rights.wanted()


def test_before_it_has_roles_migrate_says_how_to_get_them(database):
    code, said = command("migrate", DATABASE_URL=database)

    assert code == 0
    assert said.endswith('functions have no roles of their own here: docs/operations.md, "Roles"\n')


def test_who_is_no_superuser_makes_them_in_a_database_that_another_user_has_run(server, database):
    """As on a managed server: the administrator may make roles and owns the database; the tables are somebody's."""
    name = database.rpartition("/")[2]
    ask(
        server,
        "CREATE ROLE administrator LOGIN CREATEROLE PASSWORD 'password-of-administrator'",
        "CREATE ROLE one_for_all LOGIN PASSWORD 'password-of-one_for_all'",
        "GRANT one_for_all TO administrator",
        f"ALTER DATABASE {name} OWNER TO administrator",
    )
    ask(database, "GRANT CREATE ON SCHEMA public TO one_for_all")
    old_url = roles.url_of("one_for_all", database)
    migrate.apply(old_url)
    with psycopg.connect(old_url, autocommit=True) as old:
        for _ in range(2):
            code, said = command("roles", DATABASE_ADMIN_URL=roles.url_of("administrator", database), **PASSWORDS)
            assert code == 0, said

        old.execute("INSERT INTO enterprises (number, name, token, secret) VALUES ('0367', 'Demo', 'a', 'b')")
    assert held(database) == rights.wanted()
    assert owners(database) == dict.fromkeys(rights.tables(), rights.MIGRATOR)
    assert migrate.apply(roles.url_of(rights.MIGRATOR, database)) == []


def test_an_administrator_who_is_only_a_member_of_the_owner_makes_them_with_its_password_in_the_environment(
    server, database
):
    """As on Cloud SQL: the database is cloudsqlsuperuser's, `postgres` is a member of it; addresses have no password."""
    name = database.rpartition("/")[2]
    ask(
        server,
        "CREATE ROLE one_for_all NOLOGIN CREATEROLE CREATEDB",
        "CREATE ROLE administrator LOGIN CREATEROLE CREATEDB PASSWORD 'password-of-administrator'",
        "GRANT one_for_all TO administrator",
        f"ALTER DATABASE {name} OWNER TO one_for_all",
    )

    def address(role):
        return roles.url_of(role, database).replace(f":password-of-{role}@", "@")

    made = command(
        "roles", DATABASE_ADMIN_URL=address("administrator"), PGPASSWORD="password-of-administrator", **PASSWORDS
    )
    migrated = command(
        "migrate",
        DATABASE_URL=address(rights.MIGRATOR),
        PGPASSWORD=PASSWORDS[rights.password_variable(rights.MIGRATOR)],
    )

    assert "password" not in address("administrator")
    assert (made[0], migrated[0]) == (0, 0), made[1] + migrated[1]
    assert held(database) == rights.wanted()
    assert owners(database) == dict.fromkeys(rights.tables(), rights.MIGRATOR)
    refused = command("migrate", DATABASE_URL=address(rights.MIGRATOR), PGPASSWORD="another-one")
    assert refused[0] == 1
    assert "another-one" not in refused[1]


def test_who_may_not_make_roles_is_told_where_it_says_who_may(database):
    ask(database, "CREATE ROLE reporting LOGIN PASSWORD 'password-of-reporting'")

    code, said = command("roles", DATABASE_ADMIN_URL=roles.url_of("reporting", database), **PASSWORDS)

    assert code == 1
    assert "permission denied" in said
    assert 'docs/operations.md, "Roles"' in said
    assert said.count("\n") == 1


def test_another_system_that_was_granted_a_table_still_reads_it_and_nobody_else_comes_in(database):
    migrate.apply(database)
    ask(
        database,
        "CREATE ROLE reporting LOGIN PASSWORD 'password-of-reporting'",
        "GRANT SELECT ON integration_logs TO reporting",
    )

    roles.make(database)

    reporting = roles.url_of("reporting", database)
    assert ask(reporting, "SELECT count(*) FROM integration_logs") == [(0,)]
    ask(database, "REVOKE ALL ON SCHEMA public FROM reporting")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(reporting, "SELECT count(*) FROM public.integration_logs")


def test_a_migration_gives_its_rights_and_takes_none_of_the_version_before(database, monkeypatch):
    roles.make(database)
    migrate.apply(roles.url_of(rights.MIGRATOR, database))
    without, with_more = dict(rights.FUNCTIONS["make-call"]), dict(rights.FUNCTIONS["make-call"])
    del without["clicks"]
    with_more["replies"] = rights.Rights(reads="id", inserts=True)
    new = Migration(
        version=len(migrate.read()) + 1,
        name="later",
        sql="CREATE TABLE replies (id bigint GENERATED ALWAYS AS IDENTITY, content text)",
    )
    make_call = roles.url_of_function("make-call", database)

    monkeypatch.setattr(
        rights, "FUNCTIONS", {**rights.FUNCTIONS, "make-call": {**without, "replies": with_more["replies"]}}
    )
    migrate.apply(roles.url_of(rights.MIGRATOR, database), [*migrate.read(), new])

    ask(make_call, "INSERT INTO replies (content) VALUES ('a')", "SELECT id FROM replies", "SELECT id FROM clicks")
    with psycopg.connect(database, autocommit=True) as conn:
        [remark] = grants.remarks(conn)
        grants.revoke(conn)
        assert grants.remarks(conn) == []
    assert remark.startswith("rights that are not needed any more: gateway_make_call on clicks;")
    ask(make_call, "SELECT id FROM replies")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(make_call, "SELECT id FROM clicks")


def test_what_somebody_granted_by_hand_is_said_and_taken_without_what_is_needed(database):
    roles.make(database)
    migrate.apply(roles.url_of(rights.MIGRATOR, database))
    ask(
        database,
        "GRANT SELECT ON users TO gateway_dispatch_call_event",
        "GRANT ALL ON calls_id_seq TO gateway_retailcrm_deliver",
    )
    spare = held(database) - rights.wanted()

    code, said = command("roles --revoke", DATABASE_ADMIN_URL=database)

    assert code == 0, said
    assert Privilege("gateway_dispatch_call_event", "users", "", "SELECT") in spare
    assert held(database) == rights.wanted()


def test_a_session_of_a_role_has_the_deadlines_and_no_role_takes_all_connections(database):
    code, said = command("roles", DATABASE_ADMIN_URL=database, DATABASE_STATEMENT_TIMEOUT_SECONDS="3", **PASSWORDS)
    assert code == 0, said

    limits = dict(ask(database, "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname LIKE 'gateway_%'"))
    assert limits == dict.fromkeys(rights.roles(), 50)
    assert ask(roles.url_of_function("make-call", database), "SHOW statement_timeout") == [("3s",)]
    assert ask(roles.url_of(rights.MIGRATOR, database), "SHOW statement_timeout") == [("0",)]


def test_the_server_is_not_told_a_password(database, monkeypatch):
    told = []

    class Recorded(psycopg.Connection):
        def execute(self, query, *arguments, **options):
            told.append(query.as_string(self) if isinstance(query, sql.Composable) else str(query))
            return super().execute(query, *arguments, **options)

    monkeypatch.setattr(psycopg, "connect", Recorded.connect)
    roles.make(database)

    assert len([one for one in told if "SCRAM-SHA-256$" in one]) == len(rights.roles())
    assert [one for one in told if "password-of-" in one] == []
