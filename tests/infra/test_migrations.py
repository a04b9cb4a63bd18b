from __future__ import annotations

import json
import time
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


TABLE = Migration(
    version=1, name="0001_table", sql="CREATE TABLE a (id int); INSERT INTO a SELECT generate_series(1, 9)"
)
INDEX = Migration(
    version=2,
    name="0002_index",
    sql="-- no transaction\n-- Why; and what for.\nCREATE INDEX CONCURRENTLY a_id_idx ON a (id)\n    WHERE id > 3; -- some\n",
)


def index(url, name="a_id_idx"):
    """Whether it is valid; None when it is not there."""
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [name]).fetchone()
    return row[0] if row else None


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def builders(url):
    """The sessions that build an index at this moment."""
    with psycopg.connect(url) as conn:
        return [
            row[0]
            for row in conn.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
                " AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'"
            )
        ]


def test_an_index_waits_for_a_transaction_that_is_open_and_nobody_waits_for_the_index(empty_database):
    migrate.apply(empty_database, [TABLE])
    with psycopg.connect(empty_database) as other, ThreadPoolExecutor(3) as pool:
        other.execute("INSERT INTO a VALUES (10)")
        runs = [pool.submit(migrate.apply, empty_database, [TABLE, INDEX]) for _ in range(3)]
        until(lambda: builders(empty_database))
        with psycopg.connect(empty_database, options="-c lock_timeout=100") as writer:
            writer.execute("INSERT INTO a VALUES (11)")
            writer.execute("UPDATE a SET id = 12 WHERE id = 1")
        # Longer than the server takes to find a deadlock, and than others may wait for a lock.
        time.sleep(5.5)
        assert not any(run.done() for run in runs)
        other.commit()
        applied = [run.result(10) for run in runs]

    assert sorted(applied) == [[], [], ["0002_index"]]
    assert index(empty_database) is True


def test_a_run_that_dies_leaves_an_invalid_index_which_the_next_run_builds_again(empty_database):
    migrate.apply(empty_database, [TABLE])
    with psycopg.connect(empty_database) as other, ThreadPoolExecutor(1) as pool:
        other.execute("INSERT INTO a VALUES (10)")
        run = pool.submit(migrate.apply, empty_database, [TABLE, INDEX])
        until(lambda: builders(empty_database))
        other.execute("SELECT pg_terminate_backend(%s)", [builders(empty_database)[0]])
        with pytest.raises(psycopg.OperationalError):
            run.result(10)
    assert index(empty_database) is False

    assert migrate.apply(empty_database, [TABLE, INDEX]) == ["0002_index"]

    assert index(empty_database) is True


def test_a_run_that_dies_after_its_first_index_keeps_that_one(empty_database):
    migrate.apply(empty_database, [TABLE])
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("CREATE INDEX a_id_idx ON a (id) WHERE id > 3")
        before = conn.execute("SELECT 'a_id_idx'::regclass::oid").fetchone()

    assert migrate.apply(empty_database, [TABLE, INDEX]) == ["0002_index"]

    with psycopg.connect(empty_database) as conn:
        assert conn.execute("SELECT 'a_id_idx'::regclass::oid").fetchone() == before


def test_an_index_that_cannot_be_built_leaves_nothing_of_itself(empty_database):
    unique = Migration(
        version=2, name="0002_unique", sql="-- no transaction\nCREATE UNIQUE INDEX CONCURRENTLY a_key ON a ((id % 2));"
    )

    with pytest.raises(psycopg.errors.UniqueViolation):
        migrate.apply(empty_database, [TABLE, unique])

    assert index(empty_database, "a_key") is None
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("SELECT name FROM schema_migrations").fetchall() == [("0001_table",)]


def test_a_constraint_is_validated_without_keeping_writers_out(empty_database):
    validated = Migration(
        version=2,
        name="0002_validate",
        sql="-- no transaction\nALTER TABLE a VALIDATE CONSTRAINT a_id_check;\n"
        "DROP INDEX CONCURRENTLY IF EXISTS a_id_idx;",
    )
    checked = Migration(version=1, name="0001_a", sql=TABLE.sql + "; ALTER TABLE a ADD CHECK (id > 0) NOT VALID")

    assert migrate.apply(empty_database, [checked, validated]) == ["0001_a", "0002_validate"]

    with psycopg.connect(empty_database) as conn:
        found = conn.execute("SELECT convalidated FROM pg_constraint WHERE conname = 'a_id_check'").fetchall()
    assert found == [(True,)]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE b (id int)",
        "CREATE INDEX b_id_idx ON a (id)",
        "UPDATE a SET id = id + 1",
        "CREATE INDEX ON a (id)",
    ],
)
def test_what_could_not_be_repeated_is_refused_outside_a_transaction_before_anything_is_applied(
    empty_database, statement
):
    bad = Migration(version=2, name="0002_bad", sql=f"-- no transaction\n{statement};")

    with pytest.raises(ConfigError, match="0002_bad runs outside a transaction"):
        migrate.apply(empty_database, [TABLE, bad])

    with psycopg.connect(empty_database) as conn:
        assert conn.execute("SELECT to_regclass('a') IS NULL").fetchone() == (True,)


def test_a_migration_that_needs_a_lock_gives_up_before_others_wait_long(empty_database):
    migrate.apply(empty_database, [TABLE])
    alter = Migration(version=2, name="0002_alter", sql="ALTER TABLE a ADD COLUMN b int")

    with psycopg.connect(empty_database) as other:
        other.execute("SELECT FROM a")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            migrate.apply(empty_database, [TABLE, alter])

    assert migrate.apply(empty_database, [TABLE, alter]) == ["0002_alter"]


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
