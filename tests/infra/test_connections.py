from __future__ import annotations

import pytest

from infra.stand_ins import connections
from infra.stand_ins.connections import Installation
from lib.runtime import config, db


@pytest.mark.parametrize("installation", connections.stated(), ids=lambda one: one.name)
def test_all_functions_together_hold_fewer_connections_than_the_server_allows(installation):
    assert installation.fits, f"{installation.sum} and {connections.SPARE} of {installation.max_connections}"


def test_the_table_in_the_documents_is_the_one_by_the_settings():
    text = connections.OPERATIONS.read_text()

    assert connections.with_table(text, connections.table(*connections.stated())) == text, (
        "run `python -m infra.stand_ins.connections`"
    )


def test_more_instances_than_the_server_has_connections_for_are_seen():
    many = Installation(name="many", processes={"a": 6, "b": 5}, pool_size=8, max_connections=100)

    assert (many.sum, many.fits) == (99, False)


@pytest.mark.parametrize(("threads", "is_told"), [("4", True), ("8", False), ("", False)])
def test_a_pool_that_is_larger_than_the_threads_is_told_of(process, caplog, threads, is_told):
    process.setenv("THREADS", threads)
    config.current.cache_clear()

    db.pool()

    assert ("DATABASE_POOL_SIZE is larger than THREADS" in caplog.text) is is_told
