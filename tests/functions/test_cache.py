"""The configurations that a process keeps, beside a database that is not as it should be."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc

import psycopg
import pytest

from lib.enterprises import cache as module
from lib.enterprises import rules
from lib.enterprises.cache import EnterpriseCache, enterprise_cache
from lib.runtime import config, db
from lib.runtime.errors import NotFound, Unavailable
from lib.store import enterprises
from tests.harness import many

MANY = 10_000
MOST_BYTES = 40 * 2**20
LONGEST_GAP_SECONDS = 0.25


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
    assert cache.stats()["total_entries"] == 1


@pytest.fixture
def cache(process, monkeypatch):
    """One that neither refreshes nor listens by itself."""
    monkeypatch.setattr(EnterpriseCache, "_start", lambda _: None)
    return EnterpriseCache(config.EnterpriseCache())


@pytest.fixture
def take_away(process):
    """From now on there is no database."""

    def end():
        db.close()
        process.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:9/none")
        config.current.cache_clear()

    return end


def rename_enterprise(database_url, number, name):
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("UPDATE enterprises SET name = %s WHERE number = %s", [name, number])


@pytest.mark.slow
def test_ten_thousand_enterprises_cost_little_memory_and_no_pause(cache, database_url):
    many.write(database_url, MANY)
    enterprises_asked = [f"M{n}" for n in range(1, module.UNPACKED + 100)]

    tracemalloc.start()
    try:
        assert cache.refresh() == MANY
        for number in enterprises_asked:
            known = rules.directory(cache.by_number(number))
            rules.directory(cache.by_number(number), None)
            rules.settings(cache.by_number(number))
            known.mobile_person("+375290000101")
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    gaps, is_over = [], threading.Event()

    def ask():
        last = time.monotonic()
        while not is_over.wait(0.001):
            cache.by_token("token-of-M7", address="")
            gaps.append(time.monotonic() - last)
            last = time.monotonic()

    asking = threading.Thread(target=ask)
    asking.start()
    cache.refresh()
    is_over.set()
    asking.join()

    assert used < MOST_BYTES
    assert max(gaps) < LONGEST_GAP_SECONDS
    assert cache.stats()["total_entries"] == MANY
    assert cache.stats()["unpacked_entries"] == module.UNPACKED


def test_every_enterprise_that_was_loaded_keeps_working_while_the_database_is_away(
    cache, database_url, take_away, monkeypatch
):
    monkeypatch.setattr(module, "UNPACKED", 3)
    many.write(database_url, 20)
    cache.refresh()
    for n in range(1, 21):
        cache.by_number(f"M{n}")
        cache.invalidate(f"M{n}")

    take_away()

    names = [cache.by_token(f"secret-of-M{n}", address="").name for n in range(1, 21)]
    with pytest.raises(Unavailable):
        cache.by_number("M21")
    assert names == [f"Enterprise {n}" for n in range(1, 21)]
    assert cache.stats()["unpacked_entries"] == 3
    assert cache.stats()["total_entries"] == 20


def test_what_was_worked_out_stays_as_long_as_the_row_says_the_same(cache, provisioned, database_url):
    provisioned()
    first = rules.directory(cache.by_number("0367"))

    cache.refresh()
    cache.invalidate("0367")
    same = rules.directory(cache.by_number("0367"))
    rename_enterprise(database_url, "0367", "Renamed")
    cache.invalidate("0367")
    renamed = cache.by_number("0367")

    assert same is first
    assert renamed.name == "Renamed"
    assert rules.directory(renamed) is not first


def test_a_page_that_was_read_before_a_change_does_not_undo_it(cache, provisioned, database_url, monkeypatch):
    provisioned()
    cache.refresh()
    read = enterprises.list_packed

    def read_then_change(conn, *, after, limit):
        page = read(conn, after=after, limit=limit)
        if not after:
            rename_enterprise(database_url, "0367", "Renamed")
            cache.invalidate("0367")
            assert cache.by_number("0367").name == "Renamed"
        return page

    monkeypatch.setattr(enterprises, "list_packed", read_then_change)
    cache.refresh()

    assert cache.by_number("0367").name == "Renamed"


def test_a_change_that_is_heard_of_while_the_row_is_on_its_way_is_read_again(
    cache, provisioned, database_url, monkeypatch
):
    provisioned()
    read = enterprises.find_packed

    def read_then_change(conn, number):
        packed = read(conn, number)
        monkeypatch.setattr(enterprises, "find_packed", read)
        rename_enterprise(database_url, "0367", "Renamed")
        cache.invalidate("0367")
        return packed

    monkeypatch.setattr(enterprises, "find_packed", read_then_change)
    cache.by_number("0367")

    assert cache.by_number("0367").name == "Renamed"


def test_an_enterprise_that_is_gone_is_forgotten_with_its_tokens(cache, database_url):
    many.write(database_url, 250)
    cache.refresh()
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("DELETE FROM enterprises WHERE number IN ('M7', 'M250')")
        conn.execute("UPDATE enterprises SET token = 'another' WHERE number = 'M8'")

    assert cache.refresh() == 248

    assert cache.stats()["total_entries"] == 248
    for token in ("token-of-M7", "secret-of-M250", "token-of-M8"):
        with pytest.raises(NotFound):
            cache.by_token(token, address="")
    assert cache.by_token("another", address="").number == cache.by_token("secret-of-M8", address="").number == "M8"


def test_a_row_is_asked_for_once_however_many_want_it(cache, provisioned, monkeypatch):
    provisioned()
    asked, read = [], enterprises.find_packed

    def slow(conn, number):
        asked.append(number)
        time.sleep(0.2)
        return read(conn, number)

    monkeypatch.setattr(enterprises, "find_packed", slow)
    found = []
    threads = [threading.Thread(target=lambda: found.append(cache.by_number("0367"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert asked == ["0367"]
    assert len({id(enterprise) for enterprise in found}) == 1


def test_a_configuration_that_nobody_can_mean_takes_nothing_else_away(cache, provisioned, database_url):
    provisioned()
    provisioned("0368", token="375290000002")
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            """
            UPDATE enterprises SET integrations_config =
                '{"retailcrm": {"domain": 5, "user_extensions": [], "version": "x"}, "amocrm": "on"}'
            WHERE number = '0367'
            """
        )

    assert cache.refresh() == 2

    broken = cache.by_number("0367")
    assert broken.integration("retailcrm").problems == (
        "domain cannot be 5",
        "user_extensions must map users to extensions",
    )
    assert broken.integration("amocrm").problems == ("amocrm: must be an object",)
    assert not rules.settings(broken).enabled
    assert rules.settings(cache.by_number("0368")).enabled
