"""The configurations that a process keeps, beside a database that is not as it should be."""

from __future__ import annotations

import time

import psycopg

from lib.enterprises.cache import enterprise_cache


def rename(database_url, name, to):
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(f"ALTER TABLE {name} RENAME TO {to}")


def test_a_process_that_started_before_its_tables_were_there_refreshes_all_the_same(provisioned, database_url):
    provisioned()
    rename(database_url, "enterprises", "not_yet")
    cache = enterprise_cache()
    cache._start()
    refresh = cache._threads[0]
    refresh.join(0.5)
    is_alive = refresh.is_alive()

    rename(database_url, "not_yet", "enterprises")
    deadline = time.monotonic() + 20
    while cache.last_full_refresh is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert is_alive
    assert [enterprise.number for enterprise in cache.known()] == ["0367"]
