"""Attacks use the functions as tests/functions does."""

from __future__ import annotations

from tests.functions.conftest import (  # noqa: F401  (fixtures)
    administered,
    broker,
    browser,
    commands,
    crm_process,
    crm_server,
    fresh_crm,
    function,
    page,
    provisioned,
    sql,
)
