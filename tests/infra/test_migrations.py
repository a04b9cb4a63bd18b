from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from infra.deployment import migrate
from infra.deployment.migrate import Migration
from infra.stand_ins import postgres, schema
from lib.runtime.errors import ConfigError


@pytest.fixture
def empty_database(postgres_server):
    with postgres.database(postgres_server) as url:
        yield url


def test_schema_sql_is_the_sum_of_the_migrations(database_url):
    assert Path("infra/schema.sql").read_text() == schema.describe(database_url), "run `make schema`"


def test_schema_sql_makes_the_same_database(database_url, empty_database):
    with psycopg.connect(empty_database) as conn:
        conn.execute(Path("infra/schema.sql").read_text())

    assert schema.describe(empty_database) == schema.describe(database_url)


def test_migrations_apply_once_however_many_start_at_the_same_time(empty_database):
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate.apply(empty_database), range(4)))

    assert sorted(map(len, applied)) == [0, 0, 0, len(migrate.read())]


def test_a_migration_that_fails_leaves_nothing_of_itself(empty_database):
    good = Migration(version=1, name="0001_good", sql="CREATE TABLE a (id int)")
    bad = Migration(version=2, name="0002_bad", sql="CREATE TABLE b (id int); SELECT no_such_thing")

    with pytest.raises(psycopg.Error):
        migrate.apply(empty_database, [good, bad])

    with psycopg.connect(empty_database) as conn:
        assert conn.execute("SELECT to_regclass('a') IS NULL, to_regclass('b') IS NULL").fetchone() == (False, True)
        assert conn.execute("SELECT name FROM schema_migrations").fetchall() == [("0001_good",)]


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(empty_database):
    migrate.apply(empty_database, [Migration(version=1, name="0001_a", sql="CREATE TABLE a (id int)")])

    with pytest.raises(ConfigError, match="0001_a was changed"):
        migrate.apply(empty_database, [Migration(version=1, name="0001_a", sql="CREATE TABLE a (id bigint)")])


def test_a_database_that_is_newer_than_the_code_is_refused_and_left_alone(empty_database, process, capsys):
    newer = len(migrate.read()) + 1
    old = migrate.read()[:1]
    migrate.apply(empty_database, old)
    with psycopg.connect(empty_database) as conn:
        conn.execute("INSERT INTO schema_migrations (version, name, sha256) VALUES (%s, 'later', 'x')", [newer])

    process.setenv("DATABASE_URL", empty_database)
    code = migrate.main()

    assert code == 1
    assert f"does not know its migration {newer:04}: deploy the version that has it" in capsys.readouterr().err
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("SELECT version FROM schema_migrations ORDER BY 1").fetchall() == [(1,), (newer,)]


def test_gaps_in_the_numbers_are_refused(tmp_path):
    (tmp_path / "0002_later.sql").write_text("SELECT 1")

    with pytest.raises(ConfigError, match="without gaps"):
        migrate.read(tmp_path)


def test_another_form_of_a_change_notifies_the_instances(database_url):
    with psycopg.connect(database_url, autocommit=True) as listener, psycopg.connect(database_url) as writer:
        listener.execute("LISTEN integration_config_changed")
        writer.execute("INSERT INTO enterprises (number, name, token, secret) VALUES ('1', 'n', 't', 's')")
        writer.execute("INSERT INTO lines (enterprise_number, line_id) VALUES ('1', '0001301')")
        writer.commit()

        notices = [notice.payload for notice in listener.notifies(timeout=2, stop_after=1)]

    assert notices == ['{"enterprise_number" : "1", "integration_type" : "retailcrm"}']


def test_a_notice_names_the_integration_that_changed(database_url):
    def changes(*statements):
        with psycopg.connect(database_url, autocommit=True) as listener, psycopg.connect(database_url) as writer:
            listener.execute("LISTEN integration_config_changed")
            for statement in statements:
                writer.execute(statement)
            writer.commit()
            notices = [json.loads(notice.payload) for notice in listener.notifies(timeout=1)]
        assert {notice["enterprise_number"] for notice in notices} == {"1"}
        return sorted(notice["integration_type"] for notice in notices)

    def set_config(path, value):
        return f"UPDATE enterprises SET integrations_config = jsonb_set(integrations_config, '{{{path}}}', '{value}')"

    made = changes("INSERT INTO enterprises (number, name, token, secret) VALUES ('1', 'n', 't', 's')")
    first = changes(set_config("amocrm", "{}"))
    both = changes(set_config("amocrm", '{"enabled": true}'), set_config("retailcrm", '{"domain": "demo"}'))
    second = changes(set_config("retailcrm,domain", '"other"') + ", updated_at = clock_timestamp()")
    gone = changes("UPDATE enterprises SET integrations_config = integrations_config - 'amocrm'")
    changes(set_config("amocrm", "{}"))
    whole = changes("UPDATE enterprises SET name = 'another'")
    lines = changes("INSERT INTO lines (enterprise_number, line_id) VALUES ('1', '0001301')")

    assert (made, first, both, second, gone) == (
        ["retailcrm"],
        ["amocrm"],
        ["amocrm", "retailcrm"],
        ["retailcrm"],
        ["amocrm"],
    )
    assert whole == lines == ["amocrm", "retailcrm"]
